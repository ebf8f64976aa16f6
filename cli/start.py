"""Starting the laptop cloud and deploying to it: parameters, and the errors that a person reads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cli.cloud import laptop_cloud
from cli.errors import CliError
from cli.weights import local_weights, require_weights, upload_weights
from laptop.running import RecordBroken, Running


def parse_parameters(pairs: list[str]) -> dict[str, str]:
    """`Key=Value` pairs as template parameters. Raises CliError when one has no key, or no training takes its value."""
    parameters = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not (key and equals):
            raise CliError(f"{pair!r} is not Key=Value.", "For example --parameter Epochs=20 --parameter MinMap50=0.4.")
        parameters[key] = value
    _check_sides(parameters)
    if window := parameters.get("RadiometricWindow"):
        _check_window(window)
    return parameters


def _check_sides(parameters: dict[str, str]) -> None:
    """Raise CliError for sides that a training would refuse: CloudFormation knows no multiples and no gaps."""
    for name, what, example in (
        ("ImageSize", "must be a multiple of 32", "640"),
        ("SliceSize", "must be 0, or a side of 64 to 16384 pixels", "512"),
    ):
        try:
            side = float(parameters.get(name, "0"))
        except ValueError:
            continue  # CloudFormation says so
        if side % 32 != 0 if name == "ImageSize" else 0 < side < 64:
            raise CliError(f"{name}={parameters[name]} {what}.", f"For example --parameter {name}={example}.")


def _check_window(text: str) -> None:
    """Raise CliError for what a training would refuse: CloudFormation cannot compare the numbers in a text."""
    from skyloop.formats.pixels import RadiometricWindow  # imports numpy and Pillow, which few commands need

    try:
        RadiometricWindow.from_text(text)
    except ValueError:
        raise CliError(
            f"RadiometricWindow={text} is no radiometric window.",
            "Give two counts of 0 to 65535, the lower first, for example --parameter RadiometricWindow=20000-24000.",
        ) from None


def start_laptop(
    home: Path,
    parameters: dict[str, str],
    base_weights: str | None,
    workforce: dict[str, float],
    progress: Callable[[str], None],
    *,
    port: int | None = None,
    auth: bool = True,
) -> Running:
    """Start the laptop cloud, deploy template.yaml to it, and say what runs.

    Raises CliError when either fails, and when the object that the parameter BaseWeights names is not there.
    `workforce` are settings of the simulated workforce; `auth` enforces the template's role policies.
    The bucket exists only once the stack does. So a first start with weights of this machine deploys, uploads them,
    and deploys again with their URI; the second time only parameters change.
    """
    # Here and not above: these imports take longer than a command that talks to AWS may take to start.
    from laptop import deploy, lifecycle, preflight

    weights = local_weights(base_weights)
    if base_weights and weights is None:
        parameters = {**parameters, "BaseWeights": base_weights}
    settings = {"workforce": workforce} if workforce else {}

    def deploy_with(values: dict[str, str]) -> Running:
        try:
            return lifecycle.up(home, values, settings, port=port, auth=auth, progress=progress)
        except RecordBroken as error:
            raise CliError(error.what, error.next_step) from error
        except preflight.Refused as error:
            raise CliError(
                str(error), "Nothing was deployed. Change the template as said above, then run `skyloop up` again."
            ) from error
        except deploy.DeployError as error:
            raise CliError(
                str(error),
                "Correct what is named above, in template.yaml, samconfig.toml or --parameter, then run `skyloop up` "
                "again.",
            ) from error
        except lifecycle.LaptopError as error:
            log = home / "logs" / "server.log"
            # There is none where the home cannot be written to, or where nothing was started yet.
            then = f"The log is {log}." if log.is_file() else "Do as is said above, then run `skyloop up` again."
            raise CliError(str(error), then) from error

    running = deploy_with(parameters)
    if weights is not None:
        return deploy_with({**parameters, "BaseWeights": upload_weights(laptop_cloud(home), weights)})
    # Only now can be asked, for the object is in the cloud that was started; it stays up, so that one can put it there.
    require_weights(laptop_cloud(home), running.outputs["BaseWeights"])
    return running
