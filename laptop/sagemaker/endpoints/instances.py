"""Instances that serve: one process of a model's container each, kept running, grouped by variant into a fleet.

An instance has an /opt/ml-shaped folder of its own (SAGEMAKER_BASE_DIR), a free port (SAGEMAKER_BIND_TO_PORT), the
model's Environment and the credentials of its execution role, and logs to a file and to CloudWatch Logs.

Source: "Custom Inference Code with Hosting Services" for how SageMaker runs, health-checks and restarts containers. It
says that /ping is asked for periodically and must be answered within 2 s, not how often and after how many failures an
instance is replaced: those numbers are this module's.
"""

from __future__ import annotations

import contextlib
import http.client
import logging
import random
import shutil
import socket
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from laptop import processes
from laptop.documents import Document
from laptop.sagemaker.core.logs import LogStream
from laptop.sagemaker.endpoints.blue_green import Cancelled, Unhealthy
from laptop.skyloop_plugin import CONTAINER_ENVIRONMENT

log = logging.getLogger(__name__)

_PING_INTERVAL_SECONDS = 0.1  # until the first that is answered
_LOOK_INTERVAL_SECONDS = 1.0  # afterwards
_PING_TIMEOUT_SECONDS = 2.0  # SageMaker's
# Pings in a row that a hung instance does not answer before it is replaced. One keeps requests away from it, if another
# instance answers; a laptop that is only busy for some seconds loses none.
_HUNG_PINGS = 5
_STOP_GRACE_SECONDS = 5.0
_DRAIN_SECONDS = 10.0
_BACK_OFF_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_SETTLED_SECONDS = 30.0  # after serving this long, the next back-off starts from the shortest pause
# SageMaker restarts a container that crashes at startup until the time limit, for up to half an hour. Three crashes
# before the first healthy ping are enough to know it here.
_STARTUP_CRASHES = 3


@dataclass(frozen=True)
class Launch:
    """What one instance runs. `environment` is the whole environment but for the port and the folder.

    A process that has not answered a ping after `startup_seconds` is replaced.
    """

    argv: Sequence[str]
    cwd: Path
    environment: Callable[[], dict[str, str]]
    startup_seconds: float


