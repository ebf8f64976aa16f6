"""How long a training may run: SageMaker ends a job at its MaxRuntimeInSeconds, and what is not exported then is lost.

The container is told the limit in `SKYLOOP_MAX_RUNTIME_SECONDS`; without it there is none.
"""

import json
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .environment import Environment, JobError, write_whole

VARIABLE = "SKYLOOP_MAX_RUNTIME_SECONDS"
FILE = "clock.json"
"""Beside the folders of checkpoints: which job ran, and for how many seconds so far."""

SLACK = 1.1
"""Times the longest epoch so far: the next may be a little longer."""


class OutOfTime(Exception):
    """The time that is left is needed for the export. What was trained is in the checkpoint folder, if anything was."""


@dataclass(frozen=True)
class TimeLimit:
    """When a job ends.

    began: of `time.monotonic`, when it would have begun, had it run without interruption.
    seconds: that it may run.
    job: its name.
    file: where `note` writes.
    """

    began: float
    seconds: float
    job: str
    file: Path

    def left(self) -> float:
        """Seconds until SageMaker ends the job; negative afterwards."""
        return self.began + self.seconds - time.monotonic()

    def note(self) -> None:
        """Write down how long the job has run. One that is interrupted and started again counts on from there.

        AWS does not say whether MaxRuntimeInSeconds begins anew then. To count all is the safe reading.
        """
        content = {"job": self.job, "seconds": round(time.monotonic() - self.began, 3)}
        write_whole(self.file, json.dumps(content).encode())

    def as_dict(self) -> dict[str, Any]:
        """For another process of this machine; `TimeLimit.of` reads it."""
        return {"began": self.began, "seconds": self.seconds, "job": self.job, "file": str(self.file)}

    @classmethod
    def of(cls, values: dict[str, Any]) -> "TimeLimit":
        """What `as_dict` wrote."""
        return cls(**values | {"file": Path(values["file"])})


@dataclass
class Pace:
    """What an epoch takes, at most, so far.

    training: seconds of its steps.
    validation: seconds of its validation; None before the first, which is taken to be no longer than the steps.
    """

    training: float = 0.0
    validation: float | None = None

    def another_fits(self, left: float) -> bool:
        """Whether, after the validation of this epoch, there is time for another whole one."""
        validation = self.training if self.validation is None else self.validation
        return left >= validation + SLACK * (self.training + validation)


def time_limit(environment: Environment, folder: Path) -> TimeLimit | None:
    """The limit of this job, or None where none is told. `folder` holds FILE.

    The clock starts when SageMaker begins to bring the job's input: downloading counts too.

    Raises:
        JobError: the limit is no positive number.
    """
    told = os.environ.get(VARIABLE, "")
    if not told:
        return None
    if not told.isdigit() or not int(told):
        raise JobError(f"{VARIABLE} must be a positive whole number, not {told!r}.")
    file, job = folder / FILE, environment.training_job_name()
    spent = environment.input_age() + _earlier(file, job)
    return TimeLimit(time.monotonic() - spent, float(told), job, file)


def _earlier(file: Path, job: str) -> float:
    """Seconds that the same job has run before it was interrupted; 0 where nothing that can be read says so."""
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
        seconds = float(known["seconds"]) if known["job"] == job else 0.0
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return 0.0
    return seconds if 0 < seconds < math.inf else 0.0
