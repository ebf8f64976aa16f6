"""Training jobs are processes over an /opt/ml-shaped folder, and end the way SageMaker's do."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import psutil
import pytest

from tests.conformance.conftest import wait_until
from tests.conformance.sagemaker.conftest import make_role

Request = Callable[..., dict[str, Any]]
STATE_CHANGE = "SageMaker Training Job State Change"


def run(sagemaker: Any, request: dict[str, Any]) -> dict[str, Any]:
    sagemaker.api.create_training_job(**request)
    return finished(sagemaker, request["TrainingJobName"])


def finished(sagemaker: Any, name: str) -> dict[str, Any]:
    def ended() -> dict[str, Any] | None:
        job = sagemaker.api.describe_training_job(TrainingJobName=name)
        return job if job["TrainingJobStatus"] in ("Completed", "Failed", "Stopped") else None

    return wait_until(ended, what=f"the end of {name}")


def report(sagemaker: Any, job: dict[str, Any]) -> dict[str, Any]:
    return json.loads(sagemaker.archive(job["ModelArtifacts"]["S3ModelArtifacts"])["report.json"])


def log_of(sagemaker: Any, name: str) -> str:
    file = sagemaker.cloud.home / "logs" / "training-job" / f"{name}.log"
    return file.read_text() if file.exists() else ""


def channel(name: str, uri: str, data_type: str = "S3Prefix") -> dict[str, Any]:
    return {"ChannelName": name, "DataSource": {"S3DataSource": {"S3DataType": data_type, "S3Uri": uri}}}


def test_a_job_gets_what_its_container_expects(sagemaker: Any, training_request: Request) -> None:
    request = training_request(HyperParameters={"epochs": "3", "name": "Größe"}, Environment={"COLOR": "green"})
    job = run(sagemaker, request)
    assert job["TrainingJobStatus"] == job["SecondaryStatus"] == "Completed"
    given = report(sagemaker, job)
    assert given["arguments"] == ["train"]
    assert given["working_directory"].endswith("containers/worker")
    assert given["config"]["hyperparameters"] == {"epochs": "3", "name": "Größe"}
    assert given["config"]["resourceconfig"]["current_host"] == "algo-1"
    environment = given["environment"]
    assert environment["COLOR"] == "green"
    assert environment["GREETING"] == "from the image"
    assert environment["PROGRAM_FOLDER"] == given["working_directory"]
    assert environment["TRAINING_JOB_NAME"] == request["TrainingJobName"]
    assert environment["TRAINING_JOB_ARN"] == job["TrainingJobArn"]
    assert environment["AWS_ENDPOINT_URL"] == sagemaker.cloud.endpoint_url
    assert environment["AWS_ACCESS_KEY_ID"].startswith("ASIA"), "the job works as its role, not as the account"


def test_channels_keep_the_paths_of_their_objects(sagemaker: Any, training_request: Request) -> None:
    prefix = sagemaker.cloud.name("data")
    for key in ("a/images/1 ä+b.txt", "a/labels/1.txt", "ab.txt", "weights/base.pt", "listed/x/1", "listed/x/2"):
        sagemaker.put(f"{prefix}/{key}", key)
    base = f"s3://{sagemaker.bucket}/{prefix}"
    manifest = sagemaker.put(f"{prefix}/some.manifest", json.dumps([{"prefix": f"{base}/listed/"}, "x/2"]))
    channels = [
        channel("folder", f"{base}/a/"),
        channel("bare", f"{base}/a"),
        channel("file", f"{base}/weights/base.pt"),
        channel("listed", manifest, "ManifestFile"),
    ]
    given = report(sagemaker, run(sagemaker, training_request(InputDataConfig=channels)))
    assert given["input"] == {
        "folder/images/1 ä+b.txt": "a/images/1 ä+b.txt",
        "folder/labels/1.txt": "a/labels/1.txt",
        "bare/images/1 ä+b.txt": "a/images/1 ä+b.txt",
        "bare/labels/1.txt": "a/labels/1.txt",
        "bare/ab.txt": "ab.txt",
        "file/base.pt": "weights/base.pt",
        "listed/x/2": "listed/x/2",
    }
    assert given["config"]["inputdataconfig"]["folder"] == {
        "TrainingInputMode": "File",
        "S3DistributionType": "FullyReplicated",
        "RecordWrapperType": "None",
    }


def test_outputs_metrics_and_times(sagemaker: Any, training_request: Request) -> None:
    request = training_request()
    request["AlgorithmSpecification"]["MetricDefinitions"] = [
        {"Name": "map50", "Regex": r"map50=([0-9.]+)"},
        {"Name": "box_loss", "Regex": r"box_loss=([0-9.]+)"},
        {"Name": "never", "Regex": r"nothing prints (this)"},
    ]
    job = run(sagemaker, request)
    output = f"s3://{sagemaker.bucket}/models/{request['TrainingJobName']}/output"
    assert job["ModelArtifacts"] == {"S3ModelArtifacts": f"{output}/model.tar.gz"}
    assert sagemaker.archive(f"{output}/output.tar.gz") == {"plot.txt": "a plot"}
    metrics = {item["MetricName"]: item["Value"] for item in job["FinalMetricDataList"]}
    assert metrics == pytest.approx({"map50": 0.3, "box_loss": 0.333})
    assert job["CreationTime"] <= job["TrainingStartTime"] <= job["TrainingEndTime"]
    assert job["BillableTimeInSeconds"] == job["TrainingTimeInSeconds"]
    transitions = job["SecondaryStatusTransitions"]
    assert [item["Status"] for item in transitions] == [
        "Starting",
        "Downloading",
        "Training",
        "Uploading",
        "Completed",
    ]
    assert all(item["StartTime"] <= item["EndTime"] for item in transitions)


def test_an_uncompressed_model_is_left_as_files(sagemaker: Any, training_request: Request) -> None:
    request = training_request()
    request["OutputDataConfig"]["CompressionType"] = "NONE"
    job = run(sagemaker, request)
    artifacts = job["ModelArtifacts"]["S3ModelArtifacts"]
    assert artifacts == f"s3://{sagemaker.bucket}/models/{request['TrainingJobName']}/output/model/"
    assert json.loads(sagemaker.read(f"{artifacts}report.json"))["arguments"] == ["train"]


def test_checkpoints_go_both_ways(sagemaker: Any, training_request: Request) -> None:
    prefix = sagemaker.cloud.name("checkpoints")
    where = {"CheckpointConfig": {"S3Uri": f"s3://{sagemaker.bucket}/{prefix}/"}}
    first = report(sagemaker, run(sagemaker, training_request(**where)))
    assert first["checkpoints"] == {"last.txt": "epoch 3"}
    assert sagemaker.read(f"s3://{sagemaker.bucket}/{prefix}/last.txt") == b"epoch 3"
    sagemaker.put(f"{prefix}/earlier.txt", "from an interrupted job")
    second = report(sagemaker, run(sagemaker, training_request(**where)))
    assert second["checkpoints"]["earlier.txt"] == "from an interrupted job"


def test_a_machine_that_is_kept_gives_its_cache_to_the_next_job_that_matches(
    sagemaker: Any, training_request: Request
) -> None:
    def kept(seconds: int | None, **resources: Any) -> tuple[str, dict[str, Any], str]:
        request = training_request()
        request["ResourceConfig"] |= resources | ({"KeepAlivePeriodInSeconds": seconds} if seconds else {})
        job = run(sagemaker, request)
        return job["TrainingJobName"], report(sagemaker, job)["cache"], job.get("WarmPoolStatus", {}).get("Status")

    def status(name: str) -> dict[str, Any]:
        return sagemaker.api.describe_training_job(TrainingJobName=name)["WarmPoolStatus"]

    assert kept(None)[1:] == ({}, None)
    first, cache, then = kept(600, VolumeSizeInGB=11)
    assert (cache, then) == ({}, "Available")
    assert kept(None, VolumeSizeInGB=12)[1] == {}, "another machine"
    second, cache, then = kept(1, VolumeSizeInGB=11)
    assert (cache, then) == ({first: "kept"}, "Available")
    retained = status(first).pop("ResourceRetainedBillableTimeInSeconds")
    assert 0 <= retained < 600
    assert status(first) == {
        "Status": "Reused",
        "ReusedByJob": second,
        "ResourceRetainedBillableTimeInSeconds": retained,
    }
    wait_until(lambda: status(second)["Status"] == "Terminated", what="the end of a warm pool")
    assert kept(None, VolumeSizeInGB=11)[1:] == ({}, None)


@pytest.mark.parametrize(
    ("hyperparameters", "reason"),
    [
        (
            {"behave": "fail", "reason": "The data has no boxes."},
            "AlgorithmError: The data has no boxes., exit code: 1",
        ),
        ({"behave": "fail", "exit": "3"}, "AlgorithmError: , exit code: 3"),
        ({"behave": "fail", "reason": "x" * 2400}, None),
    ],
    ids=["its own words", "no words", "too many words"],
)
def test_a_failing_program_fails_the_job(
    sagemaker: Any, training_request: Request, hyperparameters: dict[str, str], reason: str | None
) -> None:
    job = run(sagemaker, training_request(HyperParameters=hyperparameters))
    assert job["TrainingJobStatus"] == job["SecondaryStatus"] == "Failed"
    if reason:
        assert job["FailureReason"] == reason
    assert len(job["FailureReason"]) <= 1024
    assert "ModelArtifacts" not in job


def test_missing_data_fails_the_job_in_sagemakers_words(sagemaker: Any, training_request: Request) -> None:
    uri = f"s3://{sagemaker.bucket}/nothing/here/"
    job = run(sagemaker, training_request(InputDataConfig=[channel("train", uri)]))
    assert job["TrainingJobStatus"] == "Failed"
    assert job["FailureReason"].startswith("ClientError: ")
    assert f'No S3 objects found under S3 URL "{uri}" given in input data source' in job["FailureReason"]


@pytest.mark.parametrize(
    "document",
    ["not json", "[]", '["x"]', '[{"prefix": "s3://%s/listed/"}, "missing"]', '[{"prefix": "s3://%s/"}, "../../up"]'],
    ids=["not json", "empty", "no prefix", "missing object", "out of the folder"],
)
def test_a_bad_manifest_fails_the_job(sagemaker: Any, training_request: Request, document: str) -> None:
    sagemaker.put("../../up", "escaped")
    uri = sagemaker.put(f"{sagemaker.cloud.name('bad')}.manifest", document.replace("%s", sagemaker.bucket))
    job = run(sagemaker, training_request(InputDataConfig=[channel("train", uri, "ManifestFile")]))
    assert job["TrainingJobStatus"] == "Failed"
    assert job["FailureReason"].startswith("ClientError: ")


def test_an_unknown_image_fails_the_job(sagemaker: Any, training_request: Request) -> None:
    request = training_request()
    request["AlgorithmSpecification"]["TrainingImage"] = "000000000000.dkr.ecr.us-east-1.amazonaws.com/nobody:1"
    job = run(sagemaker, request)
    assert job["TrainingJobStatus"] == "Failed"
    assert "CannotPullContainerError" in job["FailureReason"]


def test_a_role_without_access_fails_the_job(sagemaker: Any, training_request: Request) -> None:
    uri = sagemaker.put("guarded/data.txt", "data")
    role = make_role(sagemaker.cloud, sagemaker.cloud.name("no-s3"), ["logs:*"])
    job = run(sagemaker, training_request(RoleArn=role, InputDataConfig=[channel("train", uri)]))
    assert job["TrainingJobStatus"] == "Failed"
    assert "AccessDenied" in job["FailureReason"]


def test_a_stopped_job_keeps_what_it_saved_in_its_grace(sagemaker: Any, training_request: Request) -> None:
    request = training_request(HyperParameters={"behave": "hang"})
    name = request["TrainingJobName"]
    sagemaker.api.create_training_job(**request)
    wait_until(lambda: "hanging" in log_of(sagemaker, name))
    sagemaker.api.stop_training_job(TrainingJobName=name)
    job = finished(sagemaker, name)
    assert job["TrainingJobStatus"] == job["SecondaryStatus"] == "Stopped"
    assert "FailureReason" not in job
    assert sagemaker.archive(job["ModelArtifacts"]["S3ModelArtifacts"]) == {"saved.txt": "saved in the grace"}
    statuses = [item["Status"] for item in job["SecondaryStatusTransitions"]]
    assert statuses[-3:] == ["Stopping", "Uploading", "Stopped"]


def test_a_deaf_program_and_its_children_are_killed_after_the_grace(sagemaker: Any, training_request: Request) -> None:
    request = training_request(HyperParameters={"behave": "deaf"})
    name = request["TrainingJobName"]
    sagemaker.api.create_training_job(**request)
    pids = wait_until(lambda: re.search(r"pids (\d+) (\d+)", log_of(sagemaker, name)))
    sagemaker.api.stop_training_job(TrainingJobName=name)
    assert finished(sagemaker, name)["TrainingJobStatus"] == "Stopped"
    for pid in pids.groups():
        wait_until(lambda pid=pid: not psutil.pid_exists(int(pid)), what=f"the end of process {pid}")


def test_a_job_that_runs_too_long_is_stopped(sagemaker: Any, training_request: Request) -> None:
    job = run(
        sagemaker,
        training_request(HyperParameters={"behave": "hang"}, StoppingCondition={"MaxRuntimeInSeconds": 1}),
    )
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")


def test_jobs_beyond_the_slots_wait_and_can_be_stopped_there(sagemaker: Any, training_request: Request) -> None:
    hanging = [training_request(HyperParameters={"behave": "hang"}) for _ in range(3)]
    names = [request["TrainingJobName"] for request in hanging]
    for request in hanging:
        sagemaker.api.create_training_job(**request)
    # Two slots in these tests' settings: the third job stays where it started.
    wait_until(lambda: all("hanging" in log_of(sagemaker, name) for name in names[:2]))
    waiting = sagemaker.api.describe_training_job(TrainingJobName=names[2])
    assert (waiting["TrainingJobStatus"], waiting["SecondaryStatus"]) == ("InProgress", "Starting")
    for name in reversed(names):
        sagemaker.api.stop_training_job(TrainingJobName=name)
    stopped = [finished(sagemaker, name) for name in names]
    assert [job["TrainingJobStatus"] for job in stopped] == ["Stopped"] * 3
    assert "TrainingStartTime" not in stopped[2]
    assert log_of(sagemaker, names[2]) == ""


def test_every_transition_raises_an_event_in_awss_shape(sagemaker: Any, training_request: Request) -> None:
    tags = [{"Key": "CorrelationId", "Value": "flight-7"}]
    request = training_request(HyperParameters={"behave": "fail", "reason": "no boxes"}, Tags=tags)
    job = run(sagemaker, request)
    arn = job["TrainingJobArn"]

    def all_events() -> list[dict[str, Any]] | None:
        events = sagemaker.events(arn, STATE_CHANGE)
        return events if events and events[-1]["detail"]["TrainingJobStatus"] == "Failed" else None

    events = wait_until(all_events)
    assert [event["detail"]["SecondaryStatus"] for event in events] == ["Starting", "Downloading", "Training", "Failed"]
    last = events[-1]
    assert last["source"] == "aws.sagemaker"
    assert last["account"] == sagemaker.cloud.account
    detail = last["detail"]
    assert detail["TrainingJobName"] == request["TrainingJobName"]
    assert detail["TrainingJobArn"] == arn
    assert detail["FailureReason"] == "AlgorithmError: no boxes, exit code: 1"
    assert detail["HyperParameters"] == request["HyperParameters"]
    assert detail["OutputDataConfig"] == request["OutputDataConfig"]
    assert detail["Tags"] == {"CorrelationId": "flight-7"}
    for moment in ("CreationTime", "TrainingStartTime", "TrainingEndTime", "LastModifiedTime"):
        assert re.fullmatch(r"\d{13}", detail[moment]), "strings of epoch milliseconds"
    assert not any(name.startswith("_") for name in detail)


def test_logs_reach_cloudwatch(sagemaker: Any, training_request: Request) -> None:
    request = training_request()
    run(sagemaker, request)
    logs = sagemaker.cloud.client("logs")
    group = "/aws/sagemaker/TrainingJobs"
    streams = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=request["TrainingJobName"])
    (stream,) = streams["logStreams"]
    assert stream["logStreamName"].startswith(f"{request['TrainingJobName']}/algo-1-")
    events = logs.get_log_events(logGroupName=group, logStreamName=stream["logStreamName"])["events"]
    assert [event["message"].split()[0] for event in events] == ["epoch=1", "epoch=2", "epoch=3"]
    assert "epoch=3" in log_of(sagemaker, request["TrainingJobName"])


def test_jobs_are_listed_by_filter_order_and_page(sagemaker: Any, training_request: Request) -> None:
    stem = sagemaker.cloud.name("listed")
    for behave in ("ok", "fail", "ok"):
        run(
            sagemaker,
            training_request(
                TrainingJobName=f"{stem}-{behave}-{sagemaker.cloud.name('x')}", HyperParameters={"behave": behave}
            ),
        )

    def names(**filters: Any) -> list[str]:
        pages = sagemaker.api.get_paginator("list_training_jobs").paginate(
            NameContains=stem, PaginationConfig={"PageSize": 2}, **filters
        )
        return [job["TrainingJobName"] for page in pages for job in page["TrainingJobSummaries"]]

    everything = names()
    assert len(everything) == 3
    assert names(SortOrder="Descending") == everything[::-1]
    assert names(SortBy="Name") == sorted(everything)
    assert names(StatusEquals="Failed") == [everything[1]]
    assert names(CreationTimeAfter="2100-01-01") == []
    first = sagemaker.api.list_training_jobs(NameContains=stem, MaxResults=2)
    assert len(first["TrainingJobSummaries"]) == 2
    assert set(first["TrainingJobSummaries"][0]) == {
        "TrainingJobName",
        "TrainingJobArn",
        "CreationTime",
        "TrainingEndTime",
        "LastModifiedTime",
        "TrainingJobStatus",
        "SecondaryStatus",
    }


def test_tags_are_kept_merged_and_removed(sagemaker: Any, training_request: Request) -> None:
    request = training_request(Tags=[{"Key": "Stage", "Value": "dev"}])
    arn = sagemaker.api.create_training_job(**request)["TrainingJobArn"]
    sagemaker.api.add_tags(ResourceArn=arn, Tags=[{"Key": "Stage", "Value": "prod"}, {"Key": "New", "Value": ""}])
    tags = {tag["Key"]: tag["Value"] for tag in sagemaker.api.list_tags(ResourceArn=arn)["Tags"]}
    assert tags == {"Stage": "prod", "New": ""}
    sagemaker.api.delete_tags(ResourceArn=arn, TagKeys=["Stage", "absent"])
    assert sagemaker.api.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "New", "Value": ""}]
    finished(sagemaker, request["TrainingJobName"])
