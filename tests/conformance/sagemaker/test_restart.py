"""What a stopped or killed cloud leaves: its records, no processes, and jobs that say what became of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import psutil
import pytest

from laptop import lifecycle
from tests.conformance.conftest import Cloud, event_queue, settings_file, take, wait_until
from tests.conformance.sagemaker.conftest import CONTAINERS, WORKER, SageMaker, label, make_role


def training(role: str) -> dict[str, Any]:
    return {
        "TrainingJobName": "lost",
        "AlgorithmSpecification": {"TrainingImage": WORKER, "TrainingInputMode": "File"},
        "HyperParameters": {"behave": "deaf"},
        "RoleArn": role,
        "OutputDataConfig": {"S3OutputPath": "s3://data/models/"},
        "ResourceConfig": {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 600},
    }


def start_a_job(cloud: Cloud) -> tuple[int, int]:
    """A training job that ignores SIGTERM, and the process ids of its program and of that one's child."""
    settings_file(cloud, "images", {"conformance-worker": str(CONTAINERS / "worker")})
    role = make_role(cloud, "SageMaker", ["s3:*", "logs:*"])
    cloud.client("s3").create_bucket(Bucket="data")
    cloud.client("sagemaker").create_training_job(**training(role))
    log = cloud.home / "logs" / "training-job" / "lost.log"
    found = wait_until(lambda: log.exists() and re.search(r"pids (\d+) (\d+)", log.read_text()))
    return int(found[1]), int(found[2])


def wait_for_the_end_of(pids: tuple[int, int]) -> None:
    for pid in pids:
        wait_until(lambda pid=pid: not psutil.pid_exists(pid), what=f"the end of process {pid}")


def test_a_stopped_cloud_keeps_its_records_and_says_which_jobs_it_lost(tmp_path: Path) -> None:
    running, process = lifecycle.start(tmp_path, port=0)
    cloud = Cloud(running.endpoint_url, tmp_path)
    queue = event_queue(cloud, {"source": ["aws.sagemaker"], "detail": {"TrainingJobStatus": ["Failed"]}})
    pids = start_a_job(cloud)
    tags = [{"Key": "Stage", "Value": "dev"}]
    cloud.client("sagemaker").create_model_package_group(ModelPackageGroupName="kept", Tags=tags)
    lifecycle.stop(process)
    wait_for_the_end_of(pids)

    running, process = lifecycle.start(tmp_path, port=0)
    try:
        cloud = Cloud(running.endpoint_url, tmp_path)
        api = cloud.client("sagemaker")
        job = api.describe_training_job(TrainingJobName="lost")
        assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Failed", "Failed")
        assert job["FailureReason"].startswith("InternalServerError: ")
        group = api.describe_model_package_group(ModelPackageGroupName="kept")
        assert api.list_tags(ResourceArn=group["ModelPackageGroupArn"])["Tags"] == tags
        with pytest.raises(api.exceptions.ResourceInUse):
            api.create_training_job(**training(job["RoleArn"]))
        (event,) = wait_until(lambda: take(cloud, queue))
        assert event["detail"]["FailureReason"] == job["FailureReason"]
    finally:
        lifecycle.stop(process)


def test_a_killed_cloud_leaves_no_process_and_no_job_in_progress(tmp_path: Path) -> None:
    running, process = lifecycle.start(tmp_path, port=0)
    pids = start_a_job(Cloud(running.endpoint_url, tmp_path))
    process.kill()
    wait_for_the_end_of(pids)

    running, process = lifecycle.start(tmp_path, port=0)
    try:
        api = Cloud(running.endpoint_url, tmp_path).client("sagemaker")
        assert api.describe_training_job(TrainingJobName="lost")["TrainingJobStatus"] == "Failed"
        assert api.list_training_jobs(StatusEquals="InProgress")["TrainingJobSummaries"] == []
    finally:
        lifecycle.stop(process)


def test_a_labeling_job_goes_on_after_a_restart(tmp_path: Path) -> None:
    running, process = lifecycle.start(tmp_path, port=0)
    cloud = Cloud(running.endpoint_url, tmp_path)
    settings_file(cloud, "workforce", {"answer_delay": 600})
    sagemaker = SageMaker(cloud, make_role(cloud, "SageMaker", ["s3:*"]), "data")
    sagemaker.s3.create_bucket(Bucket="data")
    request = label(sagemaker)
    sagemaker.api.create_labeling_job(**request)
    lifecycle.stop(process)

    settings_file(cloud, "workforce", {"answer_delay": 0})
    running, process = lifecycle.start(tmp_path, port=0)
    try:
        api = Cloud(running.endpoint_url, tmp_path).client("sagemaker")
        job = {"LabelingJobName": request["LabelingJobName"]}
        wait_until(lambda: api.describe_labeling_job(**job)["LabelingJobStatus"] == "Completed")
    finally:
        lifecycle.stop(process)
