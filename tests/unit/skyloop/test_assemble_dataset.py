"""functions/assemble_dataset: from all labels to a versioned dataset that a person can look at."""

from __future__ import annotations

import gzip
import json
from collections import defaultdict
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

import pytest
from skyloop.dataset.assembly import Assembly
from skyloop.dataset.labels import LabeledImage, Labels
from skyloop.documents import AssembleRequest, CatalogueItem
from skyloop.formats.groundtruth import label_category_config
from skyloop.layout import LABEL_CATEGORIES, exclusion_key, queue_order, unusable_labels

from tests.support.account import BUCKET, Context, load_handler, put_state
from tests.support.labeled_images import flights, labeled
from tests.support.pictures import encoded, picture

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
EVENT = {"labeling_job_name": "job-1", "correlation_id": "north", "now": NOW.isoformat()}


@pytest.fixture(autouse=True)
def categories(storage):
    storage.write_json(LABEL_CATEGORIES, label_category_config(["person", "car"]))


@pytest.fixture
def record(storage):
    """Write what convert_labels writes for a batch: the record, and each picture."""

    def write(images: list[LabeledImage], name: str = "0123456789ab") -> None:
        by_job = defaultdict(list)
        for image in images:
            by_job[image.job_name].append(image)
            storage.write(image.key, encoded(picture(), quality=30))
        for job, members in by_job.items():
            Labels(storage).keep(job, name, members)

    return write


def assemble(job: str = "job-1") -> dict[str, Any]:
    event = {**EVENT, "labeling_job_name": job}
    return load_handler("assemble_dataset").handler(event, Context())


def test_labels_that_were_set_aside_are_in_no_dataset(storage, record):
    record(flights(6, 10))
    record([labeled("flight-9", number, "car", job="wrong") for number in range(10)])
    assert "wrong" in storage.read_json(storage.key_of(assemble()["dataset_uri"]))["labeling_jobs"]
    storage.write_json(exclusion_key("wrong"), {"labeling_job": "wrong", "reason": "shifted"})
    document = storage.read_json(storage.key_of(assemble("wrong")["dataset_uri"]))
    assert document["labeling_jobs"] == ["job-1"]
    assert sum(counts["images"] for counts in document["counts"].values()) == 60


def test_a_dataset_is_written_whole(storage, record):
    record(flights(6, 10))
    answer = assemble()
    assert answer["decision"] == "train"
    folder = f"s3://{BUCKET}/processed-data/{answer['dataset_id']}/"
    assert answer["dataset_uri"] == f"{folder}dataset.json"
    assert answer["report_uri"] == f"{folder}report.html"
    assert answer["categories"] == ["person", "car"]
    document = storage.read_json(storage.key_of(answer["dataset_uri"]))
    assert document["test_set_id"] == answer["test_set_id"]
    assert document["counts"] == answer["counts"]
    assert sum(counts["images"] for counts in answer["counts"].values()) == 60

    seen: list[str] = []
    for split in ("train", "validation", "test"):
        prefix, labels, *pictures = storage.read_json(storage.key_of(answer[f"{split}_manifest_uri"]))
        assert prefix == {"prefix": f"s3://{BUCKET}/"}
        lines = [json.loads(line) for line in gzip.decompress(storage.read(labels).body).splitlines()]
        assert [line["image"] for line in lines] == pictures
        assert len(pictures) == answer["counts"][split]["images"]
        assert sum(len(line["boxes"]) for line in lines) == answer["counts"][split]["boxes"]
        seen += pictures
    assert len(set(seen)) == len(seen) == 60
    for key in seen:
        storage.summary(key)


def test_records_of_another_version_are_not_read(storage, record):
    record(flights(6, 10))
    storage.write("labeled-data/job-1/records/0123.json", b'[\n {"name": "a slice"}\n]')
    assert assemble()["decision"] == "train"


def test_a_job_is_read_from_its_index_once_there_is_one(storage, record):
    record(flights(6, 10))
    first = assemble()
    for summary in list(storage.listing("labeled-data/job-1/records/")):
        storage.client.delete_object(Bucket=BUCKET, Key=summary.key)
    record([labeled("new", 1, job="job-2")])
    assert assemble("job-2")["counts"] != first["counts"]
    document = storage.read_json(storage.key_of(assemble("job-2")["dataset_uri"]))
    assert document["labeling_jobs"] == ["job-1", "job-2"]


def test_what_a_job_gave_is_counted_as_it_is_kept_and_what_was_put_aside_is_said(storage, record):
    record(flights(6, 10))
    record([labeled("flight-0", 0, "car", "car", "car", labeled_at="2026-11-01T00:00:00.000000+00:00")], "earlier")
    answer = assemble()
    assert answer["labels"] == {"images": 60, "boxes": 120, "put_aside": 1}
    assert sum(counts["boxes"] for counts in answer["counts"].values()) == 120
    checks = storage.read_json(storage.key_of(answer["dataset_uri"]))["checks"]
    (said,) = [check for check in checks if check["name"] == "answered-more-than-once"]
    assert said["severity"] == "warning"
    assert "1 answers" in said["message"]
    (aside,) = storage.read("quarantine/labels/job-1/superseded.jsonl").body.splitlines()
    assert len(json.loads(aside)["line"]["boxes"]) == 3


def test_assembling_again_changes_nothing(storage, state, record):
    record(flights(6, 10))
    first = assemble()
    before = {summary.key: storage.read(summary.key).body for summary in storage.listing("processed-data/")}
    assert assemble() == first
    assert {summary.key: storage.read(summary.key).body for summary in storage.listing("processed-data/")} == before


