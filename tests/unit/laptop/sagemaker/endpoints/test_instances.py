"""Instances are looked after: those that hang are left out, replaced, and back in when they answer."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from laptop.sagemaker.endpoints import instances
from laptop.sagemaker.endpoints.instances import Instance, Launch, VariantFleet

DEADLINE = 120  # seconds, for what will never come: no slow machine may reach it
# Answers every request, but for the first process in the folder when it is told to be deaf.
PROGRAM = """
import os, sys, time
from http.server import BaseHTTPRequestHandler, HTTPServer

begun = os.path.join(os.environ["SAGEMAKER_BASE_DIR"], "begun")
if sys.argv[1] == "deaf at first" and not os.path.exists(begun):
    open(begun, "w").close()
    time.sleep(600)

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass

HTTPServer(("127.0.0.1", int(os.environ["SAGEMAKER_BIND_TO_PORT"])), Handler).serve_forever()
"""


class NoLog:
    def write(self, line: bytes) -> None:
        """Nothing that is written matters here."""

    def close(self) -> None:
        """Nor is it kept."""


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.01)


def program(instance: Instance) -> int:
    """The process ID of an instance's program, which runs under the supervisor."""
    assert instance._process is not None
    return psutil.Process(instance._process.pid).children()[0].pid


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., VariantFleet]]:
    """A fleet of programs that are pinged often; `startup_seconds` as in Launch."""
    monkeypatch.setattr(instances, "_LOOK_INTERVAL_SECONDS", 0.05)
    monkeypatch.setattr(instances, "_PING_TIMEOUT_SECONDS", 0.5)
    monkeypatch.setattr(instances, "_DRAIN_SECONDS", 0.0)
    made: list[VariantFleet] = []

    def make(count: int, mode: str = "", startup_seconds: float = DEADLINE) -> VariantFleet:
        launch = Launch([sys.executable, "-c", PROGRAM, mode], tmp_path, lambda: dict(os.environ), startup_seconds)

        def instance(index: int) -> Instance:
            output: Any = NoLog()
            return Instance(f"i-{index}", tmp_path / str(index), tmp_path, launch, output)

        variant = VariantFleet("v", instance, startup_seconds)
        made.append(variant)
        variant.scale(count)
        return variant

    yield make
    for variant in made:
        instances.stop_all(variant.instances)


def ready(variant: VariantFleet) -> bool:
    return len(variant.ready()) == len(variant.instances)


def picked(variant: VariantFleet) -> set[str]:
    chance = random.Random(3)
    chosen = [variant.pick(chance) for _ in range(30)]
    for instance in chosen:
        if instance:
            instance.release()
    return {instance.name for instance in chosen if instance}


def test_an_instance_that_hangs_gets_no_requests_until_it_answers_again(
    fleet: Callable[..., VariantFleet], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instances, "_HUNG_PINGS", 1_000_000)
    variant = fleet(2)
    until(lambda: ready(variant))
    assert picked(variant) == {"i-0", "i-1"}
    hung = program(variant.instances[0])
    os.kill(hung, signal.SIGSTOP)
    until(lambda: picked(variant) == {"i-1"})
    os.kill(hung, signal.SIGCONT)
    until(lambda: picked(variant) == {"i-0", "i-1"})
    assert variant.instances[0].crashes == 0


def test_where_no_instance_answers_requests_wait_for_one(
    fleet: Callable[..., VariantFleet], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instances, "_HUNG_PINGS", 1_000_000)
    variant = fleet(1)
    until(lambda: ready(variant))
    os.kill(program(variant.instances[0]), signal.SIGSTOP)
    until(lambda: not variant.instances[0].answers)
    assert picked(variant) == {"i-0"}


def test_an_instance_that_goes_on_hanging_is_replaced(fleet: Callable[..., VariantFleet]) -> None:
    variant = fleet(1)
    until(lambda: ready(variant))
    hung = program(variant.instances[0])
    os.kill(hung, signal.SIGSTOP)
    until(lambda: variant.instances[0].crashes == 1 and ready(variant))
    assert not psutil.pid_exists(hung)
    assert program(variant.instances[0]) != hung
    assert variant.instances[0].answers


def test_an_instance_that_does_not_get_healthy_is_started_again(fleet: Callable[..., VariantFleet]) -> None:
    variant = fleet(1, "deaf at first", startup_seconds=5.0)
    until(lambda: ready(variant))
    assert variant.instances[0].crashes == 1
