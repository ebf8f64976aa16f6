"""What `status` says beside its tables: copies, jobs without a machine, a full disk, an update that failed before."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from skyloop.aws.catalogue import COPY

from cli import render, snapshot
from cli.cloud import Cloud
from cli.output import Terminal
from cli.snapshot import Endpoint
from laptop import storing
from tests.unit.cli.filled import put_image, snap


def shown(**changes: Any) -> str:
    text = io.StringIO()
    Terminal(file=text, width=200).print(render.status(snap(**changes)))
    return text.getvalue()


@pytest.fixture(autouse=True)
def _no_labeling_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    """moto has no labeling jobs."""
    monkeypatch.setattr(snapshot, "labeling_jobs", lambda cloud, limit: [])


def test_copies_of_a_picture_are_counted(invoke, cloud: Cloud) -> None:
    put_image(cloud, "a", "PENDING")
    for name in ("b", "c"):
        assert cloud.catalogue.add_duplicate_key("a", f"raw-images/f/{name}.jpg", "e")
    assert cloud.catalogue.count(COPY, 10) == 2
    said = invoke("status").stdout
    assert "1 pending" in said
    assert "2 more are copies of these" in said
    assert "copies" not in shown()


def test_a_job_without_a_machine_is_named(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """An evaluation behind another training looked as if it ran."""
    jobs = {"skyloop-dev-b-eval": {}, "skyloop-dev-c-eval": {"ProcessingStartTime": 1}}
    trainings = {"skyloop-dev-a": {"TrainingStartTime": 1}, "skyloop-dev-d": {}}
    sagemaker = SimpleNamespace(
        list_training_jobs=lambda **_: {"TrainingJobSummaries": [{"TrainingJobName": name} for name in trainings]},
        list_processing_jobs=lambda **_: {"ProcessingJobSummaries": [{"ProcessingJobName": name} for name in jobs]},
        describe_training_job=lambda TrainingJobName: trainings[TrainingJobName],
        describe_processing_job=lambda ProcessingJobName: jobs[ProcessingJobName],
    )
    monkeypatch.setattr(Cloud, "client", lambda self, service: sagemaker)
    assert snapshot.waiting_jobs(cloud) == ["skyloop-dev-d", "skyloop-dev-b-eval"]
    said = shown(waiting=["skyloop-dev-b-eval"], cloud="on the laptop (http://127.0.0.1:1)")
    assert "for a machine: skyloop-dev-b-eval (on the laptop jobs take turns)" in said
    assert "take turns" not in shown(waiting=["skyloop-dev-b-eval"], cloud="on AWS (eu-central-1)")


@pytest.mark.parametrize(("free", "says"), [(0, "is full (0 MB free)"), (30 * 2**20, "is nearly full (30 MB free)")])
def test_a_full_disk_is_told(
    invoke, cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, says: str
) -> None:
    assert storing.shortage(tmp_path) is None or shutil.disk_usage(tmp_path).free < 2**26
    monkeypatch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(free=free))
    monkeypatch.setattr(
        "cli.command.Target.connect", lambda self: Cloud(cloud.session, cloud.stack_name, home=tmp_path)
    )
    for command in ("status", "alerts"):
        said = " ".join(invoke(command).output.split())
        assert f"The disk of {tmp_path} {says}" in said, command
        assert "Make room" in said


def test_an_update_that_failed_is_no_fault_of_what_serves() -> None:
    healthy = shown(endpoint=Endpoint("e", "InService", "e-v1", failure="did not pass the ping health check"))
    assert "its last update did not succeed: did not pass the ping health check" in healthy
    broken = shown(endpoint=Endpoint("e", "Failed", "e-v1", failure="did not pass the ping health check"))
    assert "last update" not in broken
