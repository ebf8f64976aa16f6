"""A state's JSONata on sample inputs, as the tests of each machine run it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
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
    "ApprovalMode": "auto",
    "LabelingQuietSeconds": "120",
    "WorkersPerImage": "1",
    "WorkteamArn": "arn:aws:sagemaker:us-east-1:123456789012:workteam/private-crowd/skyloop",
    "InferenceEngine": "measured",
    "EndpointInstanceType": "ml.c7i.large",
    "LabelingRoleArn": "arn:aws:iam::123456789012:role/labeling",
    "TrainingRoleArn": "arn:aws:iam::123456789012:role/training",
    "EvaluationRoleArn": "arn:aws:iam::123456789012:role/evaluation",
    "EndpointRoleArn": "arn:aws:iam::123456789012:role/endpoint",
    "TrainingImageUri": "123456789012.dkr.ecr.us-east-1.amazonaws.com/skyloop-training:1",
    "ServingImageUri": "123456789012.dkr.ecr.us-east-1.amazonaws.com/skyloop-serving:1",
    "TrainingInstanceCount": "1",
    "TrainingInstanceType": "ml.g5.xlarge",
    "EvaluationInstanceType": "ml.c7i.xlarge",
    "TrainingVolumeGb": "50",
    "TrainingMaxRuntimeSeconds": "3600",
    "TrainingKeepAliveSeconds": "0",
    "UseSpot": "false",
    "BaseWeights": "yolo11n.pt",
    "Epochs": "100",
    "ImageSize": "640",
    "SliceSize": "0",
    "MaxSlices": "12",
    "RadiometricWindow": "",
    "BatchSize": "16",
    "Freeze": "0",
    "Seed": "0",
    "MlflowTrackingUri": "",
    "EndpointInstanceCount": "1",
    "EndpointMaxInstanceCount": "1",
    "LatencyAlarmMs": "2000",
    "PollSeconds": "20",
    "BakeSeconds": "300",
    "CanaryPercent": "25",
    "ErrorAlarmName": "skyloop-dev-endpoint-5xx",
    "BrokenAlarmName": "skyloop-dev-endpoint-broken",
    "FailingAlarmName": "skyloop-dev-endpoint-failing",
    "LatencyAlarmName": "skyloop-dev-endpoint-latency",
    "RollbackWindowHours": "24",
    **{
        f"{name}StateMachineArn": f"arn:aws:states:us-east-1:123456789012:stateMachine:skyloop-dev-{name.lower()}"
        for name in ("Label", "Retrain", "Deploy", "Rollback", "MoveEndpoint")
    },
    **{
        f"{name}Arn": f"arn:aws:lambda:us-east-1:123456789012:function:{name}"
        for name in (
            "PublishAlertFunction",
            "SelectForLabelingFunction",
            "RequeueImagesFunction",
            "ConvertLabelsFunction",
            "AssembleDatasetFunction",
            "GateModelFunction",
            "VerifyArtifactsFunction",
            "SmokeTestFunction",
            "SweepUploadsFunction",
            "PreHumanTaskLambda",
            "AnnotationConsolidationLambda",
        )
    },
}
# How the services of integrations are called in botocore.
SERVICES = {
    "sagemaker": "sagemaker",
    "dynamodb": "dynamodb",
    "sns": "sns",
    "lambda": "lambda",
    "sfn": "stepfunctions",
    "states": "stepfunctions",
    "stepfunctions": "stepfunctions",
    "cloudwatch": "cloudwatch",
    "applicationautoscaling": "application-autoscaling",
    "s3": "s3",
}


EXECUTION = "arn:aws:states:us-east-1:123456789012:execution:skyloop-dev-retrain:x"


def state(machine: str, name: str, **settings: str) -> wiring.JSON:
    return wiring.substitute(wiring.machine(machine)["States"][name], {**SETTINGS, **settings})


def machine_states(machine: str) -> Iterator[tuple[str, wiring.JSON]]:
    """Every state of a machine with its path, substitutions made."""
    yield from wiring.states(wiring.substitute(wiring.machine(machine), SETTINGS))


def run(field: Any, variables: wiring.JSON | None = None, **states: Any) -> Any:
    context = {
        "Execution": {"Id": EXECUTION, "Name": "x", "StartTime": "2026-11-23T10:00:00Z"},
        "StateMachine": {"Id": EXECUTION.replace(":execution:", ":stateMachine:").rpartition(":")[0]},
        "State": {"EnteredTime": "2026-11-23T10:00:01Z"},
        "Map": {"Item": {"Index": 1, "Value": 1}},
    }
    return wiring.evaluate(field, variables or {}, {"context": context, **states})


def accepted(service: str, operation: str, arguments: wiring.JSON) -> None:
    shape = botocore.session.get_session().get_service_model(service).operation_model(operation).input_shape
    report = ParamValidator().validate(arguments, shape)
    assert not report.has_errors(), report.generate_report()


def accepted_by_task(resource: str, arguments: wiring.JSON) -> None:
    """Fail unless the service of an integration takes these arguments."""
    service, action = re.fullmatch(r"arn:aws:states:::(?:aws-sdk:)?(\w+):(\w+)(?:\.sync(?::2)?)?", resource).groups()
    if service in ("sfn", "states"):  # Step Functions capitalizes what its own API does not
        arguments = {name[0].lower() + name[1:]: value for name, value in arguments.items()}
    if service == "states":  # and makes JSON of an input
        arguments = {**arguments, "input": json.dumps(arguments["input"])}
    if service == "lambda":  # and makes JSON of a payload
        arguments = {**arguments, "Payload": json.dumps(arguments["Payload"]).encode()}
    accepted(SERVICES[service], action[0].upper() + action[1:], arguments)


def which(machine: str, name: str, variables: wiring.JSON, **states: Any) -> str:
    """Where a choice goes."""
    choice = state(machine, name)
    for rule in choice["Choices"]:
        if run(rule["Condition"], variables, **states):
            return rule["Next"]
    return choice["Default"]
