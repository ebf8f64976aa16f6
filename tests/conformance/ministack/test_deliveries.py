"""What was acknowledged is done, however the cloud ends: events, notifications, asynchronous invocations."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from botocore.exceptions import ClientError

from laptop.journal import FILE
from tests.conformance.conftest import wait_until
from tests.conformance.ministack.conftest import zipped
from tests.support.homes import Home

pytestmark = pytest.mark.xdist_group("kills")

# It is interrupted at its first call, and done at the second.
FUNCTION = """
    import json, time, boto3
    def handler(event, context):
        s3 = boto3.client("s3")
        first = "Contents" not in s3.list_objects_v2(Bucket="seen", Prefix="begun")
        s3.put_object(Bucket="seen", Key="begun", Body=json.dumps(event).encode())
        if first:
            time.sleep(600)
        s3.put_object(Bucket="seen", Key="done", Body=json.dumps(event).encode())
"""
FAILING = """
    import uuid, boto3
    def handler(event, context):
        boto3.client("s3").put_object(Bucket="seen", Key=str(uuid.uuid4()), Body=b"")
        raise ValueError("no")
"""


def make_function(home: Home, source: str) -> str:
    """The ARN of a function that may use the bucket `seen`, which is made."""
    home.client("s3").create_bucket(Bucket="seen")
    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    may = {"Effect": "Allow", "Action": ["s3:*", "sqs:*"], "Resource": "*"}
    iam = home.client("iam")
    role = iam.create_role(RoleName="role", AssumeRolePolicyDocument=policy(trust))["Role"]["Arn"]
    iam.put_role_policy(RoleName="role", PolicyName="policy", PolicyDocument=policy(may))
    return home.client("lambda").create_function(
        FunctionName="function",
        Runtime="python3.13",
        Handler="app.handler",
        Role=role,
        Code={"ZipFile": zipped(source)},
        Timeout=900,
    )["FunctionArn"]


def policy(statement: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def seen(home: Home) -> list[str]:
    return [one["Key"] for one in home.client("s3").list_objects_v2(Bucket="seen").get("Contents", [])]


def make_queue(home: Home, name: str) -> str:
    """The ARN of a queue that every service may send to."""
    arn = f"arn:aws:sqs:us-east-1:000000000000:{name}"
    allow = {"Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage", "Resource": arn}
    home.client("sqs").create_queue(QueueName=name, Attributes={"Policy": policy(allow)})
    return arn


def bodies(home: Home, name: str) -> list[dict[str, Any]]:
    """The messages of a queue, in JSON; they are left in it."""
    sqs = home.client("sqs")
    url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
    found: list[dict[str, Any]] = []
    while True:
        answer = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=60)
        if not answer.get("Messages"):
            return found
        found += [json.loads(one["Body"]) for one in answer["Messages"]]


def made_again(home: Home) -> list[str]:
    return [sentence for sentence in home.found if "on their way" in sentence]


def again_after_all(home: Home) -> None:
    """Kill and start the cloud once nothing is on its way any more."""
    with closing(sqlite3.connect(home.folder / "state" / FILE)) as journal:
        wait_until(lambda: journal.execute("SELECT count(*) FROM deliveries").fetchone() == (0,))
    home.again()


def invoke(home: Home, arn: str) -> None:
    home.client("lambda").invoke(FunctionName=arn, InvocationType="Event", Payload=b'{"what": "happened"}')


def publish(home: Home, arn: str) -> None:
    sns = home.client("sns")
    topic = sns.create_topic(Name="topic")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="lambda", Endpoint=arn)
    sns.publish(TopicArn=topic, Message="what happened")


def put_event(home: Home, arn: str) -> None:
    events, entry = home.client("events"), {"Source": "test", "DetailType": "Test", "Detail": '{"what": "happened"}'}
    rule = events.put_rule(Name="rule", EventPattern='{"source": ["test"]}')["RuleArn"]
    events.put_targets(Rule="rule", Targets=[{"Id": "one", "Arn": arn}])
    if ":lambda:" in arn:
        allowed = {"Action": "lambda:InvokeFunction", "Principal": "events.amazonaws.com", "SourceArn": rule}
        home.client("lambda").add_permission(FunctionName=arn, StatementId="events", **allowed)
    assert events.put_events(Entries=[entry])["FailedEntryCount"] == 0


@pytest.mark.parametrize("cause", [invoke, publish, put_event])
@pytest.mark.parametrize("end", ["killed at once", "killed", "stopped"])
def test_an_asynchronous_invocation_survives_a_kill(home: Home, cause: Callable[..., None], end: str) -> None:
    cause(home, make_function(home, FUNCTION))
    if end != "killed at once":
        wait_until(lambda: "begun" in seen(home))
        # What was interrupted as it began has been interrupted once; at the next start it gets through.
    if end == "stopped":
        home.stop()
    else:
        home.kill()
    home.start()
    assert made_again(home)
    if end == "killed at once" and wait_until(lambda: seen(home)) == ["begun"]:
        home.again()
    wait_until(lambda: "done" in seen(home))
    event = json.loads(home.client("s3").get_object(Bucket="seen", Key="done")["Body"].read())
    assert "happened" in json.dumps(event)
    again_after_all(home)
    assert not made_again(home)


def test_an_invocation_whose_tries_are_over_is_not_tried_again(home: Home) -> None:
    arn, dead = make_function(home, FAILING), make_queue(home, "dead")
    home.client("lambda").put_function_event_invoke_config(
        FunctionName=arn, MaximumRetryAttempts=0, DestinationConfig={"OnFailure": {"Destination": dead}}
    )
    invoke(home, arn)
    (letter,) = wait_until(lambda: bodies(home, "dead"))
    assert letter["requestPayload"] == {"what": "happened"}
    again_after_all(home)
    assert not made_again(home)
    assert len(seen(home)) == 1
    assert len(bodies(home, "dead")) <= 1  # taken above, and hidden since then


def test_an_invocation_of_a_function_that_is_gone_is_dropped(home: Home) -> None:
    arn = make_function(home, FUNCTION)
    invoke(home, arn)
    wait_until(lambda: "begun" in seen(home))
    home.client("lambda").delete_function(FunctionName=arn)
    home.again()
    assert made_again(home)
    again_after_all(home)
    assert not made_again(home)


def test_what_an_upload_tells_survives_a_kill(home: Home) -> None:
    """To a queue, to a topic, and through a rule; the last upload before the kill as well as those before it."""
    queues = {name: make_queue(home, name) for name in ("direct", "ruled", "published")}
    s3, sns, events = home.client("s3"), home.client("sns"), home.client("events")
    topic = sns.create_topic(Name="topic")["TopicArn"]
    allow = {"Effect": "Allow", "Principal": "*", "Action": "sns:Publish", "Resource": topic}
    sns.set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=policy(allow))
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queues["published"])
    events.put_rule(Name="rule", EventPattern='{"source": ["aws.s3"]}')
    events.put_targets(Rule="rule", Targets=[{"Id": "one", "Arn": queues["ruled"]}])
    s3.create_bucket(Bucket="bucket")
    s3.put_bucket_notification_configuration(
        Bucket="bucket",
        NotificationConfiguration={
            "QueueConfigurations": [{"QueueArn": queues["direct"], "Events": ["s3:ObjectCreated:*"]}],
            "TopicConfigurations": [{"TopicArn": topic, "Events": ["s3:ObjectCreated:*"]}],
            "EventBridgeConfiguration": {},
        },
    )
    keys = {f"key-{number}" for number in range(20)}
    for key in sorted(keys):
        s3.put_object(Bucket="bucket", Key=key, Body=b"x")
    home.again()

    def told() -> bool:
        for name, found in heard.items():
            for message in bodies(home, name):
                text = json.dumps(message).replace("\\", "")
                found |= {key for key in keys if f'"{key}"' in text}
        return all(found == keys for found in heard.values())

    heard: dict[str, set[str]] = {name: set() for name in queues}
    wait_until(told, what="what every upload tells")


@contextmanager
def web_server(told: list[str], answers: threading.Event) -> Iterator[int]:
    """A subscriber's port on the loopback interface: it answers notifications once it is told to."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            document = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            told.append(document["Token"] if "Token" in document else document["Message"])
            if "Token" not in document:
                answers.wait(60)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        answers.set()
        server.shutdown()
        thread.join()
        server.server_close()


