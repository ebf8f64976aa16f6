"""functions/sweep_uploads: images that a job has claimed which will not label them any more."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from skyloop.aws.clients import client
from skyloop.aws.storage import ObjectSummary, Storage
from skyloop.layout import LABELING_LOCK, label_records

from tests.support.account import put_state
from tests.unit.skyloop.sweep.conftest import item, later, sweep

pytestmark = pytest.mark.usefixtures("jobs")


@pytest.mark.parametrize(
    ("status", "requeued"),
    [
        (None, 2),
        ("Failed", 2),
        ("Stopped", 2),
        ("InProgress", 0),
        ("Initializing", 0),
        ("Stopping", 0),
        ("Completed", 0),
    ],
)
def test_images_of_dead_jobs_are_requeued(catalogue, jobs, status, requeued):
    if status:
        jobs["job"] = status
    for number in range(2):
        catalogue.add(item(number, "job"))
    catalogue.add(item(3, "job", status="LABELED"))
    assert sweep(later())["images_requeued"] == requeued
    assert len(list(catalogue.by_status("PENDING"))) == requeued
    assert catalogue.get(f"{3:064x}").status == "LABELED"


@pytest.mark.parametrize(("hours", "requeued"), [(1, 0), (7, 1)])
def test_no_image_stays_with_a_job_that_is_over(catalogue, jobs, hours, requeued):
    """Its labels were converted long ago, and this image was not among them."""
    now = datetime.now(UTC) + timedelta(hours=hours)
    jobs["done"] = "Completed"
    catalogue.add(item(1, "done"))
    assert sweep(now)["images_requeued"] == requeued


def test_a_large_job_keeps_its_images_until_the_last_part_is_converted(storage, catalogue, jobs, monkeypatch):
    """100,000 images are 2,500 parts, ten at a time; the records say that they go on."""
    jobs["large"] = "Completed"
    catalogue.add(item(1, "large"))
    ended = datetime.now(UTC)
    written: list[float] = []

    def listing(_: Storage, prefix: str) -> list[ObjectSummary]:
        parts = [ObjectSummary(f"{prefix}{number}.json", 2, at) for number, at in enumerate(written)]
        return parts if prefix == label_records("large") else []

    monkeypatch.setattr(Storage, "listing", listing)
    for hour in range(1, 12):
        written.append((ended + timedelta(hours=hour)).timestamp())
        assert sweep(ended + timedelta(hours=hour, minutes=15))["images_requeued"] == 0
    assert sweep(ended + timedelta(hours=16))["images_requeued"] == 0
    assert sweep(ended + timedelta(hours=18))["images_requeued"] == 1


def test_a_selection_under_way_keeps_its_claims(catalogue, state, jobs):
    jobs["dead"] = "Failed"
    catalogue.add(item(1, "about-to-be-created"))
    catalogue.add(item(2, "dead"))
    now = later()
    put_state(state, LABELING_LOCK, {"owner": "label", "expires_at": int(now.timestamp()) + 60})
    assert sweep(now)["images_requeued"] == 1
    put_state(state, LABELING_LOCK, {"owner": "label", "expires_at": int(now.timestamp()) - 1})
    assert sweep(now)["images_requeued"] == 1


def test_other_errors_are_not_taken_for_a_missing_job(catalogue, jobs, monkeypatch):
    catalogue.add(item(1, "job"))
    error = {"Code": "AccessDeniedException", "Message": "no"}
    hooks = client("sagemaker").meta.events

    def refuse(**_: Any) -> tuple[Any, dict[str, Any]]:
        response = type("Response", (), {"status_code": 400, "headers": {}})
        return response, {"Error": error, "ResponseMetadata": {"HTTPStatusCode": 400}}

    hooks.register_first("before-call.sagemaker.DescribeLabelingJob", refuse, unique_id="refuse")
    try:
        with pytest.raises(Exception, match="AccessDenied"):
            sweep(later())
    finally:
        hooks.unregister("before-call.sagemaker.DescribeLabelingJob", unique_id="refuse")
    assert catalogue.get(f"{1:064x}").status == "LABELING"
