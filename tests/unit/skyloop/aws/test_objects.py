"""skyloop.aws.objects: which objects the catalogue knows, read for ranges of keys."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from skyloop.aws.objects import KnownObjects
from skyloop.documents import CatalogueItem
from skyloop.layout import queue_order

START = datetime(2026, 11, 23, 12, tzinfo=UTC)


def item(number: int, key: str, **changes: Any) -> CatalogueItem:
    image_id = f"{number:064x}"
    facts: dict[str, Any] = {
        "image_id": image_id,
        "status": "LABELED",
        "queue_order": queue_order(False, START, image_id),
        "key": key,
        "flight": "f",
        "correlation_id": "f",
        "catalogued_at": START,
        "etag": f"e{number}",
    }
    return CatalogueItem(**{**facts, **changes})


@pytest.fixture
def known(catalogue) -> KnownObjects:
    return KnownObjects(catalogue.client, catalogue.table)


@pytest.fixture
def read(catalogue) -> Iterator[Counter[str]]:
    """Queries, and the entries that DynamoDB read for them."""
    counts: Counter[str] = Counter()

    def look(parsed: dict[str, Any], **_: Any) -> None:
        counts["queries"] += 1
        counts["entries"] += parsed["ScannedCount"]

    hooks = catalogue.client.meta.events
    hooks.register("after-call.dynamodb.Query", look, unique_id="read")
    yield counts
    hooks.unregister("after-call.dynamodb.Query", unique_id="read")


def test_the_keys_between_two_are_read_in_one_query(catalogue, known, read):
    for number in range(9):
        catalogue.add(item(number, f"raw-images/f/{number}.jpg"))
    keys = [f"raw-images/f/{number}.jpg" for number in range(2, 7)]
    assert list(known.of("LABELED", keys)) == [(key, f"e{number}") for number, key in enumerate(keys, 2)]
    assert read == {"queries": 1, "entries": 5}
    assert list(known.of("PENDING", keys)) == []
    assert list(known.of("LABELED", [])) == []


def test_an_entry_that_was_put_aside_accounts_for_nothing(catalogue, known):
    catalogue.add(item(1, "raw-images/f/1.jpg", status="QUARANTINED", replaced_at=START))
    catalogue.add(item(2, "raw-images/f/2.jpg", status="QUARANTINED", etag=None))
    keys = ["raw-images/f/1.jpg", "raw-images/f/2.jpg"]
    assert list(known.of("QUARANTINED", keys)) == [(keys[1], None)]


def test_entries_of_objects_that_are_gone_are_skipped(catalogue, known, read):
    """Their raw images were deleted after the training: a hundred entries lie between two objects."""
    for number in range(200):
        catalogue.add(item(number, f"raw-images/f/{number:03}.jpg"))
    keys = ["raw-images/f/000.jpg", "raw-images/f/100.jpg", "raw-images/f/199.jpg"]
    assert [key for key, _ in known.of("LABELED", keys) if key in keys] == keys
    assert read["queries"] <= 3
    assert read["entries"] <= 10


@pytest.mark.parametrize("others", [1, 3, 7])
def test_every_entry_of_a_key_is_read_wherever_a_page_ends(catalogue, known, others):
    """One key was overwritten again and again: each content has an entry, and each entry counts."""
    keys = ["raw-images/f/1.jpg", "raw-images/f/2.jpg", "raw-images/f/3.jpg"]
    wanted = [item(number, keys[1]) for number in range(others)]
    for each in (*wanted, item(20, keys[0]), item(21, keys[2])):
        catalogue.add(each)
    found = list(known.of("LABELED", keys))
    assert sorted(found) == sorted([(keys[0], "e20"), *((keys[1], each.etag) for each in wanted), (keys[2], "e21")])


def test_the_newest_folders_are_those_of_the_last_entries(catalogue, known):
    for number, (folder, minutes, status) in enumerate(
        [
            ("old", -600, "LABELED"),
            ("a", 1, "PENDING"),
            ("b/c", 2, "LABELED"),
            ("a", 3, "LABELING"),
            ("bad", 0, "QUARANTINED"),
        ]
    ):
        at = START + timedelta(minutes=minutes)
        order = queue_order(False, at, f"{number:064x}")
        catalogue.add(item(number, f"raw-images/{folder}/1.jpg", status=status, queue_order=order))
    first = item(9, "raw-images/drift/1.jpg", queue_order=queue_order(True, START + timedelta(hours=1), "9"))
    catalogue.add(first)
    found = known.newest_folders(START - timedelta(hours=1))
    assert found == ["raw-images/a/", "raw-images/b/c/", "raw-images/bad/"]
