"""`up`, `down` and `credentials`: the laptop cloud."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from typing import Annotated

import typer

from cli import render
from cli.cloud import laptop_cloud, read_laptop
from cli.command import Home, command
from cli.errors import CliError
from cli.output import Output
from cli.start import parse_parameters, start_laptop
from laptop.account import REGION, Keys
from laptop.running import DEFAULT_PORT
from laptop.skyloop_plugin import DEFAULT_HOME


@command
def up(
    out: Output,
    base_weights: Annotated[
        str | None,
        typer.Option(
            "--base-weights", envvar="SKYLOOP_BASE_WEIGHTS", help="A .pt file, a name (yolo11n.pt), or an s3:// URI."
        ),
    ] = None,
    parameter: Annotated[
        list[str] | None, typer.Option("--parameter", "-p", metavar="KEY=VALUE", help="A parameter of template.yaml.")
    ] = None,
    workforce_error: Annotated[
        float | None,
        typer.Option("--workforce-error", min=0, max=1, help="Share of boxes that the laptop's workforce misses."),
    ] = None,
    workforce_jitter: Annotated[
        float | None, typer.Option("--workforce-jitter", min=0, help="How far its boxes are off, in pixels.")
    ] = None,
    auth: Annotated[
        bool, typer.Option("--auth/--no-auth", help="Enforce the template's role policies, as AWS does.")
    ] = True,
    port: Annotated[
        int | None,
        typer.Option(
            "--port",
            min=0,
            max=65535,
            help=f"Port on 127.0.0.1; by default the last one, {DEFAULT_PORT} on a first start. If taken, a free one.",
        ),
    ] = None,
    home: Home = DEFAULT_HOME,
) -> None:
    """Start the laptop cloud and deploy template.yaml to it. Repeated, it deploys what changed."""
    given = {"error_rate": workforce_error, "jitter": workforce_jitter}
    workforce = {name: value for name, value in given.items() if value is not None}
    parameters = parse_parameters(parameter or [])
    running = start_laptop(home, parameters, base_weights, workforce, out.note, port=port, auth=auth)
    out.result(asdict(running), lambda: render.laptop_up(running, home))


@command
def down(out: Output, home: Home = DEFAULT_HOME) -> None:
    """Stop the laptop cloud and everything that it started. Its state stays for the next `up`."""
    from laptop import lifecycle  # heavy, and not needed to talk to AWS

    if read_laptop(home) is None:
        raise CliError(f"No laptop cloud was ever started in {home}.", "`skyloop up` starts one.")
    try:
        stopped = lifecycle.down(home, progress=out.note)
    except lifecycle.LaptopError as error:
        raise CliError(str(error), "`skyloop up` starts it again.") from error
    text = "Down. Its state stays for the next `skyloop up`." if stopped else "It was not running."
    out.result({"stopped": stopped}, lambda: text)


@command
def credentials(out: Output, home: Home = DEFAULT_HOME) -> None:
    """Keys for AWS's own tools on the laptop cloud: `eval "$(skyloop credentials)"`, then `aws s3 ls`.

    With --json they come as a `credential_process` prints them, for a profile in ~/.aws/config.
    """
    cloud = laptop_cloud(home)
    found = cloud.session.get_credentials()
    assert found is not None  # a session with given keys has them
    keys = Keys(str(found.access_key), str(found.secret_key))
    variables = {**keys.environment(), "AWS_ENDPOINT_URL": str(cloud.endpoint_url)}
    variables |= dict.fromkeys(("AWS_REGION", "AWS_DEFAULT_REGION"), REGION)  # boto3 reads the second one only
    lines = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    out.script(keys.document(), "\n".join([*lines, "unset AWS_PROFILE AWS_SESSION_TOKEN"]))
