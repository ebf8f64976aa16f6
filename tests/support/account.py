"""A moto account: the environment of a function, the stack that it names, and handlers as Lambda loads them."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING

import pytest
from skyloop.aws.clients import client
from skyloop.aws.dynamodb import to_attributes
from skyloop.aws.state import StateTable

from tests.support.files import REPOSITORY

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

REGION = "us-east-1"
BUCKET = "skyloop-dev-data"

ENVIRONMENT = {
    "AWS_REGION": REGION,
    "AWS_DEFAULT_REGION": REGION,
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "POWERTOOLS_SERVICE_NAME": "skyloop",
    "POWERTOOLS_METRICS_NAMESPACE": "Skyloop",
    "SKYLOOP_PROJECT": "skyloop",
    "SKYLOOP_STAGE": "dev",
    "SKYLOOP_DATA_BUCKET": BUCKET,
    "SKYLOOP_CATALOGUE_TABLE": "skyloop-dev-catalogue",
    "SKYLOOP_STATE_TABLE": "skyloop-dev-state",
    "SKYLOOP_IDEMPOTENCY_TABLE": "skyloop-dev-idempotency",
    "SKYLOOP_ALERT_TOPIC_ARN": "arn:aws:sns:us-east-1:123456789012:skyloop-dev-alerts",
    "SKYLOOP_UPLOADS_QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/123456789012/skyloop-dev-uploads",
    "SKYLOOP_ENDPOINT_NAME": "skyloop-dev",
    "SKYLOOP_MODEL_PACKAGE_GROUP": "skyloop-dev",
    "SKYLOOP_LABELING_BATCH_SIZE": "3",
    "SKYLOOP_LABELING_MAX_WAIT_HOURS": "24",
    "SKYLOOP_LABELING_QUIET_SECONDS": "60",
    "SKYLOOP_MIN_MAP50": "0.5",
    "SKYLOOP_MIN_CLASS_AP50": "0",
    "SKYLOOP_MIN_CLASS_BOXES": "20",
    "SKYLOOP_MAX_MAP50_DROP": "0.02",
    "SKYLOOP_MIN_TRAIN_IMAGES": "4",
    "SKYLOOP_DRIFT_WINDOW": "50",
    "SKYLOOP_DRIFT_ALPHA": "0.01",
    "SKYLOOP_LABEL_EVENT_BUS": "default",
}


@dataclass(frozen=True)
class Context:
    """What Lambda hands to a handler beside the event."""

    function_name: str = "function"
    memory_limit_in_mb: int = 512
    invoked_function_arn: str = "arn:aws:lambda:us-east-1:123456789012:function:function"
    aws_request_id: str = "52fdfc07-2182-454f-963f-5f0f9a621d72"

    def get_remaining_time_in_millis(self) -> int:
        return 60_000


def set_environment(monkeypatch: pytest.MonkeyPatch, **changes: str) -> None:
    """The environment the template gives every function, with `changes` (names as in the environment)."""
    for name in [name for name in os.environ if name.startswith(("SKYLOOP_", "AWS_"))]:
        monkeypatch.delenv(name)
    for name, value in {**ENVIRONMENT, **changes}.items():
        monkeypatch.setenv(name, value)


def create_catalogue_table(dynamodb: DynamoDBClient, name: str) -> None:
    """The table of images with its indexes, as the template makes it."""
    dynamodb.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[
            {"AttributeName": key, "AttributeType": "S"} for key in ("image_id", "status", "queue_order", "key")
        ],
        KeySchema=[{"AttributeName": "image_id", "KeyType": "HASH"}],
        GlobalSecondaryIndexes=[
            {
                "IndexName": "status-index",
                "KeySchema": [
                    {"AttributeName": "status", "KeyType": "HASH"},
                    {"AttributeName": "queue_order", "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "ALL"},
            },
            {
                "IndexName": "objects-index",
                "KeySchema": [
                    {"AttributeName": "status", "KeyType": "HASH"},
                    {"AttributeName": "key", "KeyType": "RANGE"},
                ],
                "Projection": {
                    "ProjectionType": "INCLUDE",
                    "NonKeyAttributes": ["etag", "replaced_at", "labeling_job"],
                },
            },
        ],
    )


def create_stack() -> None:
    """The bucket, tables, queue and topic that the environment names, as the template makes them (for moto)."""
    client("s3").create_bucket(Bucket=BUCKET)
    dynamodb = client("dynamodb")
    create_catalogue_table(dynamodb, ENVIRONMENT["SKYLOOP_CATALOGUE_TABLE"])
    for variable, key in (("SKYLOOP_STATE_TABLE", "name"), ("SKYLOOP_IDEMPOTENCY_TABLE", "id")):
        dynamodb.create_table(
            TableName=ENVIRONMENT[variable],
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"}],
            KeySchema=[{"AttributeName": key, "KeyType": "HASH"}],
        )
    client("sqs").create_queue(QueueName="skyloop-dev-uploads")
    client("sns").create_topic(Name="skyloop-dev-alerts")


def put_state(table: StateTable, name: str, item: Mapping[str, object]) -> None:
    """Write an item and replace what was there, as the state machines do and no function may."""
    table.client.put_item(TableName=table.table, Item=to_attributes({**item, "name": name}))


def load_handler(function: str) -> ModuleType:
    """The module `functions/<function>/app.py`, as Lambda loads it: by path, fresh."""
    path = REPOSITORY / "functions" / function / "app.py"
    spec = importlib.util.spec_from_file_location(f"functions_{function}_app", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
