"""functions/select_for_labeling and functions/requeue_images: claims, jobs, and what two at once do."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from skyloop.documents import CatalogueItem, SelectLabel, SelectRequest
from skyloop.formats.groundtruth import label_category_config
from skyloop.labeling.jobs import LabelCategoriesMissing, LabelingJobs
from skyloop.layout import LABEL_CATEGORIES, exclusion_key, queue_order

from tests.support.account import BUCKET, Context, load_handler

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def image(number: int, *, age: timedelta = timedelta(hours=1), priority: bool = False, **changes: Any) -> CatalogueItem:
    image_id, arrived = f"{number:064x}", NOW - age + timedelta(seconds=number)
    facts: dict[str, Any] = {
        "image_id": image_id,
        "status": "PENDING",
        "queue_order": queue_order(priority, arrived, image_id),
        "key": f"raw-images/north é+/{number}.jpg",
        "flight": "north é+",
        "correlation_id": f"batch-{number}",
        "catalogued_at": arrived,
    }
    return CatalogueItem(**{**facts, **changes})


@pytest.fixture
def categories(storage):
    storage.write_json(LABEL_CATEGORIES, label_category_config(["person", "car"]))


def select(now: datetime = NOW, **changes: Any) -> dict[str, Any]:
    return load_handler("select_for_labeling").handler({"now": now.isoformat(), **changes}, Context())


def requeue(job_name: str) -> dict[str, Any]:
    event = {"job_name": job_name, "reason": "the job failed", "labeled": False}
    return load_handler("requeue_images").handler(event, Context())


def test_nothing_waits(stack, categories):
    assert select() == {"decision": "idle", "reason": "no image waits for labels"}


def test_too_few_wait(stack, catalogue, categories):
    catalogue.add(image(1))
    answer = select()
    assert answer["decision"] == "idle"
    assert "1 of 3" in answer["reason"]


def test_uploads_still_arrive(stack, catalogue, categories):
    for number in range(3):
        catalogue.add(image(number, age=timedelta(seconds=30)))
    answer = select()
    assert (answer["decision"], answer["wait_seconds"]) == ("wait", 32)
    assert len(list(catalogue.by_status("PENDING"))) == 3


def test_a_batch_is_claimed_whole_and_its_manifest_written(stack, catalogue, storage, categories):
    for number in range(5):
        catalogue.add(image(number))
    answer = select()
    assert answer["decision"] == "label"
    assert answer["image_count"] == 5
    assert answer["correlation_id"] == "batch-0"
    assert answer["label_category_config_uri"] == f"s3://{BUCKET}/ground-truth-jobs/label-categories.json"
    assert answer["output_uri"] == f"s3://{BUCKET}/ground-truth-jobs/"
    job = answer["job_name"]
    assert answer["input_manifest_uri"] == f"s3://{BUCKET}/ground-truth-jobs/{job}/input.manifest"

    manifest = storage.read(f"ground-truth-jobs/{job}/input.manifest").body.decode()
    assert [json.loads(line) for line in manifest.splitlines()] == [
        {"source-ref": f"s3://{BUCKET}/raw-images/north é+/{n}.jpg", "image-id": f"{n:064x}", "flight": "north é+"}
        for n in range(5)
    ]
    template = storage.read(storage.key_of(answer["ui_template_uri"])).body.decode()
    # The key of the boxes in a worker's answer, as in AWS's guide to bounding box jobs.
    assert '<crowd-bounding-box\n    name="boundingBox"' in template
    assert "grant_read_access" in template
    held = list(catalogue.by_status("LABELING"))
    assert {item.labeling_job for item in held} == {job}
    assert len(held) == 5


def test_the_arguments_are_what_createlabelingjob_takes(stack, catalogue, categories):
    for number in range(3):
        catalogue.add(image(number))
    answer = SelectLabel.model_validate(select())
    assert len(answer.job_name) <= 63
    assert not answer.label_attribute_name.endswith("-ref")


def test_drifted_images_are_first_in_the_job(stack, catalogue, storage, categories):
    for number in range(3):
        catalogue.add(image(number))
    catalogue.add(image(9, priority=True))
    answer = select()
    first = storage.read(storage.key_of(answer["input_manifest_uri"])).body.decode().splitlines()[0]
    assert json.loads(first)["image-id"] == f"{9:064x}"
    assert answer["correlation_id"] == "batch-9"


def test_a_retry_after_a_lost_answer_gets_that_answer(stack, catalogue, categories):
    for number in range(3):
        catalogue.add(image(number))
    assert select() == select()
    assert select(NOW + timedelta(seconds=1))["decision"] == "idle"


def test_the_oldest_has_waited_long_enough(stack, catalogue, categories):
    catalogue.add(image(1, age=timedelta(hours=25)))
    assert select()["image_count"] == 1


def test_labeling_can_be_asked_for(stack, catalogue, categories):
    catalogue.add(image(1, age=timedelta(seconds=5)))
    assert select(force=True)["image_count"] == 1


def test_two_selections_at_once_make_one_job(stack, storage, catalogue, categories):
    for number in range(40):
        catalogue.add(image(number))
    labelings = [LabelingJobs(storage, catalogue, stack) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda labeling: labeling.select(SelectRequest(now=NOW)), labelings))
    jobs = [answer for answer in answers if isinstance(answer, SelectLabel)]
    assert [job.image_count for job in jobs] == [40]
    assert {item.labeling_job for item in catalogue.by_status("LABELING")} == {jobs[0].job_name}


def test_without_categories_nothing_is_claimed(stack, storage, catalogue):
    for number in range(3):
        catalogue.add(image(number))
    with pytest.raises(LabelCategoriesMissing, match=r"label-categories.json does not exist"):
        LabelingJobs(storage, catalogue, stack).select(SelectRequest(now=NOW))
    assert len(list(catalogue.by_status("PENDING"))) == 3


def test_unknown_fields_are_typing_errors(stack):
    with pytest.raises(ValueError, match="forse"):
        select(forse=True)


def test_requeued_images_wait_in_their_old_place_for_another_job(stack, catalogue, categories):
    for number in range(3):
        catalogue.add(image(number))
    before = list(catalogue.by_status("PENDING"))
    job = select()["job_name"]
    assert requeue(job) == {"requeued": 3}
    assert requeue(job) == {"requeued": 0}
    after = list(catalogue.by_status("PENDING"))
    assert [item.queue_order for item in after] == [item.queue_order for item in before]
    assert [(item.attempts, item.unanswered, item.labeling_job) for item in after] == [(1, 0, None)] * 3
    again = select(NOW + timedelta(seconds=1))
    assert again["image_count"] == 3
    assert again["job_name"] != job


def test_wrong_labels_are_excluded_and_their_images_requeued(stack, catalogue, storage, categories):
    for number in range(3):
        catalogue.add(image(number, status="LABELED", labeling_job="mine"))
    catalogue.add(image(3, status="LABELED", labeling_job="other"))
    catalogue.add(image(4, status="LABELING", labeling_job="mine"))
    event = {"job_name": "mine", "reason": "boxes are shifted", "labeled": True}
    handler = load_handler("requeue_images").handler
    assert [handler(event, Context()), handler(event, Context())] == [{"requeued": 3}, {"requeued": 0}]
    assert [(item.attempts, item.labeling_job) for item in catalogue.by_status("PENDING")] == [(1, None)] * 3
    assert [item.labeling_job for item in catalogue.by_status("LABELED")] == ["other"]
    assert [item.labeling_job for item in catalogue.by_status("LABELING")] == ["mine"]
    assert storage.read_json(exclusion_key("mine"))["reason"] == "boxes are shifted"
    assert select()["image_count"] == 3


def test_only_that_jobs_images_are_requeued(stack, catalogue):
    catalogue.add(image(1, status="LABELING", labeling_job="mine"))
    catalogue.add(image(2, status="LABELING", labeling_job="other"))
    catalogue.add(image(3, status="LABELED", labeling_job="mine"))
    assert requeue("mine") == {"requeued": 1}
    assert [item.labeling_job for item in catalogue.by_status("LABELING")] == ["other"]
