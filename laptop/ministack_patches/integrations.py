"""Service integrations of Step Functions: SageMaker, Application Auto Scaling, and errors by AWS's names for them."""

from __future__ import annotations

import functools
import json
from typing import Any

from ministack.services import stepfunctions

from laptop.documents import Document
from laptop.ministack_patches.executions import CURRENT, failure, wait_for
from laptop.ministack_patches.local_sagemaker import sagemaker
from laptop.ministack_patches.patching import Original, patch
from laptop.sagemaker.core import errors, validation
from laptop.sagemaker.core.resources import TERMINAL
from laptop.sagemaker.core.validation import service_model

_OPTIMIZED = "arn:aws:states:::sagemaker:"
# Step Functions developer guide, "Create and manage Amazon SageMaker AI jobs": the supported APIs.
OPTIMIZED_SAGEMAKER = (
    "createEndpoint",
    "createEndpointConfig",
    "createHyperParameterTuningJob",
    "createLabelingJob",
    "createModel",
    "createProcessingJob",
    "createTrainingJob",
    "createTransformJob",
    "updateEndpoint",
)
JOBS = ("TrainingJob", "ProcessingJob", "LabelingJob", "TransformJob", "HyperParameterTuningJob")
_STATUS = {job: f"{job}Status" for job in JOBS}


def prepare() -> None:
    """Let ``aws-sdk:`` integrations reach the local services; MiniStack does the naming of members from the models."""
    stepfunctions._AWS_SDK_SERVICE_MAP["sagemaker"] = {"target_prefix": "SageMaker", "protocol": "json"}
    stepfunctions._AWS_SDK_SERVICE_MAP["applicationautoscaling"] = {
        "target_prefix": "AnyScaleFrontendService",
        "protocol": "json",
        "service_key": "application-autoscaling",
    }
    # In XML, MiniStack's alarms lack members (StateUpdatedTimestamp for one) that its JSON has.
    stepfunctions._AWS_SDK_SERVICE_MAP["cloudwatch"] = {
        "target_prefix": "GraniteServiceVersion20100801",
        "protocol": "json",
        "service_key": "monitoring",
    }
    # MiniStack's table holds the functions themselves: look them up at each call, so that the patches below count.
    stepfunctions._SERVICE_DISPATCH["arn:aws:states:::sns:publish"] = lambda *given: stepfunctions._invoke_sns_publish(
        *given
    )
    stepfunctions._AWS_SDK_ERROR_PREFIX["sagemaker"] = "SageMaker"
    stepfunctions._AWS_SDK_ERROR_PREFIX["applicationautoscaling"] = "ApplicationAutoScaling"


@patch(
    "services.stepfunctions:_invoke_resource",
    because="MiniStack has no SageMaker integrations",
    proof="test_sagemaker_tasks.py::test_a_labeling_job_runs_to_its_end",
)
def _invoke(original: Original, resource: str, arguments: Any) -> Any:
    if resource.startswith(_OPTIMIZED):
        operation, _, pattern = resource.removeprefix(_OPTIMIZED).partition(".")
        if operation in OPTIMIZED_SAGEMAKER and pattern in ("", "sync"):
            return _sagemaker(operation[0].upper() + operation[1:], arguments, sync=bool(pattern))
        raise failure("States.Runtime", f"{resource} is not an integration of Step Functions")
    return original(resource, arguments)


def _sagemaker(operation: str, arguments: Document, *, sync: bool) -> Any:
    created = _call(operation, arguments)
    if not sync:
        return created
    job = operation.removeprefix("Create")
    name = {f"{job}Name": arguments[f"{job}Name"]}

    def ended() -> Document | None:
        described = _call(f"Describe{job}", name)
        return described if described[_STATUS[job]] in TERMINAL else None

    described = wait_for(ended, stop=lambda: _call(f"Stop{job}", name))
    if described[_STATUS[job]] != "Completed":
        raise failure("States.TaskFailed", json.dumps(described))
    return described


def _call(operation: str, arguments: Document) -> Any:
    """One call of the local SageMaker with the errors of the optimized integration, times as epoch milliseconds."""
    try:
        answer = sagemaker().call(operation, arguments)
    except errors.ServiceError as error:
        raise failure(
            error_name("sagemaker", "SageMaker", "AmazonSageMakerException", error.code), error.message
        ) from error
    return _milliseconds(validation.operation_model("sagemaker", operation).output_shape, answer)


def _milliseconds(shape: Any, value: Any) -> Any:
    if shape is None or value is None:
        return value
    match shape.type_name:
        case "structure":
            return {name: _milliseconds(shape.members.get(name), item) for name, item in value.items()}
        case "list":
            return [_milliseconds(shape.member, item) for item in value]
        case "map":
            return {name: _milliseconds(shape.value, item) for name, item in value.items()}
        case "timestamp":
            return round(value * 1000)
    return value


