"""Lambda functions: errors, logs, metrics, credentials, layers, queues, and the end of their processes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import psutil
import pytest

from tests.conformance.conftest import Cloud, wait_until
from tests.conformance.ministack.conftest import zipped
from tests.support.homes import Home


def invoke(cloud: Cloud, arn: str, payload: Any = None) -> tuple[Any, bool]:
    """The answer, and whether it is an error."""
    answer = cloud.client("lambda").invoke(FunctionName=arn, Payload=json.dumps(payload))
    return json.loads(answer["Payload"].read()), "FunctionError" in answer


FAILS = """
    class NotEnoughImages(ValueError):
        pass

    def handler(event, context):
        raise NotEnoughImages("3 of 20")
"""


def test_an_exception_keeps_its_name(cloud: Cloud, function: Any, run: Any) -> None:
    arn = function(FAILS)
    error, failed = invoke(cloud, arn)
    assert failed
    assert (error["errorType"], error["errorMessage"]) == ("NotEnoughImages", "3 of 20")
    assert "in handler" in error["stackTrace"][-1]
    catch = [
        {"ErrorEquals": ["ValueError"], "Next": "Wrong"},
        {"ErrorEquals": ["NotEnoughImages"], "Next": "Right"},
    ]
    task = {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "Catch": catch, "Next": "Wrong"}
    states = {
        "Fails": {**task, "Arguments": {"FunctionName": arn}},
        "Right": {"Type": "Succeed"},
        "Wrong": {"Type": "Fail"},
    }
    execution = run({"StartAt": "Fails", "States": states}, ("lambda:InvokeFunction", arn))
    assert execution["status"] == "SUCCEEDED"


def test_a_failed_task_carries_the_functions_error_as_its_cause(function: Any, run: Any) -> None:
    arn = function(FAILS)
    task = {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "Arguments": {"FunctionName": arn}}
    execution = run(task, ("lambda:InvokeFunction", arn))
    assert execution["error"] == "NotEnoughImages"
    assert json.loads(execution["cause"])["errorMessage"] == "3 of 20"


def test_a_process_survives_an_exception(cloud: Cloud, function: Any) -> None:
    arn = function(
        "import os\ndef handler(event, context):\n    assert event == 'good', os.getpid()\n    return os.getpid()"
    )
    pid, _ = invoke(cloud, arn, "good")
    error, failed = invoke(cloud, arn, "bad")
    assert failed
    assert error["errorMessage"] == str(pid)
    assert invoke(cloud, arn, "good") == (pid, False)


def test_a_process_that_exits_is_replaced(cloud: Cloud, function: Any) -> None:
    arn = function(
        "import os\ndef handler(event, context):\n    if event == 'die': os._exit(3)\n    return os.getpid()"
    )
    pid, _ = invoke(cloud, arn)
    assert invoke(cloud, arn, "die")[1]
    other, failed = invoke(cloud, arn)
    assert not failed
    assert other != pid


def test_a_function_that_takes_too_long_is_killed(cloud: Cloud, function: Any) -> None:
    source = """
        import os, time
        def handler(event, context):
            if event:
                open(event, "w").write(str(os.getpid()))
                time.sleep(600)
            return context.get_remaining_time_in_millis()
    """
    arn = function(source, Timeout=2)
    left, _ = invoke(cloud, arn)
    assert 0 < left <= 2000
    note = cloud.home / "slow.pid"
    error, failed = invoke(cloud, arn, str(note))
    assert failed
    assert "timed out after 2.00 seconds" in error["errorMessage"]
    pid = int(note.read_text())
    wait_until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)


def test_every_log_line_arrives(cloud: Cloud, function: Any) -> None:
    source = """
        import sys, time
        def handler(event, context):
            print("first")
            sys.stdout.flush()
            time.sleep(0.4)
            for number in range(2000):
                print("line", number)
            print("no newline at the end", end="")
    """
    arn = function(source)
    for _ in range(2):
        invoke(cloud, arn)
    logs, group = cloud.client("logs"), f"/aws/lambda/{arn.rpartition(':')[2]}"
    pages = logs.get_paginator("filter_log_events").paginate(logGroupName=group)
    messages = [event["message"].rstrip() for page in pages for event in page["events"]]
    for line in ("first", "line 0", "line 1999", "no newline at the end"):
        assert messages.count(line) == 2, line


def test_a_function_works_as_its_role(cloud: Cloud, function: Any) -> None:
    bucket = cloud.name("bucket")
    cloud.client("s3").create_bucket(Bucket=bucket)
    source = f"""
        import boto3
        def handler(key, context):
            boto3.client("s3").put_object(Bucket="{bucket}", Key=key, Body=b"1")
            return boto3.client("sts").get_caller_identity()["Arn"]
    """
    arn = function(source, ("s3:PutObject", f"arn:aws:s3:::{bucket}/mine/*"))
    caller, failed = invoke(cloud, arn, "mine/a")
    assert not failed
    assert ":assumed-role/" in caller
    error, failed = invoke(cloud, arn, "other/a")
    assert failed
    assert error["errorType"] == "AccessDenied"
    assert "AccessDenied" in error["errorMessage"]


def test_a_layer_is_found(cloud: Cloud, function: Any) -> None:
    client = cloud.client("lambda")
    version = client.publish_layer_version(
        LayerName=cloud.name("layer"), Content={"ZipFile": zipped("ANSWER = 42", "python/shared/__init__.py")}
    )
    arn = function(
        "import shared\ndef handler(event, context): return shared.ANSWER", Layers=[version["LayerVersionArn"]]
    )
    assert invoke(cloud, arn) == (42, False)


def role_of(home: Home) -> str:
    """The ARN of the role of a home's functions, which is called `role`."""
    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    arn: str = home.client("iam").create_role(RoleName="role", AssumeRolePolicyDocument=document)["Role"]["Arn"]
    return arn


