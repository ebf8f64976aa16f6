"""`train`, a SageMaker training job: from channels and hyperparameters to model.pt, model.onnx and model.json."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import torch

from . import base_model
from .dataset import Sample, link_for_ultralytics, read_channel, report_dropped
from .environment import Environment, JobError
from .hyperparameters import Hyperparameters, parse_hyperparameters
from .tracking import Tracker
from .ultralytics_setup import available_cores, prepare

WHOLE_RATE_EPOCHS = 16  # a run from a champion that is at least as long may learn as fast as one from scratch
CACHE_BYTES = 512 * 2**20  # decoded images kept in memory, at most

MARKER = "job.json"
"""Beside the checkpoints: what was asked of the training that they are of."""


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
    prepare(environment.scratch)
    base = base_model.choose(environment, hyperparameters)
    base_model.check_loadable(base)
    print(f"base={base.kind} ({base.detail})", flush=True)
    print(f"images: train={len(train)} validation={len(validation)}; threads={torch.get_num_threads()}", flush=True)
    resume = checkpoint_to_resume(environment.checkpoint_dir, hyperparameters)
    tracker = Tracker(
        environment.training_job_name(),
        {"dataset_id": hyperparameters.dataset_id, "correlation_id": hyperparameters.correlation_id, "base": base.kind},
        hyperparameters.model_dump(exclude={"correlation_id"}) | {"base_detail": base.detail},
        environment.checkpoint_dir,
    )
    try:
        weights = _fit(environment, hyperparameters, base, {"train": train, "val": validation}, resume, tracker)
        card = _export(environment, hyperparameters, base, weights, train, validation)
    except BaseException as error:
        tracker.end("FAILED" if isinstance(error, Exception) else "KILLED")
        raise
    (environment.checkpoint_dir / MARKER).write_text(json.dumps({"finished": True}), encoding="utf-8")
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


def _fit(
    environment: Environment,
    hyperparameters: Hyperparameters,
    base: base_model.Base,
    splits: dict[str, list[Sample]],
    resume: tuple[Path | None, int],
    tracker: Tracker,
) -> Path:
    """Train, or continue where a checkpoint of the same job stopped. Returns the weights to export."""
    from .trainer import Trainer

    data = link_for_ultralytics(splits, hyperparameters.categories, environment.scratch / "dataset")
    checkpoint, finished = resume
    if checkpoint:
        print(f"resumed after epoch={finished}", flush=True)
    if finished >= hyperparameters.epochs:
        return _best(environment.checkpoint_dir)

    def report(epoch: int, values: dict[str, float]) -> None:
        print(f"epoch={epoch} " + " ".join(f"{name}={value:.4f}" for name, value in values.items()), flush=True)
        tracker.epoch(epoch, values)

    images = sum(len(samples) for samples in splits.values())
    overrides = _ultralytics_arguments(
        hyperparameters, str(checkpoint or base.model), data, images, environment.scratch / "run"
    )
    if base.kind == "champion" and hyperparameters.optimizer == "auto":
        overrides |= champion_arguments(len(hyperparameters.categories), hyperparameters.epochs)
        print(f"optimizer={overrides['optimizer']} lr0={overrides['lr0']}", flush=True)
    if checkpoint:
        overrides["resume"] = str(checkpoint)
    trainer = Trainer(overrides, environment.checkpoint_dir, hyperparameters.effective_val_period, report)
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


def checkpoint_to_resume(folder: Path, hyperparameters: Hyperparameters) -> tuple[Path | None, int]:
    """last.pt of an interrupted run of the same job, and its number of finished epochs; (None, 0) without one.

    Checkpoints of another job, or damaged ones, are removed: SageMaker restores everything under the job's checkpoint
    prefix, and the prefix may have been used before.
    """
    from ultralytics.nn.tasks import torch_safe_load

    fingerprint = hashlib.sha256(hyperparameters.model_dump_json(exclude={"correlation_id"}).encode()).hexdigest()
    marker, last = folder / MARKER, folder / "last.pt"
    if last.exists() and _read_marker(marker) == fingerprint:
        try:
            return last, int(torch_safe_load(last)[0]["epoch"]) + 1
        except Exception as error:  # unpickling a damaged file may raise anything
            print(f"checkpoint discarded: {type(error).__name__}: {error}", flush=True)
    if folder.exists():
        for path in folder.iterdir():
            if path.suffix in {".pt", ".part"} or path.name in {MARKER, "mlflow-run-id"}:
                path.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    marker.write_text(json.dumps({"hyperparameters_sha256": fingerprint}), encoding="utf-8")
    return None, 0


def _read_marker(marker: Path) -> str | None:
    """The fingerprint in the marker; None where there is none, or the file was cut off as its machine went away."""
    try:
        known = json.loads(marker.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    # Those of a training that came to its end are of no use to the next, which shall train and not repeat it.
    return known.get("hyperparameters_sha256") if isinstance(known, dict) and not known.get("finished") else None


def _best(checkpoint_dir: Path) -> Path:
    """The result of a training that was complete when it was interrupted."""
    best = checkpoint_dir / "best.pt"
    return best if best.exists() else checkpoint_dir / "last.pt"


def _export(
    environment: Environment,
    hyperparameters: Hyperparameters,
    base: base_model.Base,
    weights: Path,
    train: list[Sample],
    validation: list[Sample],
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
    }
    return export(stripped, environment.model_dir, card, train, validation)