@functools.cache
def _modeled_errors(service: str) -> dict[str, str]:
    """Error code on the wire -> name of the exception class that the AWS SDK for Java v2 makes of it."""
    names = {}
    for shape in service_model(service).error_shapes:
        stem = shape.name.removesuffix("Fault").removesuffix("Exception")
        names[shape.name] = names[shape.metadata.get("error", {}).get("code", shape.name)] = f"{stem}Exception"
    return names


def error_name(service: str, prefix: str, unmodeled: str, code: str) -> str:
    """The Step Functions name of a service's error: the SDK's exception class below the service's prefix.

    A code that the service's model does not list (for example SageMaker's ``ValidationException``) is the base class
    of the service's exceptions, ``unmodeled``.
    """
    return f"{prefix}.{_modeled_errors(service).get(code.rpartition('#')[2], unmodeled)}"


_BOTOCORE = {"sfn": "stepfunctions", "eventbridge": "events", "applicationautoscaling": "application-autoscaling"}
_NAMED = ("dynamodb", "sfn", "sagemaker", "applicationautoscaling", "eventbridge", "sns", "sqs", "cloudwatch")


@patch(
    "services.stepfunctions:_prefix_sdk_error",
    because="MiniStack passes error codes on where Step Functions gives the SDK's exception names",
    proof="test_integrations.py::test_errors_have_the_names_of_the_sdk",
)
def _sdk_error(original: Original, service: str, code: str) -> str:
    if service not in _NAMED or code.startswith("States."):
        return str(original(service, code))
    prefix = stepfunctions._AWS_SDK_ERROR_PREFIX[service]
    return error_name(_BOTOCORE.get(service, service), prefix, f"{prefix}Exception", code)


@patch(
    "services.stepfunctions:_invoke_nested_start_execution",
    because="MiniStack drops the prefix and suffix of this integration's errors",
    proof="test_integrations.py::test_errors_have_the_names_of_the_sdk",
)
def _start_execution(original: Original, resource: str, arguments: Any) -> Any:
    try:
        return original(resource, arguments)
    except stepfunctions._ExecutionError as error:
        name = error_name("stepfunctions", "StepFunctions", "AWSStepFunctionsException", error.error)
        raise failure(name, error.cause) from error


@patch(
    "services.stepfunctions:_invoke_nested_start_execution_sync",
    because="MiniStack runs the other execution in the thread of this one, past every stop, and takes over its error",
    proof="test_integrations.py::test_a_machine_waits_for_another",
)
def _wait_for_execution(original: Original, resource: str, arguments: Document) -> Document:
    arn = _started(arguments)

    def ended() -> Document | None:
        record: Document = stepfunctions._executions[arn]
        return record if record["status"] != "RUNNING" else None

    record = wait_for(ended, stop=lambda: stepfunctions._stop_execution({"executionArn": arn}))
    parsed = ("input", "output") if resource.endswith(".sync:2") else ()
    members = ("executionArn", "input", "name", "output", "startDate", "stateMachineArn", "status", "stopDate")
    described = {
        name[0].upper() + name[1:]: json.loads(record[name]) if name in parsed else record[name]
        for name in members
        if record.get(name) is not None
    }
    if record["status"] != "SUCCEEDED":
        why = {name.capitalize(): record[name] for name in ("error", "cause") if record.get(name)}
        raise failure("States.TaskFailed", json.dumps({**described, **why}))
    return described


def _started(arguments: Document) -> str:
    """Start an execution, or find the one that this state had started before the cloud was stopped; its ARN."""
    try:
        return str(stepfunctions._invoke_nested_start_execution("", arguments)["ExecutionArn"])
    except stepfunctions._ExecutionError as error:
        request, execution = stepfunctions._nested_start_execution_request(arguments), CURRENT.get()
        arn = f"{request['stateMachineArn'].replace(':stateMachine:', ':execution:')}:{request.get('name')}"
        known = stepfunctions._executions.get(arn)
        if execution and execution.resumed and known and known["input"] == request["input"]:
            return arn
        raise error


@patch(
    "services.stepfunctions:_invoke_sns_publish",
    because="MiniStack loses MessageAttributes, on which subscriptions filter",
    proof="test_integrations.py::test_an_alert_keeps_its_attributes",
)
def _publish(original: Original, resource: str, arguments: Document) -> Any:
    flat = {name: value for name, value in arguments.items() if name != "MessageAttributes"}
    for number, (name, attribute) in enumerate((arguments.get("MessageAttributes") or {}).items(), start=1):
        entry = f"MessageAttributes.entry.{number}"
        flat[f"{entry}.Name"] = name
        for member, value in attribute.items():
            flat[f"{entry}.Value.{member}"] = value
    return original(resource, flat)
