"""A deployment that a SIGKILL ends is undone or done again, and costs nothing else that was acknowledged."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from laptop import lifecycle
from laptop.account import client_settings, read_keys
from tests.conformance.conftest import wait_until
from tests.support.homes import Home

pytestmark = pytest.mark.xdist_group("kills")


TEMPLATE = textwrap.dedent(
    """
    AWSTemplateFormatVersion: "2010-09-09"
    Resources:
      Bucket: {Type: AWS::S3::Bucket, Properties: {BucketName: killed-data}}
      Table:
        Type: AWS::DynamoDB::Table
        Properties:
          BillingMode: PAY_PER_REQUEST
          AttributeDefinitions: [{AttributeName: name, AttributeType: S}]
          KeySchema: [{AttributeName: name, KeyType: HASH}]
      Group: {Type: AWS::SageMaker::ModelPackageGroup, Properties: {ModelPackageGroupName: killed}}
    Outputs:
      Bucket: {Value: !Ref Bucket}
      Table: {Value: !Ref Table}
    """
)


@pytest.mark.parametrize("seed", range(3))
def test_a_first_start_may_be_killed_at_any_moment(tmp_path: Path, seed: int) -> None:
    (tmp_path / "template.yaml").write_text(TEMPLATE)
    (tmp_path / "samconfig.toml").write_text('version = 0.1\n[laptop.deploy.parameters]\nstack_name = "killed"\n')
    home = tmp_path / "home"
    where = {"template": tmp_path / "template.yaml", "samconfig": tmp_path / "samconfig.toml", "port": 0}
    chance = random.Random(seed)
    with ThreadPoolExecutor(1) as pool:
        for _ in range(2):
            lines: list[str] = []
            upping = pool.submit(lifecycle.up, home, progress=lines.append, **where)
            wait_until(lambda: lines or upping.done())  # noqa: B023 (it is over within this turn)
            time.sleep(chance.uniform(0, 0.3))  # a moment of the deployment
            for server in _servers(home):
                os.kill(server, signal.SIGKILL)
            with suppress(Exception):
                upping.result()
    running = lifecycle.up(home, **where)
    try:
        assert running.outputs["Bucket"] == "killed-data"
        client = boto3.client("dynamodb", **client_settings(running.endpoint_url, read_keys(home)))
        client.put_item(TableName=running.outputs["Table"], Item={"name": {"S": "a"}})
        assert running.pid
        os.kill(running.pid, signal.SIGKILL)
        wait_until(lambda: not _servers(home))
        running = lifecycle.up(home, **where)
        client = boto3.client("dynamodb", **client_settings(running.endpoint_url, read_keys(home)))
        assert "Item" in client.get_item(TableName=running.outputs["Table"], Key={"name": {"S": "a"}})
    finally:
        lifecycle.down(home)


def _servers(home: Path) -> list[int]:
    listed = subprocess.run(["ps", "-eww", "-o", "pid=,stat=,command="], capture_output=True, text=True, check=True)
    return [
        int(line.split()[0])
        for line in listed.stdout.splitlines()
        if "laptop.server" in line and str(home) in line and not line.split()[1].startswith("Z")
    ]


def test_an_open_change_set_keeps_nothing_from_being_kept(home: Home) -> None:
    body = json.dumps({"Resources": {"Queue": {"Type": "AWS::SQS::Queue"}}})
    home.client("cloudformation").create_change_set(
        StackName="other", ChangeSetName="first", ChangeSetType="CREATE", TemplateBody=body
    )
    home.client("ssm").put_parameter(Name="kept", Value="1", Type="String")
    home.again()
    assert home.parameter("kept") == "1"


WAITING = json.dumps(
    {
        "Resources": {
            "Parameter": {
                "Type": "AWS::SSM::Parameter",
                "Properties": {"Name": "made", "Type": "String", "Value": "1"},
            },
            "Handle": {"Type": "AWS::CloudFormation::WaitConditionHandle", "DependsOn": "Parameter"},
            "Wait": {
                "Type": "AWS::CloudFormation::WaitCondition",
                "Properties": {"Handle": {"Ref": "Handle"}, "Timeout": "600"},
            },
        }
    }
)


@pytest.mark.parametrize("clean", [True, False])
def test_what_is_written_during_a_deployment_is_kept(home: Home, clean: bool) -> None:
    home.client("cloudformation").create_stack(StackName="slow", TemplateBody=WAITING)
    wait_until(lambda: "Parameter" in [one["LogicalResourceId"] for one in complete(home)])
    home.client("ssm").put_parameter(Name="kept", Value="1", Type="String")
    if clean:
        home.stop()
        home.start()
    else:
        home.again()
    assert home.parameter("kept") == "1"
    stacks = home.client("cloudformation")
    [stack] = stacks.describe_stacks(StackName="slow")["Stacks"]
    assert stack["StackStatus"] == "CREATE_FAILED"
    stacks.delete_stack(StackName="slow")
    stacks.get_waiter("stack_delete_complete").wait(StackName="slow", WaiterConfig={"Delay": 1, "MaxAttempts": 30})
    with pytest.raises(ClientError, match="ParameterNotFound"):
        home.parameter("made")


def complete(home: Home) -> list[Any]:
    events = home.client("cloudformation").describe_stack_events(StackName="slow")["StackEvents"]
    return [one for one in events if one["ResourceStatus"] == "CREATE_COMPLETE"]


def test_an_update_that_was_interrupted_is_done_again(home: Home) -> None:
    stacks = home.client("cloudformation")
    first = json.dumps({"Resources": {"Parameter": json.loads(WAITING)["Resources"]["Parameter"]}})
    stacks.create_stack(StackName="slow", TemplateBody=first)
    wait_until(lambda: "slow" in [one["LogicalResourceId"] for one in complete(home)])
    stacks.update_stack(StackName="slow", TemplateBody=WAITING.replace('"Value": "1"', '"Value": "2"'))
    wait_until(lambda: home.parameter("made") == "2")
    home.client("ssm").put_parameter(Name="kept", Value="1", Type="String")
    home.again()
    assert home.parameter("kept") == "1"
    stacks = home.client("cloudformation")
    stacks.update_stack(StackName="slow", TemplateBody=first)
    wait_until(lambda: stacks.describe_stacks(StackName="slow")["Stacks"][0]["StackStatus"] == "UPDATE_COMPLETE")
    assert home.parameter("made") == "1"
