"""`up` and `down`: the laptop cloud."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from cli.cloud import laptop_cloud, read_laptop
from cli.command import command
from cli.errors import CliError
from cli.output import Output

BASE_WEIGHTS_PREFIX = "model-artifacts/base-weights/"


def parse_parameters(pairs: list[str]) -> dict[str, str]:
    """`Key=Value` pairs as template parameters. CliError when one has no key."""
    parameters = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not (key and equals):
            raise CliError(f"{pair!r} is not Key=Value.", "For example --parameter Epochs=20 --parameter MinMap50=0.4.")
        parameters[key] = value
    return parameters


def upload_base_weights(home: Path, weights: Path) -> str:
    """Put a .pt file into the data bucket under its content's hash; its s3:// URI."""
    cloud = laptop_cloud(home)
    body = weights.read_bytes()
    key = f"{BASE_WEIGHTS_PREFIX}{hashlib.sha256(body).hexdigest()[:16]}/{weights.name}"
    cloud.client("s3").put_object(Bucket=cloud.bucket, Key=key, Body=body)
    return f"s3://{cloud.bucket}/{key}"


def local_weights(value: str | None) -> Path | None:
    """The file that --base-weights names, None when it names no file here (a model name or an s3:// URI).

    CliError when it looks like a path but nothing is there.
    """
    if value is None or value.startswith("s3://"):
        return None
    path = Path(value).expanduser()
    if path.is_file():
        if path.suffix != ".pt":
            raise CliError(
                f"{path} is not a .pt file.", "Base weights are an Ultralytics .pt file, a name, or an s3:// URI."
            )
        return path
    if path.name != value:
        raise CliError(
            f"There is no {path}.", "Give a .pt file that exists, a name such as yolo11n.pt, or an s3:// URI."
        )
    return None


def start_laptop(
    home: Path,
    parameters: dict[str, str],
    base_weights: str | None,
    workforce: dict[str, float],
    out: Output,
    port: int | None = None,
    auth: bool = True,
) -> Any:
    """Start and deploy, with weights of this machine uploaded first; laptop.lifecycle's Running.

    The bucket exists only once the stack does, so a first start with such weights deploys, uploads, and deploys again
    with their URI: the second time only parameters change.
    """
    from laptop import deploy, lifecycle, preflight  # heavy, and not needed to talk to AWS

    weights = local_weights(base_weights)
    if base_weights and weights is None:
        parameters = {**parameters, "BaseWeights": base_weights}
    settings = {"workforce": workforce} if workforce else {}

    def rise(values: dict[str, str]) -> Any:
        try:
            return lifecycle.up(home, values, settings, port=port, auth=auth, progress=out.note)
        except (lifecycle.LaptopError, deploy.DeployError, preflight.Refused) as error:
            raise CliError(str(error), f"The log is {home / 'logs' / 'server.log'}.") from error

    running = rise(parameters)
    if weights is not None:
        running = rise({**parameters, "BaseWeights": upload_base_weights(home, weights)})
    return running


def _render_up(home: Path, running: Any) -> RenderableType:
    weights = running.parameters.get("BaseWeights") or "yolo11n.pt, by name"
    return Group(
        Text.assemble(("Up. ", "bold green"), f"{running.stack_name} on {running.endpoint_url}, state in {home}"),
        Text.assemble(("weights  ", "bold"), f"training starts from {weights} (from scratch where it cannot be had)"),
        Text.assemble(("next     ", "bold"), "skyloop drop FOLDER --labels annotations.json"),
        Text.assemble(("         ", "bold"), "skyloop watch"),
    )


@command
def up(
    home: Path,
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
        typer.Option("--workforce-error", min=0, max=1, help="Share of boxes the laptop's workforce misses."),
    ] = None,
    workforce_jitter: Annotated[
        float | None, typer.Option("--workforce-jitter", min=0, help="How far its boxes are off, in pixels.")
    ] = None,
    auth: Annotated[
        bool, typer.Option("--auth/--no-auth", help="Enforce the template's role policies, as AWS does.")
    ] = True,
    port: Annotated[int | None, typer.Option("--port", min=0, max=65535, help="Port on 127.0.0.1.")] = None,
) -> None:
    """Start the laptop cloud and deploy template.yaml to it. Again: deploy what changed."""
    given = {"error_rate": workforce_error, "jitter": workforce_jitter}
    workforce = {name: value for name, value in given.items() if value is not None}
    running = start_laptop(home, parse_parameters(parameter or []), base_weights, workforce, out, port, auth)
    out.result(asdict(running), lambda: _render_up(home, running))


@command
def down(home: Path, out: Output) -> None:
    """Stop the laptop cloud and everything it started. Its state stays for the next `up`."""
    from laptop import lifecycle

    if read_laptop(home) is None:
        raise CliError(f"No laptop cloud was ever started in {home}.", "`skyloop up` starts one.")
    try:
        stopped = lifecycle.down(home)
    except lifecycle.LaptopError as error:
        raise CliError(str(error), "`skyloop up` starts it again.") from error
    said = "Down. Its state stays for the next `skyloop up`." if stopped else "It was not running."
    out.result({"stopped": stopped}, lambda: said)
