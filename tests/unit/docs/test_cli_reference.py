from __future__ import annotations

from cli import reference


def test_the_reference_says_what_the_commands_are() -> None:
    assert reference.TARGET.read_text() == reference.reference_page(), "out of date: run `python -m cli.reference`"


def test_every_command_and_option_explains_itself() -> None:
    group = reference.typer.main.get_command(reference.app)
    for name, command in reference.commands(group, "skyloop"):
        assert command.help, name
        for item in command.params:
            assert item.help or item.name == "help", f"{name} {item.name}"
