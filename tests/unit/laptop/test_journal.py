"""What was acknowledged is in the journal until a snapshot covers it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from unittest.mock import Mock

import pytest

from laptop.database import NotStored
from laptop.journal import FILE, Delivery, Journal


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / FILE


@pytest.fixture
def journal(file: Path) -> Iterator[Journal]:
    with closing(Journal(file)) as journal:
        yield journal


def test_a_snapshot_covers_no_request_that_came_after_it(journal: Journal) -> None:
    covered = [journal.log("PutItem", {"n": number}) for number in range(5)][-1]
    journal.put_snapshots({}, covered)
    later = journal.log("PutItem", {"n": 5})
    journal.put_snapshots({}, covered)  # the tables changed meanwhile, and this request was not among what was read
    assert [request.number for request in journal.requests()] == [later]


def test_numbers_go_on_where_a_cloud_before_ended(journal: Journal, file: Path) -> None:
    numbers = [journal.log("PutItem", {"n": number}) for number in range(3)]
    journal.close()
    with closing(Journal(file)) as again:
        assert again.log("PutItem", {}) > numbers[-1]
        assert [request.number for request in again.requests()][:3] == numbers


def test_a_delivery_stays_until_a_snapshot_has_what_came_of_it(journal: Journal, file: Path) -> None:
    first, second, third = (journal.put_delivery("event", json.dumps({"n": number})) for number in range(3))
    journal.put_snapshots({"sqs": "{}"}, delivered={first, third})
    journal.close()
    with closing(Journal(file)) as again:
        assert list(again.deliveries()) == [Delivery(second, "event", {"n": 1})]


def test_a_delivery_that_cannot_be_read_is_put_aside(journal: Journal) -> None:
    journal.put_delivery("event", "[")
    number = journal.put_delivery("event", "{}")
    assert [each.number for each in journal.deliveries()] == [number]
    assert "The delivery number 1 (event) cannot be read" in journal.found[0]


def test_a_journal_knows_when_it_was_written_and_whether_it_was_empty(
    journal: Journal, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert journal.was_empty
    assert journal.last_written() is None
    for seconds in (100.5, 50.25):  # a clock may be set back
        monkeypatch.setattr("laptop.journal.time.time", lambda seconds=seconds: seconds)
        journal.put_snapshots({})
        assert journal.last_written() == seconds
    journal.close()
    with closing(Journal(file)) as again:
        assert not again.was_empty


@pytest.mark.parametrize(
    "write",
    [
        lambda journal: journal.log("PutItem", {}),
        lambda journal: journal.put_delivery("event", "{}"),
        lambda journal: journal.put_execution("arn", {"executionArn": "arn"}, {}),
    ],
)
def test_a_journal_with_anything_in_it_is_not_empty(
    journal: Journal, file: Path, write: Callable[[Journal], object]
) -> None:
    write(journal)
    journal.close()
    with closing(Journal(file)) as again:
        assert not again.was_empty


def test_what_cannot_be_read_at_the_moment_is_not_damaged(journal: Journal) -> None:
    """Where it were, the cloud would begin empty."""
    real = journal._connection
    journal._connection = Mock()
    journal._connection.execute.side_effect = sqlite3.OperationalError("disk I/O error")
    with pytest.raises(NotStored, match="disk I/O error"):
        journal.snapshots()
    journal._connection = real
