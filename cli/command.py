"""Commands with the options that all of them share, and one place where their errors end."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import boto3
import typer

from cli.cloud import Cloud, answering_laptop_cloud
from cli.errors import CliError, of_this_machine, translated
from cli.output import Output
from laptop.skyloop_plugin import DEFAULT_HOME, DEFAULT_STACK_NAME

PANEL = "Which cloud"
Home = Annotated[
    Path,
    typer.Option(
        envvar="SKYLOOP_HOME",
        help="Folder of the laptop cloud (by default .skyloop in the repository).",
        show_default=False,
        rich_help_panel=PANEL,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


@dataclass(frozen=True)
class Target:
    """The options that say which cloud a command talks to: the laptop cloud, unless one of the first three is given."""

    profile: Annotated[
        str | None, typer.Option(help="AWS profile: talk to AWS, not to the laptop.", rich_help_panel=PANEL)
    ] = None
    region: Annotated[
        str | None, typer.Option(help="AWS region: talk to AWS, not to the laptop.", rich_help_panel=PANEL)
    ] = None
    stack: Annotated[
        str | None,
        typer.Option(
            envvar="SKYLOOP_STACK",
            help=f"CloudFormation stack on AWS (by default {DEFAULT_STACK_NAME}).",
            rich_help_panel=PANEL,
        ),
    ] = None
    home: Home = DEFAULT_HOME

    def connect(self) -> Cloud:
        """The cloud. Raises CliError when no laptop cloud runs from `home`, or it does not answer."""
        if self.profile or self.region or self.stack:
            session = boto3.Session(profile_name=self.profile, region_name=self.region)
            return Cloud(session, self.stack or DEFAULT_STACK_NAME)
        return answering_laptop_cloud(self.home)


def _check_text(given: dict[str, Any]) -> None:
    """Raise CliError for a name or a home that is not UTF-8: neither AWS nor a JSON file takes it.

    Any other path may be any bytes: it names what is read, and the key that is made of it is checked there.
    """
    for name, value in given.items():
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str) or name == "home":
                try:
                    str(text).encode()
                except UnicodeEncodeError:
                    raise CliError(f"{str(text)!a} is not UTF-8.", "Write it in UTF-8, or choose another.") from None


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Add the shared options to a command, and turn its errors into two lines and an exit code.

    A command takes `out: Output`, which gives it --json; one that also takes `cloud: Cloud` gets the options of Target.
    Exit codes: 0 done, 1 refused or failed (the message says what to do next), 130 interrupted.
    """
    signature = inspect.signature(function, eval_str=True)
    own = [item for name, item in signature.parameters.items() if name not in {"cloud", "out"}]
    target = inspect.signature(Target, eval_str=True).parameters if "cloud" in signature.parameters else {}
    json = inspect.Parameter("as_json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Json)

    @functools.wraps(function)
    def wrapper(as_json: bool, **given: Any) -> None:
        out = Output(as_json)
        try:
            with of_this_machine(), translated():
                _check_text(given)
                if target:
                    given["cloud"] = Target(**{name: given.pop(name) for name in target}).connect()
                function(out=out, **given)
        except CliError as error:
            out.error(error)
            raise typer.Exit(1) from error
        except KeyboardInterrupt:
            sys.stderr.write("\n")
            raise typer.Exit(130) from None

    # Typer reads the options from the signature.
    wrapper.__signature__ = signature.replace(parameters=[*own, *target.values(), json])  # type: ignore[attr-defined]
    return wrapper
