"""Roles, functions and state machines for the tests of this folder."""

from __future__ import annotations

import contextlib
import io
import json
import resource
import textwrap
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from laptop import deploy
from laptop.account import read_keys
from tests.conformance.conftest import Cloud, wait_until
from tests.conformance.sagemaker.conftest import (  # noqa: F401 (fixtures)
    labeling_request,
    processing_request,
    sagemaker,
    training_request,
)
from tests.support.homes import Home

MakeRole = Callable[..., str]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    home = Home(tmp_path / "home")
    home.start()
    yield home
    home.stop()


@pytest.fixture
def full_disk(home: Home) -> Iterator[Callable[..., None]]:
    """`full_disk(True)`: no file of the cloud's process may grow, as on a full disk, or none beyond `room` bytes.

    Undone at the end.
    """

    def limit(full: bool, room: int = 0) -> None:
        largest = room if full else resource.RLIM_INFINITY
        resource.prlimit(home.pid, resource.RLIMIT_FSIZE, (largest, resource.RLIM_INFINITY))

    yield limit
    with contextlib.suppress(ProcessLookupError):  # a test may end it
        limit(False)


@pytest.fixture
def role(cloud: Cloud) -> MakeRole:
    """``role(service, *statements)`` -> the ARN of a role that a service may assume; statements are (actions, resource)
    or whole statements."""

    def make(service: str, *statements: Any) -> str:
        iam, name = cloud.client("iam"), cloud.name("role")
        trust = {"Effect": "Allow", "Principal": {"Service": f"{service}.amazonaws.com"}, "Action": "sts:AssumeRole"}
        arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=_policy([trust]))["Role"]["Arn"]
        whole = [
            one if isinstance(one, dict) else {"Effect": "Allow", "Action": one[0], "Resource": one[1]}
            for one in statements
        ]
        if whole:
            iam.put_role_policy(RoleName=name, PolicyName="policy", PolicyDocument=_policy(whole))
        return arn

    return make


def _policy(statements: list[dict[str, Any]]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def zipped(source: str, name: str = "app.py", ballast: int = 0) -> bytes:
    """An archive of one file, and of one with so many bytes that nothing reads."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:  # small in the journal, large once unpacked
        archive.writestr(name, textwrap.dedent(source))
        archive.writestr("ballast", bytes(ballast))
    return buffer.getvalue()


@pytest.fixture
def function(cloud: Cloud, role: MakeRole) -> Callable[..., str]:
    """``function(source, *statements, **settings)`` -> the ARN of a function whose code is ``source``."""

    def make(source: str, *statements: Any, **settings: Any) -> str:
        return cloud.client("lambda").create_function(
            FunctionName=cloud.name("function"),
            Runtime="python3.13",
            Architectures=["arm64"],
            Handler="app.handler",
            Role=role("lambda", *statements),
            Code={"ZipFile": zipped(source)},
            **{"Timeout": 60, **settings},
        )["FunctionArn"]

    return make


@pytest.fixture
def machine(cloud: Cloud, role: MakeRole) -> Callable[..., str]:
    """``machine(definition, *statements)`` -> the ARN of a state machine in JSONata.

    ``definition`` is the machine, or its one state. ``statements`` are what its role may do.
    """

    def make(definition: dict[str, Any], *statements: Any) -> str:
        if "States" not in definition:
            definition = {"StartAt": "Only", "States": {"Only": {"End": True, **definition}}}
        return cloud.client("stepfunctions").create_state_machine(
            name=cloud.name("machine"),
            definition=json.dumps({"QueryLanguage": "JSONata", **definition}),
            roleArn=role("states", *statements),
        )["stateMachineArn"]

    return make


@pytest.fixture
def run(cloud: Cloud, machine: Callable[..., str]) -> Callable[..., dict[str, Any]]:
    """``run(definition, *statements, input=…)`` -> DescribeExecution of an ended execution, its output parsed."""

    def execute(definition: dict[str, Any], *statements: Any, input: Any = None) -> dict[str, Any]:
        client = cloud.client("stepfunctions")
        arn = client.start_execution(
            stateMachineArn=machine(definition, *statements), input=json.dumps({} if input is None else input)
        )["executionArn"]
        return ended(cloud, arn)

    return execute


def ended(cloud: Cloud, execution_arn: str) -> dict[str, Any]:
    """DescribeExecution once the execution has ended, with its output parsed."""
    client = cloud.client("stepfunctions")

    def described() -> dict[str, Any] | None:
        execution = client.describe_execution(executionArn=execution_arn)
        return execution if execution["status"] != "RUNNING" else None

    execution = wait_until(described, what="the end of the execution")
    if execution["status"] == "SUCCEEDED":
        execution["output"] = json.loads(execution["output"])
    return execution


@pytest.fixture
def stack(cloud: Cloud, tmp_path: Path) -> Iterator[Callable[..., dict[str, str]]]:
    """``stack(template, tags, **parameters)`` -> outputs; the same stack each time within a test."""
    name = cloud.name("stack")

    def up(template: str, tags: dict[str, str] | None = None, **parameters: str) -> dict[str, str]:
        (tmp_path / "template.yaml").write_text(textwrap.dedent(template))
        application = deploy.load(tmp_path / "template.yaml")
        return deploy.deploy(
            cloud.endpoint_url, read_keys(cloud.home), application, deploy.Configuration(name, parameters, tags or {})
        )

    yield up
    cloud.client("cloudformation").delete_stack(StackName=name)


def left(cloud: Cloud, queue: str) -> set[str]:
    """The numbers of waiting and of taken messages: {"0"} once all are dealt with."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    answer = cloud.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=names)
    return set(answer["Attributes"].values())


def task(resource: str, arguments: Any, **fields: Any) -> dict[str, Any]:
    return {"Type": "Task", "Resource": f"arn:aws:states:::{resource}", "Arguments": arguments, **fields}


@pytest.fixture
def caller(cloud: Cloud) -> Any:
    """``caller(*statements)`` -> the keys of a user who may do that much."""

    def make(*statements: tuple[Any, ...]) -> dict[str, str]:
        iam, name = cloud.client("iam"), cloud.name("user")
        iam.create_user(UserName=name)
        document = {
            "Version": "2012-10-17",
            "Statement": [
                {"Effect": "Allow", "Action": action, "Resource": resource, **(more[0] if more else {})}
                for action, resource, *more in statements
            ],
        }
        iam.put_user_policy(UserName=name, PolicyName="policy", PolicyDocument=json.dumps(document))
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}

    return make
