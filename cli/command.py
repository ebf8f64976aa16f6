"""Commands with the options that all of them share, and one place where their errors end.

A command function asks for `cloud: Cloud`, `home: Path` or `out: Output` by parameter name; the shared options that
make those are added to what Typer sees.
"""

from __future__ import annotations

import functools
import inspect
import sys
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.cloud import DEFAULT_HOME, Where
from cli.errors import CliError, translated
from cli.output import Output

PANEL = "Which cloud"
_CLOUD_OPTIONS: dict[str, tuple[Any, Any]] = {
    "profile": (
        Annotated[
            str | None,
            typer.Option("--profile", help="AWS profile: talk to AWS, not to the laptop.", rich_help_panel=PANEL),
        ],
        None,
    ),
    "region": (
        Annotated[
            str | None,
            typer.Option("--region", help="AWS region: talk to AWS, not to the laptop.", rich_help_panel=PANEL),
        ],
        None,
    ),
    "stack": (
        Annotated[
            str | None,
            typer.Option(
                "--stack",
                envvar="SKYLOOP_STACK",
                help="CloudFormation stack on AWS [default there: skyloop-dev].",
                rich_help_panel=PANEL,
            ),
        ],
        None,
    ),
}
_HOME = Annotated[
    Path,
    typer.Option(
        "--home",
        envvar="SKYLOOP_HOME",
        help="Folder of the laptop cloud [default: .skyloop in the repository].",
        show_default=False,
        rich_help_panel=PANEL,
    ),
]
_JSON = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


def _parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def command(function: Callable[..., Any]) -> Callable[..., None]:
    """Give a command function its shared options and turn its errors into two lines and an exit code.

    Exit codes: 0 done, 1 refused or failed (the message says what to do next), 130 interrupted.
    """
    signature = inspect.signature(function)
    hints = typing.get_type_hints(function, include_extras=True)
    wants = [name for name in ("cloud", "home", "out") if name in signature.parameters]
    parameters = [
        parameter.replace(annotation=hints[name])
        for name, parameter in signature.parameters.items()
        if name not in wants
    ]
    if "cloud" in wants:
        parameters += [_parameter(name, *value) for name, value in _CLOUD_OPTIONS.items()]
    parameters += [_parameter("home", _HOME, DEFAULT_HOME), _parameter("as_json", _JSON, False)]

    @functools.wraps(function)
    def wrapper(**given: Any) -> None:
        out = Output(given.pop("as_json"))
        home = given.pop("home")
        where = {name: given.pop(name) for name in _CLOUD_OPTIONS if "cloud" in wants}
        try:
            with translated():
                shared = {"out": out, "home": home}
                if "cloud" in wants:
                    shared["cloud"] = Where(home=home, **where).connect()
                function(**given, **{name: shared[name] for name in wants})
        except CliError as error:
            out.error(error)
            raise typer.Exit(error.exit_code) from error
        except KeyboardInterrupt:
            sys.stderr.write("\n")
            raise typer.Exit(130) from None

    wrapper.__signature__ = signature.replace(parameters=parameters, return_annotation=None)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {item.name: item.annotation for item in parameters}
    return wrapper
