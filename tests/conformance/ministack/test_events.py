"""EventBridge: rules, targets, dead letters, roles and policies, schedules, and the faults that tests inject."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from laptop.account import read_keys
from tests.conformance.conftest import Cloud, wait_until
from tests.support.signed import SignedRequest


@pytest.fixture
def faults(cloud: Cloud) -> Iterator[Callable[..., None]]:
    def set_to(**settings: Any) -> None:
        request = SignedRequest(cloud.endpoint_url, "POST", "/_skyloop/faults", json.dumps(settings).encode())
        assert request.sign(read_keys(cloud.home)).send().status == 200

    yield set_to
    set_to()


def emit(cloud: Cloud, source: str, detail_type: str = "Test", **detail: Any) -> None:
    entry = {"Source": source, "DetailType": detail_type, "Detail": json.dumps(detail)}
    assert cloud.client("events").put_events(Entries=[entry])["FailedEntryCount"] == 0


def test_every_event_can_be_delivered_twice(cloud: Cloud, caught_events: Any, faults: Any) -> None:
    source = cloud.name("source")
    events = caught_events({"source": [source]})
    faults(duplicate=True)
    emit(cloud, source, n=1)
    received = wait_until(lambda: events() if len(events()) > 1 else None)
    assert len(received) == 2
    assert received[0]["id"] == received[1]["id"]
    faults()
    emit(cloud, source, n=2)
    wait_until(lambda: len(events()) == 3)


def test_the_first_event_of_a_kind_can_be_lost(cloud: Cloud, caught_events: Any, faults: Any) -> None:
    source = cloud.name("source")
    events = caught_events({"source": [source]})
    faults(lose=[source])  # a detail-type of no other test
    for number in (1, 2):
        emit(cloud, source, detail_type=source, n=number)
    emit(cloud, source, n=3)
    assert [event["detail"]["n"] for event in wait_until(lambda: events() if len(events()) == 2 else None)] == [2, 3]


def test_an_upload_is_an_event_with_its_key_as_it_is(cloud: Cloud, caught_events: Any) -> None:
    bucket, s3 = cloud.name("bucket"), cloud.client("s3")
    s3.create_bucket(Bucket=bucket)
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={"EventBridgeConfiguration": {}})
    detail = {"bucket": {"name": [bucket]}, "object": {"key": [{"prefix": "raw-images/"}]}}
    events = caught_events({"source": ["aws.s3"], "detail-type": ["Object Created"], "detail": detail})
    keys = ["raw-images/a b+c%2Fd.jpg", "raw-images/über/雪.jpg"]
    for key in ("other/x", *keys):
        s3.put_object(Bucket=bucket, Key=key, Body=b"12345")
    received = wait_until(lambda: events() if len(events()) == 2 else None)
    assert [event["detail"]["object"]["key"] for event in received] == keys
    assert received[0]["detail"]["object"]["size"] == 5
    assert received[0]["resources"] == [f"arn:aws:s3:::{bucket}"]


def test_clients_may_not_speak_for_aws(cloud: Cloud) -> None:
    entry = {"Source": "aws.sagemaker", "DetailType": "Test", "Detail": "{}"}
    assert cloud.client("events").put_events(Entries=[entry])["FailedEntryCount"] == 1


@pytest.fixture
def rule(cloud: Cloud) -> Iterator[Callable[..., str]]:
    """``rule(target)`` -> the source whose events go to a target."""
    events, made = cloud.client("events"), []

    def make(target: dict[str, Any]) -> str:
        name = cloud.name("rule")
        events.put_rule(Name=name, EventPattern=json.dumps({"source": [name]}))
        events.put_targets(Rule=name, Targets=[{"Id": "target", **target}])
        made.append(name)
        return name

    yield make
    for name in made:
        events.remove_targets(Rule=name, Ids=["target"])
        events.delete_rule(Name=name)


@pytest.fixture
def queue(cloud: Cloud) -> Callable[..., tuple[str, str]]:
    """``queue(*statements)`` -> (url, ARN); with statements, EventBridge may send under their conditions."""

    def make(*conditions: dict[str, Any]) -> tuple[str, str]:
        name = cloud.name("queue")
        arn = cloud.arn("sqs", name)
        allow = {
            "Effect": "Allow",
            "Principal": {"Service": "events.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": arn,
        }
        statements = [{**allow, **({"Condition": condition} if condition else {})} for condition in conditions]
        policy = json.dumps({"Version": "2012-10-17", "Statement": statements}) if statements else ""
        attributes = {"Policy": policy} if policy else {}
        return cloud.client("sqs").create_queue(QueueName=name, Attributes=attributes)["QueueUrl"], arn

    return make


def messages(cloud: Cloud, url: str) -> list[dict[str, Any]]:
    return (
        cloud.client("sqs")
        .receive_message(QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"], VisibilityTimeout=0)
        .get("Messages", [])
    )


def test_a_queue_gets_only_what_its_policy_allows(cloud: Cloud, rule: Any, queue: Any) -> None:
    dead_url, dead_arn = queue({})
    letters = {"DeadLetterConfig": {"Arn": dead_arn}}
    open_url, open_arn = queue({"Bool": {"aws:SecureTransport": "true"}})
    shut_url, shut_arn = queue({"ArnEquals": {"aws:SourceArn": cloud.arn("events", "rule/another")}})
    emit(cloud, rule({"Arn": open_arn}), n=1)
    wait_until(lambda: messages(cloud, open_url))
    source = rule({"Arn": shut_arn, **letters})
    emit(cloud, source, n=1)
    [letter] = wait_until(lambda: messages(cloud, dead_url))
    attributes = {name: one["StringValue"] for name, one in letter["MessageAttributes"].items()}
    assert attributes["ERROR_CODE"] == "NO_PERMISSIONS"
    assert attributes["TARGET_ARN"] == shut_arn
    assert attributes["RULE_ARN"] == cloud.arn("events", f"rule/{source}")
    assert json.loads(letter["Body"])["detail"] == {"n": 1}
    assert messages(cloud, shut_url) == []


def test_a_rule_starts_an_execution_only_with_a_role_that_may(
    cloud: Cloud, rule: Any, queue: Any, machine: Any, role: Any
) -> None:
    client, dead = cloud.client("stepfunctions"), queue({})
    arn = machine({"Type": "Pass"})

    def started() -> int:
        return len(client.list_executions(stateMachineArn=arn)["executions"])

    letters = {"DeadLetterConfig": {"Arn": dead[1]}}
    emit(cloud, rule({"Arn": arn, "RoleArn": role("events"), **letters}))
    wait_until(lambda: messages(cloud, dead[0]))
    assert started() == 0
    emit(cloud, rule({"Arn": arn, "RoleArn": role("events", ("states:StartExecution", arn))}))
    wait_until(lambda: started() == 1)


def test_an_input_is_transformed(cloud: Cloud, rule: Any, machine: Any, role: Any) -> None:
    client, arn = cloud.client("stepfunctions"), machine({"Type": "Pass"})
    transformer = {
        "InputPathsMap": {"job": "$.detail.job", "status": "$.detail.status"},
        "InputTemplate": '{"job": <job>, "status": <status>}',
    }
    target = {"Arn": arn, "RoleArn": role("events", ("states:StartExecution", arn)), "InputTransformer": transformer}
    source = rule(target)
    entry = {"Source": source, "DetailType": "T", "Detail": '{"status": "Completed", "job": "arn:of:job"}'}
    cloud.client("events").put_events(Entries=[entry])
    [execution] = wait_until(lambda: client.list_executions(stateMachineArn=arn)["executions"])
    given = client.describe_execution(executionArn=execution["executionArn"])["input"]
    assert json.loads(given) == {"job": "arn:of:job", "status": "Completed"}


def test_a_function_that_fails_is_invoked_again(cloud: Cloud, rule: Any, function: Any) -> None:
    bucket = cloud.name("bucket")
    cloud.client("s3").create_bucket(Bucket=bucket)
    source = f"""
        import boto3
        def handler(event, context):
            s3 = boto3.client("s3")
            tries = len(s3.list_objects_v2(Bucket="{bucket}").get("Contents", []))
            s3.put_object(Bucket="{bucket}", Key=str(tries), Body=b"")
            assert tries
    """
    arn = function(source, ("s3:PutObject", f"arn:aws:s3:::{bucket}/*"), ("s3:ListBucket", f"arn:aws:s3:::{bucket}"))
    emitted = rule({"Arn": arn})
    cloud.client("lambda").add_permission(
        FunctionName=arn,
        StatementId="rule",
        Action="lambda:InvokeFunction",
        Principal="events.amazonaws.com",
        SourceArn=cloud.arn("events", f"rule/{emitted}"),
    )
    emit(cloud, emitted)

    def tries() -> list[str]:
        return [one["Key"] for one in cloud.client("s3").list_objects_v2(Bucket=bucket).get("Contents", [])]

    wait_until(lambda: tries() == ["0", "1"])


def test_a_function_is_invoked_only_by_a_rule_that_may(cloud: Cloud, rule: Any, function: Any, queue: Any) -> None:
    url, arn = queue({})
    emit(cloud, rule({"Arn": function("def handler(event, context): pass"), "DeadLetterConfig": {"Arn": arn}}))
    [letter] = wait_until(lambda: messages(cloud, url))
    assert letter["MessageAttributes"]["ERROR_CODE"]["StringValue"] == "NO_PERMISSIONS"


def test_patterns_match_as_the_template_needs(cloud: Cloud, caught_events: Any) -> None:
    source = cloud.name("source")
    events = caught_events(
        {
            "source": [source],
            "detail": {
                "status": ["Completed", "Failed"],
                "key": [{"prefix": "raw-images/"}],
                "approval": ["Approved"],
                "$or": [{"fields": ["ModelApprovalStatus"]}, {"fields": [{"exists": False}]}],
            },
        }
    )
    good = {"status": "Completed", "key": "raw-images/x", "approval": "Approved"}
    emit(cloud, source, **good, n=1)
    emit(cloud, source, **good, n=2, fields=["Description", "ModelApprovalStatus"])
    for wrong in ({"status": "Stopped"}, {"key": "x"}, {"approval": "Rejected"}, {"fields": ["Description"]}):
        emit(cloud, source, **{**good, **wrong})
    emit(cloud, source, **good, n=3)
    assert [e["detail"]["n"] for e in wait_until(lambda: events() if len(events()) >= 3 else None)] == [1, 2, 3]


def test_a_schedule_fires_when_its_time_has_come(monkeypatch: pytest.MonkeyPatch) -> None:
    # A minute is the shortest rate, so the clock is moved; the schedule is MiniStack's own, in this process.
    from ministack.services import eventbridge

    fired: list[tuple[str, str]] = []
    monkeypatch.setattr(
        eventbridge, "_invoke_target", lambda target, event, *_: fired.append((target["Input"], event["DetailType"]))
    )
    now = [1_000_000.0]
    monkeypatch.setattr(eventbridge, "_now_ts", lambda: now[0])
    eventbridge._ensure_default_bus()
    eventbridge._put_rule({"Name": "schedule", "ScheduleExpression": "rate(15 minutes)", "State": "ENABLED"})
    target = {"Id": "t", "Arn": "arn:aws:states:us-east-1:000000000000:stateMachine:x", "Input": "{}", "RoleArn": "r"}
    eventbridge._put_targets({"Rule": "schedule", "Targets": [target]})
    for seconds, times in ((0, 0), (14 * 60, 0), (60, 1), (60, 1), (14 * 60, 2)):
        now[0] += seconds
        eventbridge._tick_scheduled_rules()
        assert len(fired) == times, seconds
    assert fired[0] == ("{}", "Scheduled Event")
    eventbridge._remove_targets({"Rule": "schedule", "Ids": ["t"]})
    eventbridge._delete_rule({"Name": "schedule"})


def test_a_schedule_that_is_no_schedule_is_refused(cloud: Cloud) -> None:
    with pytest.raises(ClientError):
        cloud.client("events").put_rule(Name=cloud.name("schedule"), ScheduleExpression="rate(soon)")
