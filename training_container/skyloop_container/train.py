"""`train`, a SageMaker training job: from channels and hyperparameters to model.pt, model.onnx and model.json."""

import json
import math
import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from skyloop.formats.pictures import RadiometricWindow

from . import base_model, radiometry
from .checkpoints import (
    Checkpoints,
    Outcome,
    close_checkpoints,
    find_checkpoints,
    fingerprint,
    interrupted,
    open_checkpoints,
)
from .dataset import Sample, read_channel, report_dropped
from .environment import Environment, JobError, available_cores
from .fit import EpochReport, Task, fit, fit_together, print_epoch
from .hyperparameters import Hyperparameters, parse_hyperparameters
from .machines import Machines, find_machines
from .planning import export_looks
from .quantize import LOOKS, add_int8
from .slicing import SlicingPlan, plan_for, plan_of
from .time_limit import TimeLimit, time_limit
from .tracking import Tracker
from .training_set import lay_out
from .ultralytics_setup import prepare

WHOLE_RATE_EPOCHS = 16  # a run from a champion that is at least as long may learn as fast as one from scratch
SCALE = 0.5
"""Training shows each view at 1 - SCALE to 1 + SCALE of its scale: larger slices and a coarse look are in it."""
CACHE_BYTES = 512 * 2**20  # decoded images kept in memory, at most


@dataclass(frozen=True)
class Data:
    """What is trained on, what is validated on, how pictures are cut, and through which window they are seen."""

    train: list[Sample]
    validation: list[Sample]
    plan: SlicingPlan
    window: RadiometricWindow | None


@dataclass(frozen=True)
class Job:
    """What a training needs to know beside its data: what is asked, from what, where, until when; for MLflow."""

    hyperparameters: Hyperparameters
    base: base_model.Base
    machines: Machines
    limit: TimeLimit | None
    tracking: dict[str, Any]


def run(environment: Environment) -> None:
    """Train with what lies in /opt/ml/input.

    Raises:
        JobError: the job cannot be done; the text is its FailureReason.
        Interrupted: SIGTERM came; the state is in the checkpoint folder.
    """
    hyperparameters = parse_hyperparameters(environment.hyperparameters())
    limit = time_limit(environment, environment.checkpoint_dir)
    machines = find_machines(environment, hyperparameters.batch)
    train, validation = _read(environment, "train", hyperparameters), _read(environment, "validation", hyperparameters)
    if not any(sample.boxes for sample in train):
        raise JobError(f"None of the {len(train)} training images has a box: there is nothing to learn from.")
    if not any(sample.boxes for sample in validation):
        print("validation: no image has a box, so nothing says which epoch is best: the last one is taken", flush=True)
    data = Data(train, validation, _plan(hyperparameters, train), _window(hyperparameters, train))
    prepare(environment.scratch)
    base = base_model.choose(environment, hyperparameters)
    base_model.check_loadable(base)
    print(f"base={base.kind} ({base.detail})", flush=True)
    print(f"pictures: train={len(train)} validation={len(validation)}; machines: {machines}", flush=True)
    tracking: dict[str, Any] = {
        "name": environment.training_job_name(),
        "tags": {
            "dataset_id": hyperparameters.dataset_id,
            "correlation_id": hyperparameters.correlation_id,
            "base": base.kind,
        },
        "parameters": hyperparameters.model_dump(exclude={"correlation_id"}) | {"base_detail": base.detail},
    }
    job = Job(hyperparameters, base, machines, limit, tracking)
    asked = fingerprint(hyperparameters, base)
    if not machines.first:
        found = find_checkpoints(environment.checkpoint_dir, asked) or Checkpoints(environment.scratch / "checkpoints")
        _fit(environment, job, data, found, lambda *_: None)
        return
    checkpoints = open_checkpoints(environment.checkpoint_dir, asked)
    tracker = Tracker(**tracking, checkpoint_dir=checkpoints.folder)
    try:
        outcome = _fit(environment, job, data, checkpoints, tracker.epoch)
        # SageMaker gives 120 s after SIGTERM: the export needs them more than anything else could.
        terminated: list[int] = []

        def go_on(number: int, _: object) -> None:
            terminated.append(number)
            print("terminated: the export goes on", flush=True)

        signal.signal(signal.SIGTERM, go_on)
        print(f"trained: epochs={outcome.epochs} of {hyperparameters.epochs}, stopped={outcome.stopped}", flush=True)
        card = _export(environment, job, data, outcome)

        def left() -> float:
            return 0.0 if terminated else job.limit.left() if job.limit else math.inf

        said = add_int8(environment.model_dir, card, data.train, data.validation, environment.scratch, left)
        print(said, flush=True)
    except BaseException as error:
        tracker.end("FAILED" if isinstance(error, Exception) else "KILLED")
        raise
    if outcome.stopped != "time":  # otherwise whoever asks for the same again goes on from here
        close_checkpoints(environment.checkpoint_dir)
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
    boxes = [np.array([box[3:] for box in sample.boxes], dtype=float).reshape(-1, 2) for sample in train]
    if hyperparameters.slice_size:
        plan = plan_of(np.concatenate(boxes), hyperparameters.slice_size, hyperparameters.max_slices)
    else:
        sizes = [(sample.width, sample.height) for sample in train]
        plan = plan_for(list(zip(sizes, boxes, strict=True)), hyperparameters.imgsz, hyperparameters.max_slices)
    print(f"slicing={json.dumps(plan.as_card())}", flush=True)
    return plan


