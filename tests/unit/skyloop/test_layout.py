"""skyloop.layout: rules for S3 keys."""

from __future__ import annotations

import re
from urllib.parse import quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st
from skyloop import layout

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=300)


@pytest.mark.parametrize(
    ("key", "flight"),
    [
        ("raw-images/north/1.jpg", "north"),
        ("raw-images/north/day 2/1.jpg", "north"),
        ("raw-images/a+b%2F é/1.jpg", "a+b%2F é"),
        ("raw-images//north//1.jpg", "north"),
        ("raw-images/1.jpg", "unsorted"),
        ("raw-images///1.jpg", "unsorted"),
    ],
)
def test_flight(key, flight):
    assert layout.flight_of(key) == flight


@pytest.mark.parametrize("key", ["", "north/1.jpg", "raw-images", "/raw-images/north/1.jpg", "Raw-Images/a/1.jpg"])
def test_only_raw_images_have_a_flight(key):
    with pytest.raises(ValueError, match="raw-images"):
        layout.flight_of(key)


@given(TEXT)
def test_classic_notifications_are_decoded_to_the_real_key(key):
    assert layout.notification_key(quote_plus(key, safe="/")) == key


def test_dots_within_a_name_are_fine_and_as_a_segment_are_not():
    assert layout.unsafe_segments("raw-images/a.b/..c/d..jpg") == []
    assert layout.unsafe_segments("raw-images/../a/./b.jpg") == ["..", "."]


@given(TEXT)
def test_quarantine_keys_are_readable_short_enough_and_apart(tail):
    key = f"raw-images/{tail}"
    target = layout.quarantine_key(key)
    assert target.startswith("quarantine/")
    assert layout.unsafe_segments(target) == []
    assert len(layout.reason_key(key).encode()) <= layout.MAX_KEY_BYTES
    if not layout.unsafe_segments(key) and len(key.encode()) < 900:
        assert target == f"quarantine/{key}"


def test_a_key_of_full_length_is_quarantined_under_its_hash():
    key = "raw-images/" + "é" * 500
    assert layout.quarantine_key(key) == f"quarantine/{layout.key_hash(key)}"


@given(TEXT)
def test_correlation_ids_are_tag_values(text):
    assert re.fullmatch(r"[A-Za-z0-9_.:/=+@-]{1,128}", layout.correlation_id_of(text))


def test_correlation_ids_stay_apart():
    assert layout.correlation_id_of("north-7") == "north-7"
    assert layout.correlation_id_of("поле") != layout.correlation_id_of("море")
    assert layout.correlation_id_of("x" * 200 + "a") != layout.correlation_id_of("x" * 200 + "b")
