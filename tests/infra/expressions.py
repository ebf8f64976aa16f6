"""A state's JSONata on sample inputs, as the tests of each machine run it."""

from __future__ import annotations

from typing import Any

import botocore.session
from botocore.validate import ParamValidator

from tests.infra import wiring

SETTINGS = {
    "Prefix": "skyloop-dev",
    "Project": "skyloop",
    "Stage": "dev",
    "CostCenter": "ab",
    "EndpointName": "skyloop-dev",
    "VariantName": "primary",
    "ModelPackageGroup": "skyloop-dev",
    "ModelPackageArnPrefix": "arn:aws:sagemaker:us-east-1:123456789012:model-package/skyloop-dev",
    "DataBucket": "data",
    "StateTable": "state",
    "AlertTopicArn": "arn:aws:sns:us-east-1:123456789012:skyloop-dev-alerts",
    "SageMakerRoleArn": "arn:aws:iam::123456789012:role/jobs",
    "TrainingImageUri": "123456789012.dkr.ecr.us-east-1.amazonaws.com/skyloop-training:1",
    "TrainingInstanceType": "ml.g5.xlarge",
    "EvaluationInstanceType": "ml.g5.xlarge",
    "TrainingVolumeGb": "50",
    "TrainingMaxRuntimeSeconds": "3600",
    "UseSpot": "false",
    "BaseWeights": "yolo11n.pt",
    "Epochs": "100",
    "ImageSize": "640",
    "BatchSize": "16",
    "Freeze": "0",
    "Seed": "0",
    "MlflowTrackingUri": "",
    "EndpointInstanceCount": "1",
    "EndpointMaxInstanceCount": "1",
    "PollSeconds": "20",
    "BakeSeconds": "300",
    "CanaryPercent": "25",
    "ErrorAlarmName": "skyloop-dev-endpoint-5xx",
    "LatencyAlarmName": "skyloop-dev-endpoint-latency",
    **{
        f"{name}StateMachineArn": f"arn:aws:states:us-east-1:123456789012:stateMachine:skyloop-dev-{name.lower()}"
        for name in ("Label", "Retrain", "Deploy", "Rollback")
    },
}


EXECUTION = "arn:aws:states:us-east-1:123456789012:execution:skyloop-dev-retrain:x"


def state(machine: str, name: str, **settings: str) -> wiring.JSON:
    return wiring.substitute(wiring.machine(machine)["States"][name], {**SETTINGS, **settings})


def run(field: Any, variables: wiring.JSON | None = None, **states: Any) -> Any:
    context = {"Execution": {"Id": EXECUTION, "Name": "x", "StartTime": "2026-11-23T10:00:00Z"}, "State": {}}
    return wiring.evaluate(field, variables or {}, {"context": context, **states})


def accepted(service: str, operation: str, arguments: wiring.JSON) -> None:
    shape = botocore.session.get_session().get_service_model(service).operation_model(operation).input_shape
    report = ParamValidator().validate(arguments, shape)
    assert not report.has_errors(), report.generate_report()


def which(machine: str, name: str, variables: wiring.JSON, **states: Any) -> str:
    """Where a choice goes."""
    choice = state(machine, name)
    for rule in choice["Choices"]:
        if run(rule["Condition"], variables, **states):
            return rule["Next"]
    return choice["Default"]
