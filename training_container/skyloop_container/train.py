"""`train`, a SageMaker training job: from channels and hyperparameters to model.pt, model.onnx and model.json."""

import hashlib
import json
import shutil
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from . import base_model
from .dataset import Sample, read_channel, report_dropped
from .environment import Environment, JobError, available_cores, write_whole
from .hyperparameters import Hyperparameters, parse_hyperparameters
from .slicing import SlicingPlan, plan_for, plan_of
from .tracking import Tracker
from .training_set import lay_out
from .ultralytics_setup import prepare

WHOLE_RATE_EPOCHS = 16  # a run from a champion that is at least as long may learn as fast as one from scratch
CACHE_BYTES = 512 * 2**20  # decoded images kept in memory, at most

MARKER = "job.json"
"""Beside the folders of checkpoints: what was asked of the training that goes on, and which folder is its own."""
RUN_PREFIX = "run-"


@dataclass(frozen=True)
class Data:
    """What is trained on, what is validated on, and how pictures are cut."""

    train: list[Sample]
    validation: list[Sample]
    plan: SlicingPlan


@dataclass(frozen=True)
class Checkpoints:
    """Where a training keeps its checkpoints, and what is there of it: `last` is None where it begins.

    `finished_epochs` is the number of whole epochs in `last`, 0 without one.
    """

    folder: Path
    last: Path | None = None
    finished_epochs: int = 0


def run(environment: Environment) -> None:
    """Train with what lies in /opt/ml/input.

    Raises:
        JobError: the job cannot be done; the text is its FailureReason.
        Interrupted: SIGTERM came; the state is in the checkpoint folder.
    """
    hyperparameters = parse_hyperparameters(environment.hyperparameters())
    train, validation = _read(environment, "train", hyperparameters), _read(environment, "validation", hyperparameters)
    if not any(sample.boxes for sample in train):
        raise JobError(f"None of the {len(train)} training images has a box: there is nothing to learn from.")
    data = Data(train, validation, _plan(hyperparameters, train))
    prepare(environment.scratch)
    base = base_model.choose(environment, hyperparameters)
    base_model.check_loadable(base)
    print(f"base={base.kind} ({base.detail})", flush=True)
    print(f"pictures: train={len(train)} validation={len(validation)}; threads={torch.get_num_threads()}", flush=True)
    checkpoints = open_checkpoints(environment.checkpoint_dir, hyperparameters, base)
    tracker = Tracker(
        environment.training_job_name(),
        {"dataset_id": hyperparameters.dataset_id, "correlation_id": hyperparameters.correlation_id, "base": base.kind},
        hyperparameters.model_dump(exclude={"correlation_id"}) | {"base_detail": base.detail},
        checkpoints.folder,
    )
    try:
        weights = _fit(environment, hyperparameters, base, data, checkpoints, tracker)
        card = _export(environment, hyperparameters, base, data, weights)
    except BaseException as error:
        tracker.end("FAILED" if isinstance(error, Exception) else "KILLED")
        raise
    write_whole(environment.checkpoint_dir / MARKER, json.dumps({"finished": True}).encode())
    files = sorted(environment.model_dir.iterdir())
    tracker.finish(files, {"confidence_default": card["confidence_default"]})
    sizes = ", ".join(f"{path.name} {path.stat().st_size / 1e6:.1f} MB" for path in files)
    print(f"done: {sizes}; confidence_default={card['confidence_default']}", flush=True)


def _read(environment: Environment, channel: str, hyperparameters: Hyperparameters) -> list[Sample]:
    folder = environment.channel(channel)
    if folder is None:
        raise JobError(f"The channel '{channel}' is missing or empty.")
    samples, dropped = read_channel(folder, len(hyperparameters.categories))
    report_dropped(channel, dropped, lambda line: print(line, flush=True))
    return samples


def _plan(hyperparameters: Hyperparameters, train: list[Sample]) -> SlicingPlan:
    """How pictures are cut: as the hyperparameters say, or as the sizes of the boxes ask for."""
    boxes = np.array([box[3:] for sample in train for box in sample.boxes], dtype=float).reshape(-1, 2)
    sizes = [(sample.width, sample.height) for sample in train]
    if hyperparameters.slice_size:
        plan = plan_of(boxes, hyperparameters.slice_size, hyperparameters.max_slices)
    else:
        plan = plan_for(boxes, sizes, hyperparameters.imgsz, hyperparameters.max_slices)
    print(f"slicing={json.dumps(plan.as_card())}", flush=True)
    return plan


