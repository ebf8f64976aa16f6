"""Child processes of the laptop cloud: Lambda workers, training and processing jobs, endpoint servers.

Each runs under :mod:`laptop.supervisor`. Its whole tree ends with the cloud, also on ``kill -9`` of the server, and no
grandchildren stay when it ends by itself, as in a container.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

Stream = int | IO[bytes] | IO[str] | None

_SUPERVISOR = Path(__file__).with_name("supervisor.py")
_lock = threading.Lock()
_lifeline: tuple[int, int] | None = None


def _lifeline_read_end() -> int:
    """The read end of a pipe whose write end only this process holds: it reaches end of file when this process ends."""
    global _lifeline
    with _lock:
        if _lifeline is None:
            _lifeline = os.pipe()
        return _lifeline[0]


def supervised(argv: Sequence[str]) -> tuple[list[str], tuple[int, ...]]:
    """``argv`` wrapped so that it runs under the supervisor, and the descriptors to hand on as ``pass_fds``.

    For code that must call ``subprocess.Popen`` itself; everything else uses :func:`spawn`.
    """
    lifeline = _lifeline_read_end()
    return [sys.executable, "-I", "-S", str(_SUPERVISOR), str(lifeline), *map(str, argv)], (lifeline,)


def spawn(
    argv: Sequence[str],
    *,
    cwd: str | os.PathLike[str],
    env: Mapping[str, str],
    stdout: Stream,
    stderr: Stream,
) -> subprocess.Popen[bytes]:
    """Start a process that cannot outlive the cloud.

    ``env`` is the whole environment. The returned ``pid`` is the supervisor's; ``returncode`` is that of the
    program (negative signal number when it died of a signal, 127 when it could not be started). Use
    :func:`terminate` or :func:`kill` rather than ``Popen.kill``, which would leave grandchildren behind.
    """
    command, descriptors = supervised(argv)
    return subprocess.Popen(
        command,
        cwd=cwd,
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        pass_fds=descriptors,
        start_new_session=True,
    )


def terminate(process: subprocess.Popen[bytes], grace_seconds: float) -> int:
    """SIGTERM to the program; after ``grace_seconds`` the whole tree is killed. Returns the exit status."""
    if process.poll() is None:
        process.terminate()
        process.send_signal(signal.SIGCONT)  # a supervisor that was stopped would not pass it on
        try:
            return process.wait(timeout=grace_seconds)
        except subprocess.TimeoutExpired:
            kill(process)
    return process.wait()


def kill(process: subprocess.Popen[bytes]) -> int:
    """Kill the whole tree at once. Returns the exit status (137)."""
    if process.poll() is None:
        process.send_signal(signal.SIGUSR1)
        process.send_signal(signal.SIGCONT)
    return process.wait()
