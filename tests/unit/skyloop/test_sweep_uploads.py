"""functions/sweep_uploads: uploads whose events never came are found, and nothing else is touched."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from skyloop.aws.catalogue import MOST_DUPLICATE_KEYS
from skyloop.aws.clients import client
from skyloop.aws.storage import ListingPage, ObjectSummary, Storage
from skyloop.documents import CatalogueItem
from skyloop.intake.intake import Intake
from skyloop.intake.uploads import Upload, uploads_in
from skyloop.labeling.sources import Sources
from skyloop.layout import LABELING_LOCK, label_records, quarantine_id, queue_order
from skyloop.sweep.claims import Claims

from tests.support.account import BUCKET, Context, load_handler, put_state
from tests.support.files import stored_event
from tests.support.pictures import encoded, picture

ODD = "raw-images/north field/a+b %2F é.jpg"


def later(minutes: float = 10) -> datetime:
    """Objects are dated by the (simulated) bucket's own clock, so the sweep comes this much after now."""
    return datetime.now(UTC) + timedelta(minutes=minutes)


@pytest.fixture(autouse=True)
def jobs(stack) -> Iterator[dict[str, str]]:
    """Labeling jobs that SageMaker knows: name -> status. The simulation has none, so the client is answered here."""
    known: dict[str, str] = {}
    hooks = client("sagemaker").meta.events

    def answer(model: Any, params: dict[str, Any], **_: Any) -> tuple[Any, dict[str, Any]]:
        name = json.loads(params["body"])["LabelingJobName"]
        response = type("Response", (), {"status_code": 200 if name in known else 400, "headers": {}})
        if name in known:
            job = {"LabelingJobStatus": known[name], "LastModifiedTime": datetime.now(UTC)}
            return response, {**job, "ResponseMetadata": {"HTTPStatusCode": 200}}
        error = {"Code": "ResourceNotFound", "Message": "no such job"}
        return response, {"Error": error, "ResponseMetadata": {"HTTPStatusCode": 400}}

    hooks.register("before-call.sagemaker.DescribeLabelingJob", answer, unique_id="jobs")
    yield known
    hooks.unregister("before-call.sagemaker.DescribeLabelingJob", unique_id="jobs")


@pytest.fixture
def queued(stack) -> Callable[[], list[dict[str, Any]]]:
    def read() -> list[dict[str, Any]]:
        sqs, messages = client("sqs"), []
        while batch := sqs.receive_message(QueueUrl=stack.uploads_queue_url, MaxNumberOfMessages=10).get("Messages"):
            messages += [json.loads(message["Body"]) for message in batch]
            for message in batch:
                sqs.delete_message(QueueUrl=stack.uploads_queue_url, ReceiptHandle=message["ReceiptHandle"])
        return messages

    return read


@pytest.fixture
def alerts(stack) -> Callable[[], list[dict[str, Any]]]:
    """The alerts that reached a subscriber since the last look, with their attributes."""
    sqs, sns = client("sqs"), client("sns")
    url = sqs.create_queue(QueueName="listener")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=stack.alert_topic_arn, Protocol="sqs", Endpoint=arn)

    def read() -> list[dict[str, Any]]:
        found = []
        while batch := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            for message in batch:
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
                body = json.loads(message["Body"])
                attributes = {name: entry["Value"] for name, entry in body["MessageAttributes"].items()}
                found.append({**json.loads(body["Message"]), "mail": body["Subject"], "attributes": attributes})
        return found

    return read


def refused(number: int, reason: str = "it is not an image", **changes: Any) -> CatalogueItem:
    key = f"raw-images/f/{number}.jpg"
    facts = {"image_id": quarantine_id(key), "key": key, "status": "QUARANTINED", "labeling_job": None}
    return item(number, "", **{**facts, "reason": reason, **changes})


def counts(**found: int) -> dict[str, int]:
    """A response with these numbers and otherwise zeros."""
    return {"uploads_requeued": 0, "images_requeued": 0, "uploads_examined": 0, "files_alerted": 0, **found}


def sweep(now: datetime) -> dict[str, Any]:
    return load_handler("sweep_uploads").handler({"now": now.isoformat()}, Context())


