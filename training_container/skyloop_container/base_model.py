"""Choose what a training starts from: the champion, given weights, weights by name, or nothing if that is asked for."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from .environment import Environment, JobError, unpack_model
from .hyperparameters import Hyperparameters

ARCHITECTURE = "yolo11n.yaml"  # what "from scratch" builds
SCRATCH = "scratch"  # instead of the name of weights


@dataclass(frozen=True, slots=True)
class Base:
    """kind: champion | weights | name | scratch. model: what Ultralytics is given. detail: for a person."""

    kind: str
    model: str
    detail: str

    def as_dict(self) -> dict[str, str]:
        """As model.json records it."""
        return {"kind": self.kind, "detail": self.detail}


def choose(environment: Environment, hyperparameters: Hyperparameters) -> Base:
    """Choose the base model: channel `model`, else channel `weights`, else hyperparameter `weights`.

    Random weights are a choice, SCRATCH or none: who meant others would train for hours to learn much less.

    A champion with other categories is a valid base: Ultralytics keeps the head's rows of categories whose names match
    and initializes the others.

    Raises:
        JobError: a channel is there but holds no usable model, or weights cannot be had by their name.
    """
    if champion := environment.channel("model"):
        folder = unpack_model(champion, environment.scratch / "champion")
        path = folder / "model.pt"
        if not path.exists():
            raise JobError("The model in the channel 'model' has no model.pt to continue from.")
        return Base("champion", str(path), _describe(folder))
    if channel := environment.channel("weights"):
        files = sorted(channel.rglob("*.pt"))
        if len(files) != 1:
            raise JobError(f"The channel 'weights' must hold one .pt file, and holds {len(files)}.")
        return Base("weights", str(files[0]), files[0].name)
    if hyperparameters.weights not in ("", SCRATCH):
        return _by_name(Path(hyperparameters.weights).name, environment.scratch)
    return Base("scratch", ARCHITECTURE, f"{ARCHITECTURE}, random weights, as asked")


def check_loadable(base: Base) -> None:
    """Load the weights once before the dataset is read, so that a bad file is not reported as a bad training.

    Raises:
        JobError: the file is no Ultralytics detection checkpoint (or needs code that safe loading refuses).
    """
    if base.kind == "scratch":
        return
    from ultralytics.nn.tasks import load_checkpoint

    try:
        model, _ = load_checkpoint(base.model)
    except Exception as error:  # unpickling an arbitrary file may raise anything
        reason = str(error).splitlines()[0][:300] if str(error) else type(error).__name__
        raise JobError(f"The base weights {base.detail} cannot be loaded as an Ultralytics model: {reason}.") from error
    if getattr(model, "task", None) != "detect":
        raise JobError(f"The base weights {base.detail} are for the task {getattr(model, 'task', '?')}, not detect.")


def _by_name(name: str, scratch: Path) -> Base:
    """A file of that name in the working folder, where an image has it, else Ultralytics' own download."""
    if Path(name).is_file():
        return Base("name", str(Path(name).resolve()), f"{name}, found in the image")
    from ultralytics.utils.downloads import attempt_download_asset

    os.environ["YOLO_OFFLINE"] = "false"  # the one moment at which this process may use the network
    try:
        path = Path(attempt_download_asset(str(scratch / name)))
    except Exception as error:  # no network, no such file: urllib, requests and Ultralytics each raise their own
        raise _not_had(name, f"could not be downloaded ({error})") from error
    finally:
        os.environ["YOLO_OFFLINE"] = "true"
    if not path.is_file():
        raise _not_had(name, "are not among Ultralytics' downloads")
    return Base("name", str(path), f"{name}, downloaded from Ultralytics")


def _not_had(name: str, why: str) -> JobError:
    return JobError(
        f"The base weights {name} {why}. Give a .pt file in S3, or weights that are in the training image, or "
        f"'{SCRATCH}' for random ones."
    )


def _describe(folder: Path) -> str:
    try:
        card = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        return f"{card['training_job']} (dataset {card['dataset_id']})"
    except (OSError, ValueError, KeyError):
        return "a champion without model.json"