@pytest.mark.parametrize("where", ["code", "layer"])
def test_a_function_that_cannot_be_started_is_a_fault_of_the_service(
    home: Home, full_disk: Callable[..., None], where: str
) -> None:
    """So the state machines' retries, which are for minutes, are for it: an error of the function is tried twice."""
    client, much = home.client("lambda"), 300_000
    role = role_of(home)
    layer = client.publish_layer_version(
        LayerName="layer",
        Content={"ZipFile": zipped("ANSWER = 42", "python/shared/__init__.py", much * (where == "layer"))},
    )
    client.create_function(
        FunctionName="function",
        Runtime="python3.13",
        Handler="app.handler",
        Role=role,
        Code={
            "ZipFile": zipped(
                "import shared\ndef handler(event, context): return shared.ANSWER", ballast=much * (where == "code")
            )
        },
        Layers=[layer["LayerVersionArn"]],
    )
    full_disk(True, room=much // 2)
    answer = json.loads(client.invoke(FunctionName="function")["Payload"].read())
    assert answer["errorType"] == "Lambda.ServiceException", answer
    full_disk(False)
    assert json.loads(client.invoke(FunctionName="function")["Payload"].read()) == 42


def test_an_event_waits_until_its_function_can_be_started(home: Home, full_disk: Callable[..., None]) -> None:
    """A full disk is no reason to drop it: more tries than an error of the function has."""
    client, sns, sqs, much = home.client("lambda"), home.client("sns"), home.client("sqs"), 30_000_000
    role = role_of(home)
    allowed = {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    home.client("iam").put_role_policy(RoleName="role", PolicyName="policy", PolicyDocument=policy)
    queue = sqs.create_queue(QueueName="heard")["QueueUrl"]
    source = f"""
        import boto3
        def handler(event, context):
            boto3.client("sqs").send_message(QueueUrl="{queue}", MessageBody=event["Records"][0]["Sns"]["Message"])
    """
    code = {"ZipFile": zipped(source, ballast=much)}
    arn = client.create_function(
        FunctionName="function", Runtime="python3.13", Handler="app.handler", Role=role, Code=code, Timeout=60
    )["FunctionArn"]
    topic = sns.create_topic(Name="topic")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="lambda", Endpoint=arn)
    full_disk(True, room=much // 2)
    sns.publish(TopicArn=topic, Message="what happened")
    log = home.folder / "logs" / "server.log"
    wait_until(lambda: log.read_text().count("execution error for function") > 3, what="a fourth try")
    full_disk(False)
    (message,) = wait_until(lambda: sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=1).get("Messages"))
    assert message["Body"] == "what happened"


def test_functions_see_the_clouds_address_and_nothing_of_the_users(cloud: Cloud, function: Any) -> None:
    arn = function("import os\ndef handler(event, context): return dict(os.environ)")
    environment, _ = invoke(cloud, arn)
    assert environment["AWS_ENDPOINT_URL"] == cloud.endpoint_url
    assert environment["AWS_REGION"] == cloud.region
    assert "AWS_PROFILE" not in environment
    assert "PYTHONPATH" not in environment


def test_a_queue_invokes_a_function_and_redelivers_what_failed(cloud: Cloud, function: Any) -> None:
    sqs, client = cloud.client("sqs"), cloud.client("lambda")
    bucket = cloud.name("bucket")
    cloud.client("s3").create_bucket(Bucket=bucket)
    dead = sqs.create_queue(QueueName=cloud.name("dead"))["QueueUrl"]
    redrive = {"deadLetterTargetArn": cloud.arn("sqs", dead.rpartition("/")[2]), "maxReceiveCount": "2"}
    attributes = {"VisibilityTimeout": "3", "RedrivePolicy": json.dumps(redrive)}
    queue = sqs.create_queue(QueueName=cloud.name("queue"), Attributes=attributes)["QueueUrl"]
    source = f"""
        import boto3
        s3 = boto3.client("s3")
        def handler(event, context):
            failed = []
            for record in event["Records"]:
                if record["body"] == "bad":
                    failed.append({{"itemIdentifier": record["messageId"]}})
                else:
                    s3.put_object(Bucket="{bucket}", Key=record["body"], Body=b"")
            return {{"batchItemFailures": failed}}
    """
    arn = function(source, ("s3:PutObject", f"arn:aws:s3:::{bucket}/*"), Timeout=3)
    mapping = client.create_event_source_mapping(
        EventSourceArn=cloud.arn("sqs", queue.rpartition("/")[2]),
        FunctionName=arn,
        BatchSize=10,
        FunctionResponseTypes=["ReportBatchItemFailures"],
    )
    for body in ("good-1", "bad", "good-2"):
        sqs.send_message(QueueUrl=queue, MessageBody=body)

    def keys() -> list[str]:
        return [one["Key"] for one in cloud.client("s3").list_objects_v2(Bucket=bucket).get("Contents", [])]

    wait_until(lambda: keys() == ["good-1", "good-2"])
    messages = wait_until(lambda: sqs.receive_message(QueueUrl=dead).get("Messages"))
    assert [message["Body"] for message in messages] == ["bad"]
    client.delete_event_source_mapping(UUID=mapping["UUID"])


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("import no_such_module\ndef handler(event, context): pass", "no_such_module"),
        ("syntax error (", "never closed"),
    ],
)
def test_code_that_does_not_load_says_why(cloud: Cloud, function: Any, source: str, why: str) -> None:
    error, failed = invoke(cloud, function(source))
    assert failed
    assert why in error["errorMessage"]


