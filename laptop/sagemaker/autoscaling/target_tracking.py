"""Target tracking: how many instances a variant should have, and giving it them.

Source: Application Auto Scaling user guide, "Target tracking scaling policies": scale out to
ceil(instances * metric / target) as soon as the metric is above the target and the cooldown is over; scale in late,
and only when asked to.
"""

from __future__ import annotations

import logging
import math
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from laptop.sagemaker.core import errors
from laptop.sagemaker.core.context import Context
from laptop.sagemaker.core.resources import Kind
from laptop.sagemaker.core.store import Store
from laptop.sagemaker.endpoints import metrics
from laptop.sagemaker.endpoints.api import Endpoints

log = logging.getLogger(__name__)

TARGET = "scalable-target"
POLICY = "scaling-policy"
_RESOURCE = re.compile(r"endpoint/([^/]+)/variant/([^/]+)")
_COOLDOWN_SECONDS = 300
_LOOK_SECONDS = 5.0
_WINDOW_SECONDS = 60.0
# A scale-in waits until the metric has been low for this long (15 one-minute periods on AWS).
_LOW_SECONDS = 900.0


def endpoint_and_variant(resource_id: str) -> tuple[str, str]:
    """The names in `endpoint/<name>/variant/<name>`. Raises ValidationException."""
    match = _RESOURCE.fullmatch(resource_id)
    if match is None:
        raise errors.validation("Unsupported service namespace, resource type or scalable dimension")
    return match[1], match[2]


@dataclass
class Tracker:
    """Decides the instance count of one variant from the invocations seen. Times in seconds of any one clock."""

    last_out: float = float("-inf")
    last_in: float = float("-inf")
    low_since: float | None = None

    def decide(
        self, now: float, current: int, per_instance: float, target: Mapping[str, Any], policy: Mapping[str, Any]
    ) -> int:
        """The count to have now. `per_instance` is invocations per minute and instance over the last minute."""
        needed = math.ceil(current * per_instance / policy["TargetValue"]) if per_instance > 0 else 0
        desired = min(max(needed, int(target["MinCapacity"])), int(target["MaxCapacity"]))
        suspended = target["SuspendedState"]
        if desired >= current:
            self.low_since = None
        elif self.low_since is None:
            self.low_since = now
        if desired > current:
            if suspended["DynamicScalingOutSuspended"]:
                return current
            if now - self.last_out < policy.get("ScaleOutCooldown", _COOLDOWN_SECONDS):
                return current
            self.last_out = now
            return desired
        if desired < current:
            if suspended["DynamicScalingInSuspended"] or policy.get("DisableScaleIn"):
                return current
            cooldown = policy.get("ScaleInCooldown", _COOLDOWN_SECONDS)
            # On AWS the metric has to be low for 15 minutes first; a short cooldown asks for less patience here.
            patience = min(_LOW_SECONDS, cooldown)
            assert self.low_since is not None
            if now - max(self.last_out, self.last_in) < cooldown or now - self.low_since < patience:
                return current
            self.last_in = now
            self.low_since = None
            return desired
        return current


@dataclass
class Loop:
    """Looks at every policy in turn. What it reads and does is given, so that it runs without a cloud."""

    store: Store
    clock: Callable[[], float]
    invocations_per_instance: Callable[[str, str], float]
    instances: Callable[[str, str], int | None]
    scale: Callable[[str, str, int], None]
    trackers: dict[str, Tracker] = field(default_factory=dict)

    def look(self) -> None:
        """One round: each target gets the largest count that any of its policies asks for."""
        for target in self.store.all(TARGET):
            endpoint, variant = endpoint_and_variant(target["ResourceId"])
            current = self.instances(endpoint, variant)
            policies = [item for item in self.store.all(POLICY) if item["_target"] == target["_name"]]
            if current is None or not policies:
                continue
            metric = self.invocations_per_instance(endpoint, variant)
            counts = [
                self.trackers.setdefault(policy["PolicyARN"], Tracker()).decide(
                    self.clock(), current, metric, target, policy["TargetTrackingScalingPolicyConfiguration"]
                )
                for policy in policies
            ]
            if (count := max(counts)) != current:
                self.scale(endpoint, variant, count)


class Scaling:
    """The variants of one cloud: how busy they are, how many instances they have, and giving them others."""

    def __init__(self, context: Context, endpoints: Kind, api: Endpoints) -> None:
        self._context = context
        self._kind = endpoints
        self._endpoints = api

    def run(self, stopped: threading.Event) -> None:
        """Scale the endpoints until stopped."""
        loop = Loop(self._context.store, time.monotonic, self.invocations_per_instance, self.instances, self.scale)
        while not stopped.wait(_LOOK_SECONDS):
            try:
                loop.look()
            except Exception:
                log.exception("autoscaling")

    def invocations_per_instance(self, endpoint: str, variant: str) -> float:
        """Invocations per instance of a variant in the last minute."""
        now = time.time()
        answer = self._context.client("cloudwatch").get_metric_statistics(
            Namespace=metrics.NAMESPACE,
            MetricName="InvocationsPerInstance",
            Dimensions=[{"Name": "EndpointName", "Value": endpoint}, {"Name": "VariantName", "Value": variant}],
            StartTime=now - _WINDOW_SECONDS,
            EndTime=now,
            Period=int(_WINDOW_SECONDS),
            Statistics=["Sum"],
        )
        return float(sum(point["Sum"] for point in answer["Datapoints"]))

    def instances(self, endpoint: str, variant: str) -> int | None:
        """Instances of a variant that may be scaled now; None while its endpoint is in progress or gone."""
        record = self._kind.find(endpoint)
        if record is None or record["EndpointStatus"] != "InService":
            return None
        for shown in record["ProductionVariants"]:
            if shown["VariantName"] == variant:
                return int(shown["CurrentInstanceCount"])
        return None

    def scale(self, endpoint: str, variant: str, count: int) -> None:
        """Ask SageMaker for so many instances, as Application Auto Scaling does."""
        desired = [{"VariantName": variant, "DesiredInstanceCount": count}]
        try:
            self._endpoints.update_weights_and_capacities(
                {"EndpointName": endpoint, "DesiredWeightsAndCapacities": desired}
            )
        except errors.ServiceError as error:
            log.warning("autoscaling of %s/%s to %d instances: %s", endpoint, variant, count, error)
