"""What names that somebody chose may do to a terminal: nothing."""

from __future__ import annotations

import io
import json
import re

import pytest
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from cli import render
from cli.errors import CliError, of_this_machine
from cli.output import Output, Terminal
from tests.support.files import REPOSITORY

NAMES = {
    "red": "a\x1b[31mb",
    "clear": "\x1b[2J\x1b[H",
    "title": "\x1b]0;owned\x07",
    "eight bit": "\x9b31mred",
    "back": "good\b\b\b\bevil",
    "return": "good\revil",
    "turned": "\u202egpj.exe",
    "deleted": "x\x7f",
}


def dangerous(text: str) -> list[str]:
    return [c for c in text if (ord(c) < 32 and c not in "\n\t") or 0x7F <= ord(c) <= 0x9F or c == "\u202e"]


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_control_characters_are_shown_and_not_obeyed(name: str) -> None:
    file = io.StringIO()
    console = Terminal(file=file, width=80)
    table = Table("name")
    table.add_row(Text(name))
    for renderable in (name, Text(name), table, Panel(Text(name))):
        console.print(renderable)
    assert not dangerous(file.getvalue())
    assert "evil" in file.getvalue() or "evil" not in name


@pytest.mark.parametrize(
    "text", ["root:x:0", "raw-images/:x:/[red]a.jpg", "[/]", "[link=file:///]x[/link]", r"\[a]", "1.5"]
)
def test_text_is_text_and_neither_markup_nor_emoji(text: str) -> None:
    """In a cell, a heading, a title, a line and a bar's description, as plain as they come."""
    file = io.StringIO()
    console = Terminal(file=file, width=200, force_terminal=True)
    rows = render.table(f">{text}", title=text)
    rows.add_row(text)
    console.print(rows, text)
    seen = re.sub(r"\x1b\[[\d;]*m", "", file.getvalue())
    assert seen.count(text) == 4
    assert "\x1b]8" not in file.getvalue()


def test_every_console_of_the_commands_and_the_demo_is_such_a_terminal() -> None:
    made = re.compile(r"(?<!class Terminal\()\bConsole\(")
    sources = [file for folder in ("cli", "demo") for file in (REPOSITORY / folder).rglob("*.py")]
    assert sources
    assert [file.name for file in sources if made.search(file.read_text(encoding="utf-8"))] == []


def test_colours_of_our_own_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("COLORTERM", raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    file = io.StringIO()
    console = Terminal(file=file, width=80, force_terminal=True)
    console.print(Text("\x1b[2Jname", style="red"))
    assert file.getvalue().startswith("\x1b[31m")
    assert "\x1b[2J" not in file.getvalue()


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_json_escapes_them_and_means_the_same(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    out = Output(as_json=True)
    out.result({name: [name, "ü"]}, lambda: "")
    out.line({name: name}, "")
    out.error(CliError(name, name))
    printed = capsys.readouterr()
    assert not dangerous(printed.out + printed.err)
    assert "ü" in printed.out
    documents = printed.out.partition("\n}\n")
    assert json.loads(documents[0] + "}") == {name: [name, "ü"]}
    assert json.loads(documents[2]) == {name: name}


@pytest.mark.parametrize("surprise", [OSError(28, "No space left on device"), RecursionError(), MemoryError()])
def test_surprises_of_the_machine_are_two_lines(surprise: Exception) -> None:
    with pytest.raises(CliError), of_this_machine():
        raise surprise
