"""Alerts: what goes to SNS, and what is kept of what SNS delivers."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from moto import mock_aws
from skyloop.alerts import archive_document, archive_key, in_words, mail_subject, publish, sns_message, text_of
from skyloop.aws.clients import client
from skyloop.documents import Alert, ServiceError

from tests.support.account import ENVIRONMENT, create_stack, set_environment


def alert(**changes) -> Alert:
    fields = {
        "event": "drift",
        "severity": "warning",
        "stage": "dev",
        "subject": "skyloop-dev",
        "what": "Images are darker.",
        "why": "p = 0.001",
        "kept": "The model serves on.",
        "next_step": "Label them.",
        "correlation_id": "flight-7",
        "links": {"report": "s3://bucket/report.html"},
        "at": datetime(2026, 11, 20, 10, tzinfo=UTC),
    }
    return Alert(**{**fields, **changes})


def test_the_text_is_what_a_person_reads():
    assert text_of(alert()) == (
        "Images are darker.\n\nWhy: p = 0.001\nKept: The model serves on.\nWhat to do: Label them.\n\n"
        "report: s3://bucket/report.html"
    )


def test_programs_get_the_document_and_people_the_text():
    message = json.loads(sns_message(alert(), "skyloop-dev")["Message"])
    assert message["default"] == text_of(alert())
    for protocol in ("lambda", "sqs", "http", "https"):
        assert Alert.model_validate_json(message[protocol]) == alert()
    assert set(message) == {"default", "lambda", "sqs", "http", "https"}


def test_a_mail_says_which_stack_what_and_about_what():
    assert sns_message(alert(), "skyloop-dev")["Subject"] == "[skyloop-dev] drift: skyloop-dev"


def test_a_subscriber_can_filter():
    assert sns_message(alert(), "skyloop-dev")["MessageAttributes"] == {
        "event": {"DataType": "String", "StringValue": "drift"},
        "severity": {"DataType": "String", "StringValue": "warning"},
        "stage": {"DataType": "String", "StringValue": "dev"},
    }


@pytest.mark.parametrize(
    "changes", [{"event": "fire"}, {"severity": "fatal"}, {"subject": ""}, {"at": datetime(2026, 1, 1)}]
)
def test_an_alert_nobody_could_filter_or_date_is_refused(changes):
    with pytest.raises(ValueError, match="validation error"):
        alert(**changes)


@pytest.mark.parametrize(
    ("subject", "mailed"),
    [
        ("Drift on skyloop-dev", "Drift on skyloop-dev"),
        ("Überflug — Höhe\n120 m", "Uberflug ? Hohe 120 m"),
        ("  spread \t over \n lines ", "spread over lines"),
        ("\u0301", "Skyloop"),
        ("x" * 100, "x" * 96 + "..."),
        ("x" * 99, "x" * 99),
    ],
)
def test_a_subject_becomes_what_sns_takes(subject, mailed):
    assert mail_subject(subject) == mailed


@given(st.text())
def test_every_subject_can_be_mailed(subject):
    mailed = mail_subject(subject)
    assert 1 <= len(mailed) < 100
    assert mailed.isascii()
    assert mailed.isprintable()


@given(st.text(min_size=0, max_size=9_000))
def test_a_long_explanation_is_cut_and_the_message_fits(why):
    message = sns_message(alert(why=why * 3, what="\U0001f332" * 9_000), "skyloop-dev")
    assert len(message["Message"].encode()) <= 262_144
    json.loads(json.loads(message["Message"])["sqs"])


def test_too_many_links_are_an_error_not_a_refusal_by_sns():
    with pytest.raises(ValueError, match="too many links"):
        sns_message(alert(links={str(number): "s3://bucket/" + "k" * 900 for number in range(100)}), "skyloop-dev")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        # A failed job's description, a Lambda function's error, an evaluation that says itself what is wrong.
        ({"Error": "States.TaskFailed", "Cause": '{"FailureReason": "no memory"}'}, "States.TaskFailed: no memory"),
        ({"Error": "ValueError", "Cause": '{"errorMessage": "no split", "errorType": "E"}'}, "ValueError: no split"),
        ({"Error": "X", "Cause": '{"ExitMessage": "no test set", "other": 1}'}, "X: no test set"),
        ({"Error": "X", "Cause": '{"FailureReason": "first", "ExitMessage": "second"}'}, "X: first"),
        ({"Error": "X", "Cause": '  {"message": "spaces around"}\n'}, "X: spaces around"),
        (
            {"Error": "SageMaker.AmazonSageMakerException", "Cause": "quota"},
            "SageMaker.AmazonSageMakerException: quota",
        ),
        # Step Functions cuts long causes, and half a document is no document.
        ({"Error": "X", "Cause": '{"FailureReason": "AlgorithmErr'}, 'X: {"FailureReason": "AlgorithmErr'),
        ({"Error": "X", "Cause": "{not json}"}, "X: {not json}"),
        ({"Error": "X", "Cause": "[" * 30_000}, "X: " + "[" * 30_000),
        ({"Error": "X", "Cause": '["a list"]'}, 'X: ["a list"]'),
        ({"Error": "X", "Cause": '{"FailureReason": null, "n": 1}'}, 'X: {"FailureReason": null, "n": 1}'),
        ({"Error": "States.Timeout", "Cause": ""}, "States.Timeout"),
        ({"Error": "States.Timeout"}, "States.Timeout"),
    ],
)
def test_an_error_is_put_into_words(error, words):
    assert in_words(ServiceError.model_validate(error)) == words


@given(st.text(min_size=1), st.text())
def test_every_error_has_words(error, cause):
    assert in_words(ServiceError(error=error, cause=cause)).startswith(error)


def test_published_alerts_reach_a_filtering_subscriber(monkeypatch):
    set_environment(monkeypatch)
    with mock_aws():
        create_stack()
        sns, sqs = client("sns"), client("sqs")
        topic = ENVIRONMENT["SKYLOOP_ALERT_TOPIC_ARN"]
        queue = sqs.create_queue(QueueName="drift-only")["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        policy = json.dumps({"event": ["drift"]})
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes={"FilterPolicy": policy})
        publish(sns, topic, alert(), "skyloop-dev")
        publish(sns, topic, alert(event="deployed", severity="info"), "skyloop-dev")
        messages = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10)["Messages"]
    [message] = messages
    assert json.loads(json.loads(message["Body"])["Message"])["event"] == "drift"


def test_where_an_alert_is_kept():
    kept = {"message_id": "id-1", "published_at": "2026-11-20T10:00:01.234Z", "alert": {"what": "ALARM: x"}}
    assert archive_key(kept) == "monitoring/alerts/2026/11/20/id-1.json"


def test_what_an_execution_publishes_twice_is_kept_once():
    def kept(message_id, **changes):
        said = {**alert(links={"execution": "arn:x"}).plain(), **changes}
        return archive_key({"message_id": message_id, "published_at": "2026-11-20T10:00:01Z", "alert": said})

    assert kept("1") == kept("2", at="2026-11-20T10:00:05Z")
    assert kept("1", links={}) == kept("2", links={}, at="2026-11-20T10:00:05Z")
    others = [{"what": "Another."}, {"event": "deployed"}, {"links": {"execution": "arn:y"}}, {"links": {}}]
    assert len({kept("3", **changes) for changes in [{}, *others]}) == 5


@pytest.mark.parametrize("time", ["", "yesterday", "20-11-2026T10:00:00Z"])
def test_a_notification_without_a_date_is_refused(time):
    with pytest.raises(ValueError, match=r"timestamp|unpack"):
        archive_key({"message_id": "id-1", "published_at": time, "alert": {}})


def test_an_alarm_or_a_person_publishing_text_is_kept_too():
    kept = archive_document(
        {"MessageId": "m", "Timestamp": "2026-11-20T10:00:01Z", "Subject": "ALARM", "Message": "it burns"}
    )
    assert kept["alert"] == {"what": "it burns"}
    assert kept["attributes"] == {}
