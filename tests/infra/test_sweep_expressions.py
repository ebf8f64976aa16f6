"""What sweep's JSONata makes of sample inputs is what the services take and what people read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.infra import wiring
from tests.infra.expressions import run, state


@pytest.mark.parametrize("count", [0, 1, 3])
def test_sweep_finds_finished_labels(count: int) -> None:
    jobs = [
        {"LabelingJobName": f"skyloop-dev-{number:012d}", "LabelingJobStatus": "Completed"} for number in range(count)
    ]
    jobs += [
        {"LabelingJobName": "skyloop-dev-ffffffffffff", "LabelingJobStatus": "InProgress"},
        {"LabelingJobName": "other-skyloop-dev-1", "LabelingJobStatus": "Completed"},
    ]
    finished = run(state("sweep", "ListFinishedJobs")["Assign"]["finished"], result={"LabelingJobSummaryList": jobs})
    assert [item["input"]["labeling_job_name"] for item in finished] == [job["LabelingJobName"] for job in jobs[:count]]


@pytest.mark.parametrize(("serving", "names"), [(0, ["skyloop-dev-v2"]), (1, ["skyloop-dev-v2"]), (2, []), (3, [])])
def test_sweep_deploys_only_what_is_newer_than_what_serves(serving: int, names: list[str]) -> None:
    package = {"ModelPackageVersion": 2, "ModelPackageArn": "arn/2", "CreationTime": datetime.now(UTC).isoformat()}
    assert approved(serving, package) == names


def test_sweep_deploys_nothing_whose_deployment_may_be_forgotten() -> None:
    """Step Functions forgets after ninety days; since then another version may have been deployed on purpose."""
    made = datetime.now(UTC) - timedelta(days=90)
    assert approved(1, {"ModelPackageVersion": 2, "ModelPackageArn": "arn/2", "CreationTime": made.isoformat()}) == []


def approved(serving: int, package: wiring.JSON) -> list[str]:
    assign = state("sweep", "ListApprovedPackages")["Assign"]["approved"]
    found = run(assign, {"serving": serving}, result={"ModelPackageSummaryList": [package]})
    return [item["name"] for item in found]


def test_sweep_finds_nothing_in_empty_lists() -> None:
    empty = {"LabelingJobSummaryList": [], "ModelPackageSummaryList": [], "MetricAlarms": []}
    for name, variable in (("ListFinishedJobs", "finished"), ("ListApprovedPackages", "approved")):
        assert run(state("sweep", name)["Assign"][variable], {"serving": 0}, result=empty) == []
    found = run(state("sweep", "ListAlarms")["Assign"], {"serving": 1, "serving_arn": "arn/1"}, result=empty)
    assert found == {"ringing": [], "unguarded": []}
    nothing: dict[str, list[str]] = {name: [] for name in ("finished", "approved", "unguarded", "ringing")}
    items = run(state("sweep", "StartMissedWork")["Items"], nothing)
    assert items == []


@pytest.mark.parametrize(
    ("results", "started"), [([], []), ([""], []), (["a"], ["a"]), (["", "a", "", "b"], ["a", "b"])]
)
def test_sweep_counts_what_it_started(results: list[str], started: list[str]) -> None:
    assert run(state("sweep", "StartMissedWork")["Assign"]["started"], result=results) == started


@pytest.mark.parametrize(
    ("serving", "judged", "found"), [(3, "none-yet", 1), (0, "none-yet", 0), (3, "skyloop-dev-v3", 0)]
)
def test_sweep_deploys_what_no_alarm_judges(serving: int, judged: str, found: int) -> None:
    """CloudFormation writes an alarm that it changes as the template has it: it judges nobody then."""
    judging: wiring.JSON = {"Dimensions": [{"Name": "EndpointConfigName", "Value": judged}]}
    alarms = [
        {
            "AlarmName": name,
            "StateValue": "OK",
            "AlarmConfigurationUpdatedTimestamp": "2026-11-23T10:00:00Z",
            **looks,
        }
        for name, looks in (("broken", {"Metrics": [{"MetricStat": {"Metric": judging}}] * 2}), ("latency", judging))
    ]
    variables = {"serving": serving, "serving_arn": "arn/3"}
    unguarded = run(state("sweep", "ListAlarms")["Assign"]["unguarded"], variables, result={"MetricAlarms": alarms})
    assert len(unguarded) == found
    for item in unguarded:
        assert item["name"] == "skyloop-dev-v3-guard-1795428000"
        assert item["input"] == {"model_package_arn": "arn/3"}


def test_what_is_wrong_with_uploads_is_told_after_the_rest_of_the_sweep() -> None:
    """Finished jobs, approved packages and ringing alarms do not wait until one file is mended."""
    assert state("sweep", "SweepUploads")["Catch"][0]["Next"] == state("sweep", "SweepUploads")["Next"]
    begin = run(state("sweep", "Begin")["Assign"])
    failed = run(state("sweep", "SweepUploads")["Catch"][0]["Assign"], begin, errorOutput={"Error": "RuntimeError"})
    [told] = state("sweep", "CheckSwept")["Choices"]
    assert told["Next"] == "DescribeFailure"
    assert [run(told["Condition"], variables) for variables in (begin, {**begin, **failed})] == [False, True]
    found = state("sweep", "CheckFound")["Choices"][0]["Condition"]
    assert [run(found, {**begin, "started": started}) for started in ([], ["job"])] == [False, True]
