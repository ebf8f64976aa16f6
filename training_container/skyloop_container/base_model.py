"""Choose what a training starts from: the champion, given weights, weights by name, or nothing if that is asked for."""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from .environment import Environment, JobError, unpack_model
from .hyperparameters import Hyperparameters

ARCHITECTURE = "yolo11n.yaml"  # what "from scratch" builds
SCRATCH = "scratch"  # instead of the name of weights

DOWNLOADS = {
    "yolo11n.pt": "0ebbc80d4a7680d14987a577cd21342b65ecfd94632bd9a8da63ae6417644ee1",
    "yolo11s.pt": "85a76fe86dd8afe384648546b56a7a78580c7cb7b404fc595f97969322d502d5",
    "yolo11m.pt": "d5ffc1a674953a08e11a8d21e022781b1b23a19b730afc309290bd9fb5305b95",
    "yolo11l.pt": "9ebd0e09d59811db4b1d61e2bc6730649608b1ac47f8dd01e2da6bca7c20023f",
    "yolo11x.pt": "7bc158aa95c0ebfdd87f70f01653c1131b93e92522dbe15c228bcd742e773a24",
}
"""Of Ultralytics' downloads (github.com/ultralytics/assets) the detectors, by SHA-256, and no others."""

_CHOICES = f"Give a .pt file in S3, the name of weights that are in the training image, or '{SCRATCH}' for random ones."


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

    Random weights are a choice, SCRATCH, that nobody makes by leaving something out: who meant others would train for
    hours to learn much less.

    A champion with other categories is a valid base: Ultralytics keeps the head's rows of categories whose names match
    and initializes the others.

    Raises:
        JobError: a channel is there but holds no usable model, or weights cannot be had by their name, or nothing says
            what to start from.
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
    if hyperparameters.weights == SCRATCH:
        return Base("scratch", ARCHITECTURE, f"{ARCHITECTURE}, random weights, as asked")
    name = Path(hyperparameters.weights).name
    if not name:
        raise JobError(f"Nothing says what to start from. {_CHOICES}")
    if Path(name).is_file():
        return Base("name", str(Path(name).resolve()), f"{name}, found in the image")
    return Base("name", str(_downloaded(name, environment.scratch)), f"{name}, downloaded from Ultralytics")


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


def _downloaded(name: str, scratch: Path) -> Path:
    """One of DOWNLOADS, exactly."""
    if name not in DOWNLOADS:
        raise JobError(f"The training image has no base weights {name}. {_CHOICES}")
    from ultralytics.utils.downloads import attempt_download_asset

    os.environ["YOLO_OFFLINE"] = "false"  # the one moment at which this process may use the network
    try:
        path = Path(attempt_download_asset(str(scratch / name)))
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except Exception as error:  # no network, no such file: urllib, requests and Ultralytics each raise their own
        raise JobError(f"The base weights {name} could not be downloaded ({error}). {_CHOICES}") from error
    finally:
        os.environ["YOLO_OFFLINE"] = "true"
    if digest != DOWNLOADS[name]:
        raise JobError(f"What was downloaded as {name} is something else (SHA-256 {digest[:16]}…). {_CHOICES}")
    return path


def _describe(folder: Path) -> str:
    try:
        card = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        return f"{card['training_job']} (dataset {card['dataset_id']})"
    except (OSError, ValueError, KeyError, TypeError):
        return "a champion without model.json"
