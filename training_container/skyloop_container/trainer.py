"""Ultralytics' detection trainer, adapted to SageMaker.

Checkpoints survive a spot interruption, training ends in time for the export, several processes on several machines
train one model, CPUs that have bfloat16 use it, validation is less frequent, and every epoch prints one line.
"""

import copy
import os
import signal
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import ultralytics.engine.trainer as ultralytics_trainer
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.utils.torch_utils import unwrap_model

from .cpu_precision import autotune, to_layout
from .environment import Interrupted, JobError, available_cores, write_whole
from .time_limit import OutOfTime, Pace, TimeLimit

EpochReport = Callable[[int, dict[str, float]], None]

EXPORT_SECONDS = 90.0
"""For the export itself, what NNCF does beside looking, packing and what a measurement does not foresee."""

OTHERS_SECONDS = 1800
"""That a process waits for the others: they may still cut pictures, or validate."""

# Ultralytics tries half precision on a GPU with weights that it downloads, and waits for them where no network answers.
# It fails on a few cards for desktops, of which SageMaker has none.
ultralytics_trainer.check_amp = lambda _: True


class _OnCpus(torch.nn.parallel.DistributedDataParallel):
    """Takes the device that Ultralytics names, and ignores it: a CPU has no number."""

    def __init__(self, module: torch.nn.Module, device_ids: object = None, **others: Any) -> None:  # noqa: ANN401
        super().__init__(module, **others)


