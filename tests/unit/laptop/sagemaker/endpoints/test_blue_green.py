"""The plan of a deployment and how it is carried out, without processes and without waiting."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from laptop.sagemaker.core.errors import ServiceError
from laptop.sagemaker.endpoints import blue_green
from laptop.sagemaker.endpoints.blue_green import Cancelled, Outcome, Plan, Step, Unhealthy


def config(kind: str, wait: int = 10, alarms: tuple[str, ...] = (), **members: Any) -> dict[str, Any]:
    policy_members = {key: members.pop(key) for key in list(members) if key.endswith("InSeconds")}
    routing = {"Type": kind, "WaitIntervalInSeconds": wait, **members}
    made: dict[str, Any] = {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing, **policy_members}}
    if alarms:
        made["AutoRollbackConfiguration"] = {"Alarms": [{"AlarmName": name} for name in alarms]}
    return made


def size(kind: str, value: int) -> dict[str, Any]:
    return {"Type": kind, "Value": value}


def shares(plan: Plan) -> list[dict[str, float]]:
    return [{name: round(share, 3) for name, share in step.shares.items()} for step in plan.steps]


def test_no_config_is_all_at_once_without_a_bake() -> None:
    assert blue_green.plan(None, {"v": 1}) == Plan((Step({"v": 1.0}, 0.0),))


def test_alarms_alone_guard_the_default() -> None:
    plan = blue_green.plan({"AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "a"}]}}, {"v": 1})
    assert plan.alarms == ("a",)
    assert shares(plan) == [{"v": 1.0}]


def test_all_at_once_bakes_once_and_waits_before_it_terminates() -> None:
    plan = blue_green.plan(config("ALL_AT_ONCE", 30, ("a", "b"), TerminationWaitInSeconds=7), {"v": 2})
    assert plan == Plan((Step({"v": 1.0}, 30.0),), ("a", "b"), 7.0)


@pytest.mark.parametrize(
    ("kind", "member", "given", "counts", "expected"),
    [
        ("CANARY", "CanarySize", size("CAPACITY_PERCENT", 25), {"v": 4}, [0.25, 1]),
        ("CANARY", "CanarySize", size("INSTANCE_COUNT", 1), {"v": 3}, [0.333, 1]),
        ("CANARY", "CanarySize", size("INSTANCE_COUNT", 2), {"v": 4}, [0.5, 1]),
        ("LINEAR", "LinearStepSize", size("CAPACITY_PERCENT", 50), {"v": 2}, [0.5, 1]),
        ("LINEAR", "LinearStepSize", size("CAPACITY_PERCENT", 40), {"v": 5}, [0.4, 0.8, 1]),
        ("LINEAR", "LinearStepSize", size("INSTANCE_COUNT", 1), {"v": 4}, [0.25, 0.5, 0.75, 1]),
    ],
)
def test_steps(kind: str, member: str, given: dict[str, Any], counts: dict[str, int], expected: list[float]) -> None:
    plan = blue_green.plan(config(kind, **{member: given}), counts)
    assert [step["v"] for step in shares(plan)] == expected
    assert {step.bake_seconds for step in plan.steps} == {10.0}


def test_variants_of_different_size_step_together() -> None:
    plan = blue_green.plan(config("CANARY", CanarySize=size("INSTANCE_COUNT", 1)), {"a": 2, "b": 4})
    assert shares(plan) == [{"a": 0.5, "b": 0.25}, {"a": 1.0, "b": 1.0}]


@pytest.mark.parametrize(
    ("given", "counts", "words"),
    [
        (config("CANARY"), {"v": 2}, "CanarySize must be specified"),
        (config("LINEAR"), {"v": 2}, "LinearStepSize must be specified"),
        (config("LINEAR", CanarySize=size("CAPACITY_PERCENT", 10)), {"v": 2}, "CanarySize can only be specified"),
        (config("CANARY", CanarySize=size("CAPACITY_PERCENT", 51)), {"v": 4}, "less than or equal to 50%"),
        (config("CANARY", CanarySize=size("INSTANCE_COUNT", 2)), {"a": 4, "b": 3}, "production variant b"),
        (config("CANARY", CanarySize=size("CAPACITY_PERCENT", 25)), {"v": 1}, "at least 2 instances"),
        (config("LINEAR", LinearStepSize=size("CAPACITY_PERCENT", 9)), {"v": 4}, "10-50%"),
        (config("LINEAR", LinearStepSize=size("INSTANCE_COUNT", 3)), {"v": 4}, "10-50%"),
        (
            config("ALL_AT_ONCE", 500, TerminationWaitInSeconds=100, MaximumExecutionTimeoutInSeconds=600),
            {"v": 1},
            "must be larger than the total waiting time",
        ),
        ({**config("ALL_AT_ONCE"), "RollingUpdatePolicy": {}}, {"v": 1}, "Only one of"),
        ({"RollingUpdatePolicy": {}}, {"v": 1}, "RollingUpdatePolicy is not implemented"),
    ],
)
def test_refusals(given: dict[str, Any], counts: dict[str, int], words: str) -> None:
    with pytest.raises(ServiceError, match=words):
        blue_green.plan(given, counts)


class Recorder:
    """A stage that writes down what happens, and a clock that `pause` moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.story: list[tuple[float, str]] = []
        self.alarm_at = float("inf")
        self.provisioning: Callable[[], None] = lambda: None
        self.cancel_at = float("inf")

    def clock(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds
        if self.now >= self.cancel_at:
            raise Cancelled

    def tell(self, what: str) -> None:
        self.story.append((round(self.now, 3), what))

    def provision(self) -> None:
        self.provisioning()
        self.tell("provision")

    def shift(self, to: Mapping[str, float]) -> None:
        self.tell(f"shift {to['v']}")

    def phase(self, status: str) -> None:
        self.tell(status)

    def alarm(self, names: tuple[str, ...]) -> str | None:
        assert names == ("latency",)
        return "latency" if self.now >= self.alarm_at else None

    def roll_back(self, reason: str) -> None:
        self.tell("roll back")

    def retire(self) -> None:
        self.tell("retire")

    def carry_out(self, plan: Plan) -> Outcome:
        return blue_green.carry_out(plan, self, self.clock, self.pause)


CANARY = Plan((Step({"v": 0.25}, 10.0), Step({"v": 1.0}, 10.0)), ("latency",), 5.0)


def test_a_canary_that_goes_well() -> None:
    stage = Recorder()
    assert stage.carry_out(CANARY) == Outcome(True)
    assert stage.story == [
        (0, "Creating"),
        (0, "provision"),
        (0, "ActivatingTraffic"),
        (0, "shift 0.25"),
        (0, "Baking"),
        (10, "ActivatingTraffic"),
        (10, "shift 1.0"),
        (10, "Baking"),
        (25, "Deleting"),
        (25, "retire"),
    ]


@pytest.mark.parametrize(("at", "shifts"), [(0.0, 1), (9.9, 1), (10.1, 2), (19.9, 2), (24.9, 2)])
def test_an_alarm_rolls_back_with_an_empty_reason(at: float, shifts: int) -> None:
    stage = Recorder()
    stage.alarm_at = at
    assert stage.carry_out(CANARY) == Outcome(False, "")
    assert [what for _, what in stage.story].count("Baking") == shifts
    assert stage.story[-1][1] == "roll back"
    assert stage.story[-1][0] == pytest.approx(at, abs=0.21)


def test_an_alarm_after_the_old_fleet_has_gone_comes_too_late() -> None:
    stage = Recorder()
    stage.alarm_at = 25.1
    assert stage.carry_out(CANARY).completed


def test_the_termination_wait_is_a_bake_too() -> None:
    stage = Recorder()
    stage.alarm_at = 3.0
    assert stage.carry_out(Plan((Step({"v": 1.0}, 0.0),), ("latency",), 5.0)) == Outcome(False, "")


def test_a_hastened_deployment_bakes_a_shorter_time_and_may_take_as_long() -> None:
    usual = Plan((Step({"v": 0.5}, 180.0), Step({"v": 1.0}, 180.0)), ("latency",), 60.0, 600.0)
    hastened = Plan((Step({"v": 0.5}, 3.0), Step({"v": 1.0}, 3.0)), ("latency",), 1.0, 600.0)
    assert blue_green.hasten(usual, 60.0) == hastened


def test_a_bake_of_no_time_still_looks_at_the_alarms_once() -> None:
    stage = Recorder()
    stage.alarm_at = 0.0
    assert not stage.carry_out(Plan((Step({"v": 1.0}, 0.0),), ("latency",))).completed


def test_a_fleet_that_does_not_come_up_is_rolled_back_with_its_reason() -> None:
    stage = Recorder()

    def fail() -> None:
        raise Unhealthy("no ping")

    stage.provisioning = fail
    assert stage.carry_out(CANARY) == Outcome(False, "no ping")
    assert [what for _, what in stage.story] == ["Creating", "roll back"]


def test_the_time_limit_rolls_back() -> None:
    stage = Recorder()
    outcome = stage.carry_out(Plan((Step({"v": 0.5}, 400.0), Step({"v": 1.0}, 400.0)), (), 0.0, 600.0))
    assert not outcome.completed
    assert "MaximumExecutionTimeoutInSeconds" in str(outcome.reason)
    assert stage.story[-1] == (600, "roll back")


def test_a_cancelled_deployment_undoes_nothing() -> None:
    stage = Recorder()
    stage.cancel_at = 3.0
    with pytest.raises(Cancelled):
        stage.carry_out(CANARY)
    assert "roll back" not in [what for _, what in stage.story]
