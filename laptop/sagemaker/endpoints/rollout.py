"""A deployment on the processes of one endpoint: the green fleet starts beside the blue one and takes its place."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from laptop.sagemaker.core.context import Context
from laptop.sagemaker.core.store import Record
from laptop.sagemaker.endpoints import describe, invocations
from laptop.sagemaker.endpoints.instances import Fleet


def alarm_states(context: Context, names: Sequence[str]) -> dict[str, str]:
    """State of the CloudWatch alarms (metric and composite) of these names that exist."""
    if not names:
        return {}
    answer = context.client("cloudwatch").describe_alarms(
        AlarmNames=list(names), AlarmTypes=["MetricAlarm", "CompositeAlarm"]
    )
    return {alarm["AlarmName"]: alarm["StateValue"] for alarm in answer["MetricAlarms"] + answer["CompositeAlarms"]}


class Endpoint(Protocol):
    """What a deployment needs of the endpoint that it changes."""

    name: str
    context: Context
    cancelled: threading.Event
    fleet: Fleet | None
    traffic: invocations.Traffic | None

    def build(self, config: Record) -> Fleet:
        """Start the instances of a config. Raises Unhealthy."""

    def change(self, status: str | None, **fields: Any) -> Record:
        """Set fields of the endpoint's record, and its status; returns the record."""

    def pause(self, seconds: float) -> None:
        """Wait. Raises Cancelled."""


class Rollout:
    """A blue_green.Stage over one endpoint's processes. `stranded` says why a rollback did not bring service back."""

    def __init__(self, endpoint: Endpoint, config: Record, began: float) -> None:
        self._endpoint = endpoint
        self._config = config
        self._green: Fleet | None = None
        self._began = began
        self.stranded = ""

    def provision(self) -> None:
        """Start the green fleet and wait until it is healthy."""
        self._green = self._endpoint.build(self._config)
        self._green.wait_healthy(self._endpoint.cancelled)

    def shift(self, shares: Mapping[str, float]) -> None:
        """Give the green fleet this part of each variant's traffic."""
        traffic = self._traffic()
        traffic.shares = shares
        traffic.green = self._green

    def phase(self, status: str) -> None:
        """Write the phase into the endpoint's record and announce it."""
        variants = []
        for variant in self._config["ProductionVariants"]:
            count = len(self._green.variants[variant["VariantName"]].ready()) if self._green else 0
            step = {"Status": status, "StatusMessage": "", "StartTime": time.time()}
            variants.append({**describe.variant(variant, count), "VariantStatus": [step]})
        summary = {
            "EndpointConfigName": self._config["EndpointConfigName"],
            "StartTime": self._began,
            "ProductionVariants": variants,
        }
        record = self._endpoint.change(None, PendingDeploymentSummary=summary)
        describe.announce_deployment(self._endpoint.context, record)

    def alarm(self, names: tuple[str, ...]) -> str | None:
        """The first of these CloudWatch alarms that is in ALARM."""
        return next(
            (name for name, state in alarm_states(self._endpoint.context, names).items() if state == "ALARM"), None
        )

    def roll_back(self, reason: str) -> None:
        """Give all traffic back to the blue fleet, end the green one, and wait until the blue one is healthy.

        The reason is written down: a cloud that is killed meanwhile goes on with the rollback, not with the update.
        """
        endpoint = self._endpoint
        endpoint.change("RollingBack", _rollback_reason=reason)
        traffic = self._traffic()
        traffic.shares = {}
        traffic.green = None
        if self._green:
            self._green.stop()
        blue = traffic.fleet
        deadline = time.monotonic() + max(variant.startup_seconds for variant in blue.variants.values())
        while missing := [name for name, variant in blue.variants.items() if not variant.ready()]:
            if time.monotonic() > deadline:
                self.stranded = f"No instance of production variant {missing[0]} is healthy after the rollback."
                return
            endpoint.pause(0.1)

    def retire(self) -> None:
        """Make the green fleet the only one."""
        endpoint, traffic, green = self._endpoint, self._traffic(), self._green
        assert green is not None
        blue, traffic.fleet, endpoint.fleet = traffic.fleet, green, green
        traffic.weights = invocations.weights(self._config)
        traffic.shares = {}
        traffic.green = None
        blue.stop()

    def abandon(self) -> None:
        """End the green fleet of a deployment that was cancelled."""
        if self._green and self._green is not self._endpoint.fleet:
            self._green.stop()

    def _traffic(self) -> invocations.Traffic:
        assert self._endpoint.traffic is not None
        return self._endpoint.traffic
