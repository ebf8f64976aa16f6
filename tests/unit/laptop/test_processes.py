"""Process trees of the laptop cloud end with it."""

from __future__ import annotations

import fcntl
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from laptop import processes

REPOSITORY = Path(__file__).resolve().parents[3]
DEADLINE = 120  # seconds, for what will never come: no slow machine may reach it
# A program with a child in its own group and a daemonized grandchild in a session of its own.
TREE = """
import os, subprocess, sys, time
sleeper = [sys.executable, "-c", "import time; time.sleep(600)"]
child = subprocess.Popen(sleeper)
daemon = subprocess.Popen(sleeper, start_new_session=True)
print(os.getpid(), child.pid, daemon.pid, flush=True)
if sys.argv[1] == "stay":
    time.sleep(600)
"""


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.01)


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def start(argv: list[str], tmp_path: Path, stdout: int = subprocess.PIPE) -> subprocess.Popen[bytes]:
    return processes.spawn(argv, cwd=tmp_path, env=dict(os.environ), stdout=stdout, stderr=None)


def tree(tmp_path: Path, mode: str) -> tuple[subprocess.Popen[bytes], list[int]]:
    process = start([sys.executable, "-c", TREE, mode], tmp_path)
    assert process.stdout
    return process, [int(pid) for pid in process.stdout.readline().split()]


def test_a_cloud_with_many_connections_can_start_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(limit, min(4096, most)), most))
    reading, writing = os.pipe()
    high = fcntl.fcntl(reading, fcntl.F_DUPFD, 1500)
    monkeypatch.setattr(processes, "_lifeline", (high, writing))
    process = start(["sh", "-c", "echo here; exec sleep 600"], tmp_path)
    try:
        assert process.stdout
        assert process.stdout.readline() == b"here\n"
        os.close(writing)  # as when the cloud ends
        assert process.wait(timeout=DEADLINE) == 137
    finally:
        processes.kill(process)
        os.close(high)
        os.close(reading)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, most))


def test_exit_status_output_and_folder_are_the_programs(tmp_path: Path) -> None:
    process = start(["sh", "-c", "pwd; exit 7"], tmp_path)
    output, _ = process.communicate(timeout=DEADLINE)
    assert (process.returncode, output.decode().strip()) == (7, str(tmp_path))


def test_death_by_signal_is_reported_as_popen_does(tmp_path: Path) -> None:
    process = start(["sh", "-c", "kill -SEGV $$"], tmp_path)
    assert process.wait(timeout=DEADLINE) == -signal.SIGSEGV


def test_a_program_that_does_not_exist_ends_127(tmp_path: Path) -> None:
    process = processes.spawn(
        ["no-such-program"], cwd=tmp_path, env=dict(os.environ), stdout=None, stderr=subprocess.PIPE
    )
    _, errors = process.communicate(timeout=DEADLINE)
    assert process.returncode == 127
    assert b"cannot start no-such-program" in errors


def test_nothing_is_left_when_the_program_ends(tmp_path: Path) -> None:
    process, pids = tree(tmp_path, "end")
    assert process.wait(timeout=DEADLINE) == 0
    until(lambda: not any(map(alive, pids)))


def test_terminate_lets_the_program_finish_its_work(tmp_path: Path) -> None:
    program = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: (print('saved', flush=True), sys.exit(3)))\n"
        "print('ready', flush=True)\n"
        "time.sleep(600)"
    )
    process = start([sys.executable, "-c", program], tmp_path)
    assert process.stdout
    assert process.stdout.readline() == b"ready\n"
    assert processes.terminate(process, grace_seconds=20) == 3
    assert process.stdout.read() == b"saved\n"


def test_terminate_kills_the_tree_of_a_program_that_does_not_listen(tmp_path: Path) -> None:
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + TREE
    process = start([sys.executable, "-c", deaf, "stay"], tmp_path)
    assert process.stdout
    pids = [int(pid) for pid in process.stdout.readline().split()]
    assert processes.terminate(process, grace_seconds=0.2) == 137
    until(lambda: not any(map(alive, pids)))


@pytest.mark.parametrize("where", ["main thread", "a thread that has ended"])
def test_the_tree_dies_with_a_cloud_that_is_killed(tmp_path: Path, where: str) -> None:
    server = f"""
import os, subprocess, sys, threading, time
sys.path.insert(0, {str(REPOSITORY)!r})
from laptop import processes
def go():
    processes.spawn([sys.executable, "-c", {TREE!r}, "stay"], cwd=".", env=dict(os.environ), stdout=None, stderr=None)
if {where!r} == "main thread":
    go()
else:
    thread = threading.Thread(target=go); thread.start(); thread.join()
time.sleep(600)
"""
    cloud = subprocess.Popen([sys.executable, "-c", server], cwd=tmp_path, stdout=subprocess.PIPE)
    assert cloud.stdout
    pids = [int(pid) for pid in cloud.stdout.readline().split()]
    supervisor = psutil.Process(pids[0]).ppid()
    assert all(map(alive, [*pids, supervisor]))
    cloud.kill()
    cloud.wait(timeout=DEADLINE)
    until(lambda: not any(map(alive, [*pids, supervisor])))


def test_killing_the_supervisor_kills_the_program(tmp_path: Path) -> None:
    process = start(["sh", "-c", "echo $$; exec sleep 600"], tmp_path)
    assert process.stdout
    pid = int(process.stdout.readline())
    os.kill(process.pid, signal.SIGKILL)
    process.wait(timeout=DEADLINE)
    if sys.platform.startswith("linux"):
        until(lambda: not alive(pid))
    else:
        os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("end", [processes.kill, lambda process: processes.terminate(process, 0.2)])
def test_a_tree_that_is_stopped_can_be_ended(tmp_path: Path, end: Callable[[subprocess.Popen[bytes]], int]) -> None:
    process, pids = tree(tmp_path, "stay")
    for pid in (*pids, process.pid):
        os.kill(pid, signal.SIGSTOP)
    # Of two signals that a process has not met yet, it meets SIGTERM first.
    until(lambda: all(psutil.Process(pid).status() == psutil.STATUS_STOPPED for pid in (*pids, process.pid)))
    assert end(process) == 137
    until(lambda: not any(map(alive, pids)))