def item(number: int, job: str, **changes: Any) -> CatalogueItem:
    image_id, now = f"{number:064x}", datetime(2026, 1, 1, tzinfo=UTC)
    facts: dict[str, Any] = {
        "image_id": image_id,
        "status": "LABELING",
        "labeling_job": job,
        "queue_order": queue_order(False, now, image_id),
        "key": f"raw-images/f/{number}.jpg",
        "flight": "f",
        "correlation_id": "f",
        "catalogued_at": now,
    }
    return CatalogueItem(**{**facts, **changes})


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


def test_the_bucket_of_the_message_is_the_stacks(storage, queued):
    storage.write("raw-images/a/1.jpg", b"x")
    sweep(later())
    assert [message["detail"]["bucket"]["name"] for message in queued()] == [BUCKET]


def test_a_bad_drop_is_alerted_once_with_one_alert(catalogue, alerts):
    for number in range(30):
        catalogue.add(refused(number))
    catalogue.add(refused(30, "it is truncated"))
    assert sweep(later())["files_alerted"] == 31
    (alert,) = alerts()
    assert alert["attributes"] == {"event": "images-quarantined", "severity": "warning", "stage": "dev"}
    assert alert["mail"] == "[skyloop-dev] images-quarantined: 31 files of flight f"
    assert alert["why"] == (
        "30 files such as raw-images/f/0.jpg: it is not an image; raw-images/f/30.jpg: it is truncated."
    )
    assert alert["correlation_id"] == "f"
    assert alert["links"]["quarantine"] == f"s3://{BUCKET}/quarantine/"
    assert sweep(later())["files_alerted"] == 0
    assert alerts() == []


def test_what_came_after_the_alert_is_alerted_and_nothing_else(catalogue, alerts):
    catalogue.add(refused(1))
    catalogue.add(refused(2))
    sweep(later())
    alerts()
    assert catalogue.add_refused(refused(2, "it is truncated"))  # dropped again, bad in another way
    assert not catalogue.add_refused(refused(1))  # delivered again
    # An image that nobody could label keeps its old place in the queue.
    catalogue.add(item(3, "job"))
    catalogue.quarantine(f"{3:064x}", "job", "3 labeling jobs returned it without labels")
    assert sweep(later())["files_alerted"] == 2
    (alert,) = alerts()
    assert "raw-images/f/2.jpg: it is truncated" in alert["why"]
    assert "raw-images/f/3.jpg: 3 labeling jobs" in alert["why"]
    assert "1.jpg" not in alert["why"]


def test_many_reasons_are_counted_and_the_commonest_named(catalogue, alerts):
    for number in range(9):
        catalogue.add(refused(number, f"reason {min(number, 7)}", flight=f"f{number % 2}"))
    sweep(later())
    (alert,) = alerts()
    assert alert["what"].startswith("9 files of 2 flights cannot be used")
    assert alert["why"].startswith("2 files such as raw-images/f/7.jpg: reason 7; raw-images/f/0.jpg: reason 0;")
    assert alert["why"].endswith("; 3 more for 3 other reasons.")


def test_what_could_not_be_published_is_alerted_by_the_next_sweep(catalogue, alerts, stack, monkeypatch):
    catalogue.add(refused(1))
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("SKYLOOP_ALERT_TOPIC_ARN", f"{stack.alert_topic_arn}-gone")
        with pytest.raises(Exception, match="does not exist"):
            sweep(later())
    assert sweep(later())["files_alerted"] == 1
    assert len(alerts()) == 1


def test_an_entry_that_is_fixed_while_the_alert_is_published_stays_as_it_is(catalogue):
    now = later()
    assert not catalogue.mark_alerted(refused(1), now)
    assert catalogue.get(quarantine_id("raw-images/f/1.jpg")) is None
    catalogue.add(item(2, "job"))
    assert not catalogue.mark_alerted(item(2, "job"), now)
    before = refused(3)
    catalogue.add_refused(before)
    catalogue.add_refused(refused(3, "another reason", queue_order=queue_order(False, now, before.image_id)))
    assert not catalogue.mark_alerted(before, now)
    assert [entry.reason for entry in catalogue.unalerted()] == ["another reason"]