class Instance:
    """One serving process. `outstanding` counts the requests it is working on: `acquire`, then `release`.

    It is `ready` from its first healthy ping until its process ends, and `answers` while it passes pings.
    """

    def __init__(self, name: str, folder: Path, model: Path, launch: Launch, output: LogStream) -> None:
        self.name = name
        self.ready = threading.Event()
        self.answers = True
        self.crashes = 0
        self.outstanding = 0
        self._counting = threading.Lock()
        self.port = 0
        self.connections: deque[http.client.HTTPConnection] = deque()
        self._folder = folder
        self._model = model
        self._launch = launch
        self._output = output
        self._stopped = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._keeper = threading.Thread(target=self._keep, name=f"instance-{name}", daemon=True)

    def acquire(self) -> Instance:
        """Count one more request; returns the instance."""
        with self._counting:
            self.outstanding += 1
        return self

    def release(self) -> None:
        """Count one request fewer."""
        with self._counting:
            self.outstanding -= 1

    def start(self) -> None:
        """Run the process, and run it again each time it ends."""
        self._keeper.start()

    def stop(self) -> None:
        """Let the requests in progress finish, end the process (SIGTERM, then SIGKILL) and forget its folder."""
        deadline = time.monotonic() + _DRAIN_SECONDS
        while self.outstanding and self.ready.is_set() and time.monotonic() < deadline:
            time.sleep(_PING_INTERVAL_SECONDS)
        self._stopped.set()
        self.ready.clear()
        with self._lock:
            process = self._process
        if process:
            processes.terminate(process, _STOP_GRACE_SECONDS)
        if self._keeper.is_alive() and threading.current_thread() is not self._keeper:
            self._keeper.join(timeout=_STOP_GRACE_SECONDS)
        self._drop_connections()
        self._output.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _keep(self) -> None:
        """Start the process until `stop`, again each time it ends, after a longer and longer pause."""
        attempt = 0
        while not self._stopped.is_set():
            began = time.monotonic()
            try:
                self._live()
            except Exception:
                log.exception("instance %s could not be run", self.name)
            self._drop_connections()
            if self._stopped.is_set():
                return
            self.crashes += 1
            attempt = 0 if time.monotonic() - began > _SETTLED_SECONDS else attempt + 1
            self._stopped.wait(_BACK_OFF_SECONDS[min(attempt, len(_BACK_OFF_SECONDS) - 1)])

    def _live(self) -> None:
        self.port = _free_port()
        self._prepare_folder()
        environment = {
            **self._launch.environment(),
            "SAGEMAKER_BASE_DIR": str(self._folder),
            "SAGEMAKER_BIND_TO_PORT": str(self.port),
            **CONTAINER_ENVIRONMENT,
        }
        with self._lock:
            if self._stopped.is_set():
                return
            process = self._process = processes.spawn(
                self._launch.argv,
                cwd=self._launch.cwd,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
        reader = threading.Thread(target=self._read, args=(process,), name=f"log-{self.name}", daemon=True)
        reader.start()
        deadline = time.monotonic() + self._launch.startup_seconds
        while process.poll() is None and not self._stopped.is_set():
            if self._ping():
                self.answers = True
                self.ready.set()
                threading.Thread(target=self._watch, args=(process,), name=f"ping-{self.name}", daemon=True).start()
                break
            if time.monotonic() > deadline:
                log.warning("instance %s did not get healthy in time and is started again", self.name)
                processes.kill(process)
            self._stopped.wait(_PING_INTERVAL_SECONDS)
        process.wait()
        self.ready.clear()
        reader.join(timeout=1.0)

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        """Ping a process that serves, and end it when it hangs: `_keep` then starts another."""
        missed = 0
        while not self._stopped.wait(_LOOK_INTERVAL_SECONDS) and process.poll() is None:
            self.answers = self._ping()
            missed = 0 if self.answers else missed + 1
            if missed >= _HUNG_PINGS:
                log.warning("instance %s does not answer /ping and is replaced", self.name)
                self.ready.clear()
                processes.kill(process)
                return

    def _prepare_folder(self) -> None:
        for part in ("input/config", "output", "tmp"):
            (self._folder / part).mkdir(parents=True, exist_ok=True)
        model = self._folder / "model"
        if not model.exists():
            model.symlink_to(self._model, target_is_directory=True)

    def _ping(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_PING_TIMEOUT_SECONDS)
        try:
            connection.request("GET", "/ping")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        with process.stdout as stream:
            for line in stream:
                self._output.write(line)

    def _drop_connections(self) -> None:
        while self.connections:
            with contextlib.suppress(IndexError):
                self.connections.pop().close()


@dataclass
class VariantFleet:
    """The instances of one production variant. `make(index)` builds another instance."""

    name: str
    make: Callable[[int], Instance]
    startup_seconds: float
    strategy: str = "RANDOM"
    instances: list[Instance] = field(default_factory=list)
    _built: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def scale(self, count: int) -> None:
        """Start or stop instances until there are `count`; does not wait for new ones to be healthy."""
        with self._lock:
            surplus = self.instances[count:]
            self.instances = self.instances[:count]
            while len(self.instances) < count:
                instance = self.make(self._built)
                self._built += 1
                instance.start()
                self.instances = [*self.instances, instance]
        stop_all(surplus)

    def ready(self) -> list[Instance]:
        """The instances that can take a request now."""
        return [instance for instance in self.instances if instance.ready.is_set()]

    def pick(self, chance: random.Random) -> Instance | None:
        """An instance for one request by the variant's RoutingStrategy (RANDOM or LEAST_OUTSTANDING_REQUESTS).

        It is acquired; None when no instance is ready. One that missed its last ping is taken only when all did.
        """
        ready = self.ready()
        if not ready:
            return None
        ready = [instance for instance in ready if instance.answers] or ready
        if self.strategy == "LEAST_OUTSTANDING_REQUESTS":
            least = min(instance.outstanding for instance in ready)
            ready = [instance for instance in ready if instance.outstanding == least]
        return chance.choice(ready).acquire()

    def wait_healthy(self, cancelled: threading.Event) -> None:
        """Wait until every instance has passed /ping. Raises Unhealthy after the startup timeout, or Cancelled."""
        deadline = time.monotonic() + self.startup_seconds
        for instance in self.instances:
            while not instance.ready.wait(0.05):
                if cancelled.is_set():
                    raise Cancelled
                if time.monotonic() > deadline or instance.crashes >= _STARTUP_CRASHES:
                    raise Unhealthy(
                        f"The primary container for production variant {self.name} did not pass the ping health check. "
                        "Please check CloudWatch logs for this endpoint."
                    )


@dataclass
class Fleet:
    """All variants of one endpoint config, running. `config` is the config's record, models resolved."""

    config: Document
    folder: Path
    variants: dict[str, VariantFleet]

    def wait_healthy(self, cancelled: threading.Event) -> None:
        """Wait until every instance has passed /ping. Raises Unhealthy or Cancelled."""
        for variant in self.variants.values():
            variant.wait_healthy(cancelled)

    def stop(self) -> None:
        """End every process and forget the models."""
        stop_all([instance for variant in self.variants.values() for instance in variant.instances])
        shutil.rmtree(self.folder, ignore_errors=True)


def stop_all(instances: Sequence[Instance]) -> None:
    """Stop instances side by side."""
    threads = [threading.Thread(target=instance.stop, daemon=True) for instance in instances]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
