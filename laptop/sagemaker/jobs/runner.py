"""Jobs as processes over a folder shaped like `/opt/ml`: what training and processing jobs share.

A job waits for one of the cloud's slots (`concurrent_jobs` in the home's `sagemaker.json`; 1 by default, because two
trainings at once on a laptop's cores each take twice as long). Then the program of its image runs and is watched until
it ends: its log is read for metrics and sent to CloudWatch Logs, its checkpoints are synchronized, its time is limited.
"""

from __future__ import annotations

import contextlib
import contextvars
import logging
import os
import re
import shutil
import subprocess
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TypeVar

from laptop import processes
from laptop.sagemaker.core import errors, images, transfer
from laptop.sagemaker.core.context import Context
from laptop.sagemaker.core.logs import LogStream
from laptop.sagemaker.core.room import InProgress
from laptop.sagemaker.core.store import Record

log = logging.getLogger(__name__)

T = TypeVar("T")

_STOP_GRACE_SECONDS = 120.0  # what SageMaker gives between SIGTERM and SIGKILL
_WATCH_SECONDS = 0.1
_CLOSE_SECONDS = 10.0
_PAUSES = (1.0, 2.0, 4.0, 8.0, *[15.0] * 40)  # ten minutes, for somebody to make room
_REASON_LIMIT = 1024  # characters of a FailureReason


class JobFailed(Exception):
    """A job that ends as Failed; the text is its FailureReason."""


class Stopped(Exception):
    """A stop was asked for, before or while the program ran."""


class TimedOut(Exception):
    """The program ran longer than MaxRuntimeInSeconds."""


class _Closing(Exception):
    """The cloud is stopping: the record stays as it is, and the next start of the cloud runs the job again."""


