"""The machines' JSONata on sample inputs: what it makes is what the services take and what people read."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator
from skyloop.alerts import Alert

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
JOB = "skyloop-dev-0123456789ab"
DATASET = {
    "dataset_id": "ds-0123456789ab",
    "dataset_uri": "s3://data/processed-data/ds-0123456789ab/dataset.json",
    "train_manifest_uri": "s3://data/processed-data/ds-0123456789ab/train.manifest",
    "validation_manifest_uri": "s3://data/processed-data/ds-0123456789ab/validation.manifest",
    "test_manifest_uri": "s3://data/processed-data/ds-0123456789ab/test.manifest",
    "categories": ["tree"],
    "test_set_id": "ts-0123456789ab",
}
CHAMPION = {
    "package_arn": "arn:aws:sagemaker:us-east-1:123456789012:model-package/skyloop-dev/1",
    "config": "skyloop-dev-v1",
    "model_uri": "s3://data/model-artifacts/skyloop-dev-111111111111/output/model.tar.gz",
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


def train(champion: wiring.JSON, **settings: str) -> wiring.JSON:
    """The arguments of the training job."""
    variables = {"champion": champion, "dataset": DATASET, "labeling_job": JOB, "correlation_id": "flight-7"}
    variables["training"] = run(state("retrain", "PlanTraining", **settings)["Assign"]["training"], variables)
    arguments = run(state("retrain", "Train", **settings)["Arguments"], variables)
    accepted("sagemaker", "CreateTrainingJob", arguments)
    return arguments


def channels(arguments: wiring.JSON) -> dict[str, tuple[str, str]]:
    found = {}
    for channel in arguments["InputDataConfig"]:
        source = channel["DataSource"]["S3DataSource"]
        found[channel["ChannelName"]] = (source["S3DataType"], source["S3Uri"])
    return found


SPLITS = {
    "train": ("ManifestFile", DATASET["train_manifest_uri"]),
    "validation": ("ManifestFile", DATASET["validation_manifest_uri"]),
}


def test_first_training_takes_weights_by_name() -> None:
    arguments = train({})
    assert channels(arguments) == SPLITS
    assert arguments["HyperParameters"] == {
        "epochs": "100",
        "imgsz": "640",
        "batch": "16",
        "freeze": "0",
        "seed": "0",
        "categories": '["tree"]',
        "dataset_id": "ds-0123456789ab",
        "correlation_id": "flight-7",
        "weights": "yolo11n.pt",
    }
    assert arguments["Environment"] == {"SKYLOOP_CORRELATION_ID": "flight-7"}


def test_first_training_takes_weights_from_s3_as_a_channel() -> None:
    arguments = train({}, BaseWeights="s3://elsewhere/base/yolo11n_coco.pt")
    assert channels(arguments) == {**SPLITS, "weights": ("S3Prefix", "s3://elsewhere/base/yolo11n_coco.pt")}
    assert "weights" not in arguments["HyperParameters"]


@pytest.mark.parametrize("weights", ["yolo11n.pt", "s3://elsewhere/base/yolo11n_coco.pt"])
def test_later_training_starts_from_the_champion_whatever_the_base_weights(weights: str) -> None:
    arguments = train(CHAMPION, BaseWeights=weights)
    assert channels(arguments) == {**SPLITS, "model": ("S3Prefix", CHAMPION["model_uri"])}
    assert "weights" not in arguments["HyperParameters"]


def test_on_demand_training_asks_for_nothing_of_spot() -> None:
    arguments = train({})
    assert arguments["EnableManagedSpotTraining"] is False
    assert arguments["StoppingCondition"] == {"MaxRuntimeInSeconds": 3600}
    assert "CheckpointConfig" not in arguments


def test_spot_training_waits_as_long_again_and_resumes_from_its_checkpoints() -> None:
    arguments = train({}, UseSpot="true")
    assert arguments["EnableManagedSpotTraining"] is True
    assert arguments["StoppingCondition"] == {"MaxRuntimeInSeconds": 3600, "MaxWaitTimeInSeconds": 7200}
    assert arguments["CheckpointConfig"] == {
        "S3Uri": f"s3://data/model-artifacts/{JOB}/checkpoints/",
        "LocalPath": "/opt/ml/checkpoints",
    }


def test_training_reports_to_mlflow_when_there_is_a_server() -> None:
    environment = train({}, MlflowTrackingUri="https://mlflow.example.org")["Environment"]
    assert environment["MLFLOW_TRACKING_URI"] == "https://mlflow.example.org"


@pytest.mark.parametrize("champion", [{}, CHAMPION])
def test_evaluation_gets_the_champion_when_there_is_one(champion: wiring.JSON) -> None:
    variables = {
        "champion": champion,
        "dataset": DATASET,
        "labeling_job": JOB,
        "correlation_id": "flight-7",
        "model_uri": "s3://data/model-artifacts/x/output/model.tar.gz",
    }
    arguments = run(state("retrain", "Evaluate")["Arguments"], variables)
    accepted("sagemaker", "CreateProcessingJob", arguments)
    inputs = {item["InputName"]: item["S3Input"] for item in arguments["ProcessingInputs"]}
    assert set(inputs) == {"candidate", "test", "reference"} | ({"champion"} if champion else set())
    assert all(item["LocalPath"] == f"/opt/ml/processing/input/{name}" for name, item in inputs.items())
    # The reference of the drift baseline is not what the candidate is judged by.
    assert inputs["test"]["S3Uri"] == DATASET["test_manifest_uri"]
    assert inputs["reference"]["S3Uri"] == DATASET["validation_manifest_uri"]
    assert arguments["Environment"]["SKYLOOP_CATEGORIES"] == '["tree"]'


@pytest.mark.parametrize(
    ("batches", "images", "boxes"), [([], 0, 0), ([[5, 40, 1, 2]], 5, 40), ([[5, 40, 1, 2], [3, 9, 0, 0]], 8, 49)]
)
def test_converted_batches_are_summed(batches: list[list[int]], images: int, boxes: int) -> None:
    total = run(state("retrain", "ConvertLabels")["Assign"]["converted"], result=batches)
    assert (total["images"], total["boxes"]) == (images, boxes)


@pytest.mark.parametrize(
    ("tags", "correlation"),
    [([], JOB), ([{"Key": "Project", "Value": "x"}, {"Key": "CorrelationId", "Value": "f"}], "f")],
)
def test_labels_are_found_by_their_uri_and_carry_the_batch(tags: list[Any], correlation: str) -> None:
    assign = state("retrain", "DescribeLabels")["Assign"]
    result = {
        "LabelingJobStatus": "Completed",
        "LabelAttributeName": "boxes",
        "LabelingJobOutput": {"OutputDatasetS3Uri": "s3://data/ground-truth-jobs/j/manifests/output/output.manifest"},
        "Tags": tags,
    }
    variables = {"labeling_job": JOB}
    labels = run(assign["labels"], variables, result=result)
    assert (labels["bucket"], labels["key"]) == ("data", "ground-truth-jobs/j/manifests/output/output.manifest")
    assert run(assign["correlation_id"], variables, result=result) == correlation


def test_labels_of_a_failed_job_have_a_reason_and_no_place() -> None:
    result = {"LabelingJobStatus": "Failed", "FailureReason": "no workers"}
    labels = run(state("retrain", "DescribeLabels")["Assign"]["labels"], {"labeling_job": JOB}, result=result)
    assert (labels["status"], labels["failure"], labels["bucket"]) == ("Failed", "no workers", "")


@pytest.mark.parametrize(
    ("instances", "least", "most", "kind"),
    [
        # Without autoscaling the new config says how large the fleet is to be, whatever it is now.
        (1, 1, 1, "ALL_AT_ONCE"),
        (1, 2, 2, "CANARY"),
        (2, 1, 1, "ALL_AT_ONCE"),
        # With it, what it has made of the fleet is kept.
        (1, 1, 4, "ALL_AT_ONCE"),
        (3, 1, 4, "CANARY"),
    ],
)
def test_update_is_a_canary_where_half_the_fleet_is_an_instance(
    instances: int, least: int, most: int, kind: str
) -> None:
    variables = {"endpoint": {"instances": instances}, "config": "skyloop-dev-v2"}
    settings = {"EndpointInstanceCount": str(least), "EndpointMaxInstanceCount": str(most)}
    arguments = run(state("deploy", "UpdateEndpoint", **settings)["Arguments"], variables)
    assert arguments.get("RetainAllVariantProperties", False) is (most > least)
    accepted("sagemaker", "UpdateEndpoint", arguments)
    policy = arguments["DeploymentConfig"]["BlueGreenUpdatePolicy"]
    routing = policy["TrafficRoutingConfiguration"]
    assert routing["Type"] == kind
    assert routing["WaitIntervalInSeconds"] == (300 if kind == "CANARY" else 0)
    assert routing.get("CanarySize") == ({"Type": "CAPACITY_PERCENT", "Value": 25} if kind == "CANARY" else None)
    waits = routing["WaitIntervalInSeconds"] + policy["TerminationWaitInSeconds"]
    assert policy["MaximumExecutionTimeoutInSeconds"] >= max(600, waits)
    alarms = arguments["DeploymentConfig"]["AutoRollbackConfiguration"]["Alarms"]
    assert [alarm["AlarmName"] for alarm in alarms] == [SETTINGS["ErrorAlarmName"], SETTINGS["LatencyAlarmName"]]


@pytest.mark.parametrize("bake", ["0", "3600"])
def test_every_bake_time_that_the_template_takes_fits(bake: str) -> None:
    variables = {"endpoint": {"instances": 2}, "config": "skyloop-dev-v2"}
    update = state("deploy", "UpdateEndpoint", BakeSeconds=bake, EndpointMaxInstanceCount="2")
    accepted("sagemaker", "UpdateEndpoint", run(update["Arguments"], variables))


POLLS = [
    (name, path, item)
    for name in wiring.MACHINES
    for path, item in wiring.states(wiring.machine(name))
    if item["Type"] == "Wait" and "PollSeconds" in item["Seconds"]
]
# Step Functions ends an execution at its 25,000th event. One look is a wait (2), two tasks at most (5 each) and the
# choices after them (2 each); what else an execution does takes far less than the rest.
MOST_LOOKS = 25_000 * 0.9 / 16


@pytest.mark.parametrize("poll", ["1", "20", "300"])
@pytest.mark.parametrize(("machine", "name"), [(machine, name) for machine, name, _ in POLLS])
def test_no_wait_outgrows_the_history(machine: str, name: str, poll: str) -> None:
    seconds = state(machine, name, PollSeconds=poll)["Seconds"]
    # Retrain's loops have one task and one choice a look: 9 events.
    limit, passed, looks = MOST_LOOKS * (16 / 9 if machine == "retrain" else 1), 0.0, 0
    while passed < wiring.machine(machine)["TimeoutSeconds"]:
        started = datetime.now(UTC) - timedelta(seconds=passed)
        context = {"Execution": {"StartTime": started.isoformat(timespec="milliseconds").replace("+00:00", "Z")}}
        wait = wiring.evaluate(seconds, {}, {"context": context})
        assert int(poll) <= wait <= max(int(poll), min(1800, passed / 100 + 1))
        # It grows slowly, so it is asked for anew only when a twentieth of the time has passed again.
        step = max(1, int(passed / 20 / wait))
        passed, looks = passed + wait * step, looks + step
    assert looks < limit


@pytest.mark.parametrize(
    ("listed", "there", "leaving"),
    [
        ([], False, False),
        ([("skyloop-dev-two", "InService")], False, False),
        ([("skyloop-dev", "InService")], True, False),
        ([("skyloop-dev", "Deleting"), ("skyloop-dev-two", "InService")], True, True),
    ],
)
def test_endpoint_is_found_by_its_whole_name(listed: list[tuple[str, str]], there: bool, leaving: bool) -> None:
    result = {"Endpoints": [{"EndpointName": name, "EndpointStatus": status} for name, status in listed]}
    assign = run(state("deploy", "FindEndpoint")["Assign"], result=result)
    assert assign == {"endpoint_there": there, "leaving": leaving}


@pytest.mark.parametrize(("config", "version"), [("skyloop-dev-v12", 12), ("made-by-hand", 0), ("a-v2-b", 0)])
def test_version_in_service_is_read_from_the_config(config: str, version: int) -> None:
    result = {"EndpointStatus": "InService", "EndpointConfigName": config}
    assign = run(state("deploy", "DescribeEndpoint")["Assign"], result=result)
    assert assign["serving_version"] == version
    assert assign["endpoint"]["instances"] == 1


def which(machine: str, name: str, variables: wiring.JSON, **states: Any) -> str:
    """Where a choice goes."""
    choice = state(machine, name)
    for rule in choice["Choices"]:
        if run(rule["Condition"], variables, **states):
            return rule["Next"]
    return choice["Default"]


@pytest.mark.parametrize(
    ("status", "config", "last_good", "force", "goes"),
    [
        ("Updating", "skyloop-dev-v2", "", False, "WaitForEndpoint"),
        ("Failed", "skyloop-dev-v2", "", False, "DeleteFailedEndpoint"),
        ("InService", "skyloop-dev-v2", "skyloop-dev-v2", False, "AlreadyInService"),
        ("InService", "skyloop-dev-v2", "skyloop-dev-v1", False, "SmokeTest"),
        ("InService", "skyloop-dev-v3", "skyloop-dev-v3", False, "NewerInService"),
        ("InService", "skyloop-dev-v3", "skyloop-dev-v3", True, "PlanUpdate"),
        ("InService", "skyloop-dev-v1", "skyloop-dev-v1", False, "PlanUpdate"),
        ("UpdateRollbackFailed", "skyloop-dev-v1", "skyloop-dev-v1", False, "PlanUpdate"),
    ],
)
def test_deployment_of_version_2(status: str, config: str, last_good: str, force: bool, goes: str) -> None:
    serving = run(
        state("deploy", "DescribeEndpoint")["Assign"]["serving_version"],
        result={"EndpointStatus": status, "EndpointConfigName": config},
    )
    variables = {
        "endpoint": {"status": status, "config": config},
        "config": "skyloop-dev-v2",
        "last_good": {"config": last_good},
        "serving_version": serving,
        "version": 2,
        "force": force,
    }
    assert which("deploy", "IsTheEndpointFree", variables) == goes


@pytest.mark.parametrize(
    ("status", "config", "previous", "goes"),
    [
        ("Updating", "skyloop-dev-v1", "skyloop-dev-v1", "Pause"),
        ("RollingBack", "skyloop-dev-v2", "skyloop-dev-v1", "Pause"),
        ("InService", "skyloop-dev-v2", "skyloop-dev-v1", "SmokeTest"),
        # A rollback looks like success.
        ("InService", "skyloop-dev-v1", "skyloop-dev-v1", "Reject"),
        ("Failed", "skyloop-dev-v2", "", "DeleteFirstEndpoint"),
        ("Failed", "skyloop-dev-v2", "skyloop-dev-v1", "Broken"),
        ("UpdateRollbackFailed", "skyloop-dev-v2", "skyloop-dev-v1", "Broken"),
    ],
)
def test_how_a_deployment_ends(status: str, config: str, previous: str, goes: str) -> None:
    variables = {
        "endpoint": {"status": status, "config": config, "reason": ""},
        "config": "skyloop-dev-v2",
        "previous": previous,
        "refused": "",
    }
    assert which("deploy", "HowIsIt", variables) == goes
    if goes == "Reject":
        # What SageMaker would not even begin is not the package's fault.
        assert which("deploy", "HowIsIt", {**variables, "refused": "quota"}) == "NotPrepared"
        assert which("deploy", "WhatWasBefore", variables) == "Explain"


@pytest.mark.parametrize(("previous", "goes"), [("", "DeleteFirstEndpoint"), ("skyloop-dev-v1", "PutBack")])
def test_what_a_failed_smoke_test_leaves(previous: str, goes: str) -> None:
    variables = {"endpoint": {"config": "skyloop-dev-v2"}, "previous": previous}
    assert which("deploy", "WhatWasBefore", variables) == goes


@pytest.mark.parametrize(
    ("serving", "recorded", "before", "target", "package"),
    [
        # The recorded config goes back to the one before it.
        ("skyloop-dev-v2", "skyloop-dev-v2", "skyloop-dev-v1", "skyloop-dev-v1", "package/2"),
        # One that was never recorded goes back to the recorded one.
        ("skyloop-dev-v3", "skyloop-dev-v2", "skyloop-dev-v1", "skyloop-dev-v2", "model-package/skyloop-dev/3"),
        # Nothing to go back to.
        ("skyloop-dev-v1", "skyloop-dev-v1", "", "", "package/1"),
        ("made-by-hand", "", "", "", ""),
    ],
)
def test_where_a_rollback_goes(serving: str, recorded: str, before: str, target: str, package: str) -> None:
    last_good = {
        "config": recorded,
        "package_arn": f"package/{recorded[-1:]}",
        "previous_config": before,
        "previous_package_arn": "package/1",
    }
    assign = run(state("rollback", "ChooseTarget")["Assign"], {"endpoint": {"config": serving}, "last_good": last_good})
    assert assign["target"] == target
    assert assign["bad_package_arn"].endswith(package)
    assert bool(assign["bad_package_arn"]) == bool(package)


@pytest.mark.parametrize(
    ("status", "waited", "since", "goes"),
    [
        ("Updating", False, 0, "WaitForSageMaker"),
        ("RollingBack", False, 5, "WaitForSageMaker"),
        # SageMaker's own rollback was in charge.
        ("InService", True, 5, "SettledAlready"),
        # The endpoint changed after the alarm.
        ("InService", False, 5, "SettledAlready"),
        ("InService", False, 50, "ChooseTarget"),
        ("InService", False, 0, "ChooseTarget"),
    ],
)
def test_rollback_leaves_sagemaker_to_finish(status: str, waited: bool, since: int, goes: str) -> None:
    variables = {
        "endpoint": {"status": status, "config": "skyloop-dev-v1", "changed": 10},
        "last_good": {"config": "skyloop-dev-v1"},
        "waited": waited,
        "since": since,
    }
    assert which("rollback", "WhoIsInCharge", variables) == goes


def routed(event: wiring.JSON) -> wiring.JSON:
    for rule in state("route", "WhatHappened")["Choices"]:
        if run(rule["Condition"], input=event):
            return {"next": rule["Next"], **run(rule["Assign"], input=event)}
    return {"next": state("route", "WhatHappened")["Default"]}


def test_finished_labels_start_retrain_under_the_jobs_name() -> None:
    event = {
        "detail-type": "SageMaker Ground Truth Labeling Job State Change",
        "time": "2026-11-23T10:00:00Z",
        "resources": [f"arn:aws:sagemaker:us-east-1:123456789012:labeling-job/{JOB}"],
        "detail": {"LabelingJobStatus": "Completed"},
    }
    assign = routed(event)
    assert (assign["machine"], assign["name"]) == (SETTINGS["RetrainStateMachineArn"], JOB)
    assert assign["request"] == {"labeling_job_name": JOB}


def test_approved_package_starts_deploy_under_its_version() -> None:
    arn = "arn:aws:sagemaker:us-east-1:123456789012:model-package/skyloop-dev/3"
    event = {
        "detail-type": "SageMaker Model Package State Change",
        "time": "2026-11-23T10:00:00Z",
        "detail": {"ModelPackageArn": arn, "ModelPackageVersion": 3, "ModelPackageGroupName": "skyloop-dev"},
    }
    assign = routed(event)
    assert (assign["name"], assign["request"]) == ("skyloop-dev-v3", {"model_package_arn": arn})


def test_alarm_and_sweep_name_the_rollback_alike() -> None:
    alarm = "skyloop-dev-endpoint-5xx"
    event = {
        "detail-type": "CloudWatch Alarm State Change",
        "time": "2026-11-23T10:00:07Z",
        "detail": {"alarmName": alarm, "state": {"value": "ALARM", "reason": "3 datapoints"}},
    }
    assign = routed(event)
    assert assign["request"]["endpoint_name"] == "skyloop-dev"
    listed = {"AlarmName": alarm, "StateUpdatedTimestamp": "2026-11-23T10:00:07.871Z", "StateReason": "3 datapoints"}
    swept = run(state("sweep", "ListRingingAlarms")["Assign"]["ringing"], result={"MetricAlarms": [listed]})
    assert [item["name"] for item in swept] == [assign["name"]]
    assert len(assign["name"]) <= 80


def test_event_of_an_unknown_kind_is_left_alone() -> None:
    assert routed({"detail-type": "Object Created"}) == {"next": "NotForUs"}


def test_execution_that_timed_out_without_an_error_is_told() -> None:
    event = {
        "detail-type": "Step Functions Execution Status Change",
        "detail": {
            "executionArn": EXECUTION,
            "stateMachineArn": SETTINGS["RetrainStateMachineArn"],
            "name": "x",
            "status": "TIMED_OUT",
            "error": None,
            "cause": None,
        },
    }
    alert = routed(event)["alert"]
    assert alert["what"] == "The execution x of skyloop-dev-retrain ended TIMED_OUT."
    assert alert["why"] == "It gave no error."


def test_approving_again_after_the_first_deployment_ended_is_news_and_a_second_delivery_is_not() -> None:
    variables = {"machine": SETTINGS["DeployStateMachineArn"], "status": "SUCCEEDED"}
    times = {"ended_at": "2026-11-23T10:05:00.123Z"}
    later, same = {"happened_at": "2026-11-23T11:00:00Z"}, {"happened_at": "2026-11-23T10:00:00Z"}
    assert which("route", "IsItNews", {**variables, **times, **later}) == "StartAgain"
    assert which("route", "IsItNews", {**variables, **times, **same}) == "Routed"
    assert which("route", "IsItNews", {**variables, "status": "RUNNING", "ended_at": "", **later}) == "Routed"
    assert which("route", "IsItNews", {**variables, **times, **later, "machine": "retrain"}) == "Routed"


@pytest.mark.parametrize("count", [0, 1, 3])
def test_sweep_finds_finished_labels(count: int) -> None:
    jobs = [
        {"LabelingJobName": f"skyloop-dev-{number:012d}", "LabelingJobStatus": "Completed"} for number in range(count)
    ]
    jobs += [
        {"LabelingJobName": "skyloop-dev-ffffffffffff", "LabelingJobStatus": "InProgress"},
        {"LabelingJobName": "other-skyloop-dev-1", "LabelingJobStatus": "Completed"},
    ]
    finished = run(state("sweep", "ListFinishedLabels")["Assign"]["finished"], result={"LabelingJobSummaryList": jobs})
    assert [item["input"]["labeling_job_name"] for item in finished] == [job["LabelingJobName"] for job in jobs[:count]]


@pytest.mark.parametrize(("serving", "names"), [(0, ["skyloop-dev-v2"]), (1, ["skyloop-dev-v2"]), (2, []), (3, [])])
def test_sweep_deploys_only_what_is_newer_than_what_serves(serving: int, names: list[str]) -> None:
    listed = {"ModelPackageSummaryList": [{"ModelPackageVersion": 2, "ModelPackageArn": "arn/2"}]}
    approved = run(state("sweep", "ListApprovedPackages")["Assign"]["approved"], {"serving": serving}, result=listed)
    assert [item["name"] for item in approved] == names


def test_sweep_finds_nothing_in_empty_lists() -> None:
    empty = {"LabelingJobSummaryList": [], "ModelPackageSummaryList": [], "MetricAlarms": []}
    for name, variable in (("ListFinishedLabels", "finished"), ("ListApprovedPackages", "approved")):
        assert run(state("sweep", name)["Assign"][variable], {"serving": 0}, result=empty) == []
    assert run(state("sweep", "ListRingingAlarms")["Assign"]["ringing"], result=empty) == []
    items = run(state("sweep", "StartWhatWasMissed")["Items"], {"finished": [], "approved": [], "ringing": []})
    assert items == []


@pytest.mark.parametrize(
    ("results", "started"), [([], []), ([""], []), (["a"], ["a"]), (["", "a", "", "b"], ["a", "b"])]
)
def test_sweep_counts_what_it_started(results: list[str], started: list[str]) -> None:
    assert run(state("sweep", "StartWhatWasMissed")["Assign"]["started"], result=results) == started


ERRORS = [
    ({"Error": "States.TaskFailed", "Cause": '{"FailureReason": "AlgorithmError: out of memory"}'}, "out of memory"),
    ({"Error": "ValueError", "Cause": '{"errorMessage": "no such split", "errorType": "ValueError"}'}, "no such split"),
    ({"Error": "SageMaker.AmazonSageMakerException", "Cause": "quota exceeded"}, "quota exceeded"),
    # Step Functions cuts long causes, and half a document is no document.
    ({"Error": "States.TaskFailed", "Cause": '{"FailureReason": "AlgorithmErr'}, "AlgorithmErr"),
    ({"Error": "States.TaskFailed", "Cause": "{not json"}, "{not json"),
    ({"Error": "States.TaskFailed", "Cause": "{'code': 1}"}, "{'code': 1}"),
    ({"Error": "States.Timeout", "Cause": ""}, "States.Timeout"),
    ({"Error": "States.Timeout"}, "States.Timeout"),
    ({"Error": "X", "Cause": '{"FailureReason": null, "other": 1}'}, "X: {"),
]


@pytest.mark.parametrize("machine", [name for name in wiring.MACHINES if name != "route"])
@pytest.mark.parametrize(("error", "says"), ERRORS)
def test_an_error_is_explained_in_words(machine: str, error: wiring.JSON, says: str) -> None:
    variables = {"error": error, "alert": {"event": "training-failed"}}
    alert = run(state(machine, "Explain")["Assign"]["alert"], variables)
    assert says in alert["why"]
    assert alert["why"].startswith(error["Error"])


ALERT = {
    "event": "training-failed",
    "severity": "error",
    "subject": JOB,
    "what": 'The training job "x" did not give a model.',
    "why": "AlgorithmError:\nline two",
    "kept": "The dataset.",
    "next_step": "Mend it.",
    "links": {"dataset": "s3://data/x"},
}


@pytest.mark.parametrize("machine", wiring.MACHINES)
@pytest.mark.parametrize("links", [{}, {"dataset": "s3://data/x"}, {"dataset": "s3://data/x", "report": "s3://data/y"}])
def test_alert_is_the_document_and_the_text_that_the_layer_knows(machine: str, links: dict[str, str]) -> None:
    arguments = run(
        state(machine, "Alert")["Arguments"], {"alert": {**ALERT, "links": links}, "correlation_id": "flight-7"}
    )
    accepted("sns", "Publish", arguments)
    message = json.loads(arguments["Message"])
    document = Alert.model_validate_json(message["lambda"])
    assert document.links.items() >= links.items()
    assert (document.what, document.why, document.stage) == (ALERT["what"], ALERT["why"], "dev")
    assert message["default"].strip() == document.text().strip()
    assert {message[protocol] for protocol in ("lambda", "sqs", "http", "https")} == {message["lambda"]}
    attributes = {name: value["StringValue"] for name, value in arguments["MessageAttributes"].items()}
    assert attributes == {"event": "training-failed", "severity": "error", "stage": "dev"}


@pytest.mark.parametrize("machine", wiring.MACHINES)
def test_subject_is_a_line_that_mail_takes(machine: str) -> None:
    alert = {**ALERT, "subject": "x" * 300}
    subject = run(state(machine, "Alert")["Arguments"]["Subject"], {"alert": alert})
    assert subject.startswith("[skyloop-dev] training-failed: ")
    assert len(subject) < 100


def test_lock_is_released_only_when_nobody_asked_meanwhile_or_there_is_an_alert() -> None:
    condition = state("label", "ReleaseLock")["Arguments"]["ConditionExpression"]
    assert "asked_at" in run(condition, {"alert": {"event": "none"}, "tired": False})
    assert "asked_at" not in run(condition, {"alert": {"event": "labeling-failed"}, "tired": False})
    assert run(condition, {"alert": {"event": "none"}, "tired": True}) == "#owner = :me"


@pytest.mark.parametrize(("looks", "hours", "tired"), [(0, 0, False), (799, 23, False), (800, 0, True), (1, 25, True)])
def test_one_execution_does_not_label_for_ever(looks: int, hours: int, tired: bool) -> None:
    """Uploads that never stop would outgrow its history or its time: it lets go, and a fresh one goes on."""
    started = (datetime.now(UTC) - timedelta(hours=hours)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    assign = state("label", "TakeLock")["Assign"]
    context = {"Execution": {"StartTime": started}}
    after = wiring.evaluate(assign, {"looks": looks}, {"context": context})
    assert after == {"looks": looks + 1, "tired": tired}
    selection = {"decision": "wait", "reason": "uploads are still arriving"}
    variables = {**after, "selection": selection, "alert": {"event": "none"}}
    assert which("label", "Decide", variables) == ("NothingToLabel" if tired else "WaitForUploads")
    assert which("label", "DidItGoWell", variables) == ("Done" if tired else "TakeLock")
    assert wiring.machine("label")["TimeoutSeconds"] > 86400 + 3600


@pytest.mark.parametrize(("machine", "name"), [("deploy", "Reject"), ("rollback", "RejectPackage")])
def test_the_registry_takes_every_reason_for_a_rejection(machine: str, name: str) -> None:
    """An ApprovalDescription is one line of at most 1,024 characters; a container's last words are neither."""
    words = "Traceback:\n\tFile x\r\n" + "y" * 2000
    variables = {"package_arn": "p", "bad_package_arn": "p", "error": {"Error": "E", "Cause": words}, "reason": words}
    text = run(state(machine, name)["Arguments"]["ApprovalDescription"], variables)
    assert "Traceback: File x yyy" in text
    assert re.fullmatch(".{1,1024}", text)


