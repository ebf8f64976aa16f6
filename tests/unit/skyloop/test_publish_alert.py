"""functions/publish_alert: what a state machine wants known reaches the topic's subscribers."""

from __future__ import annotations

import json

import pytest
from moto import mock_aws
from pydantic import ValidationError
from skyloop.aws.clients import client
from skyloop.documents import Alert

from tests.support.account import ENVIRONMENT, Context, create_stack, load_handler, set_environment

EXECUTION = "arn:aws:states:us-east-1:123456789012:execution:skyloop-dev-retrain:job-1"
REQUEST = {
    "event": "training-failed",
    "severity": "error",
    "subject": "job-1",
    "what": "The training job job-1 did not give a model.",
    "why": {"Error": "States.TaskFailed", "Cause": json.dumps({"FailureReason": "AlgorithmError: out of memory"})},
    "kept": "The dataset.",
    "next_step": "Fix the cause above.",
    "links": {"dataset": "s3://data/x"},
    "correlation_id": "flight-7",
    "execution": EXECUTION,
    "at": "2026-11-23T10:00:01.123Z",
}


@pytest.fixture(autouse=True)
def queue(monkeypatch):
    """A queue that is subscribed to the alert topic."""
    set_environment(monkeypatch)
    with mock_aws():
        create_stack()
        sns, sqs = client("sns"), client("sqs")
        queue = sqs.create_queue(QueueName="subscriber")["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        sns.subscribe(TopicArn=ENVIRONMENT["SKYLOOP_ALERT_TOPIC_ARN"], Protocol="sqs", Endpoint=arn)
        yield queue


def received(queue: str) -> list[Alert]:
    messages = client("sqs").receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", [])
    return [Alert.model_validate_json(json.loads(message["Body"])["Message"]) for message in messages]


def test_an_alert_reaches_subscribers_with_its_error_in_words(queue):
    response = load_handler("publish_alert").handler(REQUEST, Context())
    [alert] = received(queue)
    assert alert.why == response["why"] == "States.TaskFailed: AlgorithmError: out of memory"
    assert response["message_id"]
    assert (alert.event, alert.stage, alert.correlation_id) == ("training-failed", "dev", "flight-7")
    assert alert.links == {"execution": EXECUTION, "dataset": "s3://data/x"}
    assert alert.at.isoformat() == "2026-11-23T10:00:01.123000+00:00"


def test_a_link_to_another_execution_is_kept(queue):
    load_handler("publish_alert").handler({**REQUEST, "links": {"execution": "another"}}, Context())
    assert received(queue)[0].links == {"execution": "another"}


def test_the_longest_error_that_step_functions_reports_is_cut(queue):
    request = {**REQUEST, "why": {"Error": "E", "Cause": "y" * 32_768}}
    response = load_handler("publish_alert").handler(request, Context())
    assert response["why"] == received(queue)[0].why == "E: " + "y" * 1_997 + " … (30771 characters more)"


@pytest.mark.parametrize("change", [{"event": "fire"}, {"subject": ""}, {"reason": "a typing error"}, {"at": None}])
def test_what_is_no_alert_is_refused(queue, change):
    with pytest.raises(ValidationError):
        load_handler("publish_alert").handler({**REQUEST, **change}, Context())
    assert received(queue) == []
