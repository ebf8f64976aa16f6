"""Ultralytics' detection trainer, adapted to SageMaker.

Checkpoints survive a spot interruption, CPUs that have bfloat16 use it, validation is less frequent, and every epoch
prints one line.
"""

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import ultralytics.engine.trainer as ultralytics_trainer
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.utils.torch_utils import strip_optimizer

from .cpu_precision import autotune, to_layout
from .environment import Interrupted, write_whole

EpochReport = Callable[[int, dict[str, float]], None]


class Trainer(DetectionTrainer):
    """A detection trainer whose checkpoints are in a folder that SageMaker copies to S3."""

    model: torch.nn.Module

    def __init__(self, overrides: dict[str, Any], checkpoint_dir: Path, val_period: int, report: EpochReport) -> None:
        """Prepare a training.

        Args:
            overrides: Ultralytics' arguments.
            checkpoint_dir: gets last.pt and best.pt after every epoch, each replaced in one step, so that a kill at any
                moment leaves a whole file.
            val_period: validate every n-th epoch, and the last one.
            report: called after each epoch with its number (from 1) and its metrics; `map50` only after a validation.
        """
        self.checkpoint_dir = checkpoint_dir
        self._val_period = val_period
        self._report = report
        self._validated = False
        self._terminated = False
        self._layout = torch.contiguous_format
        checkpoint_dir.mkdir(parents=True, exist_ok=True)
        super().__init__(overrides=overrides)
        if (checkpoint_dir / "best.pt").exists() and self.resume:
            self.best.write_bytes((checkpoint_dir / "best.pt").read_bytes())
        for event, callback in {
            "on_train_start": self._on_train_start,
            "on_train_batch_end": self._on_batch_end,
            "on_fit_epoch_end": self._on_epoch_end,
            "on_train_end": self._on_train_end,
        }.items():
            self.add_callback(event, lambda _, callback=callback: callback())

    def setup_model(self) -> Any:  # noqa: ANN401  # a checkpoint as Ultralytics has it
        """Build the model. On a CPU, train it in the mode that is fastest there.

        Ultralytics has bfloat16 and channels-last tensors on CUDA only. The mAP is the same.
        """
        checkpoint = super().setup_model()
        if self.device.type == "cpu":
            mode = autotune(self.model, self.args.imgsz, self.args.batch)
            print(f"cpu_mode={mode}", flush=True)
            torch.set_num_threads(mode.threads)
            if mode.bf16:
                self._layout = torch.channels_last
                self.model = to_layout(self.model, self._layout)
                ultralytics_trainer.autocast = lambda *_, **__: torch.autocast("cpu", torch.bfloat16)
        return checkpoint

    def preprocess_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Give the images the memory layout of the model."""
        batch = super().preprocess_batch(batch)
        batch["img"] = batch["img"].contiguous(memory_format=self._layout)
        return batch

    def validate(self) -> tuple[dict[str, float], float | None]:
        """Validate every n-th epoch. In the others the last metrics stay, and there is no fitness.

        So neither early stopping nor the choice of the best epoch counts an epoch without validation.
        """
        self._validated = (self.epoch + 1) % self._val_period == 0 or self.epoch + 1 >= self.epochs or self.stop
        return super().validate() if self._validated else (self.metrics, None)

    def save_model(self) -> bool:
        """Write Ultralytics' checkpoints, then publish them to the checkpoint folder."""
        super().save_model()
        self._publish(self.last)
        if self.best.exists() and self.fitness is not None and self.fitness == self.best_fitness:
            self._publish(self.best)
        return True

    def final_eval(self) -> None:
        """Strip the optimizer from the result. Ultralytics would validate the best epoch a second time."""
        for path in (self.last, self.best):
            if path.exists():
                strip_optimizer(path)

    def _publish(self, path: Path) -> None:
        write_whole(self.checkpoint_dir / path.name, path.read_bytes())

    def _on_train_start(self) -> None:
        self._epoch_started = time.monotonic()
        self._previous_handler = signal.signal(signal.SIGTERM, self._on_terminate)

    def _on_train_end(self) -> None:
        signal.signal(signal.SIGTERM, self._previous_handler)

    def _on_terminate(self, *_: object) -> None:
        self._terminated = True  # read between two batches: inside one, the state of torch cannot be saved

    def _on_batch_end(self) -> None:
        if not self._terminated:
            return
        if self.epoch > 0:
            # Saved under the number of the last finished epoch: this one starts again, from slightly better weights.
            self.ema.update_attr(self.model, include=["yaml", "nc", "args", "names", "stride", "class_weights"])
            self.epoch -= 1
            self.fitness = None
            self.save_model()
        raise Interrupted

    def _on_epoch_end(self) -> None:
        now = time.monotonic()
        values = {f"{name}_loss".replace("_loss_loss", "_loss"): float(v) for name, v in (self.tloss or {}).items()}
        if self._validated:
            values["map50"] = float(self.metrics.get("metrics/mAP50(B)", 0.0))
            values["map50_95"] = float(self.metrics.get("metrics/mAP50-95(B)", 0.0))
        values["seconds"] = now - self._epoch_started
        self._epoch_started = now
        self._report(self.epoch + 1, values)
