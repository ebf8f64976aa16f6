"""functions/detect_drift: from capture files to reports, one alert an episode, and images back in the queue."""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import numpy as np
from skyloop.aws.clients import client
from skyloop.aws.state import StateTable
from skyloop.aws.storage import Storage
from skyloop.drift.window import CaptureReader

from tests.support.account import BUCKET
from tests.support.pictures import encoded, picture
from tests.support.profiles import draw
from tests.support.watched_endpoint import ARN, DARK, ENDPOINT, WINDOW, written_metrics


def test_ordinary_traffic_is_judged_reported_and_nobody_is_woken(world):
    world.deploy()
    assert world.tell(world.serve(WINDOW)) == {"batchItemFailures": []}
    assert world.alerts() == []
    assert world.keys("raw-images/") == []
    page, numbers = sorted(world.keys(f"monitoring/drift/{ENDPOINT}/"))
    assert (page.rsplit(".")[-1], numbers.rsplit(".")[-1]) == ("html", "json")
    report = world.storage.read_json(numbers)
    assert report["judgment"]["decision"] == "OK"
    assert world.state()["state"] == "OK"


def test_drift_gives_one_alert_a_report_and_the_images_at_the_head_of_the_queue(world):
    world.deploy()
    world.tell(world.serve(WINDOW, DARK))
    [alert] = world.alerts()
    assert (alert["event"], alert["severity"], alert["stage"]) == ("drift", "warning", "dev")
    assert "images are darker: median brightness 0.3" in alert["what"]
    assert world.storage.read(world.storage.key_of(alert["links"]["report"])).content_type.startswith("text/html")
    report = world.storage.read_json(world.storage.key_of(alert["links"]["numbers"]))
    assert report["config"] == "skyloop-dev-v1"
    images = world.keys("raw-images/")
    assert len(images) == WINDOW
    stored = world.storage.read(images[0])
    assert stored.metadata == {"priority": "drift", "correlation-id": alert["correlation_id"]}
    day = world.state()["since"][:10].replace("-", "")
    assert images[0] == f"raw-images/drift-{ENDPOINT}-{day}/{hashlib.sha256(stored.body).hexdigest()[:16]}.jpg"
    assert stored.content_type == "image/jpeg"
    assert world.state()["state"] == "DRIFT"


def test_an_event_that_comes_twice_changes_nothing(world):
    world.deploy()
    key = world.serve(WINDOW, DARK)
    world.tell(key, key)
    before, files = world.state(), world.keys("")
    world.tell(key)
    world.tick()
    assert (world.state(), world.keys("")) == (before, files)
    assert len(world.alerts()) == 1


def test_an_episode_alerts_once_goes_on_collecting_and_ends_once(world):
    world.deploy()
    for _ in range(3):
        world.tell(world.serve(WINDOW, DARK))
    assert [alert["event"] for alert in world.alerts()] == ["drift"]
    assert len(world.keys("raw-images/")) == 3 * WINDOW
    for _ in range(2):
        world.tell(world.serve(WINDOW))
    assert [alert["event"] for alert in world.alerts()] == ["drift-cleared"]
    assert world.state()["state"] == "OK"
    world.tell(world.serve(WINDOW, DARK))
    assert [alert["event"] for alert in world.alerts()] == ["drift"]


def test_an_episode_fills_the_queue_only_so_far(world, monkeypatch):
    monkeypatch.setattr("skyloop.drift.monitor.MAX_IMAGES", 25)
    world.deploy()
    for _ in range(3):
        world.tell(world.serve(WINDOW, DARK))
    assert len(world.keys("raw-images/")) == 25
    assert world.state()["images_sent"] == 25


def test_the_most_unusual_images_go_first(world, monkeypatch):
    monkeypatch.setattr("skyloop.drift.monitor.MAX_IMAGES", 1)
    world.deploy()
    rows = draw(world.random, WINDOW, shift=DARK)
    rows[13] -= 0.3
    key = world.serve(WINDOW, rows=rows)
    world.tell(key)
    line = json.loads(world.storage.read(key).body.splitlines()[13])
    expected = base64.b64decode(line["captureData"]["endpointInput"]["data"])
    [image] = world.keys("raw-images/")
    assert world.storage.read(image).body == expected


def test_half_a_window_is_waited_for_then_a_fifth_of_it(world):
    world.deploy()
    world.tell(world.serve(9))
    assert world.keys("monitoring/drift/") == []
    world.tell(world.serve(1))
    assert len(world.keys("monitoring/drift/")) == 2
    world.tell(world.serve(3))
    assert len(world.keys("monitoring/drift/")) == 2
    world.tell(world.serve(1))
    assert len(world.keys("monitoring/drift/")) == 4