@pytest.mark.parametrize(("wait", "seconds"), [(0, 1), (2.2, 3), (120, 120), (90000, 3600)])
def test_wait_for_uploads_is_whole_seconds_within_the_lease(wait: float, seconds: int) -> None:
    assert run(state("label", "WaitForUploads")["Seconds"], {"selection": {"wait_seconds": wait}}) == seconds


@pytest.mark.parametrize(
    ("recorded", "before", "kept"),
    [
        ("", "", None),
        ("skyloop-dev-v1", "", "skyloop-dev-v1"),
        ("skyloop-dev-v1", "skyloop-dev-v0", "skyloop-dev-v1"),
        # Deployed again: what it replaced the first time is still the way back.
        ("skyloop-dev-v2", "skyloop-dev-v1", "skyloop-dev-v1"),
        ("skyloop-dev-v2", "", None),
    ],
)
def test_record_keeps_where_a_rollback_goes(recorded: str, before: str, kept: str | None) -> None:
    last_good = {
        "config": recorded,
        "package_arn": "package/1",
        "previous_config": before,
        "previous_package_arn": "package/1",
    }
    variables = {"config": "skyloop-dev-v2", "package_arn": "package/2", "last_good": last_good}
    item = run(state("deploy", "Record")["Arguments"]["Item"], variables)
    assert item["config"] == {"S": "skyloop-dev-v2"}
    assert item.get("previous_config") == ({"S": kept} if kept else None)
    assert ("previous_package_arn" in item) == bool(kept)


@pytest.mark.parametrize(
    ("previous", "instances", "scaling", "says"),
    [
        ("", 1, {}, []),
        ("skyloop-dev-v1", 2, {}, ["skyloop-dev-v1 stays ready"]),
        ("skyloop-dev-v1", 1, {}, ["cannot canary"]),
        ("skyloop-dev-v1", 2, {"Error": "Denied", "Cause": "no role"}, ["Denied: no role"]),
    ],
)
def test_deployed_tells_what_was_not_as_wished(previous: str, instances: int, scaling: Any, says: list[str]) -> None:
    variables = {
        "config": "skyloop-dev-v2",
        "previous": previous,
        "last_good": {"config": previous},
        "endpoint": {"instances": instances},
        "scaling": scaling,
        "summary": "",
        "package_arn": "package/2",
        "known_answers_uri": "s3://data/known-answers.json",
    }
    alert = run(state("deploy", "Deployed")["Assign"]["alert"], variables)
    text = json.dumps(alert)
    assert [phrase for phrase in says if phrase not in text] == []
    assert ("cannot canary" in text) == (instances < 2 and previous != "")
    assert ("Mend" in alert["next_step"]) == bool(scaling)
