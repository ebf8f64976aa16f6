"""What keeps a part of the cloud is damaged: `up` says what is lost, and makes it again; the rest is kept."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import textwrap
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import boto3
import psutil
import pytest

from laptop import lifecycle
from laptop.account import client_settings, read_keys
from laptop.journal import FILE
from laptop.running import Running
from tests.conformance.conftest import wait_until

pytestmark = pytest.mark.xdist_group("kills")

TEMPLATE = """
    AWSTemplateFormatVersion: "2010-09-09"
    Resources:
      Bucket:
        Type: AWS::S3::Bucket
        DeletionPolicy: Retain
        Properties:
          VersioningConfiguration: {Status: Enabled}
          NotificationConfiguration: {EventBridgeConfiguration: {EventBridgeEnabled: true}}
      BucketPolicy:
        Type: AWS::S3::BucketPolicy
        Properties:
          Bucket: !Ref Bucket
          PolicyDocument:
            Statement: [{Effect: Deny, Principal: "*", Action: "s3:DeleteBucket", Resource: !GetAtt Bucket.Arn}]
      Table:
        Type: AWS::DynamoDB::Table
        Properties:
          BillingMode: PAY_PER_REQUEST
          AttributeDefinitions: [{AttributeName: name, AttributeType: S}]
          KeySchema: [{AttributeName: name, KeyType: HASH}]
      Group: {Type: AWS::SageMaker::ModelPackageGroup, Properties: {ModelPackageGroupName: lost}}
      Logs: {Type: AWS::Logs::LogGroup, Properties: {LogGroupName: lost, RetentionInDays: 3}}
      Topic: {Type: AWS::SNS::Topic}
      Queue: {Type: AWS::SQS::Queue}
      QueuePolicy:
        Type: AWS::SQS::QueuePolicy
        Properties:
          Queues: [!Ref Queue]
          PolicyDocument:
            Statement:
              - {Effect: Allow, Principal: {Service: events.amazonaws.com}, Action: "sqs:SendMessage",
                 Resource: !GetAtt Queue.Arn}
      Subscription:
        Type: AWS::SNS::Subscription
        Properties: {TopicArn: !Ref Topic, Protocol: sqs, Endpoint: !GetAtt Queue.Arn}
      Rule:
        Type: AWS::Events::Rule
        Properties:
          EventPattern: {source: [aws.s3], detail: {bucket: {name: [!Ref Bucket]}}}
          Targets: [{Id: queue, Arn: !GetAtt Queue.Arn}]
      Policy:
        Type: AWS::IAM::ManagedPolicy
        Properties:
          PolicyDocument: {Version: "2012-10-17", Statement: [{Effect: Allow, Action: "s3:*", Resource: "*"}]}
      Role:
        Type: AWS::IAM::Role
        Properties:
          ManagedPolicyArns: [!Ref Policy]
          AssumeRolePolicyDocument:
            Statement: [{Effect: Allow, Principal: {Service: lambda.amazonaws.com}, Action: "sts:AssumeRole"}]
      Alarm:
        Type: AWS::CloudWatch::Alarm
        Properties: {AlarmName: lost, Namespace: N, MetricName: M, Period: 60, EvaluationPeriods: 1, Threshold: 1,
                     ComparisonOperator: GreaterThanThreshold, Statistic: Sum}
    Outputs:
      Bucket: {Value: !Ref Bucket}
      Table: {Value: !Ref Table}
      Topic: {Value: !Ref Topic}
      Queue: {Value: !Ref Queue}
      Rule: {Value: !Ref Rule}
      Role: {Value: !Ref Role}
      Policy: {Value: !Ref Policy}
"""


class Stack:
    """A home with the stack of `TEMPLATE`."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.said: list[str] = []
        (folder / "template.yaml").write_text(textwrap.dedent(TEMPLATE))
        (folder / "samconfig.toml").write_text('version = 0.1\n[laptop.deploy.parameters]\nstack_name = "lost"\n')
        self._where = {"template": folder / "template.yaml", "samconfig": folder / "samconfig.toml", "port": 0}

    def up(self) -> Running:
        self.said.clear()
        self.running = lifecycle.up(self.home, progress=self.said.append, **self._where)
        return self.running

    def kill(self) -> None:
        assert self.running.pid
        server = psutil.Process(self.running.pid)
        os.kill(server.pid, signal.SIGKILL)
        wait_until(lambda: not server.is_running() or server.status() == psutil.STATUS_ZOMBIE)

    def client(self, service: str) -> Any:
        return boto3.client(service, **client_settings(self.running.endpoint_url, read_keys(self.home)))

    def damage(self, *services: str) -> None:
        with closing(sqlite3.connect(self.home / "state" / FILE)) as journal, journal:
            for service in services:
                changed = journal.execute("UPDATE snapshots SET state = '{' WHERE service = ?", (service,))
                assert changed.rowcount == 1, service

    def check(self) -> None:
        """All that the template asks for is there, and a dropped object arrives in the queue."""
        made = self.running.outputs
        s3 = self.client("s3")
        assert s3.get_bucket_versioning(Bucket=made["Bucket"])["Status"] == "Enabled"
        assert "DeleteBucket" in s3.get_bucket_policy(Bucket=made["Bucket"])["Policy"]
        self.client("dynamodb").put_item(TableName=made["Table"], Item={"name": {"S": "a"}})
        self.client("sagemaker").describe_model_package_group(ModelPackageGroupName="lost")
        [group] = self.client("logs").describe_log_groups(logGroupNamePrefix="lost")["logGroups"]
        assert group["retentionInDays"] == 3
        assert self.client("sns").list_subscriptions_by_topic(TopicArn=made["Topic"])["Subscriptions"]
        attached = self.client("iam").list_attached_role_policies(RoleName=made["Role"])["AttachedPolicies"]
        assert [policy["PolicyArn"] for policy in attached] == [made["Policy"]]
        self.client("iam").get_policy(PolicyArn=made["Policy"])
        assert self.client("cloudwatch").describe_alarms(AlarmNames=["lost"])["MetricAlarms"]
        sqs = self.client("sqs")
        s3.put_object(Bucket=made["Bucket"], Key="dropped", Body=b"x")

        def arrived() -> bool:
            messages = sqs.receive_message(QueueUrl=made["Queue"], WaitTimeSeconds=1).get("Messages", [])
            return any("dropped" in message["Body"] for message in messages)

        wait_until(arrived)

    def said_to_be_lost(self) -> str:
        [sentence] = [line for line in self.said if "of the stack lost is lost" in line]
        return sentence


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    stack = Stack(tmp_path)
    running = stack.up()
    stack.client("s3").put_object(Bucket=running.outputs["Bucket"], Key="raw-images/one/a.jpg", Body=b"image")
    yield stack
    lifecycle.down(stack.home)