def test_the_schedule_judges_what_came_alone(world):
    world.deploy()
    world.tell(world.serve(10))
    world.tell(world.serve(1))
    assert len(world.keys("monitoring/drift/")) == 2
    assert world.tick()["state"] == "OK"
    assert len(world.keys("monitoring/drift/")) == 4
    assert "too little is new" in world.tick()["outcome"]


def test_before_anything_is_deployed_there_is_nothing_to_judge(world):
    assert world.tick() == {"endpoint": ENDPOINT, "state": "OK", "outcome": f"no model is in service on {ENDPOINT}"}
    assert world.tell(world.serve(WINDOW, DARK)) == {"batchItemFailures": []}


def test_a_new_config_starts_a_new_window_and_a_new_baseline(world):
    world.deploy()
    world.tell(world.serve(WINDOW, DARK))
    assert [alert["event"] for alert in world.alerts()] == ["drift"]
    world.time += timedelta(seconds=5)
    world.deploy("skyloop-dev-v2")
    world.baseline("job-2", draw(world.random, 60, shift=DARK))
    world.tell(world.serve(9, DARK, job="job-2"))
    assert world.state()["state"] == "DRIFT"  # nine requests say nothing about the new model yet
    world.tell(world.serve(WINDOW, DARK, job="job-2"))
    assert [alert["event"] for alert in world.alerts()] == ["drift-cleared"]
    assert (world.state()["state"], world.state()["config"]) == ("OK", "skyloop-dev-v2")


def test_drift_under_a_new_model_is_an_episode_of_its_own(world):
    world.deploy()
    world.tell(world.serve(WINDOW, DARK))
    world.time += timedelta(seconds=5)
    world.deploy("skyloop-dev-v2")
    world.tell(world.serve(WINDOW, DARK, job="job-2"))
    assert [alert["event"] for alert in world.alerts()] == ["drift", "drift"]


def test_answers_of_another_model_do_not_count(world):
    world.deploy()
    world.tell(world.serve(WINDOW, DARK, job="job-0"))
    assert world.keys("monitoring/drift/") == []


def test_the_smoke_test_is_no_traffic(world):
    world.deploy()
    world.tell(world.serve(WINDOW, DARK, inference_ids=(f"smoke-test-v1-{n}" for n in count())))
    assert world.keys("monitoring/drift/") == []


def test_one_picture_sent_many_times_is_one_picture(world):
    world.deploy()
    world.tell(world.serve(WINDOW, rows=np.repeat(draw(world.random, 1, shift=DARK), WINDOW, axis=0)))
    assert world.keys("monitoring/drift/") == []


