"""skyloop.aws.catalogue: every change is conditional, and long answers come in pages."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from skyloop.aws.catalogue import COPY, MOST_DUPLICATE_KEYS
from skyloop.aws.objects import KnownObjects
from skyloop.documents import CatalogueItem
from skyloop.layout import queue_order

START = datetime(2026, 11, 23, 12, tzinfo=UTC)


def item(number: int, **changes: Any) -> CatalogueItem:
    image_id, arrived = f"{number:064x}", START + timedelta(seconds=number)
    facts: dict[str, Any] = {
        "image_id": image_id,
        "status": "PENDING",
        "queue_order": queue_order(False, arrived, image_id),
        "key": f"raw-images/f/{number}.jpg",
        "flight": "f",
        "correlation_id": "f",
        "catalogued_at": arrived,
        "latitude": 47.3712345,
        "longitude": -8.5,
        "width": 640,
    }
    return CatalogueItem(**{**facts, **changes})


def test_what_is_added_is_what_is_read(catalogue):
    full = item(1, duplicate_keys=frozenset({"a", "b"}), captured_at="2026-01-01T00:00:00", reason="é")
    assert catalogue.add(full)
    assert catalogue.get(full.image_id) == full
    assert not catalogue.add(item(1, key="elsewhere"))
    assert catalogue.get(full.image_id) == full
    assert catalogue.get("nobody") is None


def test_an_image_goes_through_its_states_once(catalogue):
    one = item(1)
    catalogue.add(one)
    assert not catalogue.mark_labeled(one.image_id, "job")
    assert catalogue.claim(one.image_id, "job")
    assert not catalogue.claim(one.image_id, "job")
    assert not catalogue.claim(one.image_id, "other")
    assert not catalogue.requeue(one.image_id, "other")
    assert not catalogue.mark_labeled(one.image_id, "other")
    assert catalogue.mark_labeled(one.image_id, "job")
    assert catalogue.mark_labeled(one.image_id, "job")
    assert not catalogue.requeue(one.image_id, "job")
    labeled = catalogue.get(one.image_id)
    assert (labeled.status, labeled.labeling_job, labeled.attempts) == ("LABELED", "job", 0)


def test_unanswered_images_are_counted_apart(catalogue):
    one = item(1)
    catalogue.add(one)
    catalogue.claim(one.image_id, "a")
    catalogue.requeue(one.image_id, "a")
    catalogue.claim(one.image_id, "b")
    assert catalogue.requeue_unlabeled(one.image_id, "b")
    back = catalogue.get(one.image_id)
    assert (back.status, back.attempts, back.unanswered, back.labeling_job) == ("PENDING", 2, 1, None)


def test_giving_up_leaves_a_reason(catalogue):
    one = item(1)
    catalogue.add(one)
    assert not catalogue.quarantine(one.image_id, "job", "because")
    catalogue.claim(one.image_id, "job")
    assert catalogue.quarantine(one.image_id, "job", "because")
    assert (catalogue.get(one.image_id).status, catalogue.get(one.image_id).reason) == ("QUARANTINED", "because")


def test_whatever_a_reason_quotes_has_room(catalogue):
    """However it comes into an entry."""
    long, most = "é\ud800" * 300_000, 1000
    assert catalogue.add_refused(item(1, status="QUARANTINED", reason=long))
    assert not catalogue.add_refused(item(1, status="QUARANTINED", reason=long))
    for number in (2, 3):
        catalogue.add(item(number, etag="e"))
    catalogue.claim(item(2).image_id, "job")
    assert catalogue.quarantine(item(2).image_id, "job", long)
    assert catalogue.put_aside(item(3, etag="e"), long, START)
    for number in (1, 2, 3):
        kept = catalogue.get(item(number).image_id).reason
        assert (len(kept), kept[:7], kept[-1]) == (most, "é\\ud800", "…")


def test_a_key_is_a_duplicate_once_and_never_its_own(catalogue):
    one = item(1)
    catalogue.add(one)
    assert not catalogue.add_duplicate_key(one.image_id, one.key, "e")
    assert catalogue.add_duplicate_key(one.image_id, "raw-images/g/2.jpg", "e")
    assert not catalogue.add_duplicate_key(one.image_id, "raw-images/g/2.jpg", "e")
    # A part of a known key is another key.
    assert catalogue.add_duplicate_key(one.image_id, "raw-images/g/2", "e")
    assert catalogue.get(one.image_id).duplicate_keys == {"raw-images/g/2.jpg", "raw-images/g/2"}


def test_an_image_has_any_number_of_copies(catalogue):
    """430 keys of a kilobyte are more than an item of DynamoDB has room for."""
    one = item(1, etag="e")
    catalogue.add(one)
    keys = [f"raw-images/{'x' * 980}/{number}.jpg" for number in range(430)]
    assert all(catalogue.add_duplicate_key(one.image_id, key, "e") for key in keys)
    assert not any(catalogue.add_duplicate_key(one.image_id, key, "e") for key in (one.key, *keys))
    [entry] = catalogue.by_status("PENDING")
    assert len(entry.duplicate_keys) == MOST_DUPLICATE_KEYS
    known = KnownObjects(catalogue.client, catalogue.table)
    every = sorted([one.key, *keys])
    assert sorted([*known.of("PENDING", every), *known.of(COPY, every)]) == [(key, "e") for key in every]
    # A copy whose key has other bytes by now is noticed.
    assert catalogue.add_duplicate_key(one.image_id, keys[-1], "put again")
    assert list(known.of(COPY, keys[-1:])) == [(keys[-1], "put again")]
    assert catalogue.count("PENDING", 10) == 1


def test_no_more_is_counted_than_asked_for(catalogue):
    for number in range(7):
        catalogue.add(item(number, labeling_job="x" * 300_000))
    assert [catalogue.count("PENDING", most) for most in (1, 6, 7, 8)] == [1, 6, 7, 7]
    assert catalogue.count("LABELED", 3) == 0


def test_of_what_was_alerted_nothing_is_read_again(catalogue):
    scanned: list[int] = []
    hooks = catalogue.client.meta.events
    hooks.register(
        "after-call.dynamodb.Query", lambda parsed, **_: scanned.append(parsed["ScannedCount"]), unique_id="n"
    )
    try:
        for number in range(5):
            catalogue.add_refused(item(number, status="QUARANTINED", reason="no image"))
        for entry in list(catalogue.unalerted())[:4]:
            assert catalogue.mark_alerted(entry, START)
        assert [entry.image_id for entry in catalogue.unalerted()] == [item(4).image_id]
    finally:
        hooks.unregister("after-call.dynamodb.Query", unique_id="n")
    assert scanned == [5, 1]


def test_more_than_a_page(catalogue):
    """Items padded so that DynamoDB's megabyte a page holds a part of them."""
    for number in range(30):
        catalogue.add(item(number, labeling_job="x" * 80_000))
    catalogue.add(item(99, queue_order=queue_order(True, START, "f" * 64)))
    in_order = [entry.image_id for entry in catalogue.by_status("PENDING")]
    assert in_order == [f"{number:064x}" for number in (99, *range(30))]
    assert [e.image_id for e in catalogue.by_status("PENDING", limit=2)] == in_order[:2]
    assert [e.image_id for e in catalogue.by_status("PENDING", newest_first=True, limit=1)] == in_order[-1:]
    assert [e.image_id for e in catalogue.by_status("PENDING", priority=True)] == in_order[:1]
    assert [e.image_id for e in catalogue.by_status("PENDING", priority=False, limit=1)] == in_order[1:2]
    assert (catalogue.count("PENDING", 99), catalogue.count("LABELED", 99)) == (31, 0)