def scramble(file: Path) -> None:
    """Make a database none; what it wrote last is in a second file."""
    file.with_name(f"{file.name}-wal").unlink(missing_ok=True)
    file.write_bytes(b"garbage" * 1000 + file.read_bytes()[7000:])


def lose_one_record(file: Path) -> None:
    with closing(sqlite3.connect(file)) as records, records:
        records.execute("UPDATE records SET record = '['")


@pytest.mark.parametrize("damage", [scramble, lose_one_record, Path.unlink])
def test_a_stack_makes_again_what_the_records_have_lost(stack: Stack, damage: Callable[[Path], None]) -> None:
    stack.kill()
    damage(next(stack.home.rglob("records.sqlite")))
    stack.up()
    assert "Group of the stack" in stack.said_to_be_lost()
    stack.check()
    stack.kill()
    stack.up()
    assert not any("lost is lost" in line for line in stack.said)


SERVICES = ("cloudwatch", "cloudwatch_logs", "dynamodb", "eventbridge", "iam", "sns", "sqs")


@pytest.mark.parametrize("services", [("s3",), ("sqs",), SERVICES])
def test_a_stack_makes_again_what_a_service_has_lost(stack: Stack, services: tuple[str, ...]) -> None:
    bucket = stack.running.outputs["Bucket"]
    stack.client("dynamodb").put_item(TableName=stack.running.outputs["Table"], Item={"name": {"S": "kept"}})
    stack.kill()
    stack.damage(*services)
    stack.up()
    assert "of the stack lost is lost" in stack.said_to_be_lost()
    stack.check()
    assert stack.running.outputs["Bucket"] == bucket
    assert stack.client("s3").get_object(Bucket=bucket, Key="raw-images/one/a.jpg")["Body"].read() == b"image"
    item = stack.client("dynamodb").get_item(TableName=stack.running.outputs["Table"], Key={"name": {"S": "kept"}})
    assert ("Item" in item) == ("dynamodb" not in services)
    stack.kill()
    stack.up()
    assert not any("lost is lost" in line for line in stack.said)


def empty(file: Path) -> None:
    file.write_bytes(b"")


@pytest.mark.parametrize("lose", [empty, Path.unlink])
def test_a_journal_that_was_emptied_is_told(stack: Stack, lose: Callable[[Path], None]) -> None:
    stack.kill()
    journal = stack.home / "state" / FILE
    journal.with_name(f"{FILE}-wal").unlink(missing_ok=True)
    lose(journal)
    stack.up()
    assert sum("is empty or gone" in line for line in stack.said) == 1
    stack.check()
    stack.kill()
    stack.up()
    assert not any("is empty or gone" in line for line in stack.said)


def test_where_the_images_are_is_said_when_the_journal_is_lost(stack: Stack) -> None:
    bucket = stack.running.outputs["Bucket"]
    stack.kill()
    scramble(stack.home / "state" / FILE)
    stack.up()
    assert not any("is empty or gone" in line for line in stack.said)  # that it is broken was said
    stack.check()
    assert stack.running.outputs["Bucket"] != bucket
    [sentence] = [line for line in stack.said if bucket in line]
    command = re.search(r"`skyloop drop (.+)/FLIGHT` for one\.", sentence)
    assert command
    assert Path(command[1], "one", "a.jpg").read_bytes() == b"image"
    assert stack.client("s3").get_object(Bucket=bucket, Key="raw-images/one/a.jpg")["Body"].read() == b"image"
    stack.kill()
    stack.up()
    assert not any(bucket in line for line in stack.said)


def test_nothing_is_lost_where_nothing_was_damaged(stack: Stack) -> None:
    for _ in range(2):
        stack.kill()
        stack.up()
        assert not any("lost is lost" in line for line in stack.said)
    stack.check()
