"""Deployment guardrails: planning a blue/green update, and carrying it out.

`plan` turns a DeploymentConfig into steps of traffic and baking periods and refuses what SageMaker refuses;
`carry_out` walks the steps on a `Stage` and says how it ended. Neither knows of processes, HTTP or the wall clock.

Sources: "Deployment guardrails for updating models in production" (all at once, canary, linear, auto-rollback) and the
API reference of BlueGreenUpdatePolicy, TrafficRoutingConfig and CapacitySize.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from laptop.sagemaker.core.errors import unsupported_operation, validation

DEFAULT_MAXIMUM_EXECUTION_SECONDS = 28800.0
# As on AWS, DescribeEndpoint shows none after a rollback by an alarm.
NO_REASON = ""
_POLL_SECONDS = 0.2
_MAXIMUM_CANARY = 0.5
_LINEAR_RANGE = (0.1, 0.5)


@dataclass(frozen=True)
class Step:
    """One shift of traffic: the part of it, by variant, that the new fleet serves from now on (0..1), then a bake."""

    shares: Mapping[str, float]
    bake_seconds: float


@dataclass(frozen=True)
class Plan:
    """A deployment: its steps, the alarms that roll it back, and its limits in seconds."""

    steps: tuple[Step, ...]
    alarms: tuple[str, ...] = ()
    termination_wait_seconds: float = 0.0
    maximum_execution_seconds: float = DEFAULT_MAXIMUM_EXECUTION_SECONDS


@dataclass(frozen=True)
class Outcome:
    """How a deployment ended. `reason` is None when it completed; an alarm's is empty, as on AWS (see `carry_out`)."""

    completed: bool
    reason: str | None = None


class Unhealthy(Exception):
    """A fleet that did not come up; the text is what DescribeEndpoint shows as FailureReason."""


class Cancelled(Exception):
    """The endpoint was deleted, or the cloud stops: leave everything as it is."""


class Stage(Protocol):
    """What a deployment acts on."""

    def provision(self) -> None:
        """Start the new fleet and wait for it. Raises Unhealthy or Cancelled."""

    def shift(self, shares: Mapping[str, float]) -> None:
        """Give the new fleet this part of each variant's traffic."""

    def phase(self, status: str) -> None:
        """Announce what happens now: Creating, ActivatingTraffic, Baking or Deleting."""

    def alarm(self, names: tuple[str, ...]) -> str | None:
        """The first of these CloudWatch alarms that is in ALARM."""

    def roll_back(self, reason: str) -> None:
        """Give all traffic back to the old fleet and remove the new one; `reason` is the outcome's."""

    def retire(self) -> None:
        """Make the new fleet the only one."""


def plan(config: Mapping[str, Any] | None, instance_counts: Mapping[str, int]) -> Plan:
    """The plan for a DeploymentConfig and the new fleet's instances by variant.

    No config is SageMaker's default: all at once, no baking, no alarms. Raises ValidationException where SageMaker's
    documents say a value is out of range (a canary of more than half of the fleet, a linear step outside 10-50 %,
    waits that do not fit the maximum execution time) or needs a member that is not there.
    """
    config = config or {}
    if "RollingUpdatePolicy" in config:
        if "BlueGreenUpdatePolicy" in config:
            raise validation("Only one of BlueGreenUpdatePolicy and RollingUpdatePolicy can be specified.")
        raise unsupported_operation("RollingUpdatePolicy")
    policy = config.get("BlueGreenUpdatePolicy")
    if policy is None:
        return Plan((Step(dict.fromkeys(instance_counts, 1.0), 0.0),), alarms(config))

    routing = policy["TrafficRoutingConfiguration"]
    bake = float(routing["WaitIntervalInSeconds"])
    wait = float(policy.get("TerminationWaitInSeconds", 0))
    limit = float(policy.get("MaximumExecutionTimeoutInSeconds", DEFAULT_MAXIMUM_EXECUTION_SECONDS))
    if bake + wait >= limit:
        raise validation(
            "MaximumExecutionTimeoutInSeconds must be larger than the total waiting time specified in "
            "TerminationWaitInSeconds and WaitIntervalInSeconds."
        )
    shares = [{name: _share(level, count) for name, count in instance_counts.items()} for level in _levels(routing)]
    _check_sizes(routing, instance_counts)
    # Variants of different size, or a linear step past the whole fleet, can leave levels where nothing shifts.
    shifts = [share for before, share in zip([None, *shares], shares, strict=False) if share != before]
    return Plan(tuple(Step(share, bake) for share in shifts), alarms(config), wait, limit)


def alarms(config: Mapping[str, Any] | None) -> tuple[str, ...]:
    """The alarms that roll a deployment with this DeploymentConfig back."""
    return tuple(alarm["AlarmName"] for alarm in (config or {}).get("AutoRollbackConfiguration", {}).get("Alarms", []))