class Job(ABC):
    """One job. Subclasses say what the program needs, how it runs and what is kept."""

    kind: str  # the ARN's resource type, e.g. "training-job"
    log_group: str

    def __init__(self, context: Context, name: str) -> None:
        self.context = context
        self.name = name
        self.stop_requested = threading.Event()
        self.closing = threading.Event()
        self.folder = context.home / "jobs" / self.kind / name
        self.log_file = context.home / "logs" / self.kind / f"{name}.log"

    @property
    def record(self) -> Record:
        """The job's record as it is now."""
        record = self.context.store.get(self.kind, self.name)
        if record is None:
            raise LookupError(self.name)
        return record

    def local(self, path: str) -> Path:
        """Where a path of the container, below `/opt/ml`, lies on this machine."""
        return self.folder / path.removeprefix("/opt/ml").lstrip("/")

    @abstractmethod
    def work(self) -> None:
        """Bring what the program needs, run it, keep what it made. Raises JobFailed, Stopped or TimedOut."""

    @abstractmethod
    def end(self, status: str, reason: str | None = None, timed_out: bool = False) -> None:
        """Write the terminal status and emit its event."""

    def run(self, slots: Slots) -> None:
        """The whole life of the job, in its own thread."""
        try:
            with slots.held(self):
                shutil.rmtree(self.folder, ignore_errors=True)
                self.folder.mkdir(parents=True)
                self.work()
            self.check_stop()
            self.end("Completed")
        except _Closing:
            return
        except Stopped:
            self.end("Stopped")
        except TimedOut:
            self.end("Stopped", timed_out=True)
        except JobFailed as failure:
            self.end("Failed", str(failure)[:_REASON_LIMIT])
        except Exception as error:
            log.exception("%s %s broke the local SageMaker", self.kind, self.name)
            self.end("Failed", f"InternalServerError: We encountered an internal error. ({error})"[:_REASON_LIMIT])
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def has_checkpoint(self) -> bool:
        """Whether a run after this one would find a checkpoint."""
        return False

    def check_stop(self) -> None:
        """Raise when the job must not go on."""
        if self.closing.is_set():
            raise _Closing
        if self.stop_requested.is_set():
            raise Stopped

    def patiently(self, move: Callable[[], T], *, stoppable: bool = True) -> T:
        """Move data; where S3 is not available, for instance because the disk is full, again after a while.

        Raises whatever `move` raises in the end, and as `check_stop` where the job must not go on (a stop that was
        asked for counts only if it is `stoppable`).
        """
        for pause in _PAUSES:
            try:
                return move()
            except transfer.Unavailable as problem:
                log.warning("%s %s waits: %s", self.kind, self.name, problem)
            if self.closing.wait(pause) or stoppable:
                self.check_stop()
        return move()

    def program(self, image: str) -> images.Program:
        """The program of the job's image. Raises JobFailed as SageMaker does when an image cannot be pulled."""
        try:
            return images.resolve(image, self.context.settings("images"))
        except images.ImageNotFound as missing:
            raise JobFailed(
                f"ClientError: CannotPullContainerError: Cannot pull algorithm container {image}. Either the image "
                "does not exist or its permissions are incorrect."
            ) from missing

    def execute(
        self,
        program: images.Program,
        arguments: Sequence[str],
        *,
        role: str,
        variables: dict[str, str],
        limit_seconds: float,
        entrypoint: Sequence[str] | None = None,
        on_line: Callable[[str], None] | None = None,
        on_tick: Callable[[], None] | None = None,
    ) -> int:
        """Run the program to its end and return its exit status.

        A stop, or the time limit, sends SIGTERM and, after the grace period, SIGKILL to the whole tree; then Stopped or
        TimedOut is raised. `on_line` sees each line of the log once, `on_tick` is called about once per second.
        """
        environment = {
            **program.environment(),
            **variables,
            **self.context.environment(role),
            "SAGEMAKER_BASE_DIR": str(self.folder),
        }
        grace = float(self.context.settings().get("stop_grace_seconds", _STOP_GRACE_SECONDS))
        deadline = time.monotonic() + limit_seconds
        logs = LogStream(
            lambda: self.context.client("logs", role),
            self.log_group,
            f"{self.name}/algo-1-{int(time.time())}",
            self.log_file,
        )
        process = processes.spawn(
            program.command(arguments, entrypoint),
            cwd=program.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        reader = threading.Thread(target=_pump, args=(process.stdout, logs, on_line), daemon=True)
        reader.start()
        ticked = time.monotonic()
        try:
            while True:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    status = process.wait(timeout=_WATCH_SECONDS)
                    break
                if self.closing.is_set():
                    processes.kill(process)
                    raise _Closing
                if self.stop_requested.is_set() or time.monotonic() > deadline:
                    processes.terminate(process, grace)
                    raise Stopped if self.stop_requested.is_set() else TimedOut
                if on_tick and time.monotonic() - ticked >= 1.0:
                    ticked = time.monotonic()
                    on_tick()
        finally:
            if process.poll() is None:
                processes.kill(process)
            reader.join(timeout=5.0)
            logs.close()
        return status


class Metrics:
    """The last value of each of a job's MetricDefinitions, read from the lines of its log."""

    def __init__(self, definitions: list[dict[str, str]]) -> None:
        self._patterns = [(item["Name"], re.compile(item["Regex"])) for item in definitions]
        self._last: dict[str, tuple[float, float]] = {}

    def read(self, line: str) -> None:
        """Take every metric that a line holds; a match without a number is no metric."""
        for name, pattern in self._patterns:
            for match in pattern.finditer(line):
                with contextlib.suppress(ValueError, IndexError, TypeError):
                    self._last[name] = (float(match.group(1)), time.time())

    def final(self) -> list[Record]:
        """The metrics as FinalMetricDataList."""
        return [{"MetricName": name, "Value": value, "Timestamp": at} for name, (value, at) in self._last.items()]


def _pump(pipe: IO[bytes], output: LogStream, on_line: Callable[[str], None] | None) -> None:
    """Hand a program's output on, line by line, until the program closes it."""
    with pipe:
        for line in pipe:
            output.write(line)
            if on_line:
                on_line(line.decode("utf-8", "replace").rstrip("\r\n"))


@dataclass
class Slots:
    """A limited number of jobs runs at once; the others wait in the order in which they came."""

    limit: Callable[[], int]
    changed: threading.Condition = field(default_factory=threading.Condition)
    busy: int = 0
    queue: list[Job] = field(default_factory=list)

    @contextlib.contextmanager
    def held(self, job: Job) -> Iterator[None]:
        """Wait for a slot and keep it. Raises Stopped, or _Closing, when the job must not go on."""
        with self.changed:
            self.queue.append(job)
            try:
                while self.busy >= self.limit() or self.queue[0] is not job:
                    job.check_stop()
                    self.changed.wait(timeout=0.2)
                job.check_stop()
                self.busy += 1
            finally:
                self.queue.remove(job)
                self.changed.notify_all()
        try:
            yield
        finally:
            with self.changed:
                self.busy -= 1
                self.changed.notify_all()


class Runner:
    """The jobs of one cloud: each in a thread of its own, so many at once as there are slots."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._slots = Slots(lambda: max(1, int(context.settings().get("concurrent_jobs", 1))))
        self._running: dict[tuple[str, str], Job] = {}

    def submit(self, job: Job) -> None:
        """Start a job's life."""
        self._running[job.kind, job.name] = job
        run = contextvars.copy_context().run
        threading.Thread(target=run, args=(self._run, job), name=f"{job.kind}/{job.name}", daemon=True).start()

    def request_stop(self, kind: str, name: str) -> None:
        """Ask a job to stop; nothing happens when it has ended."""
        if job := self._running.get((kind, name)):
            job.stop_requested.set()

    def in_progress(self, kind: str) -> list[InProgress]:
        """The jobs of a kind that run or wait for their turn, and are not to stop."""
        return [
            InProgress(
                kind.replace("-", " "),
                job.name,
                "goes on from its last checkpoint" if job.has_checkpoint else "begins again",
            )
            for job in list(self._running.values())
            if job.kind == kind and not job.stop_requested.is_set()
        ]

    def stop(self) -> None:
        """End the processes of every running job and wait for them: the cloud is stopping."""
        for job in list(self._running.values()):
            job.closing.set()
        deadline = time.monotonic() + _CLOSE_SECONDS
        while self._running and time.monotonic() < deadline:
            time.sleep(_WATCH_SECONDS)

    def _run(self, job: Job) -> None:
        try:
            with self._context.store.insisting():
                job.run(self._slots)
        finally:
            self._running.pop((job.kind, job.name), None)


def check_machine(cluster: Record, where: str, kind: str) -> None:
    """Check that a cluster is one machine with all of its members. `where` is the cluster's path in the request.

    Raises ValidationException or ResourceLimitExceeded.
    """
    for member in ("InstanceType", "InstanceCount", "VolumeSizeInGB"):
        if member not in cluster:
            raise errors.missing(f"{where}.{member[0].lower()}{member[1:]}")
    count = cluster["InstanceCount"]
    if count < 1:
        raise errors.validation("InstanceCount must be at least 1.")
    if count > 1:
        raise errors.limit_exceeded(
            f"The account-level service limit '{cluster['InstanceType']} for {kind} job usage' is 1 Instances, "
            f"with current utilization of 0 Instances and a request delta of {count} Instances. "
            "Please use AWS Service Quotas to request an increase for this quota."
        )


def changed_files(folder: Path, seen: dict[Path, tuple[int, int]]) -> dict[Path, tuple[int, int]]:
    """The files below a folder that are new or changed since `seen`, which is theirs to update once they are kept.

    A file that is still being written is taken again when it changes.
    """
    fresh = {}
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            if path.is_file():
                status = os.stat(path)
                mark = (status.st_mtime_ns, status.st_size)
                if seen.get(path) != mark:
                    fresh[path] = mark
    return fresh
