from __future__ import annotations

import json
import time
from datetime import UTC, datetime

import pytest

from cli import logs
from cli.cloud import Cloud


def put(cloud: Cloud, group: str, *messages: str, stream: str = "s") -> None:
    client = cloud.client("logs")
    client.create_log_group(logGroupName=group)
    client.create_log_stream(logGroupName=group, logStreamName=stream)
    now = int(time.time() * 1000)
    events = [{"timestamp": now + number, "message": message} for number, message in enumerate(messages)]
    client.put_log_events(logGroupName=group, logStreamName=stream, logEvents=events)


def test_logs_of_this_stack_in_order(invoke, cloud: Cloud) -> None:
    structured = json.dumps({"level": "ERROR", "message": "cannot read", "correlation_id": "drop-1"})
    put(cloud, "/aws/lambda/skyloop-dev-catalogue-images", "START", structured)
    put(cloud, "/aws/lambda/somebody-else", "not ours")
    found = json.loads(invoke("logs", "--json").stdout)
    assert [(line["level"], line["message"]) for line in found] == [("", "START"), ("ERROR", "cannot read")]
    only = json.loads(invoke("logs", "catalogue", "--find", "drop-1", "--json").stdout)
    assert [line["message"] for line in only] == ["cannot read"]


def test_jobs_of_this_stack_alone(invoke, cloud: Cloud) -> None:
    put(cloud, "/aws/sagemaker/TrainingJobs", "epoch=1", stream="skyloop-dev-1f0a/algo-1")
    cloud.client("logs").create_log_stream(logGroupName="/aws/sagemaker/TrainingJobs", logStreamName="else/algo-1")
    events = [{"timestamp": int(time.time() * 1000), "message": "not ours"}]
    cloud.client("logs").put_log_events(
        logGroupName="/aws/sagemaker/TrainingJobs", logStreamName="else/algo-1", logEvents=events
    )
    found = json.loads(invoke("logs", "TrainingJobs", "--json").stdout)
    assert [line["message"] for line in found] == ["epoch=1"]


def test_a_function_that_there_is_not(invoke, cloud: Cloud) -> None:
    put(cloud, "/aws/lambda/skyloop-dev-catalogue-images", "START")
    result = invoke("logs", "nothing-like-it")
    assert result.exit_code == 1
    assert "skyloop-dev-catalogue-images" in result.stderr


def test_lines_that_are_no_powertools_json() -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    for text, message in (("plain\n", "plain"), ("[1, 2]", "[1, 2]"), ('{"a": 1}', '{"a": 1}')):
        assert logs.parse_event(at, "g", text).message == message
    assert logs.parse_event(at, "g", '{"message": {"deep": 1}}').message == '{"deep": 1}'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\x1b[34m\x1b[1mtrain: \x1b[0mscanned\n", "train: scanned"),
        ("\x1b[K1/2 50%\r\x1b[K2/2 100%\r\n", "2/2 100%"),
        ("\x1b]8;;https://a.example\x07link\x1b]8;;\x07", "link"),
        ('{"message": "\\u001b[31mred\\u001b[0m", "level": "INFO"}', "red"),
        ("two\r\nlines\n", "two\nlines"),
        ("[1m] stays", "[1m] stays"),
    ],
)
def test_what_terminals_are_told_is_left_out(text: str, message: str) -> None:
    assert logs.parse_event(datetime(2026, 1, 1, tzinfo=UTC), "g", text).message == message


def test_lines_of_nothing_but_escapes_are_none(invoke, cloud: Cloud) -> None:
    stream = "skyloop-dev-1f0a/algo-1"
    put(cloud, "/aws/sagemaker/TrainingJobs", "\x1b[?25l", "epoch=1", "\x1b[2K", stream=stream)
    assert [line["message"] for line in json.loads(invoke("logs", "--json").stdout)] == ["epoch=1"]