def _fit(
    environment: Environment,
    hyperparameters: Hyperparameters,
    base: base_model.Base,
    data: Data,
    checkpoints: Checkpoints,
    tracker: Tracker,
) -> Path:
    """Train, or continue where a checkpoint of the same job stopped. Returns the weights to export."""
    from .trainer import Trainer

    if checkpoints.last:
        print(f"resumed after epoch={checkpoints.finished_epochs}", flush=True)
    if checkpoints.finished_epochs >= hyperparameters.epochs:
        return _best(checkpoints.folder)
    data_yaml, views = _cut(environment, hyperparameters, data)

    def report(epoch: int, values: dict[str, float]) -> None:
        print(f"epoch={epoch} " + " ".join(f"{name}={value:.4f}" for name, value in values.items()), flush=True)
        tracker.epoch(epoch, values)

    overrides = _ultralytics_arguments(
        hyperparameters, str(checkpoints.last or base.model), data_yaml, views, environment.scratch / "run"
    )
    if base.kind == "champion" and hyperparameters.optimizer == "auto":
        overrides |= champion_arguments(len(hyperparameters.categories), hyperparameters.epochs)
        print(f"optimizer={overrides['optimizer']} lr0={overrides['lr0']}", flush=True)
    if checkpoints.last:
        overrides["resume"] = str(checkpoints.last)
    trainer = Trainer(overrides, checkpoints.folder, hyperparameters.effective_val_period, report)
    try:
        trainer.train()
    except RuntimeError as error:
        if "out of memory" in str(error).lower():
            raise JobError(
                f"Out of memory with batch={hyperparameters.batch} and imgsz={hyperparameters.imgsz}: use a smaller "
                "batch or imgsz, or a larger instance."
            ) from error
        raise
    return Path(trainer.best if trainer.best.exists() else trainer.last)


def _cut(environment: Environment, hyperparameters: Hyperparameters, data: Data) -> tuple[Path, int]:
    """The data.yaml of the views to train and validate on, and how many there are."""
    started = time.monotonic()
    data_yaml, counts, left_out = lay_out(
        {"train": data.train, "val": data.validation},
        hyperparameters.categories,
        data.plan,
        hyperparameters.imgsz,
        environment.scratch / "dataset",
        environment.kept_slices,
    )
    for split, dropped in left_out.items():
        report_dropped(split, dropped, lambda line: print(line, flush=True))
    views = " ".join(f"{split}={count}" for split, count in counts.items())
    print(f"views: {views}; cut in {time.monotonic() - started:.1f} s", flush=True)
    return data_yaml, sum(counts.values())


def _ultralytics_arguments(
    hyperparameters: Hyperparameters, model: str, data: Path, images: int, save_dir: Path
) -> dict[str, Any]:
    cuda = torch.cuda.is_available()
    return {
        "model": model,
        "data": str(data),
        "save_dir": str(save_dir),
        "epochs": hyperparameters.epochs,
        "imgsz": hyperparameters.imgsz,
        "batch": hyperparameters.batch,
        # Ultralytics accumulates gradients up to 64 images per step: with a few hundred images that is hardly one step
        # per epoch.
        "nbs": hyperparameters.batch,
        "freeze": hyperparameters.freeze or None,
        "seed": hyperparameters.seed,
        "patience": hyperparameters.patience,
        "optimizer": hyperparameters.optimizer,
        "lr0": hyperparameters.lr0,
        "weight_decay": hyperparameters.weight_decay,
        "warmup_epochs": hyperparameters.effective_warmup_epochs,
        "mosaic": hyperparameters.mosaic,
        "close_mosaic": hyperparameters.effective_close_mosaic,
        "device": "0" if cuda else "cpu",  # one GPU: Ultralytics' multi-GPU mode starts processes without this code
        "workers": min(8, available_cores()),
        "cache": "ram" if images * hyperparameters.imgsz**2 * 3 <= CACHE_BYTES else False,
        "amp": cuda,
        "deterministic": False,
        "plots": False,
        "verbose": False,
        "exist_ok": True,
    }


