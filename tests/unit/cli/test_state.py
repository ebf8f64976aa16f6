"""`status`, `alerts` and `label` against moto's services."""

from __future__ import annotations

import io
import json
from datetime import timedelta
from typing import Any

import pytest
from rich.console import Console
from skyloop.aws.catalogue import Catalogue
from skyloop.aws.storage import Storage

from cli import alerts, render, snapshot, timeline
from cli.cloud import Cloud
from tests.unit.cli.filled import (
    NOW,
    put_endpoint,
    put_endpoint_state,
    put_image,
    put_package,
    put_state,
    snap,
    started,
)


def put_alert(cloud: Cloud, number: int, event: str, severity: str = "error") -> None:
    at = NOW + timedelta(minutes=number)
    document = {
        "event": event,
        "severity": severity,
        "stage": "dev",
        "subject": f"job-{number}",
        "what": f"what happened in {number}",
        "why": "a reason",
        "kept": "the champion",
        "next_step": "do this",
        "links": {"report": "s3://b/r.html"},
        "at": at.isoformat(),
    }
    archived = {"alert": document, "message_id": str(number), "published_at": at.isoformat()}
    key = f"monitoring/alerts/{at:%Y/%m/%d}/{number}.json"
    cloud.client("s3").put_object(Bucket="skyloop-data", Key=key, Body=json.dumps(archived))


@pytest.fixture(autouse=True)
def _recent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alerts, "LOOK_BACK_DAYS", 36_500)


def test_an_empty_stack_says_what_to_do(invoke) -> None:
    result = invoke("status")
    assert result.exit_code == 0, result.stderr
    assert "Nothing was dropped yet: skyloop drop FOLDER" in result.stdout
    assert "NotDeployed" in result.stdout
    document = json.loads(invoke("status", "--json").stdout)
    assert (document["drift"], document["endpoint"]["deployed_at"]) == ({}, "")


def test_status_shows_where_everything_stands(invoke, cloud: Cloud) -> None:
    for number in range(3):
        put_image(cloud, f"a{number}", "PENDING")
    put_image(cloud, "b", "LABELED")
    put_image(cloud, "c", "QUARANTINED", key="raw-images/f/[odd] text.jpg", reason="it is text")
    arn = put_package(cloud, "Approved")
    put_endpoint(cloud)
    put_endpoint_state(cloud, "skyloop-dev-v1", arn)
    put_state(cloud, "drift#skyloop-dev", state="DRIFT", since=NOW.isoformat(), report_key="monitoring/drift/r.json")
    result = invoke("status")
    assert result.exit_code == 0, result.stderr
    said = " ".join(result.stdout.split())
    for words in ("3 pending", "1 labeled", "1 quarantined", "InService", "serves version 1", "DRIFT", "it is text"):
        assert words in said
    assert "raw-images/f/[odd] text.jpg" in said
    document = json.loads(invoke("status", "--json").stdout)
    assert document["images"] == {"PENDING": 3, "LABELING": 0, "LABELED": 1, "QUARANTINED": 1}
    assert document["packages"][0]["version"] == 1
    facts = {"state": "DRIFT", "since": "2026-03-01T12:00:00Z", "report_key": "monitoring/drift/r.json"}
    assert (document["drift"], document["endpoint"]["deployed_at"]) == (facts, facts["since"])


