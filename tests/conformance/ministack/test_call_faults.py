"""Calls that fail because a test asks for it, as those of AWS do now and then."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from laptop.account import read_keys
from tests.conformance.conftest import Cloud
from tests.conformance.ministack.conftest import ended
from tests.support.signed import SignedRequest

WRITES = """
    import os, boto3
    from botocore.config import Config

    def handler(event, context):
        config = Config(retries={"mode": "standard", "max_attempts": 3})
        boto3.client("s3", config=config).put_object(Bucket=event["bucket"], Key=event["key"], Body=b"1")
        return "done"
"""


@pytest.fixture
def faults(cloud: Cloud) -> Iterator[Callable[..., Any]]:
    """``faults(fail={site: mode})`` sets them, ``faults()`` ends them; both say what came of those before."""

    def configure(**settings: Any) -> Any:
        def ask(method: str, body: bytes = b"") -> Any:
            request = SignedRequest(cloud.endpoint_url, method, "/_skyloop/faults", body)
            return json.loads(request.sign(read_keys(cloud.home)).send().body)

        before = ask("GET")
        ask("POST", json.dumps(settings).encode())
        return before

    yield configure
    configure()


@pytest.fixture
def write(cloud: Cloud, function: Any) -> Callable[[], tuple[Any, bool]]:
    """``write()`` -> a function's answer, and whether it wrote its object; ``write.site`` is where it calls S3."""
    bucket = cloud.name("bucket")
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket=bucket)
    arn = function(WRITES, ("s3:PutObject", "*"))
    cloud.client("lambda").invoke(FunctionName=arn, Payload=json.dumps({"bucket": bucket, "key": "folder/before"}))

    def call() -> tuple[Any, bool]:
        payload = json.dumps({"bucket": bucket, "key": "folder/file"})
        answer = cloud.client("lambda").invoke(FunctionName=arn, Payload=payload)
        written = any(o["Key"] == "folder/file" for o in s3.list_objects_v2(Bucket=bucket)["Contents"])
        return json.loads(answer["Payload"].read()), written

    call.site = f"{arn.rpartition(':')[2]} s3:PutObject folder"  # type: ignore[attr-defined]
    return call


def test_calls_of_functions_are_counted(faults: Any, write: Any) -> None:
    faults()
    write()
    assert faults()["sites"][write.site] == 1


@pytest.mark.parametrize(("mode", "code"), [("throttled", "SlowDown"), ("server-error", "InternalError")])
def test_a_refused_call_does_nothing_and_no_attempt_at_it_succeeds(
    faults: Any, write: Any, mode: str, code: str
) -> None:
    faults(fail={write.site: mode})
    answer, written = write()
    assert code in answer["errorMessage"]
    assert not written
    assert faults()["failed"] == [write.site]


def test_a_refused_call_fails_once(faults: Any, write: Any) -> None:
    faults(fail={write.site: "throttled"})
    write()
    assert write() == ("done", True)


def test_a_lost_answer_comes_to_the_next_attempt(faults: Any, write: Any) -> None:
    faults(fail={write.site: "lost-answer"})
    assert write() == ("done", True)
    assert faults()["failed"] == [write.site]


def test_a_killed_function_has_done_its_call(faults: Any, write: Any) -> None:
    faults(fail={write.site: "killed"})
    answer, written = write()
    assert answer["errorType"] == "Runtime.ExitError"
    assert written


@pytest.mark.parametrize(
    ("mode", "error", "done"),
    [
        ("throttled", "DynamoDB.ProvisionedThroughputExceededException", False),
        ("server-error", "DynamoDB.InternalServerErrorException", False),
        ("lost-answer", "DynamoDB.SdkClientException", True),
    ],
)
def test_a_task_fails_once(cloud: Cloud, faults: Any, machine: Any, mode: str, error: str, done: bool) -> None:
    table = cloud.name("table")
    dynamodb = cloud.client("dynamodb")
    dynamodb.create_table(
        TableName=table,
        KeySchema=[{"AttributeName": "name", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "name", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    put = {
        "Type": "Task",
        "Resource": "arn:aws:states:::dynamodb:putItem",
        "Arguments": {"TableName": table, "Item": {"name": {"S": "1"}}},
    }
    arn = machine(put, ("dynamodb:PutItem", "*"))
    faults(fail={f"{arn.rpartition(':')[2]}.Only dynamodb:putItem": mode})
    first = _execute(cloud, arn)
    assert (first["status"], first["error"]) == ("FAILED", error)
    assert bool(dynamodb.scan(TableName=table)["Items"]) == done
    assert _execute(cloud, arn)["status"] == "SUCCEEDED"


def _execute(cloud: Cloud, machine: str) -> Any:
    arn = cloud.client("stepfunctions").start_execution(stateMachineArn=machine)["executionArn"]
    return ended(cloud, arn)
