"""What fills the stack of these tests: images, entries of the state table, packages, an endpoint."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from skyloop.documents import CatalogueItem

from cli.cloud import Cloud
from cli.snapshot import Endpoint, Snapshot
from tests.support import account

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def put_image(cloud: Cloud, image_id: str, status: str, **more: str) -> None:
    facts = {
        "image_id": image_id,
        "status": status,
        "queue_order": f"1#2026#{image_id}",
        "key": f"raw-images/f/{image_id}.jpg",
        "flight": "f",
        "correlation_id": "c",
        "catalogued_at": NOW,
    }
    assert cloud.catalogue.add(CatalogueItem.model_validate(facts | more))


def put_state(cloud: Cloud, name: str, **more: str) -> None:
    account.put_state(cloud.state_table, name, more)


def put_endpoint_state(cloud: Cloud, config: str, package_arn: str = "arn:x/skyloop-dev/1", **more: str) -> None:
    facts = {"config": config, "package_arn": package_arn, "deployed_at": NOW.isoformat()}
    put_state(cloud, "endpoint#skyloop-dev", **facts, **more)


def put_package(cloud: Cloud, approval: str, map50: str = "0.5") -> str:
    """moto keeps no CustomerMetadataProperties in its answers: the score stays unknown here."""
    return cloud.client("sagemaker").create_model_package(
        ModelPackageGroupName="skyloop-dev",
        ModelApprovalStatus=approval,
        InferenceSpecification={
            "Containers": [{"Image": "1.dkr.ecr.eu-central-1.amazonaws.com/a:b", "ModelDataUrl": "s3://b/m.tar.gz"}],
            "SupportedContentTypes": ["image/jpeg"],
            "SupportedResponseMIMETypes": ["application/json"],
        },
        CustomerMetadataProperties={"map50": map50},
    )["ModelPackageArn"]


def put_endpoint(cloud: Cloud, config: str = "skyloop-dev-v1") -> None:
    sagemaker = cloud.client("sagemaker")
    role = "arn:aws:iam::123456789012:role/any"
    sagemaker.create_model(ModelName=config, ExecutionRoleArn=role, PrimaryContainer={"Image": "i:1"})
    variant = {"VariantName": "primary", "ModelName": config, "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    sagemaker.create_endpoint_config(EndpointConfigName=config, ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName="skyloop-dev", EndpointConfigName=config)


def started(cloud: Cloud, machine: str) -> list[dict[str, Any]]:
    client = cloud.client("stepfunctions")
    arn = cloud.outputs[f"{machine}StateMachineArn"]
    found = client.list_executions(stateMachineArn=arn)["executions"]
    return [json.loads(client.describe_execution(executionArn=item["executionArn"])["input"]) for item in found]


def snap(**changes: Any) -> Snapshot:
    values: dict[str, Any] = {
        "stack": "s",
        "cloud": "here",
        "images": {"PENDING": 0, "LABELING": 0, "LABELED": 0, "QUARANTINED": 0},
        "queued_uploads": 0,
        "quarantined": [],
        "labeling_jobs": [],
        "running": [],
        "packages": [],
        "endpoint": Endpoint("e", "NotDeployed"),
        "drift": None,
        "alerts": [],
    }
    return Snapshot(**{**values, **changes})
