"""The checkpoints of a training: which of those that SageMaker brings back it goes on from, and what they are worth.

What is written here is written in one step, and what is damaged means that the training begins again.
"""

import hashlib
import json
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path

from .base_model import Base
from .environment import write_whole
from .hyperparameters import Hyperparameters

MARKER = "job.json"
"""Beside the folders of checkpoints: what was asked of the training that goes on, and which folder is its own."""
RUN_PREFIX = "run-"


@dataclass(frozen=True)
class Checkpoints:
    """Where a training keeps its checkpoints, and what is there of it: `last` is None where it begins.

    `finished_epochs` is the number of whole epochs in `last`, 0 without one.
    """

    folder: Path
    last: Path | None = None
    finished_epochs: int = 0


@dataclass(frozen=True)
class Outcome:
    """What came of it: the weights to export, of how many epochs, and why they are not more.

    stopped: "time", "patience" (no better validation for long), or None where all epochs were made.
    """

    weights: Path
    epochs: int
    stopped: str | None = None


def open_checkpoints(root: Path, asked: str) -> Checkpoints:
    """The checkpoints of an interrupted training of the same job, or a new folder for those of a training that begins.

    Every training has a folder of its own below `root`, and the marker names the one in use: SageMaker restores what
    lies under the job's checkpoint prefix, whichever training it came from, and a marker must never meet the weights of
    another. What is here of others, and what is damaged, is removed.

    Args:
        root: normally /opt/ml/checkpoints.
        asked: see `fingerprint`.
    """
    if found := find_checkpoints(root, asked):
        if found.last:  # the best one is only exported, which would be too late to find it damaged
            _remove_damaged(found.folder / "best.pt")
        return found
    root.mkdir(parents=True, exist_ok=True)
    for path in root.glob(f"{RUN_PREFIX}*"):
        shutil.rmtree(path, ignore_errors=True)
    folder = root / f"{RUN_PREFIX}{uuid.uuid4().hex}"
    folder.mkdir()
    write_whole(root / MARKER, json.dumps({"asked_sha256": asked, "folder": folder.name}).encode())
    return Checkpoints(folder)


def find_checkpoints(root: Path, asked: str) -> Checkpoints | None:
    """The checkpoints of an interrupted training that was asked for the same; None where there are none to go on from.

    Nothing is changed.
    """
    folder = _marked(root / MARKER, asked)
    if folder is None:
        return None
    last = folder / "last.pt"
    if not last.exists():  # asked here, for Ultralytics looks for a missing file in the network
        return Checkpoints(folder)  # interrupted in its first epoch
    try:
        return Checkpoints(folder, last, finished_epochs(last))
    except Exception as error:  # unpickling a damaged file may raise anything
        print(f"checkpoint discarded: {type(error).__name__}: {error}", flush=True)
        return None


def close_checkpoints(root: Path) -> None:
    """Say that the training came to its end: the next one shall train, and not repeat it."""
    write_whole(root / MARKER, json.dumps({"finished": True}).encode())


def interrupted(folder: Path, stopped: str | None) -> Outcome:
    """What there is of a training that is not continued: the best of its checkpoints."""
    best, last = folder / "best.pt", folder / "last.pt"
    return Outcome(best if best.exists() else last, finished_epochs(last), stopped)


def finished_epochs(checkpoint: Path) -> int:
    """The number of whole epochs in a checkpoint. Unpickling a damaged file may raise anything."""
    from ultralytics.nn.tasks import torch_safe_load

    return int(torch_safe_load(checkpoint)[0]["epoch"]) + 1


def fingerprint(hyperparameters: Hyperparameters, base: Base) -> str:
    """A digest of what was asked: the hyperparameters, and the base where it came by a channel, so not among them."""
    digest = hashlib.sha256(hyperparameters.model_dump_json(exclude={"correlation_id"}).encode())
    if base.kind in {"champion", "weights"}:
        digest.update(f"\n{base.kind} ".encode())
        with Path(base.model).open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _remove_damaged(file: Path) -> None:
    if file.exists():
        try:
            finished_epochs(file)
        except Exception as error:  # as above
            print(f"checkpoint discarded: {type(error).__name__}: {error}", flush=True)
            file.unlink()


def _marked(marker: Path, asked: str) -> Path | None:
    """The folder that the marker names; None where there is none, it is of another job, or it was cut off."""
    try:
        known = json.loads(marker.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(known, dict) or known.get("finished") or known.get("asked_sha256") != asked:
        return None
    folder = marker.parent / str(known.get("folder"))
    return folder if folder.name.startswith(RUN_PREFIX) and folder.is_dir() else None