class Trainer(DetectionTrainer):
    """A detection trainer whose checkpoints are in a folder that SageMaker copies to S3."""

    model: torch.nn.Module
    world_size: int
    stop: bool

    def __init__(
        self,
        overrides: dict[str, Any],
        checkpoint_dir: Path,
        val_period: int,
        report: EpochReport,
        limit: TimeLimit | None = None,
        export_looks: float = 0.0,
    ) -> None:
        """Prepare a training.

        Args:
            overrides: Ultralytics' arguments.
            checkpoint_dir: gets last.pt and best.pt after every epoch, each replaced in one step, so that a kill at any
                moment leaves a whole file.
            val_period: validate every n-th epoch, and the last one.
            report: called after each epoch with its number (from 1) and its metrics; `map50` only after a validation.
            limit: when the job ends; training ends before, so that the export has its time.
            export_looks: how often the export runs the network, in squares of its input.

        One of several processes (torch's RANK, LOCAL_RANK and WORLD_SIZE are set) trains with the others: the first
        writes, reports and decides when to end.
        """
        self.checkpoint_dir = checkpoint_dir
        self._val_period = val_period
        self._report = report
        self._limit = limit
        self._export_looks = export_looks
        self._pace = Pace()
        self.out_of_time = False
        self._validated = False
        self._terminated = False
        self._layout = torch.contiguous_format
        self._first = int(os.environ.get("RANK", "0")) == 0
        checkpoint_dir.mkdir(parents=True, exist_ok=True)
        super().__init__(overrides=overrides)
        self.world_size = int(
            os.environ.get("WORLD_SIZE", str(self.world_size))
        )  # Ultralytics counts this machine's alone
        if (checkpoint_dir / "best.pt").exists() and self.resume:
            self.best.write_bytes((checkpoint_dir / "best.pt").read_bytes())
        for event, callback in {
            "on_train_start": self._on_train_start,
            "on_train_batch_end": self._on_batch_end,
            "on_val_batch_end": self._on_validation_batch_end,
            "on_fit_epoch_end": self._on_epoch_end,
        }.items():
            self.add_callback(event, lambda _, callback=callback: callback())

    def train(self) -> None:
        """Train to the end.

        Raises:
            Interrupted: SIGTERM came.
            OutOfTime: the rest of the time is needed for the export. Before either the state was saved, if there is one
                of a whole epoch.
        """
        handler = signal.getsignal(signal.SIGTERM)
        try:
            super().train()
            if dist.is_initialized():
                dist.destroy_process_group()
        finally:
            signal.signal(signal.SIGTERM, handler)

    def _setup_ddp(self) -> None:
        """Join the other processes, of whichever machine. Ultralytics counts the devices of one."""
        on_cpu = self.device.type == "cpu"
        os.environ["TORCH_NCCL_BLOCKING_WAIT"] = "1"  # or its timeout is none
        dist.init_process_group(
            "gloo" if on_cpu else "nccl",
            os.environ["SKYLOOP_RENDEZVOUS"],
            timeout=timedelta(seconds=OTHERS_SECONDS),
            rank=int(os.environ["RANK"]),
            world_size=self.world_size,
        )
        if on_cpu:
            torch.nn.parallel.DistributedDataParallel = _OnCpus  # type: ignore[assignment,misc]

    def resume_training(self, checkpoint: Any) -> None:  # noqa: ANN401  # a checkpoint as Ultralytics has it
        """Continue from a checkpoint, if there is one: every process from the same.

        Raises:
            JobError: the machines found different ones.
        """
        super().resume_training(checkpoint)
        if self.world_size > 1:
            starts: list[int] = [0] * self.world_size
            dist.all_gather_object(starts, self.start_epoch)
            if len(set(starts)) > 1:
                raise JobError(f"The machines begin after different epochs ({starts}): their checkpoints differ.")

    def setup_model(self) -> Any:  # noqa: ANN401  # a checkpoint as Ultralytics has it
        """Build the model. On a CPU, train it in the mode that is fastest there.

        Ultralytics has bfloat16 and channels-last tensors on CUDA only. The mAP is the same.
        """
        checkpoint = super().setup_model()
        if self.device.type == "cpu" and self.world_size <= 1:  # those of several must do the same
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

        So neither early stopping nor the choice of the best epoch counts an epoch without validation. Where there is no
        time for another epoch, this one is the last.
        """
        started = time.monotonic()
        self._pace.training = max(self._pace.training, started - self._epoch_started)
        self._end_in_time()
        self._validated = (self.epoch + 1) % self._val_period == 0 or self.epoch + 1 >= self.epochs or self.stop
        if not self._validated:
            return self.metrics, None
        result: tuple[dict[str, float], float | None] = super().validate()
        self._pace.validation = max(self._pace.validation or 0.0, time.monotonic() - started)
        return result

    def _end_in_time(self) -> None:
        """Make this epoch the last of all processes where the time asks for it."""
        late = self.epoch + 1 < self.epochs and not self.stop and not self._pace.another_fits(self._left())
        if self.world_size > 1:
            said = [late]
            dist.broadcast_object_list(said, 0)
            [late] = said
        if late:
            self.out_of_time = self.stop = True

    def save_model(self) -> bool:
        """Write Ultralytics' checkpoints, then publish them to the checkpoint folder."""
        super().save_model()
        self._publish(self.last)
        if self.best.exists() and self.fitness is not None and self.fitness == self.best_fitness:
            self._publish(self.best)
        return True

    def final_eval(self) -> None:
        """Leave the result as it is: the export strips it, and the best epoch was validated when it was made."""

    def _publish(self, path: Path) -> None:
        write_whole(self.checkpoint_dir / path.name, path.read_bytes())

    def _on_train_start(self) -> None:
        self._reserve = self._export_seconds() if self._limit and self._first else 0.0
        self._epoch_started = time.monotonic()
        signal.signal(signal.SIGTERM, self._on_terminate)

    def _export_seconds(self) -> float:
        """What the export takes: measured by the network's pace on one core, for it looks at a picture on each."""
        model = copy.deepcopy(unwrap_model(self.model)).float().cpu().eval()
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        started = time.monotonic()
        with torch.inference_mode():
            model(torch.zeros(1, 3, self.args.imgsz, self.args.imgsz))
        seconds = time.monotonic() - started
        torch.set_num_threads(threads)
        return EXPORT_SECONDS + self._export_looks * seconds / available_cores()

    def _left(self) -> float:
        """Seconds of training that are left, as the first process counts them."""
        return self._limit.left() - self._reserve if self._limit and self._first else float("inf")

    def _on_terminate(self, *_: object) -> None:
        self._terminated = self._first  # read between two batches: inside one, the state of torch cannot be saved

    def _on_batch_end(self) -> None:
        if ending := self._must_end():
            if self.epoch > 0:
                # Saved as of the last finished epoch: this one starts again, from slightly better weights.
                self.ema.update_attr(self.model, include=["yaml", "nc", "args", "names", "stride", "class_weights"])
                self.epoch -= 1
                self.fitness = None
                self.save_model()
            raise ending

    def _on_validation_batch_end(self) -> None:
        if ending := self._must_end():
            self.fitness = None
            self.save_model()
            raise ending

    def _must_end(self) -> Exception | None:
        if self._terminated:
            if self._limit:
                self._limit.note()
            return Interrupted()
        # Several processes end together, between two epochs: one that ends alone is an error for the others.
        return OutOfTime() if self.world_size <= 1 and self._left() < 0 else None

    def _on_epoch_end(self) -> None:
        now = time.monotonic()
        seconds, self._epoch_started = now - self._epoch_started, now
        if not self._first:
            return
        if self._limit:
            self._limit.note()
        values = {f"{name}_loss".replace("_loss_loss", "_loss"): float(v) for name, v in (self.tloss or {}).items()}
        if self._validated:
            values["map50"] = float(self.metrics.get("metrics/mAP50(B)", 0.0))
            values["map50_95"] = float(self.metrics.get("metrics/mAP50-95(B)", 0.0))
        self._report(self.epoch + 1, values | {"seconds": seconds})
