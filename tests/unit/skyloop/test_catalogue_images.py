"""functions/catalogue_images, from queue message to catalogue entry."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from skyloop.aws.clients import client
from skyloop.aws.events import EventRefused
from skyloop.intake.intake import Intake
from skyloop.intake.uploads import Upload, object_created

from tests.support.account import BUCKET, Context, load_handler
from tests.support.files import stored_event
from tests.support.pictures import encoded, picture

pytestmark = pytest.mark.usefixtures("stack")


@pytest.fixture
def announced(stack) -> Any:
    """A function that gives the details of the events put since it was last called."""
    heard: list[dict[str, Any]] = []
    hooks = client("events").meta.events

    def listen(params: dict[str, Any], **_: Any) -> None:
        heard.extend(json.loads(entry["Detail"]) for entry in params["Entries"])

    def read() -> list[dict[str, Any]]:
        details = heard.copy()
        heard.clear()
        return details

    hooks.register("before-parameter-build.events.PutEvents", listen, unique_id="announced")
    yield read
    hooks.unregister("before-parameter-build.events.PutEvents", unique_id="announced")


def put(key: str, body: bytes, **metadata: str) -> None:
    client("s3").put_object(Bucket=BUCKET, Key=key, Body=body, Metadata=metadata)


def created(*keys: str) -> dict[str, Any]:
    """A queue batch with one Object Created event for each key."""
    records = []
    for number, key in enumerate(keys):
        event = stored_event("s3_object_created")
        event["detail"]["object"]["key"] = key
        record = stored_event("sqs_batch")["Records"][0]
        records.append({**record, "messageId": f"message-{number}", "body": json.dumps(event)})
    return {"Records": records}


def invoke(event: dict[str, Any]) -> dict[str, Any]:
    return load_handler("catalogue_images").handler(event, Context())


def test_new_images_are_entered_and_announced_once(catalogue, announced):
    for number in range(2):
        put(f"raw-images/north/{number}.jpg", encoded(picture(seed=number)))
    event = created("raw-images/north/0.jpg", "raw-images/north/1.jpg")
    assert invoke(event) == {"batchItemFailures": []}
    assert invoke(event) == {"batchItemFailures": []}

    items = list(catalogue.by_status("PENDING"))
    assert [item.key for item in items] == ["raw-images/north/0.jpg", "raw-images/north/1.jpg"]
    assert {(item.flight, item.width, item.height, item.correlation_id) for item in items} == {
        ("north", 64, 48, "north")
    }
    assert announced() == [{"stack": "skyloop-dev", "new": 2, "correlation_id": "north"}]


def test_the_same_picture_under_another_key_is_one_entry(catalogue, announced):
    body = encoded(picture())
    put("raw-images/a/1.jpg", body)
    put("raw-images/b/2.jpg", body)
    invoke(created("raw-images/a/1.jpg"))
    announced()
    invoke(created("raw-images/b/2.jpg", "raw-images/b/2.jpg", "raw-images/a/1.jpg"))

    (item,) = catalogue.by_status("PENDING")
    assert (item.key, item.duplicate_keys) == ("raw-images/a/1.jpg", frozenset({"raw-images/b/2.jpg"}))
    assert announced() == []


def test_four_at_once_make_one_entry(storage, catalogue):
    put("raw-images/a/1.jpg", encoded(picture()))
    intakes = [Intake(storage, catalogue) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        taken = list(pool.map(lambda intake: intake.take(Upload(bucket=BUCKET, key="raw-images/a/1.jpg")), intakes))
    assert sorted(result.outcome for result in taken) == ["known", "known", "known", "new"]
    (item,) = catalogue.by_status("PENDING")
    assert item.duplicate_keys == frozenset()


@pytest.mark.parametrize(
    "key",
    [
        "raw-images/north field/a+b.jpg",
        "raw-images/x/100%2Fy.jpg",
        "raw-images/поле/снимок é 😀.jpg",
        "raw-images//double//slash.jpg",
        "raw-images/x/a&b=c?d#e.jpg",
        "raw-images/x/trailing .jpg",
    ],
)
def test_odd_keys_are_read_as_they_are(catalogue, key):
    put(key, encoded(picture()))
    assert invoke(created(key)) == {"batchItemFailures": []}
    (item,) = catalogue.by_status("PENDING")
    assert item.key == key
    assert item.correlation_id.isascii()


def test_what_is_no_image_is_quarantined_with_its_reason_and_the_rest_goes_on(catalogue, announced):
    put("raw-images/a/text.jpg", b"this is no image\n")
    put("raw-images/a/good.jpg", encoded(picture()))
    event = created("raw-images/a/text.jpg", "raw-images/a/good.jpg")
    assert invoke(event) == {"batchItemFailures": []}
    invoke(event)

    (refused,) = catalogue.by_status("QUARANTINED")
    assert (refused.key, refused.image_id[:11]) == ("raw-images/a/text.jpg", "quarantine#")
    assert "this is no image" in refused.reason
    s3 = client("s3")
    assert s3.get_object(Bucket=BUCKET, Key="quarantine/raw-images/a/text.jpg")["Body"].read() == b"this is no image\n"
    record = json.load(s3.get_object(Bucket=BUCKET, Key="quarantine/raw-images/a/text.jpg.reason.json")["Body"])
    assert (record["code"], record["reason"], record["size"]) == ("not-an-image", refused.reason, 17)
    assert len(list(catalogue.by_status("PENDING"))) == 1
    assert announced() == [{"stack": "skyloop-dev", "new": 1, "correlation_id": "a"}]


def test_a_repaired_file_leaves_the_quarantine(catalogue):
    put("raw-images/a/1.jpg", b"")
    invoke(created("raw-images/a/1.jpg"))
    (refused,) = catalogue.by_status("QUARANTINED")
    assert "0 bytes" in refused.reason
    put("raw-images/a/1.jpg", encoded(picture()))
    invoke(created("raw-images/a/1.jpg"))
    assert list(catalogue.by_status("QUARANTINED")) == []
    assert len(list(catalogue.by_status("PENDING"))) == 1


def test_another_reason_replaces_the_first(catalogue):
    put("raw-images/a/1.jpg", b"")
    invoke(created("raw-images/a/1.jpg"))
    put("raw-images/a/1.jpg", b"GIF89a" + bytes(40))
    invoke(created("raw-images/a/1.jpg"))
    (refused,) = catalogue.by_status("QUARANTINED")
    assert "a GIF" in refused.reason


def test_dots_in_a_key_are_quarantined_unread(catalogue):
    put("raw-images/a/../b.jpg", encoded(picture()))
    assert invoke(created("raw-images/a/../b.jpg")) == {"batchItemFailures": []}
    (refused,) = catalogue.by_status("QUARANTINED")
    assert "'..'" in refused.reason
    kept = client("s3").get_object(Bucket=BUCKET, Key="quarantine/raw-images/a/%2E%2E/b.jpg.reason.json")
    assert json.load(kept["Body"])["code"] == "unsafe-key"


def test_what_is_gone_or_not_ours_is_no_failure(catalogue):
    put("raw-images/folder/", b"")
    put("monitoring/x.jpg", encoded(picture()))
    event = created("raw-images/a/deleted.jpg", "raw-images/folder/", "monitoring/x.jpg")
    assert invoke(event) == {"batchItemFailures": []}
    for status in ("PENDING", "QUARANTINED"):
        assert list(catalogue.by_status(status)) == []


UNREADABLE = ["not json", "{}", "[" * 100_000, '"\\ud800"', "null", '{"Records": [1]}']
NO_KEYS = [json.dumps(object_created(BUCKET, f"raw-images/{name}", 1)) for name in ("x" * 2000, "\ud800")]


@pytest.mark.parametrize("body", UNREADABLE + NO_KEYS)
def test_a_message_that_names_no_upload_is_put_aside(catalogue, storage, caplog, body):
    """At once: it will never name one, and while it came back the sweep would wait for it."""
    put("raw-images/a/1.jpg", encoded(picture()))
    event = created("raw-images/a/1.jpg", "raw-images/a/1.jpg")
    event["Records"][1]["body"] = body
    assert invoke(event) == {"batchItemFailures": []}
    (logged,) = [record for record in caplog.records if record.levelname == "ERROR"]
    kept = storage.read_json(logged.key)
    assert kept["message"] == body
    assert kept["reason"] == logged.reason
    assert len(list(catalogue.by_status("PENDING"))) == 1


def test_drifted_images_head_the_queue_and_carry_their_correlation_id(catalogue):
    put("raw-images/a/1.jpg", encoded(picture(seed=1)))
    put("raw-images/drift-x/2.jpg", encoded(picture(seed=2)), **{"priority": "drift", "correlation-id": "drift-7"})
    invoke(created("raw-images/a/1.jpg"))
    invoke(created("raw-images/drift-x/2.jpg"))
    first, second = catalogue.by_status("PENDING")
    assert (first.flight, first.correlation_id, second.flight) == ("drift-x", "drift-7", "a")


def test_a_file_over_the_limit_is_not_even_read(catalogue, monkeypatch):
    monkeypatch.setattr("skyloop.intake.intake.MAX_BYTES", 1000)
    put("raw-images/a/1.jpg", encoded(picture(200, 200)))
    invoke(created("raw-images/a/1.jpg"))
    (refused,) = catalogue.by_status("QUARANTINED")
    assert "MB" in refused.reason


def test_metrics_say_what_became_of_the_images(capsys):
    put("raw-images/a/1.jpg", encoded(picture()))
    put("raw-images/a/2.jpg", b"")
    invoke(created("raw-images/a/1.jpg", "raw-images/a/2.jpg"))
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if '"_aws"' in line]
    (metrics,) = [line for line in lines if "ImagesNew" in line]
    assert (metrics["ImagesNew"], metrics["ImagesQuarantined"]) == ([1.0], [1.0])
    assert metrics["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "Skyloop"


def test_a_refused_event_fails_no_message(catalogue, monkeypatch, caplog):
    put("raw-images/a/1.jpg", encoded(picture()))
    app = load_handler("catalogue_images")

    def refuse(*_: Any) -> None:
        raise EventRefused("ThrottlingException: too many")

    monkeypatch.setattr(app, "announce_images", refuse)
    assert app.handler(created("raw-images/a/1.jpg"), Context()) == {"batchItemFailures": []}
    assert "the sweep will start labeling" in caplog.text
    assert len(list(catalogue.by_status("PENDING"))) == 1
