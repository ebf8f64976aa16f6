"""A rollout over fleets whose instances are only flags."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from laptop.sagemaker.endpoints import capture, invocations, rollout
from laptop.sagemaker.endpoints.instances import Fleet, VariantFleet


class Flag:
    """Stands for an instance."""

    def __init__(self, ready: bool) -> None:
        self.ready = threading.Event()
        self.stopped = False
        if ready:
            self.ready.set()

    def stop(self) -> None:
        self.stopped = True


class Endpoint:
    """Stands for a LiveEndpoint: writes statuses down."""

    def __init__(self, blue: Fleet, green: Fleet) -> None:
        self.name = "e"
        self.cancelled = threading.Event()
        self.fleet = blue
        self.traffic = invocations.Traffic("e", blue, {"v": 1.0}, capture.Capture("e", lambda *_: None))
        self.green = green
        self.statuses: list[Any] = []

    def build(self, config: dict[str, Any]) -> Fleet:
        return self.green

    def change(self, status: str | None, **_: Any) -> dict[str, Any]:
        self.statuses.append(status)
        return {}

    def pause(self, seconds: float) -> None:
        self.cancelled.wait(seconds)


def fleet(folder: Path, *ready: bool, startup: float = 0.2) -> Fleet:
    flags: list[Any] = [Flag(state) for state in ready]
    config = {"ProductionVariants": [{"VariantName": "v", "InitialVariantWeight": 2.0}]}
    return Fleet(config, folder, {"v": VariantFleet("v", lambda _: SimpleNamespace(), startup, instances=flags)})


@pytest.fixture
def made(tmp_path: Path) -> Any:
    def make(*blue: bool) -> tuple[Endpoint, rollout.Rollout]:
        endpoint = Endpoint(fleet(tmp_path / "blue", *blue), fleet(tmp_path / "green", True))
        stage = rollout.Rollout(endpoint, endpoint.green.config, 0.0)  # type: ignore[arg-type]
        stage.provision()
        stage.shift({"v": 0.5})
        return endpoint, stage

    return make


def stopped(of: Fleet) -> list[bool]:
    return [instance.stopped for instance in of.variants["v"].instances]  # type: ignore[attr-defined]


def test_a_rollback_gives_the_traffic_back(made: Any) -> None:
    endpoint, stage = made(True)
    stage.roll_back("an alarm")
    assert (endpoint.traffic.green, endpoint.traffic.shares) == (None, {})
    assert endpoint.statuses == ["RollingBack"]
    assert (stopped(endpoint.green), stopped(endpoint.fleet)) == ([True], [False])
    assert stage.stranded == ""


def test_a_rollback_to_a_fleet_that_has_died_says_so(made: Any) -> None:
    _, stage = made(False)
    stage.roll_back("an alarm")
    assert stage.stranded == "No instance of production variant v is healthy after the rollback."


def test_retiring_leaves_only_the_new_fleet(made: Any) -> None:
    endpoint, stage = made(True)
    blue = endpoint.fleet
    stage.retire()
    assert endpoint.fleet is endpoint.traffic.fleet is endpoint.green
    assert endpoint.traffic.weights == {"v": 2.0}
    assert endpoint.traffic.green is None
    assert stopped(blue) == [True]


def test_an_abandoned_rollout_ends_the_new_fleet_only(made: Any) -> None:
    endpoint, stage = made(True)
    stage.abandon()
    assert (stopped(endpoint.green), stopped(endpoint.fleet)) == ([True], [False])