def _window(hyperparameters: Hyperparameters, train: list[Sample]) -> RadiometricWindow | None:
    """Which counts are black and white: as the hyperparameters say, or as the pictures ask for."""
    fixed = hyperparameters.radiometric_window
    window = RadiometricWindow.from_text(fixed) if fixed else radiometry.window_for(train)
    print(f"radiometric_window={json.dumps(radiometry.as_card(window))}", flush=True)
    return window


def _fit(environment: Environment, job: Job, data: Data, checkpoints: Checkpoints, track: EpochReport) -> Outcome:
    """Train, or continue where a checkpoint of the same job stopped."""
    hyperparameters, base = job.hyperparameters, job.base
    if checkpoints.last:
        print(f"resumed after epoch={checkpoints.finished_epochs}", flush=True)
    if checkpoints.last and checkpoints.finished_epochs >= hyperparameters.epochs:
        return interrupted(checkpoints.folder, None)  # only the export was missing
    data_yaml, views = _cut(environment, hyperparameters, data)
    overrides = ultralytics_arguments(
        hyperparameters, str(checkpoints.last or base.model), data_yaml, views, environment.scratch / "run"
    )
    overrides["workers"] = min(8, max(available_cores() // job.machines.processes, 1))
    if base.kind == "champion" and hyperparameters.optimizer == "auto":
        overrides |= champion_arguments(len(hyperparameters.categories), hyperparameters.epochs)
        print(f"optimizer={overrides['optimizer']} lr0={overrides['lr0']}", flush=True)
    if checkpoints.last:
        overrides["resume"] = str(checkpoints.last)
    fixed = bool(hyperparameters.slice_size)
    looks = export_looks(data.plan, hyperparameters.imgsz, data.train, data.validation, fixed)
    task = Task(overrides, checkpoints.folder, hyperparameters.effective_val_period, job.limit, looks + LOOKS)
    if job.machines.world_size > 1:
        return fit_together(task, job.machines, job.tracking, environment.scratch)
    task.overrides["device"] = job.machines.device(0)

    def report(epoch: int, values: dict[str, float]) -> None:
        print_epoch(epoch, values)
        track(epoch, values)

    return fit(task, report)


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
        window=data.window,
    )
    for split, dropped in left_out.items():
        report_dropped(split, dropped, lambda line: print(line, flush=True))
    unread = {item.name for item in left_out["train"]}
    if not any(sample.boxes for sample in data.train if sample.name not in unread):
        raise JobError(f"No training image that has a box can be read: {left_out['train'][0].reason}.")
    views = " ".join(f"{split}={count}" for split, count in counts.items())
    print(f"views: {views}; cut in {time.monotonic() - started:.1f} s", flush=True)
    return data_yaml, sum(counts.values())


def ultralytics_arguments(
    hyperparameters: Hyperparameters, model: str, data: Path, images: int, save_dir: Path
) -> dict[str, Any]:
    """What Ultralytics is told.

    Args:
        hyperparameters: of the job.
        model: a file of weights or of an architecture.
        data: data.yaml.
        images: how many there are to train and validate on.
        save_dir: for what Ultralytics writes.
    """
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
        "scale": SCALE,
        "mosaic": hyperparameters.mosaic,
        "close_mosaic": hyperparameters.effective_close_mosaic,
        "cache": "ram" if images * hyperparameters.imgsz**2 * 3 <= CACHE_BYTES else False,
        "amp": torch.cuda.is_available(),
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


def _export(environment: Environment, job: Job, data: Data, outcome: Outcome) -> dict[str, Any]:
    hyperparameters = job.hyperparameters
    from ultralytics.utils.torch_utils import strip_optimizer

    from .export import export

    stripped = environment.scratch / "export.pt"
    shutil.copyfile(outcome.weights, stripped)
    strip_optimizer(stripped)
    card = {
        "categories": hyperparameters.categories,
        "imgsz": hyperparameters.imgsz,
        "training_job": environment.training_job_name(),
        "dataset_id": hyperparameters.dataset_id,
        "correlation_id": hyperparameters.correlation_id,
        "base": job.base.as_dict(),
        "epochs": {"trained": outcome.epochs, "asked": hyperparameters.epochs, "stopped": outcome.stopped},
        "slicing": data.plan.as_card(),
        "radiometric_window": radiometry.as_card(data.window),
    }
    fixed = bool(hyperparameters.slice_size)
    return export(stripped, environment.model_dir, card, data.train, data.validation, side_is_fixed=fixed)
