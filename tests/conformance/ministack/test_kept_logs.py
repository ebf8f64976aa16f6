"""What is set up for logs, and what functions logged, survives SIGKILL."""

from __future__ import annotations

import time

import pytest

from tests.conformance.conftest import wait_until
from tests.conformance.ministack.conftest import zipped
from tests.support.homes import Home

pytestmark = pytest.mark.xdist_group("kills")


def test_what_is_set_up_for_logs_survives_a_kill(home: Home) -> None:
    """Their lines may be later; what is kept then belongs to the group that had them."""
    logs = home.client("logs")
    logs.create_log_group(logGroupName="group")
    logs.create_log_stream(logGroupName="group", logStreamName="stream")
    line = {"timestamp": int(time.time() * 1000), "message": "a line"}
    logs.put_log_events(logGroupName="group", logStreamName="stream", logEvents=[line])
    home.stop()
    home.start()
    home.client("logs").put_retention_policy(logGroupName="group", retentionInDays=30)
    home.again()
    values = [{"metricName": "M", "metricNamespace": "N", "metricValue": "1"}]
    home.client("logs").put_metric_filter(
        logGroupName="group", filterName="filter", filterPattern='{$.a = "b"}', metricTransformations=values
    )
    home.again()
    home.client("logs").create_log_group(logGroupName="second")
    home.again()
    logs = home.client("logs")
    groups = {one["logGroupName"]: one.get("retentionInDays") for one in logs.describe_log_groups()["logGroups"]}
    assert groups == {"group": 30, "second": None}
    assert [one["filterName"] for one in logs.describe_metric_filters()["metricFilters"]] == ["filter"]
    events = logs.get_log_events(logGroupName="group", logStreamName="stream")["events"]
    assert [one["message"] for one in events] == ["a line"]
    logs.delete_log_group(logGroupName="group")
    logs.create_log_group(logGroupName="group")
    home.again()
    logs = home.client("logs")
    assert logs.describe_log_streams(logGroupName="group")["logStreams"] == []
    for name in ("first", "second"):
        logs.create_log_stream(logGroupName="group", logStreamName=name)
    logs.delete_log_stream(logGroupName="group", logStreamName="first")
    home.again()
    streams = home.client("logs").describe_log_streams(logGroupName="group")["logStreams"]
    assert [one["logStreamName"] for one in streams] == ["second"]


def test_what_a_function_logged_is_kept_though_nothing_else_happens(home: Home) -> None:
    """No request comes while it works or afterwards: its message is done with, and its lines are written down."""
    iam, queue = home.client("iam"), "arn:aws:sqs:us-east-1:000000000000:queue"
    url = home.client("sqs").create_queue(QueueName="queue")["QueueUrl"]
    role = iam.create_role(RoleName="role", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    source = "import time\ndef handler(event, context):\n    time.sleep(2)\n    print('worked on')\n"
    home.client("lambda").create_function(
        FunctionName="f", Runtime="python3.13", Handler="app.handler", Role=role, Code={"ZipFile": zipped(source)}
    )
    home.client("lambda").create_event_source_mapping(FunctionName="f", EventSourceArn=queue)
    home.client("sqs").send_message(QueueUrl=url, MessageBody="the message")

    def state(service: str) -> str:
        return str(home.rows(f"SELECT state FROM snapshots WHERE service = '{service}'"))

    wait_until(lambda: "worked on" in state("cloudwatch_logs:lines"))
    wait_until(lambda: "the message" not in state("sqs"))
