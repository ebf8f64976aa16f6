"""A stack as `sam deploy` leaves it, in moto: bucket, tables, queue, topic, state machines."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws
from PIL import Image
from typer.testing import CliRunner, Result

from cli import actions, snapshot
from cli.cloud import Cloud, Outputs
from cli.main import app
from tests.support.account import create_catalogue_table

REGION = "eu-central-1"
PREFIX = "skyloop-dev"
PASS_MACHINE = json.dumps({"StartAt": "Done", "States": {"Done": {"Type": "Succeed"}}})
MACHINES = ("Label", "Retrain", "Deploy", "Rollback")

Invoke = Callable[..., Result]


def tables(dynamodb: Any) -> None:
    create_catalogue_table(dynamodb, "skyloop-catalogue")
    dynamodb.create_table(
        TableName="skyloop-state",
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "name", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "name", "AttributeType": "S"}],
    )


def deployed(session: boto3.Session) -> dict[str, str]:
    """What the CLI touches of template.yaml; the stack's outputs."""
    where = {"LocationConstraint": REGION}
    session.client("s3").create_bucket(Bucket="skyloop-data", CreateBucketConfiguration=where)
    tables(session.client("dynamodb"))
    role = "arn:aws:iam::123456789012:role/any"
    machines = {
        machine: session.client("stepfunctions").create_state_machine(
            name=f"{PREFIX}-{machine.lower()}", definition=PASS_MACHINE, roleArn=role
        )["stateMachineArn"]
        for machine in MACHINES
    }
    session.client("sagemaker").create_model_package_group(ModelPackageGroupName=PREFIX)
    return {
        "DataBucketName": "skyloop-data",
        "CatalogueTableName": "skyloop-catalogue",
        "StateTableName": "skyloop-state",
        "UploadsQueueUrl": session.client("sqs").create_queue(QueueName="skyloop-uploads")["QueueUrl"],
        "AlertTopicArn": session.client("sns").create_topic(Name="skyloop-alerts")["TopicArn"],
        "BaseWeights": "s3://elsewhere/base/yolo11n.pt",
        "EndpointName": PREFIX,
        "ModelPackageGroupName": PREFIX,
        **{f"{machine}StateMachineArn": arn for machine, arn in machines.items()},
    }


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    """The deployed stack, as `--region eu-central-1` reaches it.

    Its outputs are given, not described: moto's CloudFormation needs packages that nothing else here does.
    """
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "SKYLOOP_STACK", "SKYLOOP_HOME"):
        monkeypatch.delenv(name, raising=False)
    with mock_aws():
        session = boto3.Session(region_name=REGION)
        outputs = Outputs(deployed(session))
        monkeypatch.setattr(Cloud, "outputs", outputs)
        monkeypatch.setattr(snapshot, "labeling_jobs", lambda cloud, limit: [])  # moto has none
        monkeypatch.setattr(actions, "CLAIM_SECONDS", 0.0)  # moto's executions run for ever and claim nothing
        yield Cloud(session, PREFIX)


@pytest.fixture
def invoke(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    """Run `skyloop ARGS… --region eu-central-1`."""
    monkeypatch.setenv("COLUMNS", "160")

    def run(*arguments: str | Path) -> Result:
        return CliRunner().invoke(app, [*map(str, arguments), "--region", REGION])

    return run


@pytest.fixture
def picture() -> Callable[..., Path]:
    """Write a small JPEG whose content depends on `shade`."""

    def write(path: Path, shade: int = 0, size: tuple[int, int] = (32, 24)) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, (shade % 256, 80, 120)).save(path, "JPEG")
        return path

    return write