def test_the_newest_requests_of_all_variants_make_the_window(world):
    world.deploy()
    world.serve(WINDOW, DARK, variant="primary")
    world.serve(WINDOW // 2, variant="primary")
    key = world.serve(WINDOW // 2, variant="canary")
    world.tell(key)
    assert world.alerts() == []
    [numbers] = [key for key in world.keys("monitoring/drift/") if key.endswith(".json")]
    assert len({image["capture_key"].split("/")[3] for image in world.storage.read_json(numbers)["images"]}) == 2


def test_without_captured_inputs_the_inference_id_names_the_image(world):
    world.deploy()
    names = [f"raw-images/flight-7/{number}.jpg" for number in range(WINDOW)]
    for number, name in enumerate(names):
        world.storage.write(name, encoded(picture(seed=1_000 + number)))
    as_given = (name if n % 2 else f"s3://{BUCKET}/{name}" for n, name in enumerate(names))
    world.tell(world.serve(WINDOW, DARK, inputs=False, inference_ids=as_given))
    assert len(world.keys("raw-images/drift-")) == WINDOW


def test_images_that_cannot_be_recovered_are_counted_in_the_alert(world):
    world.deploy()
    world.tell(world.serve(WINDOW, DARK, inputs=False, inference_ids=(f"request {n}" for n in count())))
    [alert] = world.alerts()
    told = f"0 of the most unusual images are at the head of the labeling queue ({WINDOW} more cannot be labeled"
    assert told in alert["kept"]


def test_broken_lines_and_other_objects_stop_nothing(world):
    world.deploy()
    key = world.serve(WINDOW, DARK)
    body = world.storage.read(key).body
    world.storage.write(key, b"{broken\n" + body + b'{"eventMetadata": {}}\n')
    assert world.tell("monitoring/capture/readme.txt", key) == {"batchItemFailures": []}
    assert len(world.alerts()) == 1


def test_a_missing_baseline_fails_the_messages_so_that_they_come_again(world):
    world.deploy()
    key = world.serve(WINDOW, DARK)
    uri = world.registry.metadata[ARN.format(1)].pop("baseline_uri")
    answer = world.tell(key, "monitoring/capture/readme.txt", key)
    assert answer == {"batchItemFailures": [{"itemIdentifier": "message-0"}, {"itemIdentifier": "message-2"}]}
    world.registry.metadata[ARN.format(1)]["baseline_uri"] = uri
    assert world.tell(key) == {"batchItemFailures": []}
    assert len(world.alerts()) == 1


def test_a_baseline_too_small_to_judge_by_is_said_and_not_retried_for_ever(world):
    world.deploy()
    world.baseline("job-1", draw(world.random, 5))
    assert world.tell(world.serve(WINDOW, DARK)) == {"batchItemFailures": []}
    assert "5 usable images, 8 are needed" in world.tick()["outcome"]
    assert world.alerts() == []


def test_a_broken_baseline_is_retried_and_then_somebodys_problem(world):
    world.deploy()
    world.storage.write("model-artifacts/job-1/evaluation/baseline.json", b"{}")
    assert world.tell(world.serve(WINDOW, DARK))["batchItemFailures"] == [{"itemIdentifier": "message-0"}]


def test_a_run_that_dies_before_its_alert_is_finished_by_a_later_one(world, monkeypatch):
    world.deploy()
    key = world.serve(WINDOW, DARK)

    def unreachable(*_: Any) -> str:
        raise ConnectionError("SNS is away")

    with monkeypatch.context() as broken:
        broken.setattr("skyloop.drift.monitor.publish", unreachable)
        assert world.tell(key)["batchItemFailures"] == [{"itemIdentifier": "message-0"}]
    assert world.state()["announced"] is False
    assert world.tell(key) == {"batchItemFailures": []}  # too soon to tell a dead run from a slow one
    assert world.alerts() == []
    monkeypatch.setattr("skyloop.drift.monitor.CLAIM_TIMEOUT", timedelta(0))
    world.tick()
    assert [alert["event"] for alert in world.alerts()] == ["drift"]
    assert world.state()["announced"] is True
    assert len(world.keys("raw-images/")) == WINDOW


def test_of_two_runs_at_once_one_acts(world, monkeypatch):
    world.deploy()
    key = world.serve(WINDOW, DARK)
    real, inner = StateTable.put_if, []

    def overtaken(self: StateTable, *arguments: Any, **options: Any) -> bool:
        if not inner:
            inner.append(True)
            world.tick()  # the other run judges the same window, start to end, just before our write
        return real(self, *arguments, **options)

    monkeypatch.setattr(StateTable, "put_if", overtaken)
    assert world.tell(key) == {"batchItemFailures": []}
    assert len(world.alerts()) == 1


def test_metrics_carry_the_endpoint(world, capsys):
    world.deploy()
    world.tell(world.serve(WINDOW, DARK))
    by_name = written_metrics(capsys.readouterr().out)
    assert by_name["DriftDetected"]["DriftDetected"] in (1, [1])
    assert by_name["DriftPValue"]["Endpoint"] == ENDPOINT
    assert {"DriftWindow", "CaptureLinesUnusable", "DriftImagesSent", "DriftStatisticsNotCompared"} <= set(by_name)


class Counting:
    """An S3 client that counts the objects it fetched."""

    def __init__(self, inner: Any) -> None:
        self.inner, self.fetched = inner, []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def get_object(self, **arguments: Any) -> Any:
        self.fetched.append(arguments["Key"])
        return self.inner.get_object(**arguments)


def test_only_files_that_are_needed_and_new_are_read(world):
    old = [world.serve(WINDOW) for _ in range(3)]
    since = world.time
    s3 = Counting(client("s3"))
    reader = CaptureReader(Storage(s3, BUCKET))
    window = {"size": WINDOW, "now": world.time + timedelta(minutes=1)}
    first = reader.window(ENDPOINT, since=since - timedelta(hours=1), **window)
    assert (len(first.seen), s3.fetched) == (WINDOW, [old[-1]])
    new = world.serve(5)
    second = reader.window(ENDPOINT, since=since - timedelta(hours=1), **window)
    assert s3.fetched == [old[-1], new]
    assert second.seen[-5:] != first.seen[-5:]
    assert reader.window(ENDPOINT, since=since, **window).seen == second.seen[-5:]


def test_an_endpoint_that_was_asked_long_ago_is_found_and_one_never_asked_is_empty(world):
    world.time -= timedelta(days=9)
    world.serve(WINDOW)
    reader = CaptureReader(world.storage)
    span = {"size": WINDOW, "since": world.time - timedelta(days=30), "now": datetime.now(UTC)}
    assert len(reader.window(ENDPOINT, **span).seen) == WINDOW
    assert reader.window("another", **span).seen == ()