def hasten(deployment: Plan, speed: float) -> Plan:
    """The same deployment with waits that are `speed` times as short. Its time limit stays: it is for what works."""
    steps = tuple(replace(step, bake_seconds=step.bake_seconds / speed) for step in deployment.steps)
    return replace(deployment, steps=steps, termination_wait_seconds=deployment.termination_wait_seconds / speed)


def _levels(routing: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The sizes the new fleet passes through, the last being all of it."""
    kind = routing["Type"]
    everything = {"Type": "CAPACITY_PERCENT", "Value": 100}
    for member, owner in (("CanarySize", "CANARY"), ("LinearStepSize", "LINEAR")):
        if kind == owner and member not in routing:
            raise validation(f"{member} must be specified when TrafficRoutingConfiguration Type is {owner}.")
        if kind != owner and member in routing:
            raise validation(f"{member} can only be specified when TrafficRoutingConfiguration Type is {owner}.")
    if kind == "CANARY":
        return [routing["CanarySize"], everything]
    if kind == "LINEAR":
        size = routing["LinearStepSize"]
        # A step of n instances reaches each variant's whole fleet after its own number of steps; `_share` stops at 1.
        if size["Type"] == "CAPACITY_PERCENT":
            count = -(-100 // size["Value"])
            return [{"Type": size["Type"], "Value": min(size["Value"] * step, 100)} for step in range(1, count + 1)]
        return [{"Type": size["Type"], "Value": size["Value"] * step} for step in range(1, 11)]
    return [everything]


def _share(size: Mapping[str, Any], count: int) -> float:
    whole = 100 if size["Type"] == "CAPACITY_PERCENT" else max(count, 1)
    return min(float(size["Value"]) / whole, 1.0)


def _check_sizes(routing: Mapping[str, Any], instance_counts: Mapping[str, int]) -> None:
    member = {"CANARY": "CanarySize", "LINEAR": "LinearStepSize"}.get(routing["Type"])
    if member is None:
        return
    lowest, highest = (0.0, _MAXIMUM_CANARY) if member == "CanarySize" else _LINEAR_RANGE
    for name, count in instance_counts.items():
        if count < 2:
            raise validation(
                f"{member} must be less than or equal to 50% of the variant's total instance count: production variant "
                f"{name} has {count} instance. Use at least 2 instances or ALL_AT_ONCE."
            )
        share = _share(routing[member], count)
        if not lowest <= share <= highest:
            bounds = f"less than or equal to {highest:.0%}" if member == "CanarySize" else "10-50%"
            raise validation(
                f"{member} must be {bounds} of the variant's total instance count: it is {share:.0%} of production "
                f"variant {name}."
            )


def carry_out(deployment: Plan, stage: Stage, clock: Callable[[], float], pause: Callable[[float], None]) -> Outcome:
    """Walk the steps; on an alarm, a fleet that does not come up, or the time limit, roll back.

    `clock` gives seconds, `pause` waits that long and may raise Cancelled, which is passed on with nothing undone.
    The outcome of an alarm carries an empty reason: after such a rollback DescribeEndpoint shows InService, the old
    config and no FailureReason, which is why a caller has to compare config names.
    """
    deadline = clock() + deployment.maximum_execution_seconds
    try:
        stage.phase("Creating")
        stage.provision()
    except Unhealthy as error:
        return roll_back(stage, str(error))

    for step in deployment.steps:
        stage.phase("ActivatingTraffic")
        stage.shift(step.shares)
        stage.phase("Baking")
        reason = _bake(deployment, stage, clock, pause, clock() + step.bake_seconds, deadline)
        if reason is not None:
            return roll_back(stage, reason)

    # All traffic is on the new fleet and the old one still stands: until it is ended, an alarm can bring it back. That
    # is the only bake of an all-at-once update in AWS's example, which has no wait but TerminationWaitInSeconds.
    if deployment.termination_wait_seconds:
        until = clock() + deployment.termination_wait_seconds
        reason = _bake(deployment, stage, clock, pause, until, deadline)
        if reason is not None:
            return roll_back(stage, reason)
    stage.phase("Deleting")
    stage.retire()
    return Outcome(True)


def roll_back(stage: Stage, reason: str) -> Outcome:
    """End a deployment on the old fleet."""
    stage.roll_back(reason)
    return Outcome(False, reason)


def _bake(
    deployment: Plan,
    stage: Stage,
    clock: Callable[[], float],
    pause: Callable[[float], None],
    until: float,
    deadline: float,
) -> str | None:
    """Wait out a baking period, looking at the alarms at least once. The reason to roll back, or None."""
    while True:
        if deployment.alarms and stage.alarm(deployment.alarms) is not None:
            return NO_REASON
        now = clock()
        if now >= deadline:
            return "The deployment did not complete within MaximumExecutionTimeoutInSeconds."
        if now >= until:
            return None
        pause(min(until - now, _POLL_SECONDS))
