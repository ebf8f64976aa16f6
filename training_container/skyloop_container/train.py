"""`train`: a SageMaker training job. Channels and hyperparameters in, model.pt, model.onnx and model.json out."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import torch

from . import base_model, hyperparameters
from .dataset import Sample, link_for_ultralytics, read_channel
from .environment import Environment, JobError
from .hyperparameters import Hyperparameters
from .tracking import Tracker
from .ultralytics_setup import available_cores, prepare

WHOLE_RATE_EPOCHS = 16  # a run from a champion that is as long as this may learn as fast as one from nothing
CACHE_BYTES = 512 * 2**20  # decoded images kept in memory, at most


def run(environment: Environment) -> None:
    """Train as /opt/ml/input says.

    Raises:
        JobError: the job cannot be done; the text is its FailureReason.
        Interrupted: SIGTERM came; the state is in the checkpoint folder.
    """
    wanted = hyperparameters.parse(environment.hyperparameters())
    train, validation = _read(environment, "train", wanted), _read(environment, "validation", wanted)
    if not any(sample.boxes for sample in train):
        raise JobError(f"None of the {len(train)} training images has a box: there is nothing to learn from.")
    prepare(environment.scratch)
    base = base_model.choose(environment, wanted)
    base_model.check_loadable(base)
    print(f"base={base.kind} ({base.detail})", flush=True)
    print(f"images: train={len(train)} validation={len(validation)}; threads={torch.get_num_threads()}", flush=True)
    resume = _checkpoint_to_resume(environment.checkpoint_dir, wanted)
    tracker = Tracker(
        environment.training_job_name(),
        {"dataset_id": wanted.dataset_id, "correlation_id": wanted.correlation_id, "base": base.kind},
        wanted.model_dump(exclude={"correlation_id"}) | {"base_detail": base.detail},
        environment.checkpoint_dir,
    )
    try:
        weights = _fit(environment, wanted, base, {"train": train, "val": validation}, resume, tracker)
        card = _export(environment, wanted, base, weights, train, validation)
    except BaseException as error:
        tracker.end("FAILED" if isinstance(error, Exception) else "KILLED")
        raise
    files = [environment.model_dir / name for name in ("model.onnx", "model.json", "model.pt")]
    tracker.finish(files, {"confidence_default": card["confidence_default"]})
    sizes = ", ".join(f"{path.name} {path.stat().st_size / 1e6:.1f} MB" for path in files)
    print(f"done: {sizes}; confidence_default={card['confidence_default']}", flush=True)


def _read(environment: Environment, channel: str, wanted: Hyperparameters) -> list[Sample]:
    folder = environment.channel(channel)
    if folder is None:
        raise JobError(f"The channel '{channel}' is missing or empty.")
    return read_channel(folder, len(wanted.categories))


def _fit(
    environment: Environment,
    wanted: Hyperparameters,
    base: base_model.Base,
    splits: dict[str, list[Sample]],
    resume: tuple[Path | None, int],
    tracker: Tracker,
) -> Path:
    """Train, or go on where a checkpoint of the same job stopped. Returns the weights to export."""
    from .trainer import Trainer

    data = link_for_ultralytics(splits, wanted.categories, environment.scratch / "dataset")
    checkpoint, finished = resume
    if checkpoint:
        print(f"resumed after epoch={finished}", flush=True)
    if finished >= wanted.epochs:
        return _best(environment.checkpoint_dir)

    def report(epoch: int, values: dict[str, float]) -> None:
        print(f"epoch={epoch} " + " ".join(f"{name}={value:.4f}" for name, value in values.items()), flush=True)
        tracker.epoch(epoch, values)

    images = sum(len(samples) for samples in splits.values())
    overrides = _ultralytics_arguments(wanted, str(checkpoint or base.model), data, images, environment.scratch / "run")
    if base.kind == "champion" and wanted.optimizer == "auto":
        overrides |= champion_arguments(len(wanted.categories), wanted.epochs)
        print(f"optimizer={overrides['optimizer']} lr0={overrides['lr0']}", flush=True)
    if checkpoint:
        overrides["resume"] = str(checkpoint)
    trainer = Trainer(overrides, environment.checkpoint_dir, wanted.effective_val_period, report)
    try:
        trainer.train()
    except RuntimeError as error:
        if "out of memory" in str(error).lower():
            raise JobError(
                f"Out of memory with batch={wanted.batch} and imgsz={wanted.imgsz}: use a smaller batch or imgsz, or a "
                "larger instance."
            ) from error
        raise
    return trainer.best if trainer.best.exists() else trainer.last


def _ultralytics_arguments(
    wanted: Hyperparameters, model: str, data: Path, images: int, save_dir: Path
) -> dict[str, Any]:
    cuda = torch.cuda.is_available()
    return {
        "model": model,
        "data": str(data),
        "save_dir": str(save_dir),
        "epochs": wanted.epochs,
        "imgsz": wanted.imgsz,
        "batch": wanted.batch,
        # Ultralytics accumulates gradients up to 64 images a step: on a few hundred images hardly a step an epoch.
        "nbs": wanted.batch,
        "freeze": wanted.freeze or None,
        "seed": wanted.seed,
        "patience": wanted.patience,
        "optimizer": wanted.optimizer,
        "lr0": wanted.lr0,
        "weight_decay": wanted.weight_decay,
        "warmup_epochs": wanted.effective_warmup_epochs,
        "mosaic": wanted.mosaic,
        "close_mosaic": wanted.effective_close_mosaic,
        "device": "0" if cuda else "cpu",  # one GPU: Ultralytics' multi-GPU mode starts other processes than this one
        "workers": min(8, available_cores()),
        "cache": "ram" if images * wanted.imgsz**2 * 3 <= CACHE_BYTES else False,
        "amp": cuda,
        "deterministic": False,
        "plots": False,
        "verbose": False,
        "exist_ok": True,
    }


def champion_arguments(categories: int, epochs: int) -> dict[str, Any]:
    """Arguments for going on from a champion: what Ultralytics chooses for a small dataset (`Trainer.build_optimizer`:
    AdamW, this learning rate), slower the shorter the run. The first epochs at the whole rate undo much of what the
    champion knows, and a short run ends before it is learnt again.
    """
    rate = 0.002 * 5 / (4 + categories)
    share = min(1.0, max(0.25, epochs / WHOLE_RATE_EPOCHS))
    return {"optimizer": "AdamW", "lr0": round(rate * share, 6), "momentum": 0.9, "warmup_bias_lr": 0.0}


def _checkpoint_to_resume(folder: Path, wanted: Hyperparameters) -> tuple[Path | None, int]:
    """last.pt of an interrupted run of this very job, and how many epochs it has behind it; (None, 0) without one.

    Checkpoints of another job, or damaged ones, are removed: SageMaker restores what lies under the job's checkpoint
    prefix, and the prefix may have been used before.
    """
    from ultralytics.nn.tasks import torch_safe_load

    fingerprint = hashlib.sha256(wanted.model_dump_json(exclude={"correlation_id"}).encode()).hexdigest()
    marker, last = folder / "job.json", folder / "last.pt"
    known = json.loads(marker.read_text(encoding="utf-8")) if marker.exists() else {}
    if last.exists() and known.get("hyperparameters_sha256") == fingerprint:
        try:
            return last, int(torch_safe_load(last)[0]["epoch"]) + 1
        except Exception as error:  # whatever unpickling a damaged file may raise
            print(f"checkpoint discarded: {type(error).__name__}: {error}", flush=True)
    if folder.exists():
        for path in folder.iterdir():
            if path.suffix in {".pt", ".part"} or path.name in {"job.json", "mlflow-run-id"}:
                path.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    marker.write_text(json.dumps({"hyperparameters_sha256": fingerprint}), encoding="utf-8")
    return None, 0


def _best(checkpoint_dir: Path) -> Path:
    """The result of a training that was complete when it was interrupted."""
    best = checkpoint_dir / "best.pt"
    return best if best.exists() else checkpoint_dir / "last.pt"


def _export(
    environment: Environment,
    wanted: Hyperparameters,
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
        "categories": wanted.categories,
        "imgsz": wanted.imgsz,
        "training_job": environment.training_job_name(),
        "dataset_id": wanted.dataset_id,
        "correlation_id": wanted.correlation_id,
        "base": base.as_dict(),
    }
    return export(stripped, environment.model_dir, card, train, validation)
