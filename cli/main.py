"""The `skyloop` command: every command by name, in the order a person meets them."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from typing import Annotated

import typer
from typer._click.core import Context
from typer._click.exceptions import UsageError
from typer.core import TyperGroup

from cli.commands import images, laptop, models, state
from cli.output import printable

EPILOG = "The laptop cloud is used unless --profile, --region or --stack names a stack on AWS."
LAPTOP, IMAGES, STATE, MODELS = "The laptop cloud", "Images and labels", "What happens", "Models"


@contextmanager
def _printable_errors() -> Iterator[None]:
    try:
        yield
    except UsageError as error:
        error.message = printable(error.message)
        raise


class _Commands(TyperGroup):
    """Commands whose usage errors, which repeat what was typed, do nothing to a terminal."""

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        with _printable_errors():
            return super().parse_args(ctx, args)

    def invoke(self, ctx: Context) -> object:
        with _printable_errors():
            return super().invoke(ctx)


app = typer.Typer(
    name="skyloop",
    cls=_Commands,
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
categories = typer.Typer(help="The label categories, whose order gives the class ids.", no_args_is_help=True)
categories.command("list")(images.list_categories)
categories.command("add")(images.add_categories)


def _show_version(wanted: bool) -> None:
    if wanted:
        try:
            typer.echo(f"skyloop {metadata.version('skyloop')}")
        except metadata.PackageNotFoundError:  # run from a checkout that is not installed
            typer.echo("skyloop, version unknown: it is not installed")
        raise typer.Exit


@app.callback()
def skyloop(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Drop drone images; a better detector ends up in production."""


app.command(rich_help_panel=LAPTOP)(laptop.up)
app.command(rich_help_panel=LAPTOP)(laptop.down)
app.command(rich_help_panel=LAPTOP)(laptop.credentials)
app.command(rich_help_panel=IMAGES)(images.drop)
app.command(rich_help_panel=IMAGES)(images.label)
app.command(rich_help_panel=IMAGES)(images.relabel)
app.add_typer(categories, name="categories", rich_help_panel=IMAGES)
app.command(rich_help_panel=STATE)(state.status)
app.command(rich_help_panel=STATE)(state.watch)
app.command("alerts", rich_help_panel=STATE)(state.list_alerts)
app.command("logs", rich_help_panel=STATE)(state.show_logs)
app.command("detect", rich_help_panel=MODELS)(models.detect_objects)
app.command(rich_help_panel=MODELS)(models.approve)
app.command(rich_help_panel=MODELS)(models.reject)
app.command(rich_help_panel=MODELS)(models.retrain)
app.command(rich_help_panel=MODELS)(models.deploy)
app.command(rich_help_panel=MODELS)(models.rollback)


def main() -> None:
    """Entry point of `skyloop` and `python -m cli`."""
    # A terminal of another encoding shows what it has no character for in another way; it is no reason to stop.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    app()
