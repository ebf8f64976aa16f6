"""Application Auto Scaling for endpoint variants: registered targets, policies, and tags.

One dimension is offered, `sagemaker:variant:DesiredInstanceCount`, with one predefined metric,
`SageMakerVariantInvocationsPerInstance` (invocations per minute and instance); the rest is refused.

Source: Application Auto Scaling API reference. `target_tracking` does the scaling.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from laptop.sagemaker.autoscaling import target_tracking
from laptop.sagemaker.core import context, errors
from laptop.sagemaker.core.store import Record, page
from laptop.sagemaker.endpoints.kinds import ENDPOINTS

SERVICE = "application-autoscaling"
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


def register_scalable_target(request: Record) -> Record:
    """Register a variant, or change its capacities; a capacity out of the new range is brought into it."""
    current = context.current()
    name = _check_resource(request)
    existing = current.store.get(TARGET, name)
    if existing is None:
        for member in ("MinCapacity", "MaxCapacity"):
            if member not in request:
                raise errors.validation(f"{member} is required to register a new scalable target")
    target = {
        "RoleARN": f"arn:aws:iam::{current.account_id}:role/{_ROLE}",
        "SuspendedState": dict.fromkeys(
            ("DynamicScalingInSuspended", "DynamicScalingOutSuspended", "ScheduledScalingSuspended"), False
        ),
        "CreationTime": time.time(),
        "ScalableTargetARN": f"arn:aws:application-autoscaling:{current.region}:{current.account_id}:scalable-target/"
        f"{uuid.uuid4().hex[:28]}",
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
        current.store.create(TARGET, name, target)
    else:
        current.store.update(TARGET, name, target)
    _bring_into_range(target)
    return {"ScalableTargetARN": target["ScalableTargetARN"]}


def deregister_scalable_target(request: Record) -> Record:
    """Forget a target and its policies."""
    name = _target_name(request)
    _get_target(name)
    _forget_target(name)
    return {}


def describe_scalable_targets(request: Record) -> Record:
    """One page of targets."""
    targets = [
        target
        for target in context.current().store.all(TARGET)
        if _matches(target, request) and target["ResourceId"] in request.get("ResourceIds", [target["ResourceId"]])
    ]
    return page(targets, request, "ScalableTargets", default=50)


def put_scaling_policy(request: Record) -> Record:
    """Create or change a target tracking policy of a registered target."""
    current = context.current()
    target_name = _target_name(request)
    if current.store.get(TARGET, target_name) is None:
        raise errors.ServiceError(
            "ObjectNotFoundException",
            f"No scalable target registered for service namespace: {request['ServiceNamespace']}, resource ID: "
            f"{request['ResourceId']}, scalable dimension: {request['ScalableDimension']}",
        )
    name = f"{request['PolicyName']}|{target_name}"
    existing = current.store.get(POLICY, name)
    kind = request.get("PolicyType") or (existing or {}).get("PolicyType", "StepScaling")
    if kind != "TargetTrackingScaling":
        raise errors.validation(f"PolicyType {kind} is not implemented by the laptop cloud: use TargetTrackingScaling")
    configuration = request.get("TargetTrackingScalingPolicyConfiguration")
    if configuration is None:
        raise errors.validation("TargetTrackingScalingPolicyConfiguration is required for TargetTrackingScaling")
    _check_configuration(configuration)
    policy = {
        "PolicyARN": f"arn:aws:autoscaling:{current.region}:{current.account_id}:scalingPolicy:{uuid.uuid4()}:resource/"
        f"{request['ServiceNamespace']}/{request['ResourceId']}:policyName/{request['PolicyName']}",
        "CreationTime": time.time(),
        "Alarms": [],
        **(existing or {}),
        **request,
        "PolicyType": kind,
        "_target": target_name,
    }
    if existing is None:
        current.store.create(POLICY, name, policy)
    else:
        current.store.update(POLICY, name, policy)
    return {"PolicyARN": policy["PolicyARN"], "Alarms": policy["Alarms"]}


def delete_scaling_policy(request: Record) -> Record:
    """Forget a policy."""
    current = context.current()
    name = f"{request['PolicyName']}|{_target_name(request)}"
    if current.store.get(POLICY, name) is None:
        raise errors.ServiceError(
            "ObjectNotFoundException",
            f"No scaling policy found for service namespace: {request['ServiceNamespace']}, resource ID: "
            f"{request['ResourceId']}, scalable dimension: {request['ScalableDimension']}: {request['PolicyName']}",
        )
    current.store.delete(POLICY, name)
    return {}


def describe_scaling_policies(request: Record) -> Record:
    """One page of policies."""
    policies = [
        policy
        for policy in context.current().store.all(POLICY)
        if _matches(policy, request)
        and policy["PolicyName"] in request.get("PolicyNames", [policy["PolicyName"]])
        and policy["ResourceId"] == request.get("ResourceId", policy["ResourceId"])
    ]
    return page(policies, request, "ScalingPolicies", default=50)


def tag_resource(request: Record) -> Record:
    """Set tags of a target."""
    target = _by_arn(request["ResourceARN"])
    tags = {**target["Tags"], **request["Tags"]}
    if len(tags) > _TAG_LIMIT:
        raise errors.ServiceError("TooManyTagsException", f"A resource cannot have more than {_TAG_LIMIT} tags")
    context.current().store.update(TARGET, _target_name(target), {"Tags": tags})
    return {}


def untag_resource(request: Record) -> Record:
    """Remove tags of a target."""
    target = _by_arn(request["ResourceARN"])
    left = {key: value for key, value in target["Tags"].items() if key not in request["TagKeys"]}
    context.current().store.update(TARGET, _target_name(target), {"Tags": left})
    return {}


def list_tags_for_resource(request: Record) -> Record:
    """Tags of a target."""
    return {"Tags": _by_arn(request["ResourceARN"])["Tags"]}


_stopped = threading.Event()


def start() -> None:
    """Scale the endpoints of this cloud from now on."""
    _stopped.clear()
    threading.Thread(target=target_tracking.run, args=(_stopped,), name="autoscaling", daemon=True).start()


def stop() -> None:
    """Scale nothing from now on."""
    _stopped.set()


def forget(endpoint: str) -> None:
    """Deregister every variant of an endpoint that is being deleted, as SageMaker does."""
    for target in context.current().store.all(TARGET):
        if target_tracking.endpoint_and_variant(target["ResourceId"])[0] == endpoint:
            _forget_target(_target_name(target))


def _bring_into_range(target: Record) -> None:
    endpoint, variant = target_tracking.endpoint_and_variant(target["ResourceId"])
    current = target_tracking.instances(endpoint, variant)
    if current is not None:
        count = min(max(current, target["MinCapacity"]), target["MaxCapacity"])
        if count != current:
            target_tracking.scale(endpoint, variant, count)


def _check_resource(request: Record) -> str:
    name = _target_name(request)
    endpoint, variant = target_tracking.endpoint_and_variant(request["ResourceId"])
    record = ENDPOINTS.find(endpoint)
    variants = record["_config"]["ProductionVariants"] if record else []
    # AWS answers ValidationException; its text was not seen.
    if record is None:
        raise errors.validation(f"SageMaker endpoint does not exist: {request['ResourceId']}")
    if variant not in [item["VariantName"] for item in variants]:
        raise errors.validation(f"SageMaker variant does not exist: {request['ResourceId']}")
    return name


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


def _get_target(name: str) -> Record:
    target = context.current().store.get(TARGET, name)
    if target is None:
        namespace, resource, dimension = name.split("|")
        raise errors.ServiceError(
            "ObjectNotFoundException",
            f"No scalable target found for service namespace: {namespace}, resource ID: {resource}, "
            f"scalable dimension: {dimension}",
        )
    return target


def _forget_target(name: str) -> None:
    store = context.current().store
    for policy in store.all(POLICY):
        if policy["_target"] == name:
            store.delete(POLICY, f"{policy['PolicyName']}|{name}")
    store.delete(TARGET, name)


def _matches(record: Record, request: Record) -> bool:
    members = ("ServiceNamespace", "ScalableDimension")
    return all(record[member] == request.get(member, record[member]) for member in members)


def _by_arn(arn: str) -> Record:
    for target in context.current().store.all(TARGET):
        if target["ScalableTargetARN"] == arn:
            return target
    raise errors.ServiceError("ResourceNotFoundException", f"The resource {arn} does not exist")


OPERATIONS: dict[str, Callable[[Record], Record]] = {
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
