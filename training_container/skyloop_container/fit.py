"""The training itself, in this process or in one for each GPU of all machines: from a task to weights.

`python3 -m skyloop_container.fit TASK.json` is one of several processes. Ultralytics' own way to start them knows one
machine, and neither this trainer nor its checkpoints.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .checkpoints import Outcome, interrupted
from .environment import TERMINATED, Interrupted, JobError, available_cores, write_whole
from .machines import Machines
from .time_limit import OutOfTime, TimeLimit
from .tracking import Tracker

EpochReport = Callable[[int, dict[str, float]], None]

PROGRAM = Path(__file__).resolve().parents[1]
"""The working folder in which Python finds this package."""

LEAVING_SECONDS = 30.0
"""That processes have to end by themselves once one of them has ended badly, or SIGTERM came."""


@dataclass(frozen=True)
class Task:
    """What is to be trained.

    overrides: Ultralytics' arguments, JSON values.
    checkpoints: the folder of this training's.
    val_period: validate every n-th epoch.
    limit: when the job ends; None where nothing says so.
    export_looks: how often the export runs the network, in squares of its input.
    """

    overrides: dict[str, Any]
    checkpoints: Path
    val_period: int
    limit: TimeLimit | None = None
    export_looks: float = 0.0


def fit(task: Task, report: EpochReport) -> Outcome:
    """Train in this process.

    Raises:
        JobError: the memory does not suffice, or the time for not even one epoch.
        Interrupted: SIGTERM came; the state is in the checkpoint folder.
    """
    from .trainer import Trainer

    trainer = Trainer(task.overrides, task.checkpoints, task.val_period, report, task.limit, task.export_looks)
    try:
        trainer.train()
    except OutOfTime as error:
        if not (task.checkpoints / "last.pt").exists():
            raise JobError(
                f"Not one epoch fits into the {task.limit.seconds if task.limit else 0:.0f} s that the job may run: "
                "allow it more, or use a larger instance, smaller images or fewer of them."
            ) from error
        return interrupted(task.checkpoints, "time")
    except RuntimeError as error:
        if "out of memory" in str(error).lower():
            raise JobError(
                f"Out of memory with batch={task.overrides['batch']} and imgsz={task.overrides['imgsz']}: use a "
                "smaller batch or imgsz, or a larger instance."
            ) from error
        raise
    epochs = trainer.epoch + 1
    stopped = "time" if trainer.out_of_time else "patience" if epochs < trainer.epochs else None
    return Outcome(Path(trainer.best if trainer.best.exists() else trainer.last), epochs, stopped)


def fit_together(task: Task, machines: Machines, tracking: dict[str, Any], scratch: Path) -> Outcome:
    """Train in processes, one for each GPU of each machine, of which this machine's are started here.

    Args:
        task: the same on all machines, except for paths.
        machines: all, and which one this is.
        tracking: the arguments of `Tracker` but the folder, for the first process.
        scratch: a folder for what is told to the processes, and what they answer.

    Returns:
        On the first machine the outcome, on the others one without meaning.

    Raises:
        JobError, Interrupted: as `fit`.
    """
    limit = task.limit.as_dict() if task.limit else None
    file, answer = scratch / "task.json", scratch / "answer.json"
    content = vars(task) | {"checkpoints": str(task.checkpoints), "limit": limit}
    write_whole(file, json.dumps({"task": content, "tracking": tracking, "answer": str(answer)}).encode())
    common = {
        "OMP_NUM_THREADS": str(max(available_cores() // machines.processes, 1)),
        "SKYLOOP_RENDEZVOUS": machines.rendezvous(scratch),
    }
    processes: list[subprocess.Popen[bytes]] = []
    terminated: list[int] = []  # by which signals

    def forward(number: int, _: object) -> None:
        terminated.append(number)
        for process in processes:
            process.terminate()

    before = signal.signal(signal.SIGTERM, forward)
    try:
        for number in range(machines.processes):
            variables = machines.variables(number) | common | {"SKYLOOP_DEVICE": machines.device(number)}
            command = [sys.executable, "-m", __spec__.name, str(file)]
            processes.append(subprocess.Popen(command, cwd=PROGRAM, env=os.environ | variables))
            if terminated:
                processes[-1].terminate()
        failed = _wait(processes)
        if failed and not machines.first:  # perhaps because the first machine was told before this one to end
            deadline = time.monotonic() + LEAVING_SECONDS
            while not terminated and time.monotonic() < deadline:
                time.sleep(0.1)
    finally:
        for process in processes:
            process.kill()
            process.wait()
        signal.signal(signal.SIGTERM, before)
    return _answer(answer, failed, bool(terminated))


def _wait(processes: list[subprocess.Popen[bytes]]) -> bool:
    """Wait for all; where one ends badly the others get a while, for they cannot go on. Returns whether one did."""
    deadline = float("inf")
    while any(process.poll() is None for process in processes) and time.monotonic() < deadline:
        if any(process.poll() for process in processes):
            deadline = min(deadline, time.monotonic() + LEAVING_SECONDS)
        with contextlib.suppress(subprocess.TimeoutExpired):
            next((process for process in processes if process.returncode is None), processes[0]).wait(0.2)
    return any(process.returncode != 0 for process in processes)


def _answer(file: Path, failed: bool, terminated: bool) -> Outcome:
    answer: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    if terminated or answer.get("interrupted"):
        raise Interrupted
    if "error" in answer:
        raise JobError(answer["error"])
    if failed:
        raise JobError("A process of the training ended without a reason; the log of this machine says more.")
    return Outcome(Path(answer.get("weights", "")), answer.get("epochs", 0), answer.get("stopped"))


def main(file: Path) -> int:
    """One of the processes. Returns the exit code."""
    from .ultralytics_setup import prepare

    told = json.loads(file.read_text(encoding="utf-8"))
    values, answer, first = told["task"], Path(told["answer"]), os.environ["RANK"] == "0"
    limit = TimeLimit.of(values["limit"]) if values["limit"] else None
    task = Task(**values | {"checkpoints": Path(values["checkpoints"]), "limit": limit})
    if not first:  # its folder is of no use, and must not be the first one's
        own = file.parent / f"process-{os.environ['LOCAL_RANK']}"
        task = replace(task, checkpoints=own, overrides=task.overrides | {"save_dir": str(own / "run")})
    task.overrides["device"] = os.environ["SKYLOOP_DEVICE"]
    prepare(file.parent, int(os.environ["OMP_NUM_THREADS"]))
    tracker = Tracker(**told["tracking"], checkpoint_dir=task.checkpoints) if first else None

    def report(epoch: int, values: dict[str, float]) -> None:
        print_epoch(epoch, values)
        if tracker:
            tracker.epoch(epoch, values)

    def say(content: dict[str, Any], *, at_most: bool = False) -> None:
        if not (at_most and answer.exists()):
            write_whole(answer, json.dumps(content).encode())

    try:
        outcome = fit(task, report)
    except Interrupted:
        say({"interrupted": True})
        return TERMINATED
    except JobError as error:
        say({"error": str(error)})
        return 1
    except Exception as error:
        # Of whoever failed first: the others fail because it is gone.
        say({"error": f"Unexpected {type(error).__name__}: {error}"}, at_most=True)
        raise
    if first:
        say({"weights": str(outcome.weights), "epochs": outcome.epochs, "stopped": outcome.stopped})
    return 0


def print_epoch(epoch: int, values: dict[str, float]) -> None:
    """The line of the log that SageMaker takes its metrics from."""
    print(f"epoch={epoch} " + " ".join(f"{name}={value:.4f}" for name, value in values.items()), flush=True)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
