"""Processing jobs: inputs, outputs, last words and ends."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tests.conformance.conftest import wait_until

Request = Callable[..., dict[str, Any]]


def run(sagemaker: Any, request: dict[str, Any]) -> dict[str, Any]:
    sagemaker.api.create_processing_job(**request)

    def ended() -> dict[str, Any] | None:
        job = sagemaker.api.describe_processing_job(ProcessingJobName=request["ProcessingJobName"])
        return job if job["ProcessingJobStatus"] in ("Completed", "Failed", "Stopped") else None

    return wait_until(ended, what=f"the end of {request['ProcessingJobName']}")


def source(name: str, uri: str, data_type: str = "S3Prefix") -> dict[str, Any]:
    return {
        "InputName": name,
        "S3Input": {
            "S3Uri": uri,
            "LocalPath": f"/opt/ml/processing/input/{name}",
            "S3DataType": data_type,
            "S3InputMode": "File",
        },
    }


def test_inputs_come_and_outputs_go(sagemaker: Any, processing_request: Request) -> None:
    prefix = sagemaker.cloud.name("data")
    for key in ("model.tar.gz", "test/images/1.jpg", "test/images/2.jpg"):
        sagemaker.put(f"{prefix}/{key}", key)
    manifest = sagemaker.put(
        f"{prefix}/test.manifest", json.dumps([{"prefix": f"s3://{sagemaker.bucket}/{prefix}/test/"}, "images/2.jpg"])
    )
    request = processing_request(
        ProcessingInputs=[
            source("candidate", f"s3://{sagemaker.bucket}/{prefix}/model.tar.gz"),
            source("test", manifest, "ManifestFile"),
        ],
        Environment={"SKYLOOP_DATASET_ID": "ds-1"},
    )
    job = run(sagemaker, request)
    assert job["ProcessingJobStatus"] == "Completed"
    assert job["ExitMessage"] == "judged"
    assert job["ProcessingStartTime"] <= job["ProcessingEndTime"]
    output = request["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]["S3Uri"]
    given = json.loads(sagemaker.read(f"{output}report.json"))
    assert given["arguments"] == ["evaluate"]
    assert given["processing"] == {"candidate/model.tar.gz": "model.tar.gz", "test/images/2.jpg": "test/images/2.jpg"}
    assert given["environment"]["SKYLOOP_DATASET_ID"] == "ds-1"
    assert given["config"]["processingjobconfig"]["ProcessingJobName"] == request["ProcessingJobName"]
    assert given["config"]["resourceconfig"]["hosts"] == ["algo-1"]


def test_a_failure_leaves_its_last_words_and_no_output(sagemaker: Any, processing_request: Request) -> None:
    request = processing_request(Environment={"behave": "fail", "reason": "The candidate has other categories."})
    job = run(sagemaker, request)
    assert job["ProcessingJobStatus"] == "Failed"
    assert job["FailureReason"] == "AlgorithmError: See job logs for more information"
    assert job["ExitMessage"] == "The candidate has other categories."
    _, _, key = (
        request["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]["S3Uri"].removeprefix("s3://").partition("/")
    )
    assert sagemaker.s3.list_objects_v2(Bucket=sagemaker.bucket, Prefix=key)["KeyCount"] == 0


def test_an_entrypoint_of_the_request_replaces_the_images(sagemaker: Any, processing_request: Request) -> None:
    request = processing_request()
    request["AppSpecification"]["ContainerEntrypoint"] = ["python3", "-c", "import sys; sys.exit(len(sys.argv))"]
    job = run(sagemaker, request)
    assert job["ProcessingJobStatus"] == "Failed", "two arguments: -c and evaluate"


def test_a_job_that_runs_too_long_is_stopped(sagemaker: Any, processing_request: Request) -> None:
    request = processing_request(Environment={"behave": "hang"}, StoppingCondition={"MaxRuntimeInSeconds": 1})
    job = run(sagemaker, request)
    assert job["ProcessingJobStatus"] == "Stopped"
    assert "MaxRuntimeInSeconds" in job["FailureReason"]


def test_a_job_can_be_stopped(sagemaker: Any, processing_request: Request) -> None:
    request = processing_request(Environment={"behave": "hang"})
    name = request["ProcessingJobName"]
    sagemaker.api.create_processing_job(**request)
    log = sagemaker.cloud.home / "logs" / "processing-job" / f"{name}.log"
    wait_until(lambda: log.exists() and "hanging" in log.read_text())
    sagemaker.api.stop_processing_job(ProcessingJobName=name)
    wait_until(
        lambda: sagemaker.api.describe_processing_job(ProcessingJobName=name)["ProcessingJobStatus"] == "Stopped"
    )


def test_changes_of_state_raise_events(sagemaker: Any, processing_request: Request) -> None:
    job = run(sagemaker, processing_request())

    def last() -> dict[str, Any] | None:
        events = sagemaker.events(job["ProcessingJobArn"], "SageMaker Processing Job State Change")
        return events[-1] if events and events[-1]["detail"]["ProcessingJobStatus"] == "Completed" else None

    detail = wait_until(last)["detail"]
    assert detail["ProcessingJobName"] == job["ProcessingJobName"]
    assert detail["AppSpecification"]["ContainerArguments"] == ["evaluate"]
    assert detail["ExitMessage"] == "judged"
    assert detail["CreationTime"] == round(job["CreationTime"].timestamp() * 1000)


def test_jobs_are_listed(sagemaker: Any, processing_request: Request) -> None:
    request = processing_request()
    run(sagemaker, request)
    listed = sagemaker.api.list_processing_jobs(NameContains=request["ProcessingJobName"], StatusEquals="Completed")
    (summary,) = listed["ProcessingJobSummaries"]
    assert summary["ProcessingJobName"] == request["ProcessingJobName"]
    assert summary["ExitMessage"] == "judged"
