"""skyloop.intake.uploads: messages that say that an object was uploaded."""

from __future__ import annotations

import json

import pytest
from skyloop.intake.uploads import Upload, object_created, uploads_in

from tests.support.files import stored_event

ODD = Upload(bucket="skyloop-dev-data", key="raw-images/north field/a+b %2F é.jpg")


def test_an_eventbridge_key_is_raw():
    assert uploads_in(json.dumps(stored_event("s3_object_created"))) == [ODD]


def test_a_notification_key_is_encoded():
    assert uploads_in(json.dumps(stored_event("s3_notification"))) == [ODD]


def test_the_sweeps_message_is_understood():
    assert uploads_in(json.dumps(object_created(ODD.bucket, ODD.key, 5))) == [ODD]


def test_what_is_no_creation_tells_of_no_upload():
    event = stored_event("s3_notification")
    event["Records"][0]["eventName"] = "ObjectRemoved:Delete"
    assert uploads_in(json.dumps(event)) == []
    assert uploads_in('{"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "b"}') == []


@pytest.mark.parametrize(
    "body",
    [
        "",
        "text",
        "[]",
        "{}",
        "7",
        '{"detail": {}}',
        '{"detail": null}',
        '{"detail": {"bucket": {"name": "b"}, "object": {"key": ""}}}',
        '{"detail": {"bucket": {"name": "b"}, "object": {"key": 7}}}',
        '{"Records": [{"eventName": "ObjectCreated:Put"}]}',
        '{"Records": [7]}',
    ],
)
def test_anything_else_is_an_error(body):
    with pytest.raises(ValueError):  # noqa: PT011  pydantic's and json's errors are both ValueErrors
        uploads_in(body)
