"""Up, down and up again: what `laptop.lifecycle` promises, with servers of these tests' own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import psutil
import pytest

from laptop import deploy, lifecycle, preflight
from laptop.account import client_settings, read_keys
from laptop.running import DEFAULT_PORT, Running
from tests.conformance.conftest import wait_until

REPOSITORY = Path(__file__).resolve().parents[3]
MACHINE = """
    QueryLanguage: JSONata
    StartAt: Wait
    States:
      Wait: {Type: Wait, Seconds: "{% $states.input.seconds %}", Next: Store}
      Store:
        Type: Task
        Resource: arn:aws:states:::lambda:invoke
        Arguments: {FunctionName: "${Store}", Payload: "{% $states.input %}"}
        Output: "{% $states.result.Payload %}"
        End: true
"""
FUNCTION = """
import boto3, os, time
def handler(event, context):
    s3 = boto3.client("s3")
    s3.put_object(Bucket=os.environ["BUCKET"], Key=f"{event['name']}-begun", Body=str(os.getpid()).encode())
    time.sleep(event.get("sleep", 0))
    return event["name"]
"""
TEMPLATE = """
    Transform: AWS::Serverless-2016-10-31
    Parameters: {Days: {Type: Number, Default: 1, MaxValue: 30}}
    Resources:
      Bucket: {Type: AWS::S3::Bucket}
      Logs: {Type: AWS::Logs::LogGroup, Properties: {RetentionInDays: !Ref Days}}
      Queue: {Type: AWS::SQS::Queue}
      Store:
        Type: AWS::Serverless::Function
        Properties:
          Runtime: python3.13
          Handler: app.handler
          CodeUri: functions/
          Timeout: 60
          Environment: {Variables: {BUCKET: !Ref Bucket}}
          Role: !GetAtt Role.Arn
      Role:
        Type: AWS::IAM::Role
        Properties:
          AssumeRolePolicyDocument:
            Statement: [{Effect: Allow, Principal: {Service: lambda.amazonaws.com}, Action: "sts:AssumeRole"}]
          Policies:
            - PolicyName: put
              PolicyDocument:
                Statement: [{Effect: Allow, Action: "s3:PutObject", Resource: !Sub "${Bucket.Arn}/*"}]
      Machine:
        Type: AWS::Serverless::StateMachine
        Properties:
          DefinitionUri: machine.asl.yaml
          DefinitionSubstitutions: {Store: !GetAtt Store.Arn}
          Policies: [{LambdaInvokePolicy: {FunctionName: !Ref Store}}]
    Outputs:
      Bucket: {Value: !Ref Bucket}
      Logs: {Value: !Ref Logs}
      Store: {Value: !Ref Store}
      Machine: {Value: !Ref Machine}
      Queue: {Value: !Ref Queue}
"""


@pytest.fixture
def template(tmp_path: Path) -> Path:
    folder = tmp_path / "application"
    (folder / "functions").mkdir(parents=True)
    (folder / "functions" / "app.py").write_text(FUNCTION)
    (folder / "machine.asl.yaml").write_text(textwrap.dedent(MACHINE))
    (folder / "template.yaml").write_text(textwrap.dedent(TEMPLATE))
    (folder / "samconfig.toml").write_text(
        '[laptop.deploy.parameters]\nstack_name = "mine"\nparameter_overrides = ["Days=3"]\n'
    )
    return folder / "template.yaml"


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    home = tmp_path / "home"
    yield home
    running = lifecycle.status(home)
    lifecycle.down(home)
    assert running is None or running.pid is None or not psutil.pid_exists(running.pid) or ended(running.pid)


def ended(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.fixture
def up(home: Path, template: Path) -> Callable[..., Running]:
    def start(parameters: dict[str, object] | None = None, **options: Any) -> Running:
        settings = {"template": template, "samconfig": template.parent / "samconfig.toml", "port": 0}
        return lifecycle.up(home, parameters, **{**settings, **options})

    return start


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


def begin_up(home: Path, template: Path) -> subprocess.Popen[str]:
    """A process that calls `up`, and prints what `up` tells."""
    program = f"""
import sys
sys.path.insert(0, {str(REPOSITORY)!r})
from pathlib import Path
from laptop import lifecycle
lifecycle.up(Path({str(home)!r}), template=Path({str(template)!r}), samconfig=Path("none"), port=0,
             progress=lambda line: print(line, flush=True))
"""
    return subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell starts its background jobs with SIGINT ignored, and whoever they start inherits that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def server_of(process: subprocess.Popen[str]) -> psutil.Process | None:
    children = psutil.Process(process.pid).children()
    return next((child for child in children if "laptop.server" in " ".join(child.cmdline())), None)


def test_an_interrupted_up_leaves_nothing(tmp_path: Path, template: Path) -> None:
    home = tmp_path / "interrupted"
    process = begin_up(home, template)
    assert process.stdout
    for line in process.stdout:
        if line.startswith("The laptop cloud listens"):
            break
    server = server_of(process)
    assert server
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    wait_until(lambda: ended(server.pid))
    assert not home.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("deploying", [False, True])
def test_an_up_that_is_killed_takes_its_server_with_it(
    home: Path, template: Path, up: Any, number: int, deploying: bool
) -> None:
    process = begin_up(home, template)
    server = wait_until(lambda: server_of(process))
    if deploying:
        assert process.stdout
        assert process.stdout.readline().startswith("The laptop cloud listens")
    process.send_signal(number)
    process.communicate(timeout=60)
    second = up()  # at once: a server that still ends is waited for
    assert ended(server.pid)
    assert lifecycle.status(home).pid == second.pid


def test_a_server_outlives_the_up_that_wrote_it_down(home: Path, template: Path) -> None:
    process = begin_up(home, template)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    running = lifecycle.status(home)
    assert running
    assert running.pid, "it answers"


def test_a_port_that_is_taken_is_not_fought_over(cloud: Any, home: Path, up: Any) -> None:
    taken = int(cloud.endpoint_url.rpartition(":")[2])
    running = up(port=taken)
    assert running.port != taken
    assert lifecycle.status(home).endpoint_url == running.endpoint_url


def test_two_ups_at_once_do_not_race(home: Path, up: Any) -> None:
    import fcntl

    home.mkdir()
    with (home / "lifecycle.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(lifecycle.LaptopError, match="Another"):
            up()


def test_clouds_that_start_together_do_not_share_a_port(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        wanted = probe.getsockname()[1]
    homes = [tmp_path / name for name in ("a", "b", "c")]
    with ThreadPoolExecutor() as pool:
        started = list(pool.map(lambda home: lifecycle.start(home, wanted), homes))
    try:
        assert len({running.port for running, _ in started}) == len(homes)
        for home, (running, process) in zip(homes, started, strict=True):
            with urllib.request.urlopen(f"{running.endpoint_url}/_skyloop/health") as answer:
                health = json.load(answer)
                assert (health["status"], health["pid"], health["home"]) == ("ready", process.pid, str(home))
    finally:
        for _, process in started:
            lifecycle.stop(process)
