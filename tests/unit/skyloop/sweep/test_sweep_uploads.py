"""functions/sweep_uploads: uploads whose events never came are found, and nothing else is touched."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from skyloop.aws.catalogue import MOST_DUPLICATE_KEYS
from skyloop.aws.clients import client
from skyloop.aws.storage import ListingPage, ObjectSummary, Storage
from skyloop.intake.intake import Intake
from skyloop.intake.uploads import Upload, uploads_in
from skyloop.labeling.sources import Sources
from skyloop.sweep.claims import Claims

from tests.support.account import BUCKET, Context, load_handler
from tests.support.files import stored_event
from tests.support.pictures import encoded, picture
from tests.unit.skyloop.sweep.conftest import item, later, refused, sweep

pytestmark = pytest.mark.usefixtures("jobs")

ODD = "raw-images/north field/a+b %2F é.jpg"


def counts(**found: int) -> dict[str, int]:
    """A response with these numbers and otherwise zeros."""
    return {"uploads_requeued": 0, "images_requeued": 0, "uploads_examined": 0, "files_alerted": 0, **found}


def test_nothing_is_missing_where_there_is_nothing():
    assert sweep(later()) == counts()


def test_a_forgotten_upload_is_queued_and_then_catalogued(storage, catalogue, queued):
    storage.write(ODD, encoded(picture()))
    assert sweep(later()) == counts(uploads_requeued=1, uploads_examined=1)
    (message,) = queued()
    assert message["detail"]["object"]["key"] == ODD
    record = {**stored_event("sqs_batch")["Records"][0], "body": json.dumps(message)}
    load_handler("catalogue_images").handler({"Records": [record]}, Context())
    assert [entry.key for entry in catalogue.by_status("PENDING")] == [ODD]
    assert sweep(later()) == counts(uploads_examined=1)


def test_an_overwritten_key_whose_event_was_lost_is_found(storage, catalogue, queued):
    """The key is known; what lies under it now is not."""
    storage.write(ODD, encoded(picture(seed=1)))
    storage.write("raw-images/f/bad.jpg", b"text")
    for expected, seed in ((2, 2), (1, 2)):
        assert sweep(later())["uploads_requeued"] == expected
        records = [
            {**stored_event("sqs_batch")["Records"][0], "messageId": str(number), "body": json.dumps(message)}
            for number, message in enumerate(queued())
        ]
        load_handler("catalogue_images").handler({"Records": records}, Context())
        storage.write(ODD, encoded(picture(seed=seed)))
    assert sweep(later())["uploads_requeued"] == 0
    assert {entry.key for entry in catalogue.by_status("PENDING")} == {ODD}
    assert len(list(catalogue.by_status("PENDING"))) == 2
    storage.write("raw-images/f/bad.jpg", encoded(picture(seed=3)))
    assert sweep(later())["uploads_requeued"] == 1


def test_an_image_that_was_put_aside_and_is_back_without_an_event_is_found(storage, catalogue, queued, alerts):
    storage.write(ODD, encoded(picture(seed=1)))
    catalogued = Intake(storage, catalogue)
    catalogued.take(Upload(bucket=BUCKET, key=ODD))
    [waiting] = catalogue.by_status("PENDING")
    assert catalogue.put_aside(waiting, "it was deleted before it was labeled", datetime.now(UTC))
    assert sweep(later())["uploads_requeued"] == 1
    assert "the earlier version for 90 days" in alerts()[0]["kept"]
    catalogued.take(Upload(bucket=BUCKET, key=queued()[0]["detail"]["object"]["key"]))
    assert [item.key for item in catalogue.by_status("PENDING")] == [ODD]
    assert sweep(later())["uploads_requeued"] == 0


def test_of_many_copies_one_is_labeled_when_the_others_are_gone(storage, catalogue, queued, alerts):
    """Those that the entry has no room for are known too, until its own keys are all gone."""
    body, intake = encoded(picture()), Intake(storage, catalogue)
    keys = [f"raw-images/f/{number:02}.jpg" for number in range(MOST_DUPLICATE_KEYS + 3)]
    for key in keys:
        storage.write(key, body)
        intake.take(Upload(bucket=BUCKET, key=key))
    assert [intake.take(Upload(bucket=BUCKET, key=key)).outcome for key in keys] == ["known"] * len(keys)
    assert sweep(later())["uploads_requeued"] == 0
    for key in keys[:-1]:
        client("s3").delete_object(Bucket=BUCKET, Key=key)
    assert Sources(storage, catalogue).unchanged(catalogue.by_status("PENDING"), datetime.now(UTC)) == []
    assert sweep(later())["uploads_requeued"] == 1
    [message] = queued()
    assert intake.take(Upload(bucket=BUCKET, key=message["detail"]["object"]["key"])).outcome == "new"
    assert [entry.key for entry in catalogue.by_status("PENDING")] == keys[-1:]
    assert sweep(later())["uploads_requeued"] == 0


TWO = ("raw-images/f/1.jpg", "raw-images/g/2.jpg")


def test_a_duplicate_that_is_overwritten_without_an_event_is_found(storage, catalogue, queued):
    for key in TWO:
        storage.write(key, encoded(picture()))
        Intake(storage, catalogue).take(Upload(bucket=BUCKET, key=key))
    assert sweep(later())["uploads_requeued"] == 0
    storage.write(TWO[1], encoded(picture(seed=1)))
    assert sweep(later())["uploads_requeued"] == 1
    assert [message["detail"]["object"]["key"] for message in queued()] == [TWO[1]]


@pytest.mark.parametrize("moves", [False, True])
def test_an_image_that_is_back_under_another_of_its_keys_is_found(storage, catalogue, queued, moves):
    """Also where its entry had moved there before, so that it does not name the key as a duplicate's any more."""
    body = encoded(picture())
    for key in TWO:
        storage.write(key, body)
        Intake(storage, catalogue).take(Upload(bucket=BUCKET, key=key))
    sources, now = Sources(storage, catalogue), datetime.now(UTC)
    client("s3").delete_object(Bucket=BUCKET, Key=TWO[0])
    if moves:
        assert [entry.key for entry in sources.unchanged(catalogue.by_status("PENDING"), now)] == [TWO[1]]
    client("s3").delete_object(Bucket=BUCKET, Key=TWO[1])
    sources.unchanged(catalogue.by_status("PENDING"), now)
    assert len(list(catalogue.by_status("QUARANTINED"))) == 1
    assert sweep(later())["uploads_requeued"] == 0
    storage.write(TWO[1], body)
    assert sweep(later())["uploads_requeued"] == 1
    [message] = queued()
    assert (
        Intake(storage, catalogue).take(Upload(bucket=BUCKET, key=message["detail"]["object"]["key"])).outcome == "new"
    )
    assert sweep(later())["uploads_requeued"] == 0