def test_the_test_set_keeps_its_flights_when_others_join(storage, state, record):
    record(flights(6, 10))
    first = assemble()
    groups = storage.read_json(storage.key_of(first["dataset_uri"]))["groups"]
    record([labeled(f"new-{n}", m, "car", job="job-2") for n in range(4) for m in range(10)])
    second = assemble("job-2")
    assert second["dataset_id"] != first["dataset_id"]
    later = storage.read_json(storage.key_of(second["dataset_uri"]))["groups"]
    assert {name: later[name] for name in groups} == groups
    assert state.get("split#flight-0") == {"split": groups["flight-0"]}


def test_too_little_is_said_and_freezes_nothing(storage, state, record):
    record(flights(1, 2))
    answer = assemble()
    assert answer["decision"] == "insufficient"
    assert "at least 4" in answer["reason"]
    assert state.get("split#flight-0") is None
    assert b"not fit to train on yet" in storage.read(storage.key_of(answer["report_uri"])).body


def test_a_job_without_usable_labels_is_no_reason_to_train_again(record):
    record(flights(6, 10))
    answer = assemble("job-2")
    assert answer["decision"] == "insufficient"
    assert "job-2 brought no label" in answer["reason"]


def test_lines_that_were_put_aside_are_told_with_the_commonest_reason(storage, record):
    record(flights(6, 10))
    assert assemble()["notes"] == []
    for number, reason in enumerate(["it has no boxes", "the class is unknown", "the class is unknown"]):
        key = f"{unusable_labels('job-1')}{number}.json"
        storage.write_json(key, {"job_name": "job-1", "reason": reason, "line": {"number": number}})
    storage.write_json(f"{unusable_labels('job-2')}0.json", {"reason": "another job's", "line": "x"})
    answer = assemble()
    assert answer["notes"] == [
        "labeling job job-1 has 3 lines that cannot be used, put aside in quarantine/labels/job-1/: "
        "the class is unknown (2 of them)"
    ]
    assert assemble() == answer, "asked again, it says the same"
    assert answer["notes"][0].encode() in storage.read(storage.key_of(answer["report_uri"])).body


def test_no_labels_at_all_is_insufficient_too(stack):
    assert assemble()["decision"] == "insufficient"


def test_somebody_else_freezes_first(stack, storage, catalogue, state, record, monkeypatch):
    """Between this one's look and its write, another assembly puts every new group on the other side."""
    record(flights(6, 10))
    assembly = Assembly(storage, catalogue, state, stack)
    real, others = state.put_if_absent, []

    def put_if_absent(name: str, item: dict[str, Any]) -> bool:
        if not others:
            others.append(name)
            put_state(state, name, {"split": "test" if item["split"] != "test" else "train"})
        return real(name, item)

    monkeypatch.setattr(state, "put_if_absent", put_if_absent)
    answer = assembly.assemble(AssembleRequest.model_validate(EVENT))
    groups = storage.read_json(storage.key_of(answer.dataset_uri))["groups"]
    (name,) = others
    assert groups[name.removeprefix("split#")] == state.get(name)["split"]
    for group, split in groups.items():
        assert state.get(f"split#{group}") == {"split": split}


def test_one_dominant_flight_is_frozen_by_blocks(storage, state, record):
    record([labeled("night", number, "car") for number in range(100)])
    first = assemble()
    assert first["decision"] == "train"
    assert state.get("split#night")["split"] == "blocks"
    document = storage.read_json(storage.key_of(first["dataset_uri"]))
    assert document["guard_images"] > 0
    assert all(state.get(f"split#{group}") == {"split": split} for group, split in document["groups"].items())
    assert assemble() == first


def test_images_the_job_never_answered_for_wait_again(catalogue, record):
    record(flights(6, 10))
    item = CatalogueItem(
        image_id="f" * 64,
        status="LABELING",
        labeling_job="job-1",
        queue_order=queue_order(False, NOW, "f" * 64),
        key="raw-images/f/1.jpg",
        flight="f",
        correlation_id="f",
        catalogued_at=NOW,
    )
    catalogue.add(item)
    catalogue.add(item.model_copy(update={"image_id": "e" * 64, "labeling_job": "job-2"}))
    assemble()
    assert (catalogue.get("f" * 64).status, catalogue.get("f" * 64).unanswered) == ("PENDING", 1)
    assert catalogue.get("e" * 64).status == "LABELING"


class Page(HTMLParser):
    """Checks that tags are closed in order, and keeps text, tags and addresses."""

    VOID = frozenset({"meta", "br", "img", "link"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.sources: list[str] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for name, value in attrs if name in {"src", "href"}]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


def test_the_report_is_one_page_that_fetches_nothing(storage, record):
    odd = "<script>alert(1)</script> & é"
    record([*flights(6, 10), *(labeled(odd, number, "car") for number in range(3))])
    answer = assemble()
    page = Page(storage.read(storage.key_of(answer["report_uri"])).body.decode())
    assert page.open == []
    assert "script" not in page.tags
    assert all(source.startswith("data:image/jpeg;base64,") for source in page.sources)
    assert len(page.sources) == page.tags.count("figure") == 6
    for words in (
        answer["dataset_id"],
        answer["test_set_id"],
        "fit to train on",
        "flight-3",
        odd[:20],
        "person",
        "north",
    ):
        assert words in page.words
