"""What a stopped or killed cloud leaves: its records, no processes, and jobs that run again."""

from __future__ import annotations

import io
import json
import re
import tarfile
from pathlib import Path
from typing import Any

import psutil
import pytest

from laptop import lifecycle
from laptop.running import Running
from tests.conformance.conftest import Cloud, settings_file, wait_until
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
        "CheckpointConfig": {"S3Uri": "s3://data/checkpoints/"},
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


def in_progress(running: Running) -> list[dict[str, str]]:
    """What `down` says of a cloud: what it interrupts, and what becomes of it."""
    return lifecycle._health(running.endpoint_url)["in_progress"]


def found(running: Running) -> list[str]:
    """What `up` says of a cloud that it started."""
    return lifecycle._health(running.endpoint_url)["found"]


def wait_for_the_end_of(pids: tuple[int, int]) -> None:
    for pid in pids:
        wait_until(lambda pid=pid: not psutil.pid_exists(pid), what=f"the end of process {pid}")


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_job_runs_again_after_a_restart(tmp_path: Path, end: str) -> None:
    running, process = lifecycle.start(tmp_path, port=0)
    cloud = Cloud(running.endpoint_url, tmp_path)
    pids = start_a_job(cloud)
    tags = [{"Key": "Stage", "Value": "dev"}]
    cloud.client("sagemaker").create_model_package_group(ModelPackageGroupName="kept", Tags=tags)
    # What the job saved so far; the one that hangs saves nothing by itself.
    cloud.client("s3").put_object(Bucket="data", Key="checkpoints/earlier.txt", Body=b"epoch 7")
    assert in_progress(running) == [{"kind": "training job", "name": "lost", "afterwards": "begins again"}]
    lifecycle.stop(process) if end == "stop" else process.kill()
    process.wait()
    wait_for_the_end_of(pids)

    program = (CONTAINERS / "worker" / "program.py").read_text()
    again = tmp_path / "worker"
    again.mkdir()
    (again / "program.py").write_text(program.replace('case "deaf":', 'case "no more":'))
    (again / "Dockerfile").write_text((CONTAINERS / "worker" / "Dockerfile").read_text())
    settings_file(cloud, "images", {"conformance-worker": str(again)})
    running, process = lifecycle.start(tmp_path, port=0)
    assert "The training job lost goes on from its last checkpoint." in found(running)
    try:
        cloud = Cloud(running.endpoint_url, tmp_path)
        api = cloud.client("sagemaker")
        ended = {"Completed", "Failed", "Stopped"}
        job = wait_until(
            lambda: (
                job
                if (job := api.describe_training_job(TrainingJobName="lost"))["TrainingJobStatus"] in ended
                else None
            )
        )
        assert (job["TrainingJobStatus"], job.get("FailureReason")) == ("Completed", None)
        passed = [each["Status"] for each in job["SecondaryStatusTransitions"]]
        assert passed[passed.index("Interrupted") :] == [
            "Interrupted", "Restarting", "Downloading", "Training", "Uploading", "Completed",
        ]  # fmt: skip
        archive = cloud.client("s3").get_object(Bucket="data", Key="models/lost/output/model.tar.gz")["Body"].read()
        with tarfile.open(fileobj=io.BytesIO(archive)) as model:
            report = model.extractfile("report.json")
            assert report is not None
            assert json.load(report)["checkpoints"]["earlier.txt"] == "epoch 7"
        group = api.describe_model_package_group(ModelPackageGroupName="kept")
        assert api.list_tags(ResourceArn=group["ModelPackageGroupArn"])["Tags"] == tags
        with pytest.raises(api.exceptions.ResourceInUse):
            api.create_training_job(**training(job["RoleArn"]))
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
    name = request["LabelingJobName"]
    assert in_progress(running) == [{"kind": "labeling job", "name": name, "afterwards": "is open again"}]
    lifecycle.stop(process)

    settings_file(cloud, "workforce", {"answer_delay": 0})
    running, process = lifecycle.start(tmp_path, port=0)
    try:
        api = Cloud(running.endpoint_url, tmp_path).client("sagemaker")
        job = {"LabelingJobName": request["LabelingJobName"]}
        wait_until(lambda: api.describe_labeling_job(**job)["LabelingJobStatus"] == "Completed")
    finally:
        lifecycle.stop(process)