def test_a_duplicate_of_an_older_version_is_looked_at_once_more(storage, catalogue, queued):
    """It had no entry of its own."""
    body = encoded(picture())
    for key in TWO:
        storage.write(key, body)
    Intake(storage, catalogue).take(Upload(bucket=BUCKET, key=TWO[0]))
    [entry] = catalogue.by_status("PENDING")
    catalogue.delete(entry.image_id)
    catalogue.add(entry.model_copy(update={"duplicate_keys": frozenset(TWO[1:])}))
    assert sweep(later())["uploads_requeued"] == 1
    assert Intake(storage, catalogue).take(Upload(bucket=BUCKET, key=TWO[1])).outcome == "duplicate"
    queued()
    assert sweep(later())["uploads_requeued"] == 0


def test_duplicates_quarantined_files_and_folders_are_known(storage, catalogue):
    body = encoded(picture())
    for key in ("raw-images/a/1.jpg", "raw-images/b/2.jpg"):
        storage.write(key, body)
    storage.write("raw-images/a/bad.jpg", b"text")
    storage.write("raw-images/a/", b"")
    storage.write("quarantine/raw-images/x.jpg", b"text")
    event = stored_event("s3_object_created")
    records = []
    for number, key in enumerate(("raw-images/a/1.jpg", "raw-images/b/2.jpg", "raw-images/a/bad.jpg")):
        event["detail"]["object"]["key"] = key
        record = stored_event("sqs_batch")["Records"][0]
        records.append({**record, "messageId": str(number), "body": json.dumps(event)})
    load_handler("catalogue_images").handler({"Records": records}, Context())
    assert sweep(later()) == counts(uploads_examined=3, files_alerted=1)


