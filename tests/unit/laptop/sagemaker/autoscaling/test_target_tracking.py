"""Target tracking with a clock that the tests move."""

from __future__ import annotations

from typing import Any

import pytest

from laptop.sagemaker.autoscaling.target_tracking import Tracker, endpoint_and_variant
from laptop.sagemaker.core.errors import ServiceError

SUSPENDED = ("DynamicScalingInSuspended", "DynamicScalingOutSuspended")


def target(low: int = 1, high: int = 10, **suspended: bool) -> dict[str, Any]:
    return {"MinCapacity": low, "MaxCapacity": high, "SuspendedState": {**dict.fromkeys(SUSPENDED, False), **suspended}}


def policy(**members: Any) -> dict[str, Any]:
    return {"TargetValue": 100.0, "ScaleOutCooldown": 60, "ScaleInCooldown": 120, **members}


@pytest.mark.parametrize(
    ("current", "per_instance", "count"),
    [(1, 100, 1), (1, 101, 2), (2, 250, 5), (3, 1000, 10), (10, 500, 10), (1, 0, 1)],
)
def test_it_scales_out_in_proportion_and_within_bounds(current: int, per_instance: float, count: int) -> None:
    assert Tracker().decide(0.0, current, per_instance, target(), policy()) == count


def test_a_scale_out_waits_for_its_cooldown() -> None:
    tracker = Tracker()
    assert tracker.decide(0.0, 1, 300, target(), policy()) == 3
    assert tracker.decide(59.0, 3, 200, target(), policy()) == 3
    assert tracker.decide(60.0, 3, 200, target(), policy()) == 6


def test_a_scale_in_needs_patience_and_its_cooldown() -> None:
    tracker = Tracker()
    for now in (0.0, 60.0, 119.0):
        assert tracker.decide(now, 4, 10, target(), policy()) == 4
    assert tracker.decide(120.0, 4, 10, target(), policy()) == 1
    assert tracker.decide(130.0, 4, 10, target(), policy()) == 4


def test_a_busy_moment_starts_the_patience_afresh() -> None:
    tracker = Tracker()
    assert tracker.decide(0.0, 4, 10, target(), policy()) == 4
    assert tracker.decide(100.0, 4, 100, target(), policy()) == 4
    assert tracker.decide(130.0, 4, 10, target(), policy()) == 4
    assert tracker.decide(250.0, 4, 10, target(), policy()) == 1


def test_a_scale_in_stops_at_the_minimum() -> None:
    tracker = Tracker()
    tracker.decide(0.0, 4, 0, target(low=2), policy())
    assert tracker.decide(200.0, 4, 0, target(low=2), policy()) == 2


@pytest.mark.parametrize(
    ("of_target", "of_policy"), [({"DynamicScalingInSuspended": True}, {}), ({}, {"DisableScaleIn": True})]
)
def test_scale_in_can_be_switched_off(of_target: dict[str, bool], of_policy: dict[str, bool]) -> None:
    tracker = Tracker()
    tracker.decide(0.0, 4, 0, target(**of_target), policy(**of_policy))
    assert tracker.decide(1000.0, 4, 0, target(**of_target), policy(**of_policy)) == 4


def test_scale_out_can_be_suspended() -> None:
    assert Tracker().decide(0.0, 1, 900, target(DynamicScalingOutSuspended=True), policy()) == 1


def test_resource_ids() -> None:
    assert endpoint_and_variant("endpoint/e/variant/v") == ("e", "v")
    for wrong in ("endpoint/e", "variant/v/endpoint/e", "endpoint//variant/v", "endpoint/e/variant/v/more"):
        with pytest.raises(ServiceError, match="Unsupported service namespace"):
            endpoint_and_variant(wrong)
