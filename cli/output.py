"""Where a command's answer goes: Rich for people, JSON for scripts. Progress and remarks never mix with JSON."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import IO, TypeVar

from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.segment import Segment
from rich.text import Text

from cli.errors import CliError

Item = TypeVar("Item")


# What moves a terminal's cursor, sets its title or turns writing around, in a name that somebody chose; and the bytes
# of names that are not UTF-8, which Python has as halves of characters (PEP 383) and no stream takes.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class Terminal(Console):
    """A console on which text is text: keys, reasons and log lines are others', and may look like anything.

    It shows control characters instead of obeying them (Rich's own are apart from the text), and takes neither `[red]`
    for markup nor `:x:` for an emoji: what is to be styled is a Text.
    """

    def __init__(
        self,
        *,
        stderr: bool = False,
        file: IO[str] | None = None,
        width: int | None = None,
        force_terminal: bool | None = None,
    ) -> None:
        super().__init__(
            stderr=stderr,
            file=file,
            width=width,
            force_terminal=force_terminal,
            markup=False,
            emoji=False,
            highlight=False,
        )

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """The segments of a renderable, with what is printable in place of what is not."""
        for segment in super().render(renderable, options):
            if segment.control is None and _CONTROLS.search(segment.text):
                segment = Segment(printable(segment.text), segment.style)
            yield segment


def printable(text: str) -> str:
    """A text with what is printable in place of what is not."""
    return _CONTROLS.sub(_shown, text)


def _shown(match: re.Match[str]) -> str:
    number = ord(match[0])
    if number < 0x20:
        return chr(0x2400 + number)  # Unicode's picture of it
    return "\u2421" if number == 0x7F else "\ufffd"


def _json(document: object, indent: int | None = None) -> str:
    """JSON in which every control character is escaped; JSON itself asks for those below 32 only."""
    text = json.dumps(document, indent=indent, ensure_ascii=False, default=str)
    return re.sub(f"(?!\n){_CONTROLS.pattern}", lambda match: f"\\u{ord(match[0]):04x}", text)


class Output:
    """One command's output. With `as_json`, standard output gets JSON and nothing else."""

    def __init__(self, as_json: bool = False) -> None:
        self.as_json = as_json
        self.console = Terminal(stderr=as_json)

    def result(self, document: object, render: Callable[[], RenderableType]) -> None:
        """The answer: `document` for scripts, or what `render` makes for people."""
        if self.as_json:
            sys.stdout.write(_json(document, indent=2) + "\n")
        else:
            self.console.print(render())

    def script(self, document: object, text: str) -> None:
        """The answer for another program: `text` as it is, on lines as long as they are, or `document` with --json."""
        sys.stdout.write((_json(document, indent=2) if self.as_json else text) + "\n")

    def line(self, document: object, rendered: RenderableType) -> None:
        """One element of a stream: a JSON document per line, or a line for people."""
        if self.as_json:
            sys.stdout.write(_json(document) + "\n")
            sys.stdout.flush()
        else:
            self.console.print(rendered)

    def note(self, text: str) -> None:
        """A remark on the way; on standard error with --json."""
        self.console.print(text)

    def warn(self, text: str) -> None:
        """Something that a person should know and that stops nothing."""
        self.console.print(Text.assemble(("warning ", "yellow"), text))

    def error(self, error: CliError) -> None:
        """What went wrong and what to do next, on standard error."""
        if self.as_json:
            sys.stderr.write(_json({"error": error.what, "next_step": error.next_step}) + "\n")
            return
        console = Terminal(stderr=True)
        console.print(Text.assemble(("error ", "bold red"), error.what))
        console.print(Text.assemble(("next  ", "bold"), error.next_step))

    def track(self, items: Iterable[Item], what: str, total: int) -> Iterator[Item]:
        """Iterate with a progress bar that disappears at the end."""
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self.console, transient=True) as progress:
            yield from progress.track(items, total=total, description=what)