def test_fresh_uploads_are_left_to_their_own_events(storage, queued):
    storage.write("raw-images/a/1.jpg", encoded(picture()))
    assert sweep(later(0.5)) == counts(uploads_examined=1)
    assert queued() == []


def test_uploads_that_may_still_wait_in_the_queue_are_not_queued_again(stack, storage):
    """A large drop is worked on for longer than the quiet period: nothing of it is missing."""
    storage.write("raw-images/a/1.jpg", encoded(picture()))
    client("sqs").send_message(QueueUrl=stack.uploads_queue_url, MessageBody="{}")
    assert sweep(later())["uploads_requeued"] == 0
    client("sqs").receive_message(QueueUrl=stack.uploads_queue_url)  # being worked on
    assert sweep(later())["uploads_requeued"] == 0
    assert sweep(later(130))["uploads_requeued"] == 1  # but a queue that is never empty does not hide an upload


def test_more_uploads_than_a_message_batch(storage, queued):
    for number in range(23):
        storage.write(f"raw-images/a/{number}.jpg", b"x")
    assert sweep(later())["uploads_requeued"] == 23
    assert len({message["detail"]["object"]["key"] for message in queued()}) == 23


@pytest.mark.parametrize("name", ["\uffff", "\ufffe", "\x01", "поле é 😀"])
def test_a_key_of_any_characters_is_queued_and_understood(storage, catalogue, monkeypatch, name):
    """SQS takes the characters of XML 1.0, and refuses the batch or the message that has another."""
    key, sent = f"raw-images/f/{name}.jpg", []
    summary = ObjectSummary(key, 1, datetime.now(UTC).timestamp(), "e")
    monkeypatch.setattr(Storage, "pages", lambda *_: iter([ListingPage([summary], is_last=True)]))
    hooks = client("sqs").meta.events
    hooks.register(
        "before-parameter-build.sqs.SendMessageBatch", lambda params, **_: sent.append(params), unique_id="n"
    )
    try:
        assert sweep(later())["uploads_requeued"] == 1
    finally:
        hooks.unregister("before-parameter-build.sqs.SendMessageBatch", unique_id="n")
    [body] = [entry["MessageBody"] for entry in sent[0]["Entries"]]
    assert body.isascii()
    assert body.isprintable()
    assert [upload.key for upload in uploads_in(body)] == [key]


def test_one_failure_stops_nothing_else(storage, catalogue, queued, alerts, jobs, monkeypatch):
    """Ten of twelve uploads are refused, and a job cannot be asked about: the rest is done, and then it is told."""
    for number in range(12):
        storage.write(f"raw-images/a/{number:02}.jpg", b"x")
    catalogue.add(item(1, "unknown"))
    catalogue.add(item(2, "dead"))
    catalogue.add(refused(3))
    jobs["dead"] = "Failed"
    real = Claims._job_status

    def status(self: Claims, job_name: str) -> tuple[str | None, float]:
        if job_name == "unknown":
            raise RuntimeError("SageMaker does not say")
        return real(self, job_name)

    def refuse(params: dict[str, Any], **_: Any) -> None:
        if len(params["Entries"]) == 10:
            raise RuntimeError("SQS is busy")

    monkeypatch.setattr(Claims, "_job_status", status)
    hooks = client("sqs").meta.events
    hooks.register("before-parameter-build.sqs.SendMessageBatch", refuse, unique_id="refuse")
    try:
        with pytest.raises(RuntimeError, match="SQS is busy"):
            sweep(later())
    finally:
        hooks.unregister("before-parameter-build.sqs.SendMessageBatch", unique_id="refuse")
    assert len(queued()) == 2
    assert [entry.image_id for entry in catalogue.by_status("PENDING")] == [f"{2:064x}"]
    assert len(alerts()) == 1


def test_the_bucket_of_the_message_is_the_stacks(storage, queued):
    storage.write("raw-images/a/1.jpg", b"x")
    sweep(later())
    assert [message["detail"]["bucket"]["name"] for message in queued()] == [BUCKET]