def test_a_function_that_fails_with_a_notification_is_invoked_again(cloud: Cloud, function: Any) -> None:
    bucket = cloud.name("bucket")
    cloud.client("s3").create_bucket(Bucket=bucket)
    source = f"""
        import boto3
        def handler(event, context):
            s3 = boto3.client("s3")
            tries = len(s3.list_objects_v2(Bucket="{bucket}").get("Contents", []))
            s3.put_object(Bucket="{bucket}", Key=str(tries), Body=event["Records"][0]["Sns"]["Message"])
            assert tries
    """
    arn = function(source, ("s3:PutObject", f"arn:aws:s3:::{bucket}/*"), ("s3:ListBucket", f"arn:aws:s3:::{bucket}"))
    sns = cloud.client("sns")
    topic = sns.create_topic(Name=cloud.name("topic"))["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="lambda", Endpoint=arn)
    sns.publish(TopicArn=topic, Message="what happened")

    def tries() -> list[str]:
        return [one["Key"] for one in cloud.client("s3").list_objects_v2(Bucket=bucket).get("Contents", [])]

    wait_until(lambda: tries() == ["0", "1"], what="a second try")
    body = cloud.client("s3").get_object(Bucket=bucket, Key="1")["Body"].read()
    assert body == b"what happened"
