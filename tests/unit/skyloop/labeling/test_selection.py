"""skyloop.labeling.selection: when images become a labeling job."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from skyloop.labeling.selection import MAX_SETTLING, Queue, decide_selection, labeling_job_name
from skyloop.layout import queue_order

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
LIMITS = {"batch_size": 10, "max_wait_hours": 24, "quiet_seconds": 120}


def queue(pending: int, oldest: timedelta, newest: timedelta, full: timedelta | None = None) -> Queue:
    return Queue(pending, NOW - oldest, NOW - newest, None if full is None else NOW - full)


HOUR, MINUTE, SECOND = timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1)


@pytest.mark.parametrize(
    ("waiting", "decision"),
    [
        (Queue(0, None, None, None), "idle"),
        (queue(9, HOUR, HOUR), "idle"),
        (queue(10, HOUR, HOUR, HOUR), "label"),
        (queue(10, HOUR, 119 * SECOND, 119 * SECOND), "wait"),
        (queue(10, HOUR, 120 * SECOND, 120 * SECOND), "label"),
        (queue(1, 24 * HOUR, 24 * HOUR), "label"),
        (queue(1, 24 * HOUR - SECOND, 24 * HOUR - SECOND), "idle"),
        (queue(9, 24 * HOUR, SECOND), "wait"),
        (queue(9, 24 * HOUR + MAX_SETTLING * 2 * MINUTE, SECOND), "label"),
        (queue(10, HOUR, SECOND, MAX_SETTLING * 2 * MINUTE), "label"),
        (queue(10, HOUR, SECOND, MAX_SETTLING * 2 * MINUTE - SECOND), "wait"),
    ],
)
def test_decision(waiting, decision):
    assert decide_selection(waiting, NOW, **LIMITS).decision == decision


def test_the_wait_ends_when_it_would_be_quiet():
    assert decide_selection(queue(10, HOUR, 30 * SECOND, MINUTE), NOW, **LIMITS).wait_seconds == 90


def test_force_labels_what_there_is_and_nothing_of_nothing():
    assert decide_selection(queue(1, SECOND, SECOND), NOW, **LIMITS, force=True).decision == "label"
    assert decide_selection(Queue(0, None, None, None), NOW, **LIMITS, force=True).decision == "idle"


@given(st.integers(1, 30), st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 3600))
def test_waiting_ends(pending, age, newest_age, full_age, quiet):
    """ScoredRequest again after each wait, with no further upload, the answer becomes another one."""
    ages = sorted((age, full_age, newest_age), reverse=True)
    waiting = queue(
        pending, ages[0] * SECOND, ages[2] * SECOND, ages[1] * SECOND if pending >= LIMITS["batch_size"] else None
    )
    verdict = decide_selection(waiting, NOW, batch_size=10, max_wait_hours=24, quiet_seconds=quiet)
    if verdict.decision == "wait":
        assert 1 <= verdict.wait_seconds <= max(1, quiet)
        later = NOW + timedelta(seconds=verdict.wait_seconds)
        assert (
            decide_selection(waiting, later, batch_size=10, max_wait_hours=24, quiet_seconds=quiet).decision == "label"
        )


def test_a_job_is_named_by_its_images_in_any_order():
    images = [("a" * 64, 0), ("b" * 64, 2)]
    name = labeling_job_name("skyloop-dev", images)
    assert name == labeling_job_name("skyloop-dev", reversed(images))
    assert re.fullmatch(r"skyloop-dev-[0-9a-f]{12}", name)
    assert name != labeling_job_name("skyloop-dev", [("a" * 64, 1), ("b" * 64, 2)])
    assert name != labeling_job_name("skyloop-dev", images[:1])


@given(st.lists(st.tuples(st.booleans(), st.datetimes(timezones=st.just(UTC))), min_size=2))
def test_queue_order_is_priority_then_arrival(entries):
    by_text = sorted(entries, key=lambda entry: queue_order(*entry, "f" * 64))
    assert by_text == sorted(entries, key=lambda entry: (not entry[0], entry[1]))