def test_statuses_are_counted_against_the_way_of_an_image(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """An image that moves on between two counts must not be counted in both."""
    order: list[str] = []
    monkeypatch.setattr(Catalogue, "count", lambda self, status, at_most: order.append(status) or 0)
    assert list(snapshot.count_images(cloud)) == ["PENDING", "LABELING", "LABELED", "QUARANTINED"]
    assert order == ["QUARANTINED", "LABELED", "LABELING", "PENDING"]


def test_of_many_images_no_more_are_counted_than_can_be_at_each_look(invoke, cloud, monkeypatch) -> None:
    for number in range(5):
        put_image(cloud, str(number), "LABELED")
    put_image(cloud, "bad", "QUARANTINED")
    for module in (snapshot, render):
        monkeypatch.setattr(module, "MOST_COUNTED", 3)
    followed = timeline.Timeline(cloud)
    followed.look()
    assert "3+ labeled" in " ".join(invoke("status").stdout.split())
    document = json.loads(invoke("status", "--json").stdout)
    assert (document["images"]["LABELED"], document["images"]["QUARANTINED"]) == (3, 1)
    assert document["images_counted_to"] == 3
    # An image that waits for labels again is none that was dropped.
    put_image(cloud, "again", "PENDING")
    assert followed.look() == []


def test_only_the_config_in_service_names_its_version(invoke, cloud: Cloud) -> None:
    put_endpoint(cloud, "skyloop-dev-v1")
    put_endpoint_state(cloud, "skyloop-dev-v2", "arn:x/skyloop-dev/2")
    assert snapshot.endpoint(cloud).version == ""


def test_a_table_of_alerts_says_why_and_what_to_do_unless_all_is_well() -> None:
    text = {"subject": "s", "what": "what", "why": "a reason " * 90, "next_step": "do this"}
    shown = io.StringIO()
    console = Console(file=shown, width=1000)
    console.print(render.alerts_table([{**text, "event": "gate-refused", "severity": "warning"}]))
    console.print(render.alerts_table([{**text, "event": "deployed", "severity": "info"}]))
    assert shown.getvalue().count("why: a reason") == shown.getvalue().count("next: do this") == 1
    assert "…" in shown.getvalue()


def test_alerts_newest_first_and_by_event(invoke, cloud: Cloud) -> None:
    for number, event in enumerate(["drift", "gate-refused", "drift"]):
        put_alert(cloud, number, event)
    found = json.loads(invoke("alerts", "--json", "--days", "3650").stdout)
    assert [item["subject"] for item in found] == ["job-2", "job-1", "job-0"]
    only = json.loads(invoke("alerts", "--event", "drift", "--json", "--days", "3650", "-n", "1").stdout)
    assert [item["subject"] for item in only] == ["job-2"]
    shown = invoke("alerts", "--days", "3650").stdout
    for words in ("what happened in 1", "why    a reason", "kept   the champion", "next   do this", "s3://b/r.html"):
        assert words in shown


def test_an_alert_is_read_once(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """It never changes, and who watches asks every few seconds."""
    put_alert(cloud, 0, "drift")
    assert len(alerts.latest(cloud, 10, days=3650)) == 1
    put_alert(cloud, 1, "drift")
    read: list[str] = []
    once = Storage.read
    monkeypatch.setattr(Storage, "read", lambda storage, key: read.append(key) or once(storage, key))
    assert [one["subject"] for one in alerts.latest(cloud, 10, days=3650)] == ["job-1", "job-0"]
    assert len(read) == 1


def test_a_message_of_another_sender_is_shown_as_it_is(invoke, cloud: Cloud) -> None:
    message = {"alert": {"what": "ALARM: x"}, "message_id": "m", "published_at": "2026-03-01T12:00:00Z"}
    key = "monitoring/alerts/2026/03/01/m.json"
    cloud.client("s3").put_object(Bucket="skyloop-data", Key=key, Body=json.dumps(message))
    assert "ALARM: x" in invoke("alerts", "--days", "3650").stdout


def test_a_broken_archive_is_named(invoke, cloud: Cloud) -> None:
    cloud.client("s3").put_object(Bucket="skyloop-data", Key="monitoring/alerts/2026/03/01/m.json", Body=b"[]")
    result = invoke("alerts", "--days", "3650")
    assert result.exit_code == 1
    assert "not an archived alert" in result.stderr


def test_no_alerts(invoke) -> None:
    assert "No alerts." in invoke("alerts").stdout


@pytest.mark.parametrize(("arguments", "force"), [((), False), (("--now",), True)])
def test_label_starts_the_label_machine(invoke, cloud: Cloud, arguments: tuple[str, ...], force: bool) -> None:
    assert invoke("label", *arguments).exit_code == 0
    assert started(cloud, "Label") == [{"force": force}]


EVALUATION = {
    "dataset_id": "d",
    "test_set_id": "t",
    "training_job": "j7",
    "images": 4,
    "boxes": 9,
    "candidate": {"map50": 0.71},
    "engine": {"name": "openvino"},
    "slicing": {"side": 556, "overlap": 0.2, "whole": True, "cost": 6.4, "map50_without": 0.42},
}


@pytest.mark.parametrize(
    ("document", "says", "not_said"),
    [
        (EVALUATION, ["by openvino", "slices of 556 pixels, 6.4 times", "mAP50 0.710, without slices 0.420"], []),
        (
            EVALUATION | {"slicing": EVALUATION["slicing"] | {"side": None, "cost": 1.0}},
            ["every picture as a whole", "mAP50 0.710"],
            ["slices"],
        ),
        (EVALUATION | {"slicing": None, "engine": None}, ["mAP50 0.710"], ["slices", "as a whole", " by "]),
        ({"of": "your own"}, [], ["looks"]),
        (None, [], ["looks"]),
    ],
)
def test_status_says_how_the_version_in_service_looks_at_pictures(
    cloud: Cloud, document: dict[str, Any] | None, says: list[str], not_said: list[str]
) -> None:
    if document is not None:
        cloud.storage.write("model-artifacts/j7/evaluation/evaluation.json", json.dumps(document).encode())
    package = snapshot.Package(1, "arn:x/skyloop-dev/1", "Approved", 0.71, NOW, training_job="j7")
    serving = snapshot.Endpoint("skyloop-dev", "InService", "c1", package.arn)
    now = snapshot.with_evaluation(cloud, snap(packages=[package], endpoint=serving))
    console = Console(width=200)
    with console.capture() as shown:
        console.print(render.status(now))
    assert [part for part in says if part not in shown.get()] == []
    assert [part for part in not_said if part in shown.get()] == []
    report = "s3://skyloop-data/model-artifacts/j7/evaluation/report.html"
    assert (report in shown.get()) == (report in json.dumps(now.as_document(), default=str)) == bool(says)
