"""Standard retriers: what a task tries again, and how often, depends on the service that it calls and on nothing else.

Where no BackoffRate, IntervalSeconds and MaxDelaySeconds are given, Amazon States Language's defaults hold: after 1, 2,
4, 8, ... seconds, of which full jitter takes half on average. Sources of the errors' names:

- Lambda: https://docs.aws.amazon.com/step-functions/latest/dg/bp-lambda-serviceexception.html lists the service's own.
- AWS SDK integrations: https://docs.aws.amazon.com/step-functions/latest/dg/supported-services-awssdk.html:
  `<Service>.<Error>Exception`, the suffix also where the API reference has none. An error that the service's model does
  not list (SageMaker's and Step Functions' ThrottlingException and ValidationException) is the SDK's base class,
  `<Service>.<Service>Exception`; a request that never got an answer is its `SdkClientException`.
- Optimized integrations use the classes of the SDK's first version, whose base class is `Amazon<Service>Exception`:
  for DynamoDB in the developer guide's sample project "Invoke Synchronous Express Workflows", for SageMaker's
  throttling in https://github.com/aws/aws-step-functions-data-science-sdk-python/pull/162
"""

from __future__ import annotations

import re

import botocore.session
import pytest

from tests.infra import wiring
from tests.infra.expressions import SERVICES

FULL = {"JitterStrategy": "FULL"}
LAMBDA = {
    "ErrorEquals": [
        "Lambda.AWSLambdaException",
        "Lambda.ClientExecutionTimeoutException",
        "Lambda.SdkClientException",
        "Lambda.ServiceException",
        "Lambda.TooManyRequestsException",
    ],
    "MaxAttempts": 6,
    **FULL,
}
# Whatever a function threw, or died of: a throttled call, a connection that broke, memory. Every function tolerates
# being run twice, and an error that comes again costs three seconds; a list of names would miss one.
LAMBDA_FAILED = {"ErrorEquals": ["States.ALL"], "MaxAttempts": 2, **FULL}
DYNAMODB = {
    "ErrorEquals": [
        "DynamoDB.AmazonDynamoDBException",
        "DynamoDB.InternalServerErrorException",
        "DynamoDB.ProvisionedThroughputExceededException",
        "DynamoDB.RequestLimitExceededException",
        "DynamoDB.SdkClientException",
        "DynamoDB.ThrottlingException",
        "States.Timeout",
    ],
    "MaxAttempts": 6,
    **FULL,
}
# Not after a time-out: the job may exist, or is the very thing that took too long. The catch looks for it.
SAGEMAKER_JOB = {"ErrorEquals": ["SageMaker.AmazonSageMakerException"], "MaxAttempts": 5, **FULL}
# A quota of instances frees itself when another job ends.
SAGEMAKER_QUOTA = {
    "ErrorEquals": ["SageMaker.ResourceLimitExceededException"],
    "IntervalSeconds": 60,
    "MaxAttempts": 6,
    "MaxDelaySeconds": 1800,
    **FULL,
}
# Not where the other execution failed or took too long. Its name makes a second start the first one.
NESTED = {
    "ErrorEquals": ["StepFunctions.AWSStepFunctionsException", "StepFunctions.SdkClientException"],
    "MaxAttempts": 5,
    **FULL,
}
# The last way out of the machine: whatever it was, it is tried again.
SNS = {"ErrorEquals": ["States.ALL"], "MaxAttempts": 5, **FULL}
MAP = {
    "ErrorEquals": ["States.ExceedToleratedFailureThreshold"],
    "IntervalSeconds": 10,
    "MaxAttempts": 1,
    **FULL,
}


def sdk(service: str, *more: str) -> wiring.JSON:
    """The retrier of a service that is called through the AWS SDK."""
    errors = [f"{service}.{name}" for name in (f"{service}Exception", "SdkClientException", *more)]
    return {"ErrorEquals": [*errors, "States.Timeout"], "MaxAttempts": 5, **FULL}