def champion_arguments(categories: int, epochs: int) -> dict[str, Any]:
    """Arguments for continuing from a champion: AdamW, with a learning rate that is lower in a shorter run.

    The whole rate is what Ultralytics chooses for a small dataset (`Trainer.build_optimizer`). At the whole rate the
    first epochs undo much of what the champion knows, and a short run ends before that is learned again.
    """
    rate = 0.002 * 5 / (4 + categories)
    share = min(1.0, max(0.25, epochs / WHOLE_RATE_EPOCHS))
    return {"optimizer": "AdamW", "lr0": round(rate * share, 6), "momentum": 0.9, "warmup_bias_lr": 0.0}


def open_checkpoints(root: Path, hyperparameters: Hyperparameters, base: base_model.Base) -> Checkpoints:
    """The checkpoints of an interrupted training of the same job, or a new folder for those of a training that begins.

    Every training has a folder of its own below `root`, and the marker names the one in use: SageMaker restores what
    lies under the job's checkpoint prefix, whichever training it came from, and a marker must never meet the weights of
    another. What is here of others, and what is damaged, is removed.
    """
    from ultralytics.nn.tasks import torch_safe_load

    fingerprint = _fingerprint(hyperparameters, base)
    marker = root / MARKER
    if folder := _marked(marker, fingerprint):
        last = folder / "last.pt"
        if not last.exists():  # asked here, for Ultralytics looks for a missing file in the network
            return Checkpoints(folder)  # interrupted in its first epoch
        try:
            return Checkpoints(folder, last, int(torch_safe_load(last)[0]["epoch"]) + 1)
        except Exception as error:  # unpickling a damaged file may raise anything
            print(f"checkpoint discarded: {type(error).__name__}: {error}", flush=True)
    root.mkdir(parents=True, exist_ok=True)
    for path in root.glob(f"{RUN_PREFIX}*"):
        shutil.rmtree(path, ignore_errors=True)
    folder = root / f"{RUN_PREFIX}{uuid.uuid4().hex}"
    folder.mkdir()
    write_whole(marker, json.dumps({"asked_sha256": fingerprint, "folder": folder.name}).encode())
    return Checkpoints(folder)


def _fingerprint(hyperparameters: Hyperparameters, base: base_model.Base) -> str:
    """A digest of what was asked: the hyperparameters, and the base where it came by a channel, so not among them."""
    digest = hashlib.sha256(hyperparameters.model_dump_json(exclude={"correlation_id"}).encode())
    if base.kind in {"champion", "weights"}:
        digest.update(f"\n{base.kind} ".encode())
        with Path(base.model).open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _marked(marker: Path, fingerprint: str) -> Path | None:
    """The folder that the marker names; None where there is none, it is of another job, or it was cut off."""
    try:
        known = json.loads(marker.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    # Those of a training that came to its end are of no use to the next, which shall train and not repeat it.
    if not isinstance(known, dict) or known.get("finished") or known.get("asked_sha256") != fingerprint:
        return None
    folder = marker.parent / str(known.get("folder"))
    return folder if folder.name.startswith(RUN_PREFIX) and folder.is_dir() else None


def _best(checkpoint_dir: Path) -> Path:
    """The result of a training that was complete when it was interrupted."""
    best = checkpoint_dir / "best.pt"
    return best if best.exists() else checkpoint_dir / "last.pt"


def _export(
    environment: Environment,
    hyperparameters: Hyperparameters,
    base: base_model.Base,
    data: Data,
    weights: Path,
) -> dict[str, Any]:
    from ultralytics.utils.torch_utils import strip_optimizer

    from .export import export

    stripped = environment.scratch / "export.pt"
    shutil.copyfile(weights, stripped)
    strip_optimizer(stripped)
    card = {
        "categories": hyperparameters.categories,
        "imgsz": hyperparameters.imgsz,
        "training_job": environment.training_job_name(),
        "dataset_id": hyperparameters.dataset_id,
        "correlation_id": hyperparameters.correlation_id,
        "base": base.as_dict(),
        "slicing": data.plan.as_card(),
    }
    fixed = bool(hyperparameters.slice_size)
    return export(stripped, environment.model_dir, card, data.train, data.validation, side_is_fixed=fixed)
