"""What a stopped or killed cloud leaves: its records, no processes, and jobs that say what became of them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import boto3
import psutil
import pytest

from laptop import lifecycle
from tests.conformance.conftest import Cloud, wait_until
from tests.conformance.sagemaker.conftest import CONTAINERS, WORKER, make_role, settings_file


def test_jobs_of_an_earlier_cloud_end_as_failed(tmp_path: Path) -> None:
    running, process = lifecycle.start(tmp_path, port=0)
    cloud = Cloud(running.endpoint_url, tmp_path)
    settings_file(cloud, "images", {"conformance-worker": str(CONTAINERS / "worker")})
    role = make_role(cloud, "SageMaker", ["s3:*", "logs:*"])
    cloud.client("s3").create_bucket(Bucket="data")
    api = cloud.client("sagemaker")
    api.create_training_job(
        TrainingJobName="lost",
        AlgorithmSpecification={"TrainingImage": WORKER, "TrainingInputMode": "File"},
        HyperParameters={"behave": "deaf"},
        RoleArn=role,
        OutputDataConfig={"S3OutputPath": "s3://data/models/"},
        ResourceConfig={"InstanceType": "ml.m5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 1},
        StoppingCondition={"MaxRuntimeInSeconds": 600},
    )
    api.create_model_package_group(ModelPackageGroupName="kept", Tags=[{"Key": "Stage", "Value": "dev"}])
    log = tmp_path / "logs" / "training-job" / "lost.log"
    found = wait_until(lambda: log.exists() and re.search(r"pids (\d+) (\d+)", log.read_text()))
    lifecycle.stop(process)
    for pid in found.groups():
        wait_until(lambda pid=pid: not psutil.pid_exists(int(pid)), what=f"the end of process {pid}")

    running, process = lifecycle.start(tmp_path, port=0)
    try:
        api = boto3.client("sagemaker", **lifecycle.client_settings(running.endpoint_url))
        job = api.describe_training_job(TrainingJobName="lost")
        assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Failed", "Failed")
        assert job["FailureReason"].startswith("InternalServerError: ")
        group = api.describe_model_package_group(ModelPackageGroupName="kept")
        assert api.list_tags(ResourceArn=group["ModelPackageGroupArn"])["Tags"] == [{"Key": "Stage", "Value": "dev"}]
        with pytest.raises(api.exceptions.ResourceInUse):
            api.create_training_job(**request_again(job))
    finally:
        lifecycle.stop(process)
    records = json.loads((tmp_path / "state" / "sagemaker" / "training-job.json").read_text())
    assert list(records) == ["lost"]


def request_again(job: dict[str, Any]) -> dict[str, Any]:
    members = (
        "TrainingJobName",
        "AlgorithmSpecification",
        "RoleArn",
        "OutputDataConfig",
        "ResourceConfig",
        "StoppingCondition",
    )
    return {name: job[name] for name in members}
