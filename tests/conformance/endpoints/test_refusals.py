"""What hosting refuses, with AWS's codes and, where they are known, AWS's words."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from laptop.account import client_settings, read_keys
from tests.conformance.endpoints.conftest import IMAGE

ANY = "ValidationException"
AT_LEAST_0 = "greater than or equal to 0"
AT_LEAST_1 = "greater than or equal to 1"
NO_CONFIG = "Could not find endpoint configuration"


@dataclass
class Ground:
    """What the requests below are made of."""

    hosting: Any
    role: str
    model: str
    config: str
    endpoint: str
    failed: str
    pending_package: str
    untrusting_role: str

    def arn(self, resource: str) -> str:
        return self.hosting.cloud.arn("sagemaker", resource)


@pytest.fixture(scope="module")
def ground(prepared: Any) -> Any:
    cloud = prepared.cloud
    group = cloud.name("group")
    prepared.api.create_model_package_group(ModelPackageGroupName=group)
    containers = [{"Image": IMAGE, "ModelDataUrl": prepared.data("package.tar.gz", weights="packaged")}]
    package = prepared.api.create_model_package(
        ModelPackageGroupName=group,
        ModelApprovalStatus="PendingManualApproval",
        InferenceSpecification={
            "Containers": containers,
            "SupportedContentTypes": ["image/jpeg"],
            "SupportedResponseMIMETypes": ["application/json"],
        },
    )["ModelPackageArn"]
    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    untrusting = cloud.client("iam").create_role(
        RoleName=cloud.name("untrusting"),
        AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}),
    )["Role"]["Arn"]
    model = prepared.model()
    config = prepared.config(prepared.variant(model, count=2))
    endpoint = prepared.in_service(prepared.create(config))
    failed = prepared.create(prepared.config(prepared.variant(prepared.model(BEHAVIOR="crashes"))))
    prepared.until(failed, "Failed")
    prepared.endpoints.clear()  # these live as long as the module
    yield Ground(prepared, prepared.role, model, config, endpoint, failed, package, untrusting)
    for name in (endpoint, failed):
        prepared.api.delete_endpoint(EndpointName=name)


def model(ground: Ground, name: str = "new", role: str | None = None, **container: Any) -> dict[str, Any]:
    return {
        "ModelName": name,
        "ExecutionRoleArn": role or ground.role,
        "PrimaryContainer": {"Image": IMAGE, **container},
    }


def config(ground: Ground, *variants: dict[str, Any], **members: Any) -> dict[str, Any]:
    chosen = list(variants) or [variant(ground)]
    return {"EndpointConfigName": "new", "ProductionVariants": chosen, **members}


def variant(ground: Ground, name: str = "AllTraffic", **members: Any) -> dict[str, Any]:
    return {**ground.hosting.variant(ground.model, name), **members}


def update(ground: Ground, new: str | None = None, **members: Any) -> dict[str, Any]:
    return {"EndpointName": ground.endpoint, "EndpointConfigName": new or ground.config, **members}


def guarded(ground: Ground, kind: str, wait: int = 0, alarm: str = "", **routing: Any) -> dict[str, Any]:
    policy = {"TrafficRoutingConfiguration": {"Type": kind, "WaitIntervalInSeconds": wait, **routing}}
    deployment: dict[str, Any] = {"BlueGreenUpdatePolicy": policy}
    if alarm:
        deployment["AutoRollbackConfiguration"] = {"Alarms": [{"AlarmName": alarm}]}
    return update(ground, DeploymentConfig=deployment)


def percent(value: int) -> dict[str, Any]:
    return {"Type": "CAPACITY_PERCENT", "Value": value}


def renamed(ground: Ground) -> str:
    return ground.hosting.config(ground.hosting.variant(ground.model, "another"))


def desired(ground: Ground, *items: dict[str, Any]) -> dict[str, Any]:
    return {"EndpointName": ground.endpoint, "DesiredWeightsAndCapacities": list(items)}


def capture(ground: Ground, **members: Any) -> dict[str, Any]:
    chosen = {
        "InitialSamplingPercentage": 100,
        "DestinationS3Uri": "s3://bucket/capture",
        "CaptureOptions": [{"CaptureMode": "Input"}],
        **members,
    }
    return config(ground, DataCaptureConfig=chosen)


# (operation, request, error code, words in the message)
REFUSALS: list[tuple[str, Any, str, str]] = [
    ("create_model", lambda g: model(g, name="under_score"), ANY, "'modelName' failed to satisfy constraint"),
    ("create_model", lambda g: model(g, name=g.model), ANY, "Cannot create already existing model"),
    ("create_model", lambda g: {"ModelName": "new", "ExecutionRoleArn": g.role}, ANY, "PrimaryContainer or Containers"),
    ("create_model", lambda g: model(g, ModelDataUrl="s3://no-such-bucket/m.tar.gz"), ANY, "Could not find model data"),
    ("create_model", lambda g: model(g, Image="unknown:1"), ANY, "Requested image unknown:1 not found"),
    ("create_model", lambda g: model(g, role=g.untrusting_role), ANY, "Could not assume role"),
    ("create_model", lambda g: model(g, role="arn:aws:iam::000000000000:role/none"), ANY, "Could not assume role"),
    (
        "create_model",
        lambda g: {**model(g), "PrimaryContainer": {"ModelPackageName": g.pending_package}},
        ANY,
        "must be Approved",
    ),
    ("create_model", lambda g: {**model(g), "Containers": [{"Image": IMAGE}]}, ANY, "Only one of PrimaryContainer"),
    ("create_model", lambda g: model(g, Mode="MultiModel"), "UnsupportedOperationException", "not implemented"),
    ("describe_model", lambda g: {"ModelName": "none"}, ANY, "Could not find model"),
    ("delete_model", lambda g: {"ModelName": "none"}, ANY, "Could not find model"),
    ("create_endpoint_config", lambda g: config(g, EndpointConfigName=g.config), ANY, "already existing endpoint conf"),
    ("create_endpoint_config", lambda g: config(g, variant(g, ModelName="none")), ANY, "Could not find model"),
    ("create_endpoint_config", lambda g: config(g, variant(g), variant(g)), ANY, "Duplicate production variant names"),
    ("create_endpoint_config", lambda g: config(g, variant(g, InstanceType="ml.x9.huge")), ANY, "enum value set"),
    ("create_endpoint_config", lambda g: config(g, variant(g, InitialInstanceCount=0)), ANY, AT_LEAST_1),
    ("create_endpoint_config", lambda g: config(g, variant(g, InitialVariantWeight=-1)), ANY, AT_LEAST_0),
    ("create_endpoint_config", lambda g: config(g, ProductionVariants=[]), ANY, "'productionVariants' failed"),
    (
        "create_endpoint_config",
        lambda g: config(g, {"VariantName": "v", "ModelName": g.model}),
        ANY,
        "InstanceType must be specified",
    ),
    (
        "create_endpoint_config",
        lambda g: config(g, variant(g, ServerlessConfig={"MemorySizeInMB": 2048, "MaxConcurrency": 1})),
        "UnsupportedOperationException",
        "ServerlessConfig is not implemented",
    ),
    ("create_endpoint_config", lambda g: capture(g, InitialSamplingPercentage=101), ANY, "less than or equal to 100"),
    ("create_endpoint_config", lambda g: capture(g, CaptureOptions=[]), ANY, "captureOptions' failed"),
    ("create_endpoint_config", lambda g: capture(g, DestinationS3Uri="/tmp"), ANY, "destinationS3Uri' failed"),
    ("describe_endpoint_config", lambda g: {"EndpointConfigName": "none"}, ANY, NO_CONFIG),
    ("delete_endpoint_config", lambda g: {"EndpointConfigName": "none"}, ANY, NO_CONFIG),
    (
        "create_endpoint",
        lambda g: {"EndpointName": "new", "EndpointConfigName": "none"},
        ANY,
        NO_CONFIG,
    ),
    (
        "create_endpoint",
        lambda g: {"EndpointName": g.endpoint, "EndpointConfigName": g.config},
        ANY,
        "Cannot create already existing endpoint",
    ),
    ("create_endpoint", lambda g: {"EndpointName": "-a", "EndpointConfigName": g.config}, ANY, "'endpointName' failed"),
    (
        "create_endpoint",
        lambda g: {"EndpointName": "new", "EndpointConfigName": crowd(g)},
        "ResourceLimitExceeded",
        "ml.m5.large for endpoint usage' is 30 Instances",
    ),
    (
        "create_endpoint",
        lambda g: {"EndpointName": "new", "EndpointConfigName": g.config, "Tags": [{"Key": "aws:x", "Value": "1"}]},
        ANY,
        "reserved prefix",
    ),
    ("describe_endpoint", lambda g: {"EndpointName": "none"}, ANY, "Could not find endpoint"),
    ("delete_endpoint", lambda g: {"EndpointName": "none"}, ANY, "Could not find endpoint"),
    ("update_endpoint", lambda g: {**update(g), "EndpointName": "none"}, ANY, "Could not find endpoint"),
    ("update_endpoint", lambda g: update(g, "none"), ANY, NO_CONFIG),
    ("update_endpoint", lambda g: update(g, renamed(g)), ANY, 'The variant name(s) "AllTraffic" is/are not present'),
    ("update_endpoint", lambda g: {**update(g), "EndpointName": g.failed}, ANY, 'with status "Failed"'),
    ("update_endpoint", lambda g: guarded(g, "CANARY"), ANY, "CanarySize must be specified"),
    ("update_endpoint", lambda g: guarded(g, "LINEAR"), ANY, "LinearStepSize must be specified"),
    ("update_endpoint", lambda g: guarded(g, "CANARY", CanarySize=percent(51)), ANY, "less than or equal to 50%"),
    (
        "update_endpoint",
        lambda g: guarded(g, "CANARY", CanarySize={"Type": "INSTANCE_COUNT", "Value": 2}),
        ANY,
        "less than or equal to 50%",
    ),
    ("update_endpoint", lambda g: guarded(g, "LINEAR", LinearStepSize=percent(5)), ANY, "must be 10-50%"),
    ("update_endpoint", lambda g: guarded(g, "ALL_AT_ONCE", CanarySize=percent(10)), ANY, "CanarySize can only be"),
    ("update_endpoint", lambda g: guarded(g, "ALL_AT_ONCE", wait=3601), ANY, "less than or equal to 3600"),
    ("update_endpoint", lambda g: guarded(g, "ALL_AT_ONCE", alarm="none"), ANY, "Could not find CloudWatch alarms"),
    ("update_endpoint", lambda g: guarded(g, "SOMEHOW"), ANY, "ALL_AT_ONCE, CANARY, LINEAR"),
    (
        "update_endpoint_weights_and_capacities",
        lambda g: desired(g, {"VariantName": "none", "DesiredWeight": 1}),
        ANY,
        'The variant name(s) "none" is/are not present within endpoint configuration',
    ),
    (
        "update_endpoint_weights_and_capacities",
        lambda g: desired(g, {"VariantName": "AllTraffic", "DesiredInstanceCount": 0}),
        ANY,
        AT_LEAST_1,
    ),
    (
        "update_endpoint_weights_and_capacities",
        lambda g: desired(g, {"VariantName": "AllTraffic", "DesiredWeight": -1}),
        ANY,
        AT_LEAST_0,
    ),
    (
        "update_endpoint_weights_and_capacities",
        lambda g: {**desired(g, {"VariantName": "AllTraffic"}), "EndpointName": g.failed},
        ANY,
        'with status "Failed"',
    ),
]


def crowd(ground: Ground) -> str:
    return ground.hosting.config(ground.hosting.variant(ground.model, count=31))


@pytest.mark.parametrize(
    ("operation", "request_of", "code", "words"),
    REFUSALS,
    ids=[f"{index}-{refusal[0]}" for index, refusal in enumerate(REFUSALS)],
)
def test_refused(ground: Ground, operation: str, request_of: Any, code: str, words: str) -> None:
    api = _unchecked(ground.hosting.cloud)
    with pytest.raises(ClientError) as caught:
        getattr(api, operation)(**request_of(ground))
    error = caught.value.response["Error"]
    assert error["Code"] == code
    assert words in error["Message"]


@cache
def _unchecked(cloud: Any) -> Any:
    """A client that sends what it is given: the service has to find the mistake."""
    settings = Config(parameter_validation=False, retries={"total_max_attempts": 1})
    return boto3.session.Session().client(
        "sagemaker", config=settings, **client_settings(cloud.endpoint_url, read_keys(cloud.home))
    )


def test_a_config_that_was_deleted_under_its_endpoint_blocks_updates(hosting: Any) -> None:
    model_name = hosting.model()
    old, new = (hosting.config(hosting.variant(model_name)) for _ in range(2))
    name = hosting.in_service(hosting.create(old))
    hosting.api.delete_endpoint_config(EndpointConfigName=old)
    hosting.invoke(name)
    with pytest.raises(ClientError, match=f"Could not find endpoint configuration .*{old}"):
        hosting.api.update_endpoint(EndpointName=name, EndpointConfigName=new)


def test_a_one_instance_fleet_cannot_canary(hosting: Any) -> None:
    config_name = hosting.config(hosting.variant(hosting.model()))
    name = hosting.in_service(hosting.create(config_name))
    traffic = {"Type": "CANARY", "WaitIntervalInSeconds": 0, "CanarySize": percent(25)}
    policy = {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": traffic}}
    with pytest.raises(ClientError, match="Use at least 2 instances or ALL_AT_ONCE"):
        hosting.api.update_endpoint(EndpointName=name, EndpointConfigName=config_name, DeploymentConfig=policy)


def test_an_approved_package_is_served(hosting: Any, ground: Ground) -> None:
    hosting.api.update_model_package(ModelPackageArn=ground.pending_package, ModelApprovalStatus="Approved")
    name = hosting.cloud.name("packaged")
    hosting.api.create_model(
        ModelName=name,
        ExecutionRoleArn=hosting.role,
        PrimaryContainer={"ModelPackageName": ground.pending_package, "Environment": {"MODEL_NAME": "from-package"}},
    )
    described = hosting.api.describe_model(ModelName=name)
    assert described["PrimaryContainer"]["ModelPackageName"] == ground.pending_package
    endpoint = hosting.in_service(hosting.create(hosting.config(hosting.variant(name))))
    answer = hosting.invoke(endpoint)
    assert (answer["model"], answer["weights"]) == ("from-package", "packaged")
    hosting.api.update_model_package(ModelPackageArn=ground.pending_package, ModelApprovalStatus="Rejected")
    with pytest.raises(ClientError, match="must be Approved"):
        hosting.api.create_model(
            ModelName=hosting.cloud.name("packaged"),
            ExecutionRoleArn=hosting.role,
            PrimaryContainer={"ModelPackageName": ground.pending_package},
        )
