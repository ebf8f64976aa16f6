"""What route's JSONata makes of sample inputs is what the services take and what people read."""

from __future__ import annotations

import pytest

from tests.infra import wiring
from tests.infra.expressions import EXECUTION, SETTINGS, run, state, which
from tests.infra.sample_results import EVENTS

JOB = "skyloop-dev-0123456789ab"


def routed(event: wiring.JSON) -> wiring.JSON:
    for rule in state("route", "CheckEvent")["Choices"]:
        if run(rule["Condition"], input=event):
            return {"next": rule["Next"], **run(rule["Assign"], input=event)}
    return {"next": state("route", "CheckEvent")["Default"]}


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


@pytest.mark.parametrize("math", [False, True])
def test_alarm_and_sweep_name_the_rollback_alike(math: bool) -> None:
    """Whether the alarm looks at one metric or computes with several, of which the event names the expression first."""
    alarm = "skyloop-dev-endpoint-5xx"
    stats: list[wiring.JSON] = [{"metricStat": {"metric": {"dimensions": {"EndpointConfigName": "v7"}}}}]
    metrics = [{"id": "e", "expression": "a - b"}, *stats, *stats] if math else stats
    dimensions = [{"Name": "VariantName", "Value": "v"}, {"Name": "EndpointConfigName", "Value": "v7"}]
    stat = {"MetricStat": {"Metric": {"Dimensions": dimensions}}}
    looks = {"Metrics": [{"Id": "e", "Expression": "a - b"}, stat, stat]} if math else {"Dimensions": dimensions}
    event = {
        "detail-type": "CloudWatch Alarm State Change",
        "time": "2026-11-23T10:00:07Z",
        "detail": {
            "alarmName": alarm,
            "state": {"value": "ALARM", "reason": "3 datapoints"},
            "configuration": {"metrics": metrics},
        },
    }
    assign = routed(event)
    assert assign["request"]["endpoint_name"] == "skyloop-dev"
    listed = {
        "AlarmName": alarm,
        "StateValue": "ALARM",
        "StateUpdatedTimestamp": "2026-11-23T10:00:07.871Z",
        "StateReason": "3 datapoints",
        **looks,
    }
    swept = run(state("sweep", "ListAlarms")["Assign"]["ringing"], result={"MetricAlarms": [listed]})
    assert [item["name"] for item in swept] == [assign["name"]]
    assert [item["input"]["config"] for item in swept] == [assign["request"]["config"]] == ["v7"]
    assert len(assign["name"]) <= 80


def test_event_of_an_unknown_kind_is_left_alone() -> None:
    assert routed({"detail-type": "Object Created"}) == {"next": "IgnoreEvent"}


def test_execution_that_timed_out_without_an_error_is_reported() -> None:
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
    assign = routed(event)
    assert assign["next"] == "DescribeFailure"
    alert = run(state("route", "DescribeFailure")["Assign"]["alert"], assign)
    assert alert["what"] == "The execution x of skyloop-dev-retrain ended without an alert of its own."
    assert alert["why"] == {"Error": "TIMED_OUT", "Cause": "It gave no error."}
    assert alert["links"] == {"execution": EXECUTION}


@pytest.mark.parametrize(
    ("machine", "name", "command"),
    [
        ("label", "sweep-7c1f", "`skyloop label`"),
        ("retrain", JOB, f"`skyloop retrain {JOB}`"),
        ("retrain", f"{JOB}-by-hand-1764150000000", f"`skyloop retrain {JOB}`"),
        ("deploy", "skyloop-dev-v3", "`skyloop deploy 3`"),
        ("deploy", "drone-v2-dev-v3", "`skyloop deploy 3`"),
        ("deploy", "skyloop-dev-v12-1764150000", "`skyloop deploy 12`"),
        ("deploy", "skyloop-dev-v3-by-hand-1764150000000", "`skyloop deploy 3`"),
        ("rollback", "skyloop-dev-endpoint-5xx-1764150000", "`skyloop rollback`"),
        ("sweep", "7c1f", "the sweep runs again"),
    ],
)
def test_work_of_an_execution_that_ended_is_started_again_by_hand(machine: str, name: str, command: str) -> None:
    """The sweep finds the ended execution under its name, and so does not start the work again."""
    arn = SETTINGS["RetrainStateMachineArn"].replace("retrain", machine)
    detail = {**EVENTS[3]["detail"], "stateMachineArn": arn, "name": name}
    assign = routed({**EVENTS[3], "detail": detail})
    next_step = run(state("route", "DescribeFailure")["Assign"]["alert"], assign)["next_step"]
    assert command in next_step


@pytest.mark.parametrize(
    ("error", "cause", "why"),
    [
        ("States.Runtime", "no such field", {"Error": "States.Runtime", "Cause": "no such field"}),
        ("AlertNotPublished", None, {"Error": "AlertNotPublished", "Cause": ""}),
        (None, "stopped by hand", {"Error": "FAILED", "Cause": "stopped by hand"}),
    ],
)
def test_what_an_execution_says_itself_is_the_reason(error: str | None, cause: str | None, why: wiring.JSON) -> None:
    detail = {**EVENTS[3]["detail"], "status": "FAILED", "error": error, "cause": cause}
    assert routed({**EVENTS[3], "detail": detail})["error"] == why


def test_approving_again_after_the_first_deployment_ended_is_news_and_a_second_delivery_is_not() -> None:
    variables = {"machine": SETTINGS["DeployStateMachineArn"], "status": "SUCCEEDED"}
    times = {"ended_at": "2026-11-23T10:05:00.123Z"}
    later, same = {"happened_at": "2026-11-23T11:00:00Z"}, {"happened_at": "2026-11-23T10:00:00Z"}
    assert which("route", "CheckRepeat", {**variables, **times, **later}) == "StartAgain"
    assert which("route", "CheckRepeat", {**variables, **times, **same}) == "Routed"
    assert which("route", "CheckRepeat", {**variables, "status": "RUNNING", "ended_at": "", **later}) == "Routed"
    assert which("route", "CheckRepeat", {**variables, **times, **later, "machine": "retrain"}) == "Routed"
