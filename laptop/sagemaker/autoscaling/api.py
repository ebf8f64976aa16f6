"""Application Auto Scaling for endpoint variants: registered targets, policies, and tags.

One dimension is offered, `sagemaker:variant:DesiredInstanceCount`, with one predefined metric,
`SageMakerVariantInvocationsPerInstance` (invocations per minute and instance); the rest is refused.

Source: Application Auto Scaling API reference. `target_tracking` does the scaling.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Mapping
from typing import Any, ClassVar

from laptop.sagemaker.autoscaling import target_tracking
from laptop.sagemaker.core import errors
from laptop.sagemaker.core.context import Context
from laptop.sagemaker.core.resources import Kind
from laptop.sagemaker.core.room import Operations, Room
from laptop.sagemaker.core.store import Record, page

TARGET = target_tracking.TARGET
POLICY = target_tracking.POLICY
_NAMESPACE = "sagemaker"
_DIMENSION = "sagemaker:variant:DesiredInstanceCount"
_METRIC = "SageMakerVariantInvocationsPerInstance"
_ROLE = (
    "aws-service-role/sagemaker.application-autoscaling.amazonaws.com/"
    "AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint"
)
_TAG_LIMIT = 50


class Autoscaling(Room):
    """Scalable targets and their policies."""

    SERVICE: ClassVar[str] = "application-autoscaling"

    def __init__(self, context: Context, endpoints: Kind, scaling: target_tracking.Scaling) -> None:
        super().__init__(context)
        self._endpoints = endpoints
        self._scaling = scaling
        self._stopped = threading.Event()

    def start(self) -> None:
        """Scale the endpoints of this cloud from now on."""
        threading.Thread(target=self._scaling.run, args=(self._stopped,), name="autoscaling", daemon=True).start()

    def stop(self) -> None:
        """Scale nothing from now on."""
        self._stopped.set()

    def register_scalable_target(self, request: Record) -> Record:
        """Register a variant, or change its capacities; a capacity out of the new range is brought into it."""
        name = self._check_resource(request)
        existing = self.context.store.get(TARGET, name)
        if existing is None:
            for member in ("MinCapacity", "MaxCapacity"):
                if member not in request:
                    raise errors.validation(f"{member} is required to register a new scalable target")
        target = {
            "RoleARN": f"arn:aws:iam::{self.context.account_id}:role/{_ROLE}",
            "SuspendedState": dict.fromkeys(
                ("DynamicScalingInSuspended", "DynamicScalingOutSuspended", "ScheduledScalingSuspended"), False
            ),
            "CreationTime": time.time(),
            "ScalableTargetARN": f"arn:aws:application-autoscaling:{self.context.region}:{self.context.account_id}:"
            f"scalable-target/{uuid.uuid4().hex[:28]}",
            "Tags": {},
            "_name": name,
            **(existing or {}),
        }
        target["SuspendedState"] = {**target["SuspendedState"], **request.get("SuspendedState", {})}
        target.update({key: value for key, value in request.items() if key not in ("SuspendedState", "Tags")})
        if target["MinCapacity"] > target["MaxCapacity"]:
            raise errors.validation("Maximum capacity cannot be less than minimum capacity")
        if target["MinCapacity"] < 1:
            raise errors.validation("Minimum capacity of a production variant must be at least 1")
        if existing is None:
            target["Tags"] = request.get("Tags", {})
            self.context.store.create(TARGET, name, target)
        else:
            self.context.store.update(TARGET, name, target)
        self._bring_into_range(target)
        return {"ScalableTargetARN": target["ScalableTargetARN"]}

    def deregister_scalable_target(self, request: Record) -> Record:
        """Forget a target and its policies."""
        name = _target_name(request)
        self._get_target(name)
        self._forget_target(name)
        return {}

    def describe_scalable_targets(self, request: Record) -> Record:
        """One page of targets."""
        targets = [
            target
            for target in self.context.store.all(TARGET)
            if _matches(target, request) and target["ResourceId"] in request.get("ResourceIds", [target["ResourceId"]])
        ]
        return page(targets, request, "ScalableTargets", default=50)

    def put_scaling_policy(self, request: Record) -> Record:
        """Create or change a target tracking policy of a registered target."""
        target_name = _target_name(request)
        if self.context.store.get(TARGET, target_name) is None:
            raise errors.ServiceError(
                "ObjectNotFoundException",
                f"No scalable target registered for service namespace: {request['ServiceNamespace']}, resource ID: "
                f"{request['ResourceId']}, scalable dimension: {request['ScalableDimension']}",
            )
        name = f"{request['PolicyName']}|{target_name}"
        existing = self.context.store.get(POLICY, name)
        kind = request.get("PolicyType") or (existing or {}).get("PolicyType", "StepScaling")
        if kind != "TargetTrackingScaling":
            raise errors.validation(
                f"PolicyType {kind} is not implemented by the laptop cloud: use TargetTrackingScaling"
            )
        configuration = request.get("TargetTrackingScalingPolicyConfiguration")
        if configuration is None:
            raise errors.validation("TargetTrackingScalingPolicyConfiguration is required for TargetTrackingScaling")
        _check_configuration(configuration)
        policy = {
            "PolicyARN": f"arn:aws:autoscaling:{self.context.region}:{self.context.account_id}:scalingPolicy:"
            f"{uuid.uuid4()}:resource/{request['ServiceNamespace']}/{request['ResourceId']}:policyName/"
            f"{request['PolicyName']}",
            "CreationTime": time.time(),
            "Alarms": [],
            **(existing or {}),
            **request,
            "PolicyType": kind,
            "_target": target_name,
        }
        if existing is None:
            self.context.store.create(POLICY, name, policy)
        else:
            self.context.store.update(POLICY, name, policy)
        return {"PolicyARN": policy["PolicyARN"], "Alarms": policy["Alarms"]}

    def delete_scaling_policy(self, request: Record) -> Record:
        """Forget a policy."""
        name = f"{request['PolicyName']}|{_target_name(request)}"
        if self.context.store.get(POLICY, name) is None:
            raise errors.ServiceError(
                "ObjectNotFoundException",
                f"No scaling policy found for service namespace: {request['ServiceNamespace']}, resource ID: "
                f"{request['ResourceId']}, scalable dimension: {request['ScalableDimension']}: {request['PolicyName']}",
            )
        self.context.store.delete(POLICY, name)
        return {}

    def describe_scaling_policies(self, request: Record) -> Record:
        """One page of policies."""
        policies = [
            policy
            for policy in self.context.store.all(POLICY)
            if _matches(policy, request)
            and policy["PolicyName"] in request.get("PolicyNames", [policy["PolicyName"]])
            and policy["ResourceId"] == request.get("ResourceId", policy["ResourceId"])
        ]
        return page(policies, request, "ScalingPolicies", default=50)

    def tag_resource(self, request: Record) -> Record:
        """Set tags of a target."""
        target = self._by_arn(request["ResourceARN"])
        tags = {**target["Tags"], **request["Tags"]}
        if len(tags) > _TAG_LIMIT:
            raise errors.ServiceError("TooManyTagsException", f"A resource cannot have more than {_TAG_LIMIT} tags")
        self.context.store.update(TARGET, _target_name(target), {"Tags": tags})
        return {}

    def untag_resource(self, request: Record) -> Record:
        """Remove tags of a target."""
        target = self._by_arn(request["ResourceARN"])
        left = {key: value for key, value in target["Tags"].items() if key not in request["TagKeys"]}
        self.context.store.update(TARGET, _target_name(target), {"Tags": left})
        return {}

    def list_tags_for_resource(self, request: Record) -> Record:
        """Tags of a target."""
        return {"Tags": self._by_arn(request["ResourceARN"])["Tags"]}

    def forget(self, endpoint: str) -> None:
        """Deregister every variant of an endpoint that is being deleted, as SageMaker does."""
        for target in self.context.store.all(TARGET):
            if target_tracking.endpoint_and_variant(target["ResourceId"])[0] == endpoint:
                self._forget_target(_target_name(target))

    def _bring_into_range(self, target: Record) -> None:
        endpoint, variant = target_tracking.endpoint_and_variant(target["ResourceId"])
        current = self._scaling.instances(endpoint, variant)
        if current is not None:
            count = min(max(current, target["MinCapacity"]), target["MaxCapacity"])
            if count != current:
                self._scaling.scale(endpoint, variant, count)

    def _check_resource(self, request: Record) -> str:
        name = _target_name(request)
        endpoint, variant = target_tracking.endpoint_and_variant(request["ResourceId"])
        record = self._endpoints.find(endpoint)
        variants = record["_config"]["ProductionVariants"] if record else []
        # AWS answers ValidationException; its text was not seen.
        if record is None:
            raise errors.validation(f"SageMaker endpoint does not exist: {request['ResourceId']}")
        if variant not in [item["VariantName"] for item in variants]:
            raise errors.validation(f"SageMaker variant does not exist: {request['ResourceId']}")
        return name

    def _get_target(self, name: str) -> Record:
        target = self.context.store.get(TARGET, name)
        if target is None:
            namespace, resource, dimension = name.split("|")
            raise errors.ServiceError(
                "ObjectNotFoundException",
                f"No scalable target found for service namespace: {namespace}, resource ID: {resource}, "
                f"scalable dimension: {dimension}",
            )
        return target

    def _forget_target(self, name: str) -> None:
        store = self.context.store
        for policy in store.all(POLICY):
            if policy["_target"] == name:
                store.delete(POLICY, f"{policy['PolicyName']}|{name}")
        store.delete(TARGET, name)

    def _by_arn(self, arn: str) -> Record:
        for target in self.context.store.all(TARGET):
            if target["ScalableTargetARN"] == arn:
                return target
        raise errors.ServiceError("ResourceNotFoundException", f"The resource {arn} does not exist")

    OPERATIONS: ClassVar[Operations] = {
        "RegisterScalableTarget": register_scalable_target,
        "DeregisterScalableTarget": deregister_scalable_target,
        "DescribeScalableTargets": describe_scalable_targets,
        "PutScalingPolicy": put_scaling_policy,
        "DeleteScalingPolicy": delete_scaling_policy,
        "DescribeScalingPolicies": describe_scaling_policies,
        "TagResource": tag_resource,
        "UntagResource": untag_resource,
        "ListTagsForResource": list_tags_for_resource,
    }


def _check_configuration(configuration: Record) -> None:
    predefined = configuration.get("PredefinedMetricSpecification")
    if ("CustomizedMetricSpecification" in configuration) == (predefined is not None):
        raise errors.validation("Specify one of PredefinedMetricSpecification and CustomizedMetricSpecification")
    if predefined is None or predefined["PredefinedMetricType"] != _METRIC:
        raise errors.validation(f"Only the predefined metric {_METRIC} is implemented by the laptop cloud")
    if configuration["TargetValue"] <= 0:
        raise errors.validation("TargetValue must be greater than 0")
    for member in ("ScaleInCooldown", "ScaleOutCooldown"):
        if configuration.get(member, 0) < 0:
            raise errors.validation(f"{member} must not be negative")


def _target_name(request: Mapping[str, Any]) -> str:
    if request["ServiceNamespace"] != _NAMESPACE or request["ScalableDimension"] != _DIMENSION:
        raise errors.validation("Unsupported service namespace, resource type or scalable dimension")
    target_tracking.endpoint_and_variant(request["ResourceId"])
    return f"{request['ServiceNamespace']}|{request['ResourceId']}|{request['ScalableDimension']}"


def _matches(record: Record, request: Record) -> bool:
    members = ("ServiceNamespace", "ScalableDimension")
    return all(record[member] == request.get(member, record[member]) for member in members)
