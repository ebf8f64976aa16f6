"""Up, down and up again: what `laptop.lifecycle` promises, with servers of these tests' own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from pathlib import Path
from typing import Any

import boto3
import psutil
import pytest

from laptop import deploy, lifecycle, preflight
from laptop.account import client_settings, read_keys
from laptop.running import DEFAULT_PORT, Running
from tests.conformance.conftest import wait_until
from tests.conformance.ministack.lifecycle.conftest import ended


def client(home: Path, running: Running, service: str) -> Any:
    return boto3.client(service, **client_settings(running.endpoint_url, read_keys(home)))


def test_state_survives_a_stop_and_a_change_of_port(home: Path, up: Any) -> None:
    first = up()
    assert first.stack_name == "mine"
    client(home, first, "s3").put_object(Bucket=first.outputs["Bucket"], Key="kept", Body=b"1" * 100_000)
    client(home, first, "sqs").send_message(QueueUrl=first.outputs["Queue"], MessageBody="kept")
    assert json.loads((home / "laptop.json").read_text())["pid"] == first.pid
    assert lifecycle.down(home)
    assert ended(first.pid)
    stopped = lifecycle.status(home)
    assert stopped.pid is None
    assert stopped.outputs == first.outputs
    assert lifecycle.down(home) is False, "stopping twice is no error"
    second = up(port=0)
    assert second.port not in (first.port, DEFAULT_PORT)
    moved = first.outputs["Queue"].replace(first.endpoint_url, second.endpoint_url)
    assert second.outputs == {**first.outputs, "Queue": moved}
    assert (
        len(client(home, second, "s3").get_object(Bucket=second.outputs["Bucket"], Key="kept")["Body"].read())
        == 100_000
    )
    [message] = client(home, second, "sqs").receive_message(QueueUrl=first.outputs["Queue"])["Messages"]
    assert message["Body"] == "kept"


def test_up_on_a_running_cloud_updates_its_stack_and_settings(home: Path, up: Any) -> None:
    first = up(settings={"workforce": {"error_rate": 0.1}})
    assert first.parameters == {"Days": "3"}
    second = up({"Days": 7}, settings={"workforce": {"jitter": 2}})
    assert json.loads((home / "workforce.json").read_text()) == {"error_rate": 0.1, "jitter": 2}
    assert (second.pid, second.outputs) == (first.pid, first.outputs)

    def days(running: Running) -> int:
        groups = client(home, running, "logs").describe_log_groups(logGroupNamePrefix=running.outputs["Logs"])[
            "logGroups"
        ]
        return groups[0]["retentionInDays"]

    assert days(second) == 7
    said: list[str] = []
    third = up(progress=said.append)
    assert third.parameters == {"Days": "7"}, "what was given stays in force"
    assert said == ["Stack mine is as it should be"]
    assert days(third) == 7
    for odd in ("", "{", "[1]", "null", "[" * 100_000):
        (home / "workforce.json").write_text(odd)
        with pytest.raises(lifecycle.LaptopError, match=r"workforce\.json"):
            up(settings={"workforce": {"jitter": 2}})


def test_an_execution_goes_on_after_a_clean_stop(home: Path, up: Any) -> None:
    first = up()
    states = client(home, first, "stepfunctions")
    arn = first.outputs["Machine"]
    waiting = states.start_execution(stateMachineArn=arn, name="waiting", input='{"seconds": 2, "name": "a"}')
    working = states.start_execution(stateMachineArn=arn, name="work", input='{"seconds": 0, "name": "b", "sleep": 3}')

    def keys(running: Running) -> list[str]:
        listed = client(home, running, "s3").list_objects_v2(Bucket=running.outputs["Bucket"])
        return [one["Key"] for one in listed.get("Contents", [])]

    wait_until(lambda: "b-begun" in keys(first))
    lifecycle.down(home)
    second = up()
    states = client(home, second, "stepfunctions")

    def described(execution: Any) -> dict[str, Any] | None:
        found = states.describe_execution(executionArn=execution["executionArn"])
        return found if found["status"] != "RUNNING" else None

    for execution, output in ((waiting, '"a"'), (working, '"b"')):
        found = wait_until(lambda execution=execution: described(execution))
        assert (found["status"], found.get("output")) == ("SUCCEEDED", output)


@pytest.mark.parametrize("kind", ["distributed map", "map"])
@pytest.mark.parametrize("killed", [False, True], ids=["stopped", "killed"])
def test_branches_that_were_left_in_the_middle_are_done_again(home: Path, up: Any, kind: str, killed: bool) -> None:
    first = up()
    function, items = first.outputs["Store"], [{"name": name, "sleep": 2} for name in ("one", "two")]
    task = {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Arguments": {"FunctionName": function, "Payload": "{% $states.input %}"},
        "Output": "{% $states.result.Payload %}",
        "End": True,
    }
    each = {"StartAt": "Store", "States": {"Store": task}}
    state = {
        "distributed map": {
            "Type": "Map",
            "Items": items,
            "Label": "Batches",
            "ItemProcessor": each | {"ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}},
        },
        "map": {"Type": "Map", "Items": items, "ItemProcessor": each},
    }[kind]
    after = {"Type": "Pass", "Output": {"results": "{% $states.input %}", "count": "{% $counted %}"}, "End": True}
    branches = {**state, "Assign": {"counted": "{% $count($states.result) %}"}, "Next": "After"}
    definition = {"QueryLanguage": "JSONata", "StartAt": "Branches", "States": {"Branches": branches, "After": after}}
    states, s3 = client(home, first, "stepfunctions"), client(home, first, "s3")
    role = states.describe_state_machine(stateMachineArn=first.outputs["Machine"])["roleArn"]
    may = {"Effect": "Allow", "Action": ["states:StartExecution", "lambda:InvokeFunction"], "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [may]})
    iam = client(home, first, "iam")
    iam.put_role_policy(RoleName=role.rpartition("/")[2], PolicyName="more", PolicyDocument=document)
    machine = states.create_state_machine(name="branches", definition=json.dumps(definition), roleArn=role)
    arn = states.start_execution(stateMachineArn=machine["stateMachineArn"])["executionArn"]
    wait_until(lambda: s3.list_objects_v2(Bucket=first.outputs["Bucket"]).get("KeyCount") == 2)
    if killed:
        os.kill(first.pid, signal.SIGKILL)
        wait_until(lambda: ended(first.pid))
    else:
        lifecycle.down(home)
    second = up()
    states = client(home, second, "stepfunctions")

    def described() -> dict[str, Any] | None:
        found = states.describe_execution(executionArn=arn)
        return found if found["status"] != "RUNNING" else None

    found = wait_until(described)
    assert (found["status"], json.loads(found["output"])) == ("SUCCEEDED", {"results": ["one", "two"], "count": 2})


def test_an_execution_goes_on_in_its_state(home: Path, up: Any) -> None:
    """What came before is not done again, and variables, inputs and times of start are as they were."""
    first = up()
    states, s3 = client(home, first, "stepfunctions"), client(home, first, "s3")
    store = {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "TimeoutSeconds": 60}
    definition = {
        "QueryLanguage": "JSONata",
        "StartAt": "Begin",
        "States": {
            "Begin": {
                **store,
                "Arguments": {"FunctionName": first.outputs["Store"], "Payload": {"name": "first"}},
                "Assign": {"text": "{% '{' & '% kept %}' %}", "seen": "{% $states.context.Execution.StartTime %}"},
                "Output": {"given": "{% $states.input.given %}"},
                "Next": "Pause",
            },
            "Pause": {"Type": "Wait", "Seconds": 3, "Next": "End"},
            "End": {
                "Type": "Pass",
                "Output": "{% [$text, $states.input.given, $seen = $states.context.Execution.StartTime] %}",
                "End": True,
            },
        },
    }
    role = states.describe_state_machine(stateMachineArn=first.outputs["Machine"])["roleArn"]
    machine = states.create_state_machine(name="goes-on", definition=json.dumps(definition), roleArn=role)
    arn = states.start_execution(stateMachineArn=machine["stateMachineArn"], input='{"given": 7}')["executionArn"]

    def entered() -> list[str]:
        events = states.get_execution_history(executionArn=arn)["events"]
        return [one["stateEnteredEventDetails"]["name"] for one in events if "stateEnteredEventDetails" in one]

    wait_until(lambda: "Pause" in entered())
    s3.delete_object(Bucket=first.outputs["Bucket"], Key="first-begun")
    os.kill(first.pid, signal.SIGKILL)
    wait_until(lambda: ended(first.pid))
    said: list[str] = []
    second = up(progress=said.append)
    assert "Executions go on in the state that they were in: 1 of goes-on." in said
    states, s3 = client(home, second, "stepfunctions"), client(home, second, "s3")

    def described() -> dict[str, Any] | None:
        found = states.describe_execution(executionArn=arn)
        return found if found["status"] != "RUNNING" else None

    found = wait_until(described)
    assert (found["status"], json.loads(found["output"])) == ("SUCCEEDED", ["{% kept %}", 7, True])
    listed = s3.list_objects_v2(Bucket=second.outputs["Bucket"])
    assert [one["Key"] for one in listed.get("Contents", []) if one["Key"].startswith("first-begun")] == []
    assert entered().count("Begin") == 1


def test_nothing_survives_a_cloud_that_is_killed(home: Path, up: Any) -> None:
    running = up()
    payload = json.dumps({"name": "x", "sleep": 60}).encode()
    client(home, running, "lambda").invoke(
        FunctionName=running.outputs["Store"], Payload=payload, InvocationType="Event"
    )

    def children() -> list[psutil.Process]:
        found = psutil.Process(running.pid).children(recursive=True)
        with contextlib.suppress(psutil.NoSuchProcess):  # some process of the cloud ended while we looked
            return found if any("_worker.py" in " ".join(child.cmdline()) for child in found) else []
        return []

    family = wait_until(children)
    os.kill(running.pid, signal.SIGKILL)
    wait_until(lambda: all(ended(child.pid) for child in family))
    assert lifecycle.status(home).pid is None
    assert up().pid != running.pid, "a stale pid is no obstacle"


def test_a_stack_that_fails_leaves_no_server(home: Path, up: Any, template: Path) -> None:
    template.write_text(template.read_text().replace("MaxValue: 30", "MaxValue: 30, AllowedPattern: '['"))
    with pytest.raises(deploy.DeployError):
        up({"Days": "31"})
    assert lifecycle.status(home) is None
    assert (home / "logs" / "server.log").exists()


def test_what_cannot_work_is_refused_before_a_server_starts(home: Path, up: Any, template: Path) -> None:
    with pytest.raises(deploy.DeployError, match=r"no parameter Dayz\. It has: Days"):
        up({"Dayz": 1})
    template.write_text(template.read_text().replace("AWS::SQS::Queue", "AWS::SQS::Cue"))
    with pytest.raises(preflight.Refused, match="AWS::SQS::Cue"):
        up()
    assert not (home / "logs").exists()
