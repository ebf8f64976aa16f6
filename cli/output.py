"""Where a command's answer goes: Rich for people, JSON for scripts. Progress and remarks never mix with JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from cli.errors import CliError

Item = TypeVar("Item")


class Output:
    """One command's output. With `as_json`, standard output gets JSON and nothing else."""

    def __init__(self, as_json: bool = False) -> None:
        self.as_json = as_json
        self.console = Console(stderr=as_json, highlight=False)

    def result(self, document: object, render: Callable[[], RenderableType]) -> None:
        """The answer: `document` for scripts, or what `render` makes for people."""
        if self.as_json:
            json.dump(document, sys.stdout, indent=2, ensure_ascii=False, default=str)
            sys.stdout.write("\n")
        else:
            self.console.print(render())

    def line(self, document: object, rendered: RenderableType) -> None:
        """One element of a stream: a JSON document per line, or a line for people."""
        if self.as_json:
            sys.stdout.write(json.dumps(document, ensure_ascii=False, default=str) + "\n")
            sys.stdout.flush()
        else:
            self.console.print(rendered)

    def note(self, text: str) -> None:
        """A remark on the way; on standard error with --json."""
        self.console.print(text, markup=False)

    def warn(self, text: str) -> None:
        """Something that a person should know and that stops nothing."""
        self.console.print(Text.assemble(("warning ", "yellow"), text))

    def error(self, error: CliError) -> None:
        """What went wrong and what to do next, on standard error."""
        if self.as_json:
            sys.stderr.write(json.dumps({"error": error.what, "next_step": error.next_step}, ensure_ascii=False) + "\n")
            return
        console = Console(stderr=True, highlight=False)
        console.print(Text.assemble(("error ", "bold red"), error.what))
        console.print(Text.assemble(("next  ", "bold"), error.next_step))

    def track(self, items: Iterable[Item], what: str, total: int) -> Iterator[Item]:
        """Iterate with a progress bar that disappears at the end."""
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self.console, transient=True) as progress:
            yield from progress.track(items, total=total, description=what)
