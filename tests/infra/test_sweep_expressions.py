"""What sweep's JSONata makes of sample inputs is what the services take and what people read."""

from __future__ import annotations

import pytest

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
    listed = {"ModelPackageSummaryList": [{"ModelPackageVersion": 2, "ModelPackageArn": "arn/2"}]}
    approved = run(state("sweep", "ListApprovedPackages")["Assign"]["approved"], {"serving": serving}, result=listed)
    assert [item["name"] for item in approved] == names


def test_sweep_finds_nothing_in_empty_lists() -> None:
    empty = {"LabelingJobSummaryList": [], "ModelPackageSummaryList": [], "MetricAlarms": []}
    for name, variable in (("ListFinishedJobs", "finished"), ("ListApprovedPackages", "approved")):
        assert run(state("sweep", name)["Assign"][variable], {"serving": 0}, result=empty) == []
    assert run(state("sweep", "ListRingingAlarms")["Assign"]["ringing"], result=empty) == []
    items = run(state("sweep", "StartMissedWork")["Items"], {"finished": [], "approved": [], "ringing": []})
    assert items == []


@pytest.mark.parametrize(
    ("results", "started"), [([], []), ([""], []), (["a"], ["a"]), (["", "a", "", "b"], ["a", "b"])]
)
def test_sweep_counts_what_it_started(results: list[str], started: list[str]) -> None:
    assert run(state("sweep", "StartMissedWork")["Assign"]["started"], result=results) == started