RETRIERS: dict[str, list[wiring.JSON]] = {
    "lambda:invoke": [LAMBDA, LAMBDA_FAILED],
    **{f"dynamodb:{verb}Item": [DYNAMODB] for verb in ("get", "put", "update", "delete")},
    "sagemaker:createLabelingJob": [SAGEMAKER_JOB],
    "sagemaker:createTrainingJob.sync": [SAGEMAKER_JOB, SAGEMAKER_QUOTA],
    "sagemaker:createProcessingJob.sync": [SAGEMAKER_JOB, SAGEMAKER_QUOTA],
    "states:startExecution.sync:2": [NESTED],
    "sns:publish": [SNS],
    "aws-sdk:sagemaker": [sdk("SageMaker")],
    "aws-sdk:sfn": [sdk("Sfn")],
    "aws-sdk:cloudwatch": [sdk("CloudWatch")],
    "aws-sdk:applicationautoscaling": [
        sdk("ApplicationAutoScaling", "ConcurrentUpdateException", "InternalServiceException")
    ],
}
TASKS = wiring.tasks()


@pytest.mark.parametrize(("name", "path", "state"), TASKS, ids=[f"{name}.{path}" for name, path, _ in TASKS])
def test_a_task_has_the_retriers_of_its_service(name: str, path: str, state: wiring.JSON) -> None:
    called = state["Resource"].removeprefix("arn:aws:states:::")
    kind = called.rpartition(":")[0] if called.startswith("aws-sdk:") else called
    assert state["Retry"] == RETRIERS[kind]


def test_only_a_distributed_map_is_tried_again_as_a_whole() -> None:
    maps = {
        path: state.get("Retry")
        for name in wiring.MACHINES
        for path, state in wiring.states(wiring.machine(name))
        if state["Type"] == "Map"
    }
    assert maps == {"ConvertLabels": [MAP], "StartMissedWork": None, "PointAlarms": None}


# Base classes of the SDKs' exceptions and errors of the SDK or of Lambda's runtime, none of them in a service's model.
UNMODELLED = {
    *(f"{name}.SdkClientException" for name in ("Lambda", "SageMaker", "Sfn", "CloudWatch", "ApplicationAutoScaling")),
    *("Lambda.AWSLambdaException", "Lambda.ClientExecutionTimeoutException"),
    *("DynamoDB.AmazonDynamoDBException", "DynamoDB.SdkClientException", "SageMaker.AmazonSageMakerException"),
    *("SageMaker.SageMakerException", "Sfn.SfnException", "CloudWatch.CloudWatchException"),
    "ApplicationAutoScaling.ApplicationAutoScalingException",
    *("StepFunctions.AWSStepFunctionsException", "StepFunctions.SdkClientException"),
}


SKYLOOP = wiring.ROOT / "layers/skyloop/python/skyloop"


def raised_by_its_service(name: str) -> bool:
    """Is this a name that Step Functions can report? Names of its own and of Lambda's runtime are not looked up."""
    service, _, error = name.rpartition(".")
    if not service:  # an exception of a function's own
        return any(f"\nclass {error}(" in path.read_text(encoding="utf-8") for path in SKYLOOP.rglob("*.py"))
    if name in UNMODELLED or service in ("States", "Runtime", "Sandbox"):
        return True
    if service not in {known.partition(".")[0] for known in UNMODELLED}:
        return False  # the case counts: DynamoDB, not DynamoDb
    model = botocore.session.get_session().get_service_model(SERVICES[service.lower()])
    raised = {re.sub("(Exception|Fault)$", "", shape.name) + "Exception" for shape in model.error_shapes}
    return error in raised


def test_every_error_that_is_tried_again_is_one_that_its_service_raises() -> None:
    names = {error for retriers in RETRIERS.values() for retrier in retriers for error in retrier["ErrorEquals"]}
    assert [name for name in sorted(names) if not raised_by_its_service(name)] == []


def test_every_error_that_is_caught_is_one_that_its_service_raises() -> None:
    """A catcher of a name that nobody raises is silently passed by, and States.ALL beside it takes the error."""
    wrong = [
        f"{name}.{path} catches {error}"
        for name in wiring.MACHINES
        for path, state in wiring.states(wiring.machine(name))
        for catcher in state.get("Catch", [])
        for error in catcher["ErrorEquals"]
        if not raised_by_its_service(error)
    ]
    assert wrong == []


@pytest.mark.parametrize(
    "name",
    [
        "NoSuchError",
        "DynamoDb.ConditionalCheckFailedException",
        "DynamoDB.ConditionalCheckFailed",
        "Sfn.ExecutionAlreadyExists",
    ],
)
def test_a_name_that_no_service_raises_is_seen(name: str) -> None:
    assert not raised_by_its_service(name)
