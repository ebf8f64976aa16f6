"""Application Auto Scaling of endpoint variants, as clients see it."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.conformance.conftest import wait_until

DIMENSION = {"ServiceNamespace": "sagemaker", "ScalableDimension": "sagemaker:variant:DesiredInstanceCount"}
ONE_TO_TWO = {"MinCapacity": 1, "MaxCapacity": 2}
METRIC = {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"}


def resource(name: str, variant: str = "AllTraffic") -> dict[str, str]:
    return {**DIMENSION, "ResourceId": f"endpoint/{name}/variant/{variant}"}


def policy(name: str, **configuration: Any) -> dict[str, Any]:
    tracking = {"TargetValue": 5.0, "PredefinedMetricSpecification": METRIC, **configuration}
    return {
        **resource(name),
        "PolicyName": "by-load",
        "PolicyType": "TargetTrackingScaling",
        "TargetTrackingScalingPolicyConfiguration": tracking,
    }


def test_load_adds_instances_up_to_the_maximum(hosting: Any) -> None:
    name = hosting.serving()
    scaling = hosting.cloud.client("application-autoscaling")
    arn = scaling.register_scalable_target(**resource(name), MinCapacity=1, MaxCapacity=3, Tags={"Project": "x"})[
        "ScalableTargetARN"
    ]
    assert scaling.list_tags_for_resource(ResourceARN=arn)["Tags"] == {"Project": "x"}
    scaling.tag_resource(ResourceARN=arn, Tags={"Stage": "dev"})
    assert scaling.list_tags_for_resource(ResourceARN=arn)["Tags"] == {"Project": "x", "Stage": "dev"}
    scaling.put_scaling_policy(**policy(name, ScaleOutCooldown=0, ScaleInCooldown=600))
    kept = scaling.describe_scaling_policies(**resource(name))["ScalingPolicies"]
    assert [item["PolicyName"] for item in kept] == ["by-load"]
    assert kept[0]["TargetTrackingScalingPolicyConfiguration"]["TargetValue"] == 5.0
    for _ in range(30):
        hosting.invoke(name)

    def instances() -> int:
        return hosting.describe(name)["ProductionVariants"][0]["CurrentInstanceCount"]

    wait_until(lambda: instances() == 3)
    hosting.in_service(name)
    hosting.invoke(name)


def test_a_minimum_above_the_count_is_reached_at_once(hosting: Any, listener: Any) -> None:
    name = hosting.serving()
    before = hosting.describe(name)["LastModifiedTime"]
    scaling = hosting.cloud.client("application-autoscaling")
    scaling.register_scalable_target(**resource(name), MinCapacity=2, MaxCapacity=2)
    wait_until(lambda: hosting.describe(name)["ProductionVariants"][0]["CurrentInstanceCount"] == 2)
    # Scaling is an update as any other: who looks at the status must not take it for a deployment.
    assert hosting.until(name, "InService")["LastModifiedTime"] > before
    arn = hosting.cloud.arn("sagemaker", f"endpoint/{name}")

    def statuses() -> list[str]:
        return [event["detail"]["EndpointStatus"] for event in listener(lambda event: event["resources"] == [arn])]

    wait_until(lambda: set(statuses()) == {"CREATING", "UPDATING", "IN_SERVICE"})


def test_a_target_goes_with_its_endpoint(hosting: Any) -> None:
    name = hosting.serving()
    scaling = hosting.cloud.client("application-autoscaling")
    scaling.register_scalable_target(**resource(name), MinCapacity=1, MaxCapacity=2)
    scaling.put_scaling_policy(**policy(name))
    hosting.api.delete_endpoint(EndpointName=name)
    wait_until(lambda: hosting.gone(name))
    ids = {"ServiceNamespace": "sagemaker", "ResourceIds": [resource(name)["ResourceId"]]}
    assert scaling.describe_scalable_targets(**ids)["ScalableTargets"] == []
    assert scaling.describe_scaling_policies(**resource(name))["ScalingPolicies"] == []


def test_targets_and_policies_can_be_taken_back(hosting: Any) -> None:
    name = hosting.serving()
    scaling = hosting.cloud.client("application-autoscaling")
    scaling.register_scalable_target(**resource(name), MinCapacity=1, MaxCapacity=2)
    scaling.register_scalable_target(**resource(name), MaxCapacity=4)
    ids = {"ServiceNamespace": "sagemaker", "ResourceIds": [resource(name)["ResourceId"]]}
    found = scaling.describe_scalable_targets(**ids)["ScalableTargets"]
    assert [(item["MinCapacity"], item["MaxCapacity"]) for item in found] == [(1, 4)]
    scaling.put_scaling_policy(**policy(name))
    scaling.delete_scaling_policy(**resource(name), PolicyName="by-load")
    scaling.deregister_scalable_target(**resource(name))
    assert scaling.describe_scalable_targets(**ids)["ScalableTargets"] == []
    for again in (
        lambda: scaling.deregister_scalable_target(**resource(name)),
        lambda: scaling.delete_scaling_policy(**resource(name), PolicyName="by-load"),
    ):
        with pytest.raises(ClientError) as caught:
            again()
        assert caught.value.response["Error"]["Code"] == "ObjectNotFoundException"


@pytest.fixture(scope="module")
def shared(prepared: Any) -> Any:
    name = prepared.serving()
    prepared.cloud.client("application-autoscaling").register_scalable_target(
        **resource(name), MinCapacity=1, MaxCapacity=2
    )
    yield name
    prepared.api.delete_endpoint(EndpointName=name)


@pytest.mark.parametrize(
    ("operation", "members", "code", "words"),
    [
        ("register_scalable_target", {**resource("none"), **ONE_TO_TWO}, "Validation", "not exist"),
        ("register_scalable_target", {"variant": "none", **ONE_TO_TWO}, "Validation", "not exist"),
        ("register_scalable_target", {"MinCapacity": 3, "MaxCapacity": 2}, "Validation", "cannot be less than minimum"),
        ("register_scalable_target", {"MinCapacity": 0, "MaxCapacity": 2}, "Validation", "at least 1"),
        ("register_scalable_target", {"ServiceNamespace": "ecs"}, "Validation", "Unsupported service namespace"),
        ("register_scalable_target", {"ResourceId": "endpoint/x"}, "Validation", "Unsupported service namespace"),
        ("register_scalable_target", {"ServiceNamespace": "nowhere"}, "Validation", "enum value set"),
        ("put_scaling_policy", policy("none"), "ObjectNotFound", "No scalable target registered"),
        ("put_scaling_policy", {"PolicyName": "p", "PolicyType": "StepScaling"}, "Validation", "not implemented"),
        ("put_scaling_policy", {"PolicyName": "p", "PolicyType": "TargetTrackingScaling"}, "Validation", "is required"),
    ],
)
def test_refused(hosting: Any, shared: str, operation: str, members: dict[str, Any], code: str, words: str) -> None:
    request = dict(members)
    chosen = {**resource(shared, request.pop("variant", "AllTraffic")), **request}
    with pytest.raises(ClientError) as caught:
        getattr(hosting.cloud.client("application-autoscaling"), operation)(**chosen)
    assert caught.value.response["Error"]["Code"] == f"{code}Exception"
    assert words in caught.value.response["Error"]["Message"]


@pytest.mark.parametrize(
    ("configuration", "words"),
    [
        ({"TargetValue": 0.0}, "greater than 0"),
        ({"ScaleInCooldown": -1}, "must not be negative"),
        ({"PredefinedMetricSpecification": {"PredefinedMetricType": "ECSServiceAverageCPUUtilization"}}, "Only"),
    ],
)
def test_refused_policies(hosting: Any, shared: str, configuration: dict[str, Any], words: str) -> None:
    with pytest.raises(ClientError, match=words):
        hosting.cloud.client("application-autoscaling").put_scaling_policy(**policy(shared, **configuration))
