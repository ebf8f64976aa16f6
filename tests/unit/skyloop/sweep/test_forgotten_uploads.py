"""skyloop.sweep.uploads: whatever lies in the bucket without its entry is found, whenever and wherever it was put.

The bucket, the catalogue and the queue are in memory here, with pages of two objects and three pages a sweep.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skyloop import layout
from skyloop.aws.settings import Settings
from skyloop.aws.storage import ListingPage, ObjectSummary
from skyloop.sweep import uploads as module
from skyloop.sweep.failures import Failures
from skyloop.sweep.uploads import ForgottenUploads

START = datetime(2026, 11, 23, 12, tzinfo=UTC)
QUIET = 60
PAGE, PAGES = 2, 3
EVERY = timedelta(minutes=15)


class Interrupted(BaseException):
    """The function's process ends: nothing of it goes on."""


@dataclass
class World:
    """All that a sweep sees. `calls` counts what it asks; the call with the number `ends_at` never returns."""

    objects: dict[str, tuple[str, float]] = field(default_factory=dict)
    entries: dict[str, str] = field(default_factory=dict)
    newest: list[str] = field(default_factory=list)
    tour: dict[str, Any] | None = None
    queued: list[str] = field(default_factory=list)
    refuses: frozenset[str] = frozenset()
    calls: Counter[str] = field(default_factory=Counter)
    ends_at: int | None = None
    bucket: str = "bucket"

    def called(self, name: str) -> None:
        if self.ends_at is not None and self.calls.total() >= self.ends_at:
            raise Interrupted
        self.calls[name] += 1

    def pages(self, prefix: str, after: str = "") -> Iterator[ListingPage]:
        keys = sorted(key for key in self.objects if key.startswith(prefix) and key > after)
        for first in range(0, max(len(keys), 1), PAGE):
            self.called("list")
            found = [(key, *self.objects[key]) for key in keys[first : first + PAGE]]
            page = [ObjectSummary(key, 1, modified, etag) for key, etag, modified in found]
            yield ListingPage(page, is_last=first + PAGE >= len(keys))

    def of(self, status: str, keys: Sequence[str]) -> Iterator[tuple[str, str]]:
        self.called("query")
        found = sorted(self.entries.items()) if status == "LABELED" else []
        yield from (pair for pair in found if keys[0] <= pair[0] <= keys[-1])

    def newest_folders(self, since: datetime) -> list[str]:
        self.called("newest")
        return self.newest

    def get(self, name: str) -> dict[str, Any] | None:
        assert name == layout.SWEEP_TOUR
        return self.tour

    def put_if(self, name: str, item: dict[str, Any], *, attribute: str, equals: int | None) -> bool:
        self.called("put")
        if (self.tour or {}).get(attribute) != equals:
            return False
        self.tour = item
        return True

    def get_queue_attributes(self, **_: Any) -> dict[str, Any]:
        return {"Attributes": {"ApproximateNumberOfMessages": "0"}}

    def send_message_batch(self, QueueUrl: str, Entries: list[dict[str, str]]) -> dict[str, Any]:
        self.called("send")
        keys = [json.loads(entry["MessageBody"])["detail"]["object"]["key"] for entry in Entries]
        self.queued += [key for key in keys if key not in self.refuses]
        return {"Failed": [key for key in keys if key in self.refuses]}

    def catalogue_what_is_queued(self) -> None:
        for key in self.queued:
            if key in self.objects:
                self.entries[key] = self.objects[key][0]
        self.queued.clear()

    @property
    def forgotten(self) -> set[str]:
        uploads = {key: etag for key, (etag, _) in self.objects.items() if not layout.is_folder_marker(key)}
        return {key for key, etag in uploads.items() if self.entries.get(key) != etag}

    @property
    def tour_sweeps(self) -> int:
        """So many sweeps go once through the bucket."""
        return max(1, -(-len(self.objects) // (PAGE * PAGES)))

    def sweep(self, now: datetime) -> Failures:
        failures, me = Failures(), self
        stack = Settings.model_construct(labeling_quiet_seconds=QUIET, uploads_queue_url="queue")
        ForgottenUploads(me, me, me, me, stack, failures).queue_again(now)  # type: ignore[arg-type]
        return failures


@pytest.fixture(autouse=True)
def small_tours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGES", PAGES)
    monkeypatch.setattr("skyloop.sweep.tour.PAGES", PAGES)


# Names that begin other names, folders in folders, and characters that sort first and last.
NAMES = st.text(alphabet="ab/.~é\uffff", min_size=1, max_size=4) | st.sampled_from(["a/", "a/b/", "z/"]).flatmap(
    lambda folder: st.integers(0, 30).map(lambda number: f"{folder}{number}.jpg")
)
KEYS = NAMES.map(lambda name: f"{layout.RAW_IMAGES}{name}")
PUTS = st.lists(st.tuples(st.integers(0, 12), KEYS, st.sampled_from("xyz"), st.booleans()), max_size=40)


@given(puts=PUTS, deleted=st.lists(st.tuples(st.integers(0, 12), KEYS), max_size=5))
@settings(max_examples=200, deadline=None)
def test_whatever_is_put_whenever_without_an_event_is_found_within_a_tour(puts, deleted):
    """Between any two sweeps: new keys, other bytes under known ones, with an event or without, and deletions."""
    world, now = World(), START
    for moment in range(13):
        for _, key, etag, told in (put for put in puts if put[0] == moment):
            world.objects[key] = (etag, now.timestamp())
            if told:
                world.entries[key] = etag
        for _, key in (each for each in deleted if each[0] == moment):
            world.objects.pop(key, None)
        now += EVERY
        assert world.sweep(now).errors == []
        world.catalogue_what_is_queued()
    # The tour that is under way when the last one is put, and one more.
    for _ in range(world.tour_sweeps + 1):
        now += EVERY
        world.sweep(now)
        world.catalogue_what_is_queued()
    assert world.forgotten == set()


def test_a_key_that_begins_the_next_one_hides_it_from_no_sweep():
    keys = [f"{layout.RAW_IMAGES}{'a' * length}" for length in range(1, 20)]
    world = World(objects=dict.fromkeys(keys, ("x", START.timestamp())))
    for sweeps in range(1, world.tour_sweeps + 1):
        world.sweep(START + sweeps * EVERY)
    assert world.queued == keys


@given(count=st.integers(1, 40), ends=st.lists(st.integers(0, 30), max_size=8), data=st.data())
@settings(max_examples=200, deadline=None)
def test_an_end_at_any_moment_passes_nothing(count, ends, data):
    """Kill -9, a timeout: at each call of a sweep. What was passed was queued, and the tour goes on from there."""
    objects = {f"{layout.RAW_IMAGES}f/{number:02}": ("x", START.timestamp()) for number in range(count)}
    world, now = World(objects=objects), START + EVERY
    told = data.draw(st.sets(st.sampled_from(sorted(objects))))
    world.entries.update(dict.fromkeys(told, "x"))
    wanted = world.forgotten
    seen: set[str] = set()
    for end in ends:
        world.calls.clear()
        world.ends_at = end
        with suppress(Interrupted):
            world.sweep(now)
        seen |= set(world.queued)
        now += EVERY
    world.ends_at = None
    for _ in range(world.tour_sweeps + 1):
        world.sweep(now)
        seen |= set(world.queued)
        now += EVERY
    assert seen == wanted


@given(refused=st.sets(st.integers(0, 29)), count=st.integers(1, 30))
@settings(max_examples=100, deadline=None)
def test_what_the_queue_refuses_keeps_nothing_from_the_others(refused, count):
    """Its own sweep fails, and so does the next look; the tour goes on, and comes back when the queue takes it."""
    keys = [f"{layout.RAW_IMAGES}f/{number:02}" for number in range(count)]
    world, now = World(objects=dict.fromkeys(keys, ("x", START.timestamp()))), START + EVERY
    world.refuses = frozenset(keys[number] for number in refused if number < count)
    for _ in range(2 * world.tour_sweeps + 2):
        world.sweep(now)
        world.catalogue_what_is_queued()
        now += EVERY
    assert world.forgotten == world.refuses
    world.refuses = frozenset()
    for _ in range(2 * world.tour_sweeps + 1):
        world.sweep(now)
        world.catalogue_what_is_queued()
        now += EVERY
    assert world.forgotten == set()


def many(flights: int, frames: int) -> World:
    keys = [f"{layout.RAW_IMAGES}f{flight:02}/{frame}" for flight in range(flights) for frame in range(frames)]
    objects = dict.fromkeys(keys, ("x", START.timestamp()))
    return World(objects=objects, entries=dict.fromkeys(keys, "x"))


def test_a_small_bucket_is_seen_whole_at_each_sweep():
    world, now = many(1, PAGE * PAGES), START + EVERY
    for key in sorted(world.objects):
        del world.entries[key]
        world.sweep(now)
        assert world.queued == [key]
        world.catalogue_what_is_queued()
    assert world.calls["newest"] == 0


@pytest.mark.parametrize("flights", [20, 200])
def test_a_sweep_costs_the_same_however_large_the_bucket_is(flights):
    world = many(flights, 4)
    world.sweep(START + EVERY)
    assert world.calls == {"list": PAGES, "query": PAGES, "put": 1, "newest": 1}


def test_a_lost_frame_of_a_new_flight_is_found_at_the_next_sweep():
    """However large the bucket is and wherever the tour is: the flight's other frames say that it is new."""
    world = many(40, 4)
    world.sweep(START + EVERY)
    lost = f"{layout.RAW_IMAGES}f39/2"
    del world.entries[lost]
    world.newest = [layout.RAW_IMAGES, f"{layout.RAW_IMAGES}f39/"]
    world.sweep(START + 2 * EVERY)
    assert world.queued == [lost]
    assert world.calls["list"] == 2 * PAGES + 2


def test_new_folders_have_a_limit_of_their_own(monkeypatch):
    monkeypatch.setattr(module, "NEW_PAGES", 3)
    world = many(40, 4)
    world.newest = [f"{layout.RAW_IMAGES}f{flight}/" for flight in range(10, 40)]
    world.sweep(START + EVERY)
    assert world.calls["list"] == PAGES + 3


def test_of_two_sweeps_at_once_one_moves_on():
    """The other has looked at the same, and queues it once more at worst."""
    world, now = many(5, 4), START + EVERY
    world.sweep(now)
    before = dict(world.tour or {})
    real = world.put_if

    def late(name: str, item: dict[str, Any], **condition: Any) -> bool:
        world.put_if = real  # type: ignore[method-assign]
        world.sweep(now)
        return real(name, item, **condition)

    world.put_if = late  # type: ignore[method-assign]
    world.sweep(now)
    assert world.tour is not None
    assert (world.tour["pages"], world.tour["step"]) == (before["pages"] + PAGES, before["step"] + 1)
