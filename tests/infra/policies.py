"""The policies of the template's roles as data, with stand-ins for what CloudFormation fills in."""

from __future__ import annotations

import re
from typing import Any

from tests.infra import wiring

STAND_INS = {"AWS::Partition": "aws", "AWS::Region": "us-east-1", "AWS::AccountId": "123456789012"}
ARNS = {
    "AWS::S3::Bucket": "arn:aws:s3:::{}",
    "AWS::DynamoDB::Table": "arn:aws:dynamodb:us-east-1:123456789012:table/{}",
    "AWS::CloudWatch::Alarm": "arn:aws:cloudwatch:us-east-1:123456789012:alarm:{}",
    "AWS::SQS::Queue": "arn:aws:sqs:us-east-1:123456789012:{}",
    "AWS::SNS::Topic": "arn:aws:sns:us-east-1:123456789012:{}",
    "AWS::Serverless::Function": "arn:aws:lambda:us-east-1:123456789012:function:{}",
    "AWS::Serverless::StateMachine": "arn:aws:states:us-east-1:123456789012:stateMachine:{}",
    "AWS::IAM::Role": "arn:aws:iam::123456789012:role/{}",
    "AWS::Logs::LogGroup": "arn:aws:logs:us-east-1:123456789012:log-group:{}:*",
    "AWS::SageMaker::ModelPackageGroup": "arn:aws:sagemaker:us-east-1:123456789012:model-package-group/{}",
}
PARAMETERS = {
    "TrainingImageUri": "123456789012.dkr.ecr.us-east-1.amazonaws.com/skyloop-training:latest",
    "ServingImageUri": "123456789012.dkr.ecr.us-east-1.amazonaws.com/skyloop-serving:latest",
    "BaseWeights": "s3://weights/yolo11n.pt",
}


def resolve(value: Any) -> Any:
    """Intrinsic functions replaced by what they could stand for."""
    if isinstance(value, list):
        return [resolve(item) for item in value]
    if not isinstance(value, dict):
        return value
    if "Ref" in value:
        return reference(value["Ref"])
    if "Fn::GetAtt" in value:
        return reference(value["Fn::GetAtt"][0])
    if "Fn::Sub" in value:
        text, extra = value["Fn::Sub"] if isinstance(value["Fn::Sub"], list) else (value["Fn::Sub"], {})
        given = {name: str(resolve(item)) for name, item in extra.items()}
        return re.sub(r"\$\{([\w:.]+)\}", lambda match: given.get(match[1]) or reference(match[1].split(".")[0]), text)
    if "Fn::Join" in value:
        return value["Fn::Join"][0].join(resolve(value["Fn::Join"][1]))
    if "Fn::Split" in value:
        return resolve(value["Fn::Split"][1]).split(value["Fn::Split"][0])
    if "Fn::Select" in value:
        return resolve(value["Fn::Select"][1])[value["Fn::Select"][0]]
    if "Fn::If" in value:
        return resolve(value["Fn::If"][1])
    if "Fn::FindInMap" in value:
        return "432418664414"
    return {key: resolve(item) for key, item in value.items()}


def reference(name: str) -> str:
    if name in STAND_INS:
        return STAND_INS[name]
    parameters = wiring.template()["Parameters"]
    if name in PARAMETERS:
        return PARAMETERS[name]
    if name in parameters:
        return str(parameters[name].get("Default", "value"))
    return ARNS[wiring.template()["Resources"][name]["Type"]].format(name.lower())


def documents(role: str) -> list[wiring.JSON]:
    """The policy documents of a role: its own, and those of the template's managed policies. There are no others."""
    properties = wiring.resources("AWS::IAM::Role")[role]
    managed = wiring.resources("AWS::IAM::ManagedPolicy")
    attached = [managed[arn["Ref"]] for arn in properties.get("ManagedPolicyArns", [])]
    return [resolve(policy["PolicyDocument"]) for policy in (*properties["Policies"], *attached)]


def statements(role: str) -> list[wiring.JSON]:
    return [
        {**statement, "Action": many(statement["Action"]), "Resource": many(statement["Resource"])}
        for document in documents(role)
        for statement in document["Statement"]
    ]


def many(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


def actions(role: str) -> set[str]:
    return {action for statement in statements(role) for action in statement["Action"]}


ROLES = sorted(wiring.resources("AWS::IAM::Role"))
