"""What was overwritten or deleted while it waited for labels is not sent to people, and not lost either."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from skyloop.aws.clients import client
from skyloop.aws.objects import KnownObjects
from skyloop.formats.groundtruth import label_category_config
from skyloop.intake.intake import Intake
from skyloop.intake.uploads import Upload
from skyloop.layout import LABEL_CATEGORIES

from tests.support.account import BUCKET, Context, load_handler
from tests.support.pictures import encoded, picture

KEY, OTHER = "raw-images/north/DJI_0001.JPG", "raw-images/south/DJI_0001.JPG"
X, Y = encoded(picture(seed=1)), encoded(picture(seed=2))
NOW = "2026-11-23T12:00:00+00:00"


@pytest.fixture
def intake(storage, catalogue) -> Intake:
    storage.write_json(LABEL_CATEGORIES, label_category_config(["tree"]))
    return Intake(storage, catalogue)


def put(intake: Intake, key: str, body: bytes) -> str:
    intake.storage.write(key, body)
    return take(intake, key)


def take(intake: Intake, key: str) -> str:
    return intake.take(Upload(bucket=BUCKET, key=key)).outcome


def put_in_parts(key: str, body: bytes) -> None:
    """The same bytes with another ETag."""
    s3, target = client("s3"), {"Bucket": BUCKET, "Key": key}
    upload = s3.create_multipart_upload(**target)["UploadId"]
    part = s3.upload_part(**target, UploadId=upload, PartNumber=1, Body=body)["ETag"]
    parts = {"Parts": [{"PartNumber": 1, "ETag": part}]}
    s3.complete_multipart_upload(**target, UploadId=upload, MultipartUpload=parts)


def selected(intake: Intake, now: str = NOW) -> list[tuple[str, bytes]]:
    """(key, content) of everything that goes to labelers, and a check that the manifest tells the truth about it."""
    answer: dict[str, Any] = load_handler("select_for_labeling").handler({"now": now, "force": True}, Context())
    if answer["decision"] == "idle":
        return []
    manifest = intake.storage.read(intake.storage.key_of(answer["input_manifest_uri"])).body.decode()
    lines = [json.loads(line) for line in manifest.splitlines()]
    found = []
    for line in lines:
        key = intake.storage.key_of(line["source-ref"])
        body = intake.storage.read(key).body
        assert hashlib.sha256(body).hexdigest() == line["image-id"]
        found.append((key, body))
    return found


def test_what_was_overwritten_is_put_aside_and_labeled_once_it_is_back(intake, catalogue, stack):
    assert put(intake, KEY, X) == "new"
    assert put(intake, KEY, Y) == "new"
    assert selected(intake) == [(KEY, Y)]
    [aside] = catalogue.by_status("QUARANTINED")
    assert aside.reason == "another file was put under its name before it was labeled"
    # Dropped again under another name, it waits again, and an alert may name it again.
    assert catalogue.mark_alerted(aside, aside.replaced_at)
    assert put(intake, OTHER, X) == "new"
    assert take(intake, OTHER) == "known"
    [back] = catalogue.by_status("PENDING")
    assert (back.key, back.flight, back.reason, back.replaced_at, back.alerted_at) == (OTHER, "south", None, None, None)
    assert back.attempts == 1
    assert selected(intake, "2026-11-23T13:00:00+00:00") == [(OTHER, X)]
    assert not list(catalogue.by_status("QUARANTINED"))


def test_events_out_of_order_make_no_difference(intake, catalogue):
    intake.storage.write(KEY, X)
    intake.storage.write(KEY, Y)
    assert [take(intake, KEY), take(intake, KEY)] == ["new", "known"]
    assert selected(intake) == [(KEY, Y)]


def test_an_overwritten_file_that_is_put_back_is_labeled_and_the_other_is_not(intake, catalogue):
    for body in (X, Y, X):
        put(intake, KEY, body)
    assert selected(intake) == [(KEY, X)]
    assert [item.reason for item in catalogue.by_status("QUARANTINED")] == [
        "another file was put under its name before it was labeled"
    ]


def test_a_picture_replaced_by_something_that_is_none_is_put_aside_too(intake, catalogue):
    put(intake, KEY, X)
    assert put(intake, KEY, b"no picture") == "quarantined"
    assert selected(intake) == []
    assert len(list(catalogue.by_status("QUARANTINED"))) == 2


def test_put_then_delete_leaves_no_ghost(intake, catalogue):
    put(intake, KEY, X)
    put(intake, OTHER, Y)
    client("s3").delete_object(Bucket=BUCKET, Key=KEY)
    assert selected(intake) == [(OTHER, Y)]
    [aside] = catalogue.by_status("QUARANTINED")
    assert (aside.key, aside.reason) == (KEY, "it was deleted before it was labeled")


def test_the_same_bytes_put_again_are_the_same_image(intake, catalogue):
    put(intake, KEY, X)
    put_in_parts(KEY, X)
    assert selected(intake) == [(KEY, X)]


def test_the_same_bytes_put_again_with_their_event_are_known_by_their_new_etag(intake, catalogue):
    put(intake, KEY, X)
    [before] = catalogue.by_status("PENDING")
    put_in_parts(KEY, X)
    assert take(intake, KEY) == "known"
    [item] = catalogue.by_status("PENDING")
    assert item.etag != before.etag
    known = KnownObjects(catalogue.client, catalogue.table)
    assert list(known.of("PENDING", [KEY])) == [(KEY, item.etag)]


def test_an_image_that_lies_under_another_key_too_is_labeled_there(intake, catalogue):
    put(intake, KEY, X)
    assert put(intake, OTHER, X) == "duplicate"
    put(intake, KEY, Y)
    assert sorted(selected(intake)) == [(KEY, Y), (OTHER, X)]
    moved = next(item for item in catalogue.by_status("LABELING") if item.key == OTHER)
    assert (moved.flight, moved.duplicate_keys) == ("south", frozenset())


@pytest.mark.parametrize("labeled", [False, True])
def test_what_is_with_people_or_labeled_stays_what_it_is(intake, catalogue, labeled):
    put(intake, KEY, X)
    selected(intake)
    [item] = catalogue.by_status("LABELING")
    if labeled:
        catalogue.mark_labeled(item.image_id, item.labeling_job)
    before = catalogue.get(item.image_id)
    put(intake, KEY, Y)
    assert selected(intake, "2026-11-23T13:00:00+00:00") == [(KEY, Y)]
    assert catalogue.get(item.image_id) == before


def test_an_entry_that_changes_while_it_is_looked_at_waits(intake, catalogue, monkeypatch):
    """Its bytes are put back, with their event, between the look at the object and the write."""
    put(intake, KEY, X)
    intake.storage.write(KEY, Y)
    real = catalogue.put_aside

    def late(self: Any, *arguments: Any) -> bool:
        put_in_parts(KEY, X)
        take(intake, KEY)
        return real(*arguments)

    monkeypatch.setattr(type(catalogue), "put_aside", late)
    assert selected(intake) == []
    assert len(list(catalogue.by_status("PENDING"))) == 1
    assert not list(catalogue.by_status("QUARANTINED"))
