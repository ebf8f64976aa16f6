"""An application of its own, and a cloud of its own, for each test of `laptop.lifecycle`."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from laptop import lifecycle
from laptop.running import Running

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
