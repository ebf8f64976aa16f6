"""Ups that are interrupted, killed, or come together."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from laptop import lifecycle
from tests.conformance.conftest import wait_until
from tests.conformance.ministack.lifecycle.conftest import ended

REPOSITORY = Path(__file__).resolve().parents[4]


def begin_up(home: Path, template: Path) -> subprocess.Popen[str]:
    """A process that calls `up`, and prints what `up` tells."""
    program = f"""
import sys
sys.path.insert(0, {str(REPOSITORY)!r})
from pathlib import Path
from laptop import lifecycle
lifecycle.up(Path({str(home)!r}), template=Path({str(template)!r}), samconfig=Path("none"), port=0,
             progress=lambda line: print(line, flush=True))
"""
    return subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell starts its background jobs with SIGINT ignored, and whoever they start inherits that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def server_of(process: subprocess.Popen[str]) -> psutil.Process | None:
    children = psutil.Process(process.pid).children()
    return next((child for child in children if "laptop.server" in " ".join(child.cmdline())), None)


def test_an_interrupted_up_leaves_nothing(tmp_path: Path, template: Path) -> None:
    home = tmp_path / "interrupted"
    process = begin_up(home, template)
    assert process.stdout
    for line in process.stdout:
        if line.startswith("The laptop cloud listens"):
            break
    server = server_of(process)
    assert server
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    wait_until(lambda: ended(server.pid))
    assert not home.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("deploying", [False, True])
def test_an_up_that_is_killed_takes_its_server_with_it(
    home: Path, template: Path, up: Any, number: int, deploying: bool
) -> None:
    process = begin_up(home, template)
    server = wait_until(lambda: server_of(process))
    if deploying:
        assert process.stdout
        assert process.stdout.readline().startswith("The laptop cloud listens")
    process.send_signal(number)
    process.communicate(timeout=60)
    second = up()  # at once: a server that still ends is waited for
    assert ended(server.pid)
    assert lifecycle.status(home).pid == second.pid


def test_a_server_outlives_the_up_that_wrote_it_down(home: Path, template: Path) -> None:
    process = begin_up(home, template)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    running = lifecycle.status(home)
    assert running
    assert running.pid, "it answers"


def test_a_port_that_is_taken_is_not_fought_over(cloud: Any, home: Path, up: Any) -> None:
    taken = int(cloud.endpoint_url.rpartition(":")[2])
    running = up(port=taken)
    assert running.port != taken
    assert lifecycle.status(home).endpoint_url == running.endpoint_url


def test_two_ups_at_once_do_not_race(home: Path, up: Any) -> None:
    import fcntl

    home.mkdir()
    with (home / "lifecycle.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(lifecycle.LaptopError, match="Another"):
            up()


def test_clouds_that_start_together_do_not_share_a_port(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        wanted = probe.getsockname()[1]
    homes = [tmp_path / name for name in ("a", "b", "c")]
    with ThreadPoolExecutor() as pool:
        started = list(pool.map(lambda home: lifecycle.start(home, wanted), homes))
    try:
        assert len({running.port for running, _ in started}) == len(homes)
        for home, (running, process) in zip(homes, started, strict=True):
            with urllib.request.urlopen(f"{running.endpoint_url}/_skyloop/health") as answer:
                health = json.load(answer)
                assert (health["status"], health["pid"], health["home"]) == ("ready", process.pid, str(home))
    finally:
        for _, process in started:
            lifecycle.stop(process)
