"""SageMaker's integrations of Step Functions: request and response, and `.sync` to the end of the job."""

from __future__ import annotations

import json
from typing import Any

from tests.conformance.conftest import Cloud, wait_until
from tests.conformance.ministack.conftest import ended

ROLE = (("sagemaker:*", "*"), ("iam:PassRole", "*"), ("events:*", "*"))


def task(resource: str, arguments: Any, **fields: Any) -> dict[str, Any]:
    return {"Type": "Task", "Resource": f"arn:aws:states:::{resource}", "Arguments": arguments, **fields}


def test_a_training_job_runs_to_its_end(run: Any, training_request: Any) -> None:
    request = training_request(HyperParameters={"behave": "ok"})
    output = run(task("sagemaker:createTrainingJob.sync", request), *ROLE)["output"]
    assert output["TrainingJobStatus"] == "Completed"
    assert output["ModelArtifacts"]["S3ModelArtifacts"].endswith("/output/model.tar.gz")
    assert output["CreationTime"] > 1_600_000_000_000, "epoch milliseconds"


def test_a_job_that_fails_fails_its_task(run: Any, training_request: Any) -> None:
    request = training_request(HyperParameters={"behave": "fail", "reason": "no data"})
    execution = run(task("sagemaker:createTrainingJob.sync", request), *ROLE)
    assert execution["error"] == "States.TaskFailed"
    cause = json.loads(execution["cause"])
    assert cause["TrainingJobStatus"] == "Failed"
    assert "no data" in cause["FailureReason"]


def test_a_job_that_outlives_its_task_is_stopped(cloud: Cloud, run: Any, training_request: Any) -> None:
    request = training_request(HyperParameters={"behave": "hang"})
    execution = run(task("sagemaker:createTrainingJob.sync", request, TimeoutSeconds=3), *ROLE)
    assert execution["error"] == "States.Timeout"
    wait_until(lambda: status(cloud, request) == "Stopped")


def test_a_job_stops_with_its_execution(cloud: Cloud, machine: Any, training_request: Any) -> None:
    client, request = cloud.client("stepfunctions"), training_request(HyperParameters={"behave": "hang"})
    arn = machine(task("sagemaker:createTrainingJob.sync", request, TimeoutSeconds=600), *ROLE)
    execution = client.start_execution(stateMachineArn=arn)["executionArn"]
    wait_until(lambda: status(cloud, request) == "InProgress")
    client.stop_execution(executionArn=execution)
    wait_until(lambda: status(cloud, request) == "Stopped")
    assert ended(cloud, execution)["status"] == "ABORTED"


def status(cloud: Cloud, request: dict[str, Any]) -> str:
    client = cloud.client("sagemaker")
    jobs = client.list_training_jobs(NameContains=request["TrainingJobName"])["TrainingJobSummaries"]
    return jobs[0]["TrainingJobStatus"] if jobs else ""


def test_a_processing_job_runs_to_its_end(run: Any, processing_request: Any) -> None:
    output = run(task("sagemaker:createProcessingJob.sync", processing_request()), *ROLE)["output"]
    assert output["ProcessingJobStatus"] == "Completed"


def test_a_labeling_job_runs_to_its_end(run: Any, labeling_request: Any) -> None:
    output = run(task("sagemaker:createLabelingJob.sync", labeling_request()), *ROLE)["output"]
    assert output["LabelingJobStatus"] == "Completed"
    assert output["LabelingJobOutput"]["OutputDatasetS3Uri"].endswith("/manifests/output/output.manifest")


def test_a_name_that_is_taken_has_its_own_error(run: Any, training_request: Any) -> None:
    request = training_request()
    assert run(task("sagemaker:createTrainingJob.sync", request), *ROLE)["status"] == "SUCCEEDED"
    again = run(task("sagemaker:createTrainingJob.sync", request), *ROLE)
    assert again["error"] == "SageMaker.ResourceInUseException"


def test_described_times_are_text_in_sdk_integrations(run: Any, training_request: Any) -> None:
    request = training_request()
    states = {
        "Train": {**task("sagemaker:createTrainingJob.sync", request), "Next": "Describe"},
        "Describe": {
            **task("aws-sdk:sagemaker:describeTrainingJob", {"TrainingJobName": request["TrainingJobName"]}),
            "End": True,
        },
    }
    output = run({"StartAt": "Train", "States": states}, *ROLE)["output"]
    assert output["CreationTime"].endswith("Z")


def test_a_misspelt_argument_is_refused(run: Any, training_request: Any) -> None:
    execution = run(task("sagemaker:createTrainingJob.sync", {**training_request(), "Hyperparameters": {}}), *ROLE)
    assert execution["error"] == "SageMaker.AmazonSageMakerException"
    assert "Hyperparameters" in execution["cause"]


def test_autoscaling_is_set_from_a_state_machine(cloud: Cloud, run: Any) -> None:
    target = {"ServiceNamespace": "sagemaker", "ScalableDimension": "sagemaker:variant:DesiredInstanceCount"}
    resource = f"endpoint/{cloud.name('none')}/variant/main"
    arguments = {**target, "ResourceId": resource, "MinCapacity": 1, "MaxCapacity": 2}
    execution = run(
        task("aws-sdk:applicationautoscaling:registerScalableTarget", arguments),
        ("application-autoscaling:RegisterScalableTarget", "*"),
    )
    # There is no such endpoint: the request arrived and was judged.
    assert execution["error"].startswith("ApplicationAutoScaling."), execution
    wrong = run(
        task("aws-sdk:applicationautoscaling:registerScalableTarget", {**arguments, "ServiceNamespace": "nothing"}),
        ("application-autoscaling:RegisterScalableTarget", "*"),
    )
    assert wrong["error"] == "ApplicationAutoScaling.ValidationException"
