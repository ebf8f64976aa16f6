"""Start and stop the laptop cloud, for ``skyloop up`` and ``down``, and look whether it answers.

The server runs detached from the terminal until ``down``. Its folder, the home, holds ``laptop.json`` (where it
listens and what is deployed), ``state/`` and ``s3/`` (kept however it ends), ``jobs/``, ``endpoints/`` and ``logs/``.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

from laptop import deploy, preflight
from laptop.account import HEALTH, KEYS_FILE, KeysBroken, read_keys
from laptop.documents import Document
from laptop.running import DEFAULT_PORT, FILE, STAY, Running, is_gone, read
from laptop.skyloop_plugin import COMMAND, DEFAULT_HOME, REPOSITORY, SAMCONFIG, TEMPLATE

READY_SECONDS = 180
STOP_SECONDS = 90

Progress = Callable[[str], None]


class LaptopError(Exception):
    """The cloud cannot be started or stopped; the message says why and what to do next."""


def up(
    home: Path = DEFAULT_HOME,
    parameters: Mapping[str, object] | None = None,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    template: Path = TEMPLATE,
    samconfig: Path = SAMCONFIG,
    port: int | None = None,
    auth: bool = True,
    progress: Progress = lambda line: None,
) -> Running:
    """Start the cloud where it is not running, and deploy the template to it.

    ``parameters`` override samconfig's section ``[laptop]``, in later calls too. ``settings`` maps the
    name of a settings file of the home (``workforce``, ``sagemaker``, ``images``) to members to change in it. ``auth``
    says whether role policies are enforced; a cloud that runs already keeps what it was started with.
    Raises LaptopError, RecordBroken, preflight.Refused or deploy.DeployError. A server that this call started ends when
    the call fails or is interrupted, and with this process, however that ends.
    """
    application = deploy.load(template)
    preflight.check(application)
    home = home.resolve()
    fresh = not home.exists()
    with _locked(home):
        previous = read(home)
        given = {
            **(previous.given if previous else {}),
            **{name: str(value) for name, value in (parameters or {}).items()},
        }
        configuration = deploy.configuration(samconfig, application, given)
        for name, members in (settings or {}).items():
            _change_settings(home / f"{name}.json", members)
        running = previous if previous and _answers(previous, home) else None
        started = None
        try:
            if running is None:
                _refuse_if_hung(previous, home)
                running, started = start(home, previous.port if port is None and previous else port, auth=auth)
                progress(f"The laptop cloud listens on {running.endpoint_url}")
                for sentence in _health(running.endpoint_url).get("found", []):
                    progress(sentence)
            try:
                keys = read_keys(home)
            except (OSError, KeysBroken) as error:  # of a cloud that runs already: a start makes them
                raise LaptopError(
                    f"The laptop cloud's keys cannot be read ({error}). Run `{COMMAND} down`, remove "
                    f"{home / KEYS_FILE}, then `{COMMAND} up` makes new ones."
                ) from error
            outputs = deploy.deploy(running.endpoint_url, keys, application, configuration, progress=progress)
            running = Running(
                running.endpoint_url, running.pid, configuration.stack_name, outputs, configuration.parameters, given
            )
            _write(home, running)
            if started is not None:
                _let_stay(started)
            return running
        except BaseException as error:
            if started is not None:
                _stop_process(started.pid)
            if fresh:
                _forget(home, keep_logs=isinstance(error, Exception))
            raise


def down(home: Path = DEFAULT_HOME, *, progress: Progress = lambda line: None) -> bool:
    """Stop the cloud, keeping its state for the next ``up``. False when it was not running.

    Raises LaptopError when it had to be killed, or the home cannot be written to. Raises RecordBroken.
    """
    home = home.resolve()
    if not home.exists():
        return False
    with _locked(home):
        running = read(home)
        if running is None or running.pid is None or not _is_server(running.pid, home):
            if running and running.pid:
                _write_down_end(home, running)
            return False
        for item in _health(running.endpoint_url).get("in_progress", []):
            progress(f"The {item['kind']} {item['name']} is interrupted; after `{COMMAND} up` it {item['afterwards']}.")
        clean = _stop_process(running.pid)
        _write_down_end(home, running)
    if not clean:
        raise LaptopError(
            f"The laptop cloud (pid {running.pid}) did not stop within {STOP_SECONDS} s and was killed. What it "
            f"acknowledged is kept; see {home / 'logs' / 'server.log'}."
        )
    return True


def status(home: Path = DEFAULT_HOME) -> Running | None:
    """What ``laptop.json`` says, with ``pid`` None unless the server answers; None when there never was a cloud.

    Raises RecordBroken.
    """
    running = read(home.resolve())
    if running and not _answers(running, home.resolve()):
        running.pid = None
    return running


def start(home: Path, port: int | None = None, *, auth: bool = True) -> tuple[Running, subprocess.Popen[bytes]]:
    """Start a server over ``home`` and wait until it is ready: no stack, no ``laptop.json``.

    ``port`` is 4566 by default, 0 for any; where it is taken, a free one is used. The server ends with this process, or
    when the process object that is returned is forgotten: its standard input is closed then. Raises LaptopError.
    """
    _make_folder(home)
    logs = home / "logs"
    logs.mkdir(mode=0o700, exist_ok=True)
    log = logs / "server.log"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    flag = "--auth" if auth else "--no-auth"
    # The server inherits the socket: a free port that is only looked up could be taken before the server opens it.
    reading, writing = os.pipe()
    with (
        os.fdopen(reading, "rb") as told,
        os.fdopen(writing, "wb") as reason,
        _listen(DEFAULT_PORT if port is None else port) as listener,
        open(log, "ab", opener=_for_this_user) as output,
    ):
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        inherited = {"--socket": listener.fileno(), "--reason": reason.fileno()}
        descriptors = [text for name, number in inherited.items() for text in (name, str(number))]
        process = subprocess.Popen(
            [sys.executable, "-m", "laptop.server", "--home", str(home), *descriptors, flag],
            cwd=REPOSITORY,
            env=environment,
            stdin=subprocess.PIPE,  # closed when this process ends, by whatever: a server that nobody knows ends too
            stdout=output,
            stderr=output,
            start_new_session=True,
            pass_fds=list(inherited.values()),
            umask=0o077,  # the state holds the keys of users
        )
        listener.close()
        reason.close()
        _wait_until_ready(process, url, told, log)
    return Running(url, process.pid), process


def _wait_until_ready(process: subprocess.Popen[bytes], url: str, told: BinaryIO, log: Path) -> None:
    """Wait for a server; `told` is where it says why it cannot start. One that is not ready is stopped."""
    try:
        deadline = time.monotonic() + READY_SECONDS
        while (state := _health(url).get("status")) != "ready":
            if process.poll() is not None:
                if reason := told.read().decode(errors="replace"):
                    raise LaptopError(f"The laptop cloud cannot start. {reason}")
                raise LaptopError(f"The laptop cloud ended while starting:\n{_tail(log)}\nThe whole log is {log}.")
            if str(state).startswith("failed"):
                raise LaptopError(f"The laptop cloud cannot start ({state}).")
            if time.monotonic() > deadline:
                raise LaptopError(f"The laptop cloud was not ready within {READY_SECONDS} s. The log is {log}.")
            time.sleep(0.02)
    except BaseException:
        _stop_process(process.pid)
        raise


def stop(process: subprocess.Popen[bytes]) -> None:
    """Stop a server that :func:`start` started."""
    _stop_process(process.pid)


def _let_stay(process: subprocess.Popen[bytes]) -> None:
    """Tell a server that it is written down, so that it outlives this process."""
    assert process.stdin
    with contextlib.suppress(BrokenPipeError), process.stdin as lifeline:  # it may have ended by itself meanwhile
        lifeline.write(STAY)


def _health(url: str) -> Document:
    try:
        with urllib.request.urlopen(f"{url}{HEALTH}", timeout=5) as answer:
            health: Document = json.load(answer)
            return health
    except (OSError, ValueError):
        return {}


def _forget(home: Path, *, keep_logs: bool) -> None:
    """Remove what a first ``up`` that failed left: all of it, or all but the logs, which explain the failure."""
    for entry in home.iterdir():
        if entry.is_dir() and not (keep_logs and entry.name == "logs"):
            shutil.rmtree(entry, ignore_errors=True)
        elif not entry.is_dir():
            entry.unlink()
    if not keep_logs:
        home.rmdir()


def _answers(running: Running, home: Path) -> bool:
    health = _health(running.endpoint_url) if running.pid else {}
    return health.get("pid") == running.pid and health.get("home") == str(home)


def _refuse_if_hung(previous: Running | None, home: Path) -> None:
    if previous and previous.pid and _is_server(previous.pid, home):
        raise LaptopError(
            f"The laptop cloud (pid {previous.pid}) runs but does not answer on {previous.endpoint_url}. "
            f"Stop it with `{COMMAND} down`, then try again."
        )


def _is_server(pid: int, home: Path) -> bool:
    """Whether a process is this home's server. Pids are reused, so a number alone proves nothing."""
    listed = subprocess.run(
        ["ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return "laptop.server" in listed.stdout and str(home) in listed.stdout


def _stop_process(pid: int) -> bool:
    """Ask a server to stop and wait for it; True when it did so by itself."""
    for number, seconds in ((signal.SIGTERM, STOP_SECONDS), (signal.SIGKILL, 10)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if _ended(pid):
                return number == signal.SIGTERM
            time.sleep(0.02)
    return False


def _ended(pid: int) -> bool:
    with contextlib.suppress(ChildProcessError):
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    return is_gone(pid)


def _listen(preferred: int) -> socket.socket:
    """A socket that listens on port ``preferred`` of 127.0.0.1, or on a free port where that is taken."""
    for port in (preferred, 0):
        with contextlib.suppress(OSError):
            return socket.create_server(("127.0.0.1", port))
    raise LaptopError("No port of 127.0.0.1 can be opened.")


@contextlib.contextmanager
def _locked(home: Path) -> Iterator[None]:
    """One `up` or `down` at a time: a second one is refused, so that it does not race the first."""
    try:
        _make_folder(home)
        lock = open(home / "lifecycle.lock", "w", opener=_for_this_user)  # noqa: SIM115 - closed below
    except (FileExistsError, NotADirectoryError) as error:
        raise LaptopError(f"{home} is no folder and lies in none. Name another with --home.") from error
    except OSError as error:
        raise LaptopError(
            f"{home} cannot be written to: {error.strerror}. Make room or give yourself the right to write there, or "
            "name another folder with --home."
        ) from error
    with lock as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LaptopError(
                f"Another `{COMMAND} up` or `down` runs in {home}. Wait for it, then try again."
            ) from None
        yield


def _write(home: Path, running: Running) -> None:
    _replace(home / FILE, asdict(running))


def _write_down_end(home: Path, running: Running) -> None:
    """Write down that a server has ended. On a full disk nobody does: that its process is gone says the same."""
    with contextlib.suppress(OSError):
        _write(home, Running(**{**asdict(running), "pid": None}))


def _change_settings(file: Path, members: Mapping[str, Any]) -> None:
    try:
        current = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        changed = {**current, **members}
    except (ValueError, RecursionError, TypeError) as error:
        raise LaptopError(f"{file} is no JSON object: {error}. Correct it, or remove it.") from error
    _replace(file, changed)


def _replace(file: Path, document: Document) -> None:
    partial = file.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    with open(partial, "w", opener=_for_this_user) as output:
        output.write(json.dumps(document, indent=2) + "\n")
    partial.replace(file)


def _make_folder(folder: Path) -> None:
    """Make a folder, and those above that are not there, closed to other users. Raises OSError."""
    for missing in reversed([place for place in (folder, *folder.parents) if not place.exists()]):
        missing.mkdir(mode=0o700, exist_ok=True)
    folder.mkdir(exist_ok=True)  # says so where it is something else


def _for_this_user(path: str, flags: int) -> int:
    """An opener: what it creates no other user of this machine may read."""
    return os.open(path, flags, 0o600)


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-15:])
