"""cli.timeline: what `watch` tells of a cloud, and when it ends."""

from __future__ import annotations

from typing import Any

import pytest

from cli import snapshot, timeline
from cli.cloud import Cloud
from cli.snapshot import Endpoint, Snapshot
from tests.unit.cli.filled import (
    NOW,
    put_image,
    snap,
)


def test_watch_ends_when_everything_is_at_rest(invoke, cloud: Cloud) -> None:
    result = invoke("watch", "--every", "0.2")
    assert result.exit_code == 0, result.stderr
    assert "NotDeployed" in result.stdout


def test_images_are_told_once_even_when_a_count_dips(cloud: Cloud) -> None:
    follows = timeline.Timeline(cloud)
    follows.look()
    for number in range(3):
        put_image(cloud, f"a{number}", "PENDING")
    assert [event.text for event in follows.look()] == ["3 images catalogued"]
    cloud.catalogue.delete("a0")
    assert follows.look() == []
    put_image(cloud, "a0", "LABELED")
    put_image(cloud, "new", "PENDING")
    assert [event.text for event in follows.look()] == ["1 images catalogued"]


def entered(number: int, name: str, kind: str = "Task") -> dict[str, Any]:
    return {"id": number, "type": f"{kind}StateEntered", "stateEnteredEventDetails": {"name": name}}


def scheduled(number: int, resource: str, kind: str = "Task") -> dict[str, Any]:
    key = f"{kind[0].lower()}{kind[1:]}ScheduledEventDetails"
    return {"id": number, "previousEventId": number - 1, "type": f"{kind}Scheduled", key: {"resource": resource}}


def test_steps_are_work_and_not_look_ups() -> None:
    history = [
        entered(1, "FindChampion"),
        scheduled(2, "getItem"),
        entered(3, "ConvertLabels", "Map"),
        entered(4, "AssembleDataset"),
        scheduled(5, "invoke"),
        entered(6, "CheckDataset", "Choice"),
        entered(7, "Train"),
        scheduled(8, "arn:aws:states:::sagemaker:createTrainingJob.sync"),
        entered(9, "DescribeTraining"),
        scheduled(10, "arn:aws:states:::aws-sdk:sagemaker:describeTrainingJob"),
        entered(11, "JudgeCandidate"),
        scheduled(12, "arn:aws:lambda:eu-west-1:1:function:gate-model", "LambdaFunction"),
        entered(13, "PublishAlert"),
        scheduled(14, "invoke"),
        entered(15, "PublishAlertDirectly"),
        scheduled(16, "publish"),
    ]
    steps = [name for _, name in timeline.steps(history)]
    assert steps == ["ConvertLabels", "AssembleDataset", "Train", "JudgeCandidate"]


def texts(before: Snapshot, after: Snapshot) -> list[str]:
    return [event.text for event in timeline.changes(before, after)]


def test_a_timeline_tells_what_changed() -> None:
    job = snapshot.LabelingJob("skyloop-dev-1", "InProgress", 4, 0, NOW)
    done = snapshot.LabelingJob("skyloop-dev-1", "Completed", 4, 3, NOW)
    waits = snapshot.Package(1, "arn/1", "PendingManualApproval", 0.412, NOW)
    approved = snapshot.Package(1, "arn/1", "Approved", 0.412, NOW)
    counts = {"PENDING": 4, "LABELING": 0, "LABELED": 0, "QUARANTINED": 1}
    bad = snapshot.Quarantined("raw-images/f/a.jpg", "it is text")
    assert texts(snap(), snap()) == []
    assert texts(snap(), snap(images=counts, quarantined=[bad])) == [
        "1 images quarantined: it is text",
    ]
    moved = {"PENDING": 0, "LABELING": 4, "LABELED": 0, "QUARANTINED": 1}
    assert texts(snap(images=counts), snap(images=moved)) == []
    assert texts(snap(), snap(labeling_jobs=[job])) == ["labeling job skyloop-dev-1 started, 4 images"]
    assert texts(snap(labeling_jobs=[job]), snap(labeling_jobs=[done])) == [
        "labeling job skyloop-dev-1 completed, 3 of 4 labeled"
    ]
    assert texts(snap(), snap(packages=[waits])) == ["version 1 registered, pending manual approval, mAP50 0.412"]
    assert texts(snap(packages=[waits]), snap(packages=[approved])) == ["version 1 approved, mAP50 0.412"]
    serving = snap(endpoint=Endpoint("e", "InService", "c-v1"))
    assert texts(snap(), serving) == ["e in service, config c-v1"]
    alert = {"key": "k", "event": "gate-refused", "what": "Refused.", "severity": "warning", "subject": "j"}
    assert texts(snap(), snap(alerts=[alert])) == ["gate-refused: Refused."]


@pytest.mark.parametrize(
    ("changes", "idle"),
    [
        ({}, True),
        ({"images": {"PENDING": 3}}, True),
        ({"images": {"LABELING": 1}}, False),
        ({"queued_uploads": 1}, False),
        ({"running": [snapshot.Execution("deploy", "n", "a", "RUNNING", NOW)]}, False),
        ({"endpoint": Endpoint("e", "Updating")}, False),
        ({"endpoint": Endpoint("e", "Failed")}, True),
    ],
)
def test_what_counts_as_at_rest(changes: dict[str, Any], idle: bool) -> None:
    assert snap(**changes).idle is idle
