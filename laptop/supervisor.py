"""Run one command and take its whole process tree down with the cloud.

Started by :func:`laptop.processes.spawn` as ``python -I -S supervisor.py <lifeline fd> <argv…>``; never imported.
It takes the place of a container: when the main process ends, every process that it left ends too; and when the cloud
ends (the lifeline pipe reaches end of file, which even ``kill -9`` of the server cannot prevent), the tree is killed.
PR_SET_PDEATHSIG in the server would not be enough: it fires when the *thread* that forked ends, and grandchildren such
as data-loader workers do not inherit it.

Signals: SIGTERM, SIGINT and SIGHUP are passed to the main process (as ``docker stop`` does); SIGUSR1 kills the tree
at once. Exit status: that of the main process, by the same signal if it died of one; 127 if it could not be started.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import sys

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
LINUX = sys.platform.startswith("linux")


def _prctl(option: int, value: int) -> None:
    if LINUX:
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def _children() -> list[int]:
    """Direct children of this process (Linux); orphans of the tree are reparented here, so this reaches all of it."""
    try:
        with open(f"/proc/self/task/{os.getpid()}/children") as file:
            return [int(pid) for pid in file.read().split()]
    except OSError:
        return []


def _kill_tree(main: int) -> None:
    """Kill the main process's group, then each orphan that becomes a child of this process, until none is left."""
    while True:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(main, signal.SIGKILL)
        for pid in _children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def _start(argv: list[str], lifeline: int) -> int:
    pid = os.fork()
    if pid:
        return pid
    os.setpgid(0, 0)
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # if the supervisor itself is killed with -9
    os.close(lifeline)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvp(argv[0], argv)
    except OSError as error:
        os.write(2, f"cannot start {argv[0]}: {error.strerror}\n".encode())
    os._exit(127)


def main() -> None:
    """Run the command until it, or the cloud, ends."""
    lifeline, argv = int(sys.argv[1]), sys.argv[2:]
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    wake, wake_write = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(wake_write, False)
    received: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGCHLD):
        signal.signal(number, lambda which, _: received.append(which))
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    child = _start(argv, lifeline)
    # Not select(), which knows no descriptor above 1023: a cloud with many connections hands on a higher one.
    events = select.poll()
    events.register(lifeline, select.POLLIN)
    events.register(wake, select.POLLIN)

    while True:
        ready = [descriptor for descriptor, _ in events.poll()]
        if wake in ready:
            os.read(wake, 4096)
        if lifeline in ready or signal.SIGUSR1 in received:
            _kill_tree(child)
            os._exit(137)
        while received:
            passed_on = received.pop(0)
            if passed_on != signal.SIGCHLD:
                os.kill(child, passed_on)
        status = _reap(child)
        if status is not None:
            _kill_tree(child)
            _exit_like(status)


def _reap(child: int) -> int | None:
    """Collect every ended child; the wait status of the main process once it has ended."""
    status = None
    while True:
        try:
            pid, ended = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return status
        if pid == 0:
            return status
        if pid == child:
            status = ended


def _exit_like(status: int) -> None:
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number != signal.SIGKILL:
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(os.WEXITSTATUS(status))


if __name__ == "__main__":
    main()
