"""What is on its way is written down once, and by whoever it belongs to."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from contextvars import copy_context
from pathlib import Path

import pytest

from laptop.documents import Document
from laptop.journal import FILE, Delivery, Journal
from laptop.ministack_patches import deliveries
from laptop.ministack_patches.deliveries import Deliveries, ending, whole


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with closing(Journal(tmp_path / FILE)) as journal:
        yield journal


@pytest.fixture
def kept(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> Deliveries:
    kept = Deliveries()
    kept.open(journal, lambda: None)
    monkeypatch.setattr(deliveries, "DELIVERIES", kept)
    return kept


def names(journal: Journal) -> list[str]:
    return [delivery.content["name"] for delivery in journal.deliveries()]


def test_what_belongs_to_a_delivery_is_not_written_down_by_itself(kept: Deliveries, journal: Journal) -> None:
    with ending(kept.begin("outer", {"name": "outer"})):
        with whole("inner", {"name": "inner"}):
            assert names(journal) == ["outer"]
        assert not kept.done()
    assert len(kept.done()) == 1
    with whole("next", {"name": "next"}):
        assert names(journal) == ["outer", "next"]


def test_what_a_delivery_starts_outlives_it_and_is_written_down(kept: Deliveries, journal: Journal) -> None:
    """As an execution that an event starts, whose thread gets the context of the delivery."""

    def execution() -> None:
        with whole("event", {"name": "of the execution"}):
            pass

    with ending(kept.begin("outer", {"name": "outer"})):
        thread = threading.Thread(target=copy_context().run, args=(execution,))
        thread.start()
        thread.join()
    assert names(journal) == ["outer", "of the execution"]


def test_one_that_cannot_be_made_again_stops_no_other(
    kept: Deliveries, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    over = threading.Event()

    def carry(number: int, content: Document) -> None:
        if content["name"] == "bad":
            raise KeyError("bad")
        made.append(content["name"])
        over.set()

    monkeypatch.setattr(deliveries, "_carriers", {"event": carry})
    for name in ("bad", "good"):
        kept.begin("event", {"name": name})
    kept.open(journal, lambda: None)
    assert "2 deliveries" in kept.resume()[0]
    assert over.wait(60)
    assert made == ["good"]
    assert names(journal) == ["good"]  # until it is ended, and a snapshot has it
    assert kept.resume() == []


def test_a_delivery_keeps_its_account_and_region(kept: Deliveries, journal: Journal) -> None:
    kept.begin("event", {"name": "one"})
    (delivery,) = journal.deliveries()
    assert delivery == Delivery(1, "event", {"account": "000000000000", "region": "us-east-1", "name": "one"})