def test_what_a_topic_tells_a_web_server_survives_a_kill(home: Home) -> None:
    told: list[str] = []
    answers = threading.Event()
    with web_server(told, answers) as port:
        sns = home.client("sns")
        topic = sns.create_topic(Name="topic")["TopicArn"]
        sns.subscribe(TopicArn=topic, Protocol="http", Endpoint=f"http://127.0.0.1:{port}/")
        sns.confirm_subscription(TopicArn=topic, Token=wait_until(lambda: told)[0])
        sns.publish(TopicArn=topic, Message="drift")
        wait_until(lambda: "drift" in told)
        home.again()  # it never heard an answer
        wait_until(lambda: told.count("drift") == 2)
        answers.set()
        again_after_all(home)
        assert not made_again(home)


def test_an_event_that_was_taken_survives_a_kill(home: Home) -> None:
    put_event(home, make_queue(home, "queue"))
    home.again()
    (event,) = wait_until(lambda: bodies(home, "queue"))
    assert event["detail"] == {"what": "happened"}


def test_an_event_that_is_delivered_again_is_one_execution(home: Home) -> None:
    trust = {"Effect": "Allow", "Principal": {"Service": ["events.amazonaws.com"]}, "Action": "sts:AssumeRole"}
    role = home.client("iam").create_role(RoleName="role", AssumeRolePolicyDocument=policy(trust))["Role"]["Arn"]
    may = policy({"Effect": "Allow", "Action": "states:StartExecution", "Resource": "*"})
    home.client("iam").put_role_policy(RoleName="role", PolicyName="policy", PolicyDocument=may)
    wait = {"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 3600, "End": True}}}
    machine = home.client("stepfunctions").create_state_machine(
        name="machine", definition=json.dumps({"QueryLanguage": "JSONata", **wait}), roleArn=role
    )["stateMachineArn"]
    events = home.client("events")
    events.put_rule(Name="rule", EventPattern='{"source": ["test"]}')
    events.put_targets(Rule="rule", Targets=[{"Id": "one", "Arn": machine, "RoleArn": role}])
    events.put_events(Entries=[{"Source": "test", "DetailType": "Test", "Detail": "{}"}] * 3)
    home.again()
    again_after_all(home)
    executions = home.client("stepfunctions").list_executions(stateMachineArn=machine)["executions"]
    assert len(executions) == 3


def test_what_cannot_be_written_down_is_refused(home: Home, full_disk: Callable[..., None]) -> None:
    arn, queue = make_function(home, FAILING), make_queue(home, "queue")
    events, s3 = home.client("events"), home.client("s3")
    events.put_rule(Name="rule", EventPattern='{"source": ["test"]}')
    events.put_targets(Rule="rule", Targets=[{"Id": "one", "Arn": queue}])
    entry = {"Source": "test", "DetailType": "Test", "Detail": "{}"}
    full_disk(True)
    for ask in (lambda: invoke(home, arn), lambda: events.put_events(Entries=[entry])):
        with pytest.raises(ClientError) as refused:
            ask()
        assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500
        assert "cannot store" in str(refused.value)
    full_disk(False)
    invoke(home, arn)
    events.put_events(Entries=[entry])
    s3.put_object(Bucket="seen", Key="after", Body=b"x")
