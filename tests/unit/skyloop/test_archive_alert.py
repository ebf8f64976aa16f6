"""functions/archive_alert: what SNS delivers ends up in the bucket, once."""

from __future__ import annotations

import json

import pytest
from moto import mock_aws
from skyloop.aws.clients import client

from tests.support.account import BUCKET, Context, create_stack, load_handler, set_environment
from tests.support.files import stored_event

KEY = "monitoring/alerts/2026/11/20/95df01b4-ee98-5cb9-9903-4c221d41eb5e.json"


@pytest.fixture(autouse=True)
def stack(monkeypatch):
    set_environment(monkeypatch)
    with mock_aws():
        create_stack()
        yield


def keys() -> list[str]:
    return [entry["Key"] for entry in client("s3").list_objects_v2(Bucket=BUCKET).get("Contents", [])]


def test_an_alert_is_kept_once_however_often_it_is_delivered():
    app, event = load_handler("archive_alert"), stored_event("sns_alert")
    first, second = app.handler(event, Context()), app.handler(event, Context())
    [key] = keys()
    assert first == second == {"archived": [f"s3://{BUCKET}/{key}"]}
    assert key.startswith(KEY.rpartition("/")[0])
    kept = json.loads(client("s3").get_object(Bucket=BUCKET, Key=key)["Body"].read())
    assert kept["alert"]["what"] == "images are darker"
    assert kept["attributes"] == {"event": "drift", "severity": "warning", "stage": "dev"}
    assert kept["mail_subject"] == "[skyloop-dev] drift: skyloop-dev"


def test_plain_text_on_the_topic_is_kept():
    event = stored_event("sns_alert")
    event["Records"][0]["Sns"] |= {"Message": "ALARM: p99 latency", "MessageAttributes": {}, "Subject": None}
    load_handler("archive_alert").handler(event, Context())
    kept = json.loads(client("s3").get_object(Bucket=BUCKET, Key=KEY)["Body"].read())
    assert kept["alert"] == {"what": "ALARM: p99 latency"}
