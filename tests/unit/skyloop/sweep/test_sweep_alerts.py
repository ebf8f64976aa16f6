"""functions/sweep_uploads: bad drops are alerted, each once."""

from __future__ import annotations

import pytest
from skyloop.layout import quarantine_id, queue_order

from tests.support.account import BUCKET
from tests.unit.skyloop.sweep.conftest import item, later, refused, sweep

pytestmark = pytest.mark.usefixtures("jobs")


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
