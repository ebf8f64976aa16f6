"""`python -m cli.reference` writes docs/cli.md from the commands; a test fails when the file is out of date."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

from cli.main import EPILOG, app
from laptop.skyloop_plugin import DEFAULT_STACK_NAME, REPOSITORY

TARGET = REPOSITORY / "docs" / "cli.md"
HEAD = f"""# Command reference

Made by `python -m cli.reference` from the commands themselves. {EPILOG}
Every command takes `--json` (one JSON document on standard output, remarks and progress on standard error) and
`--help`. `skyloop --version` shows the version. Exit codes: 0 done, 1 refused or failed (two lines say what happened
and what to do next), 2 wrong usage, 130 interrupted. `skyloop` is `.venv/bin/skyloop`; `python -m cli` is the same.
"""
SHARED = {"profile", "region", "stack", "home", "as_json", "help"}
VALUES = {str: "TEXT", int: "NUMBER", float: "NUMBER", Path: "PATH"}  # what stands for an option's value, by its type


def commands(group: TyperGroup, path: str) -> Iterator[tuple[str, TyperCommand]]:
    """Every command of a group, and of the groups in it, with its full name."""
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from commands(command, f"{path} {name}")
        elif isinstance(command, TyperCommand):
            yield f"{path} {name}", command


def usage(name: str, command: TyperCommand) -> str:
    """`skyloop drop [OPTIONS] PATH`."""
    arguments = [item for item in command.params if isinstance(item, TyperArgument)]
    words = [item.name.upper() + ("..." if item.nargs == -1 else "") for item in arguments]
    shown = [word if item.required else f"[{word}]" for word, item in zip(words, arguments, strict=True)]
    return " ".join([name, "[OPTIONS]", *shown])


def _value(item: TyperOption) -> str:
    """What stands for an option's value: its metavar, or a word for its type."""
    return item.metavar or VALUES[item.type_descriptor.annotation]


def _default(item: TyperOption) -> str:
    if item.default in (None, False, []) or item.required or not item.show_default:
        return ""
    if item.is_flag:
        return " On unless turned off."
    return f" Default: `{item.default}`."


def _environment(item: TyperOption) -> str:
    names = [item.envvar] if isinstance(item.envvar, str) else item.envvar or []
    return f" Environment: `{'`, `'.join(names)}`." if names else ""


def command_section(name: str, command: TyperCommand) -> str:
    """One command: what it does, how it is called, what it takes."""
    lines = [f"## {name}", "", (command.help or "").strip(), "", "```", usage(name, command), "```", ""]
    for item in command.params:
        if item.name in SHARED:
            continue
        if isinstance(item, TyperArgument):
            lines.append(f"- `{item.name.upper()}`: {(item.help or '').strip()}")
        elif isinstance(item, TyperOption):
            flags = "`, `".join([*item.opts, *item.secondary_opts])
            value = "" if item.is_flag else f" {_value(item)}"
            lines.append(f"- `{flags}{value}`: {(item.help or '').strip()}{_default(item)}{_environment(item)}")
    clouds = "--profile" if any(item.name == "profile" for item in command.params) else ""
    shared = "`--profile`, `--region`, `--stack`, `--home`, `--json`" if clouds else "`--home`, `--json`"
    lines += [f"- {shared}: as everywhere.", ""]
    return "\n".join(lines)


def reference_page() -> str:
    """The whole page."""
    group = typer.main.get_group(app)
    parts = [command_section(name, command) for name, command in commands(group, "skyloop")]
    shared = [
        "## Options of every command",
        "",
        "- `--profile NAME`, `--region NAME`: talk to AWS with this profile or in this region, not to the laptop.",
        f"- `--stack NAME`: the CloudFormation stack on AWS, `{DEFAULT_STACK_NAME}` by default. "
        "Environment: `SKYLOOP_STACK`.",
        "- `--home FOLDER`: the laptop cloud's folder, `.skyloop` in the repository by default. "
        "Environment: `SKYLOOP_HOME`.",
        "- `--json`: JSON for scripts.",
        "",
    ]
    return "\n".join([HEAD, "\n".join(shared), *parts]).rstrip() + "\n"


if __name__ == "__main__":
    TARGET.write_text(reference_page())
