"""skyloop.sweep.tour: how much of the bucket a sweep looks at."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from skyloop.sweep.tour import MOST_PAGES, PAGES, TOUR_SECONDS, Tour

START = datetime(2026, 11, 23, 12, tzinfo=UTC)


@given(last_pages=st.integers(0, 10**7), seconds=st.integers(0, 10**7), pages=st.integers(0, 10**7))
def test_what_a_sweep_looks_at_is_bounded(last_pages, seconds, pages):
    tour = Tour(after="k", began=START, pages=pages, last_pages=last_pages)
    assert PAGES <= tour.due(START + timedelta(seconds=seconds)) <= MOST_PAGES


@pytest.mark.parametrize(
    ("bucket", "minutes"),
    [(1, 15), (PAGES, 15), (1000, 15), (10_000, 15), (50_000, 15), (50_000, 5), (1000, 60), (15_000, 60), (2500, 360)],
)
def test_a_tour_takes_a_day_at_most_whatever_the_schedule_is(bucket, minutes):
    """Up to where MOST_PAGES are too few: 50 million objects are 50,000 pages."""
    now, tour = START, Tour(began=START, last_pages=bucket)
    seen = 0
    while seen < bucket:
        tour = tour.starting(now)
        portion = min(tour.due(now), bucket - seen)
        seen += portion
        tour = tour.moved(f"{seen:09}", portion, is_last=seen == bucket, failed=False)
        now += timedelta(minutes=minutes)
    assert (now - START).total_seconds() <= max(TOUR_SECONDS + 2 * 60 * minutes, 24 * 3600)
    assert (tour.after, tour.pages, tour.last_pages) == ("", 0, bucket)


def test_what_failed_is_looked_at_once_more_and_then_left_to_the_next_tour():
    tour = Tour(after="a", began=START, pages=5, last_pages=9)
    again = tour.moved("b", 3, is_last=False, failed=True)
    assert (again.after, again.pages, again.failed) == ("a", 5, True)
    for failed in (False, True):
        on = again.moved("b", 3, is_last=False, failed=failed)
        assert (on.after, on.pages, on.failed) == ("b", 8, False)


def test_a_tour_begins_when_its_first_page_is_looked_at():
    later = START + timedelta(hours=1)
    assert Tour(began=START).starting(later).began == later
    assert Tour(after="a", began=START).starting(later).began == START
