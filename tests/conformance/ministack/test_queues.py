"""Queues over the end of the cloud, and their URLs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conformance.conftest import Cloud, wait_until
from tests.conformance.ministack.conftest import zipped
from tests.support.homes import Home

SLOW_FUNCTION = """
import time
import boto3

def handler(event, context):
    received = event["Records"][0]["attributes"]["ApproximateReceiveCount"]
    boto3.client("s3").put_object(Bucket="received", Key=received)
    if received == "1":
        time.sleep(600)
"""


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_what_a_function_was_working_on_is_not_hidden_after_the_end_of_the_cloud(home: Home, how: str) -> None:
    home.client("s3").create_bucket(Bucket="received")
    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    everything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    role = home.client("iam").create_role(RoleName="slow", AssumeRolePolicyDocument=_policy(trust))["Role"]["Arn"]
    home.client("iam").put_role_policy(RoleName="slow", PolicyName="all", PolicyDocument=_policy(everything))
    home.client("lambda").create_function(
        FunctionName="slow",
        Runtime="python3.13",
        Role=role,
        Handler="app.handler",
        Timeout=900,
        Code={"ZipFile": zipped(SLOW_FUNCTION)},
    )
    url = home.client("sqs").create_queue(QueueName="slow", Attributes={"VisibilityTimeout": "900"})["QueueUrl"]
    arn = home.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    home.client("lambda").create_event_source_mapping(FunctionName="slow", EventSourceArn=arn)
    home.client("sqs").send_message(QueueUrl=url, MessageBody="x")
    wait_until(lambda: _received(home) == ["1"])
    home.client("sqs").send_message(QueueUrl=url, MessageBody="later", DelaySeconds=900)
    home.client("sqs").create_queue(QueueName="written-down-with-what-is-in-flight")
    getattr(home, how)()
    home.start()
    wait_until(lambda: _received(home) == ["1", "2"], what="the message again")
    attributes = home.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert attributes["ApproximateNumberOfMessagesDelayed"] == "1"


def _received(home: Home) -> list[str]:
    return sorted(item["Key"] for item in home.client("s3").list_objects_v2(Bucket="received").get("Contents", []))


def _policy(statement: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def test_the_url_of_a_queue_has_the_address_of_its_cloud(cloud: Cloud, stack: Any) -> None:
    sqs, own = cloud.client("sqs"), f"{cloud.endpoint_url}/"
    name = cloud.name("queue")
    assert sqs.create_queue(QueueName=name)["QueueUrl"].startswith(own)
    assert sqs.get_queue_url(QueueName=name)["QueueUrl"].startswith(own)
    assert all(url.startswith(own) for url in sqs.list_queues()["QueueUrls"])
    made = stack("""
        Resources:
          Queue: {Type: AWS::SQS::Queue}
        Outputs:
          Queue: {Value: !Ref Queue}
    """)
    assert made["Queue"].startswith(own)
    for url in (made["Queue"], made["Queue"].replace(own, "http://127.0.0.1:4566/")):  # as it was stored before
        sqs.send_message(QueueUrl=url, MessageBody="x")
