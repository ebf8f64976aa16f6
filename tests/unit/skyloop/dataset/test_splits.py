"""skyloop.dataset.splits: no leak, nothing moves, and no split is empty without need."""

from __future__ import annotations

import hashlib
import random
from collections import Counter, defaultdict
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skyloop.dataset.splits import (
    GUARD_FRAMES,
    MAX_GUARD_LOSS,
    Frame,
    SplitPlan,
    block_names,
    flight_names,
    frame_position,
    plan_splits,
)

from tests.support.files import shared_folder

SPLITS = {"train", "validation", "test"}


def frame(flight: str, name: str, captured_at: str | None = None) -> Frame:
    image_id = hashlib.sha256(f"{flight}/{name}".encode()).hexdigest()
    return Frame(image_id, flight, frame_position(image_id, f"raw-images/{flight}/{name}", captured_at))


def spelled(number: int) -> str:
    """A number in letters: a name without digits."""
    return "".join("abcdefghij"[int(digit)] for digit in str(number))


def flight(name: str, count: int, first: int = 1, step: int = 1) -> list[Frame]:
    return [frame(name, f"1_60_30_0_{first + step * number:05d}.jpg") for number in range(count)]


def frozen_after(plans: SplitPlan, before: dict | None = None) -> dict:
    return {**(before or {}), **plans.new}


def looked_up(frames: list[Frame], frozen: dict) -> dict:
    """Of all frozen items those that a caller would look up, as the state table has no other access."""
    flights = {name: frozen[name] for name in flight_names(frames) if name in frozen}
    return flights | {name: frozen[name] for name in block_names(frames, flights) if name in frozen}


def sizes(plans: SplitPlan) -> Counter:
    return Counter(plans.splits.values())


@st.composite
def collections(draw):
    """Flights of all sizes and kinds of names."""
    frames = []
    for number in range(draw(st.integers(1, 7))):
        count = draw(st.sampled_from([1, 2, 3, 5, 12, 40, 150]))
        kind = draw(st.sampled_from(["number", "gap", "time", "none"]))
        for index in range(count):
            if kind == "none":
                frames.append(frame(f"f{number}", f"{spelled(index)}.jpg"))
            elif kind == "time":
                frames.append(frame(f"f{number}", f"{index}.jpg", f"2026-05-01T{index // 60:02d}:{index % 60:02d}:00"))
            else:
                offset = 5000 if kind == "gap" and index > count // 2 else 0
                frames.append(frame(f"f{number}", f"a_{index * 3 + offset}.jpg"))
    return frames


@settings(max_examples=40)
@given(collections(), st.randoms(use_true_random=False))
def test_every_frame_is_placed_once_whatever_the_order(frames, shuffler):
    first = plan_splits(frames, {})
    assert first.splits.keys() | first.guards == {f.image_id for f in frames}
    assert not first.splits.keys() & first.guards
    shuffled = frames.copy()
    shuffler.shuffle(shuffled)
    assert plan_splits(shuffled, {}) == first


@settings(max_examples=40)
@given(collections())
def test_a_group_lies_in_one_split_and_no_split_is_empty_that_need_not_be(frames):
    placed = plan_splits(frames, {})
    assert set(placed.groups.values()) <= SPLITS
    places = {(f.flight, f.position) for f in frames}
    if len(places) >= 3:
        assert set(sizes(placed)) == SPLITS
    by_place = defaultdict(set)
    for f in frames:
        if f.image_id in placed.splits:
            by_place[f.flight, f.position].add(placed.splits[f.image_id])
    assert all(len(splits) == 1 for splits in by_place.values())


@settings(max_examples=40)
@given(collections(), collections())
def test_what_was_placed_never_moves(before, after):
    """More flights, and more frames of the same ones: no frame changes its split; at most it is left out."""
    first = plan_splits(before, {})
    everything = list({f.image_id: f for f in before + after}.values())
    frozen = frozen_after(first)
    second = plan_splits(everything, looked_up(everything, frozen))
    for image_id, split in first.splits.items():
        assert second.splits.get(image_id, split) == split
    for name, split in first.groups.items():
        assert second.groups[name] == split
    assert not second.new.keys() & frozen.keys()
    third = plan_splits(everything, looked_up(everything, frozen_after(second, frozen)))
    assert (third.splits, third.groups, third.new) == (second.splits, second.groups, {})


@settings(max_examples=40)
@given(collections(), collections())
def test_what_was_tested_is_never_trained(before, after):
    first = plan_splits(before, {})
    everything = list({f.image_id: f for f in before + after}.values())
    second = plan_splits(everything, looked_up(everything, frozen_after(first)))
    tested = {image_id for image_id, split in first.splits.items() if split == "test"}
    assert not [i for i in tested if second.splits.get(i) in {"train", "validation"}]


def test_whole_flights_where_there_are_enough():
    frames = [f for number in range(8) for f in flight(f"flight-{number}", 20)]
    placed = plan_splits(frames, {})
    assert set(placed.groups) == {f"flight-{number}" for number in range(8)}
    assert placed.guards == frozenset()
    assert sizes(placed) == {"train": 120, "validation": 20, "test": 20}


@pytest.mark.parametrize(("first", "step"), [(1, 1), (1600, 7)])
def test_one_dominant_flight_is_cut_into_blocks_with_guards(first, step):
    frames = flight("night", 260, first, step)
    placed = plan_splits(frames, {})
    assert set(sizes(placed)) == SPLITS
    assert 0.5 * 260 < sizes(placed)["train"] < 0.75 * 260
    assert placed.unordered == ()
    row = [placed.splits.get(f.image_id) for f in frames]
    for number, split in enumerate(row):
        if split == "train":
            near = set(row[max(0, number - GUARD_FRAMES) : number + GUARD_FRAMES + 1])
            assert near <= {"train", None}
        if split == "validation":
            assert "test" not in row[max(0, number - GUARD_FRAMES) : number + GUARD_FRAMES + 1]
    # Test and validation lose nothing but what borders on the test set.
    assert len(placed.guards) < MAX_GUARD_LOSS * 260


def test_a_dominant_flight_beside_small_ones():
    frames = flight("large", 300) + flight("small", 10) + flight("tiny", 5)
    placed = plan_splits(frames, {})
    assert {"small", "tiny"} <= placed.groups.keys()
    assert "large" not in placed.groups
    assert placed.new["large"]["split"] == "blocks"


def test_two_sorties_in_one_folder_are_still_enough_blocks():
    frames = flight("day", 40, 1600) + flight("day", 40, 6400)
    placed = plan_splits(frames, {})
    assert len(placed.groups) >= 10
    assert set(sizes(placed)) == SPLITS


def test_a_flight_without_order_is_split_and_said_so():
    frames = [frame("f", f"{spelled(number)}.jpg") for number in range(100)]
    placed = plan_splits(frames, {})
    assert set(sizes(placed)) == SPLITS
    assert placed.unordered == ("f",)
    assert placed.guards == frozenset()


@pytest.mark.parametrize("count", [3, 4, 5, 8, 12])
def test_short_flights_fill_every_split(count):
    assert set(sizes(plan_splits(flight("short", count), {}))) == SPLITS


def test_a_flight_that_was_whole_stays_whole_when_it_grows():
    frames = [f for number in range(4) for f in flight(f"flight-{number}", 10)]
    first = plan_splits(frames, {})
    grown = frames + flight("flight-0", 500, first=100)
    second = plan_splits(grown, looked_up(grown, frozen_after(first)))
    assert second.groups == first.groups


def test_frames_later_added_within_a_block_join_it():
    """Odd frames first, then the even ones between them."""
    odd, even = flight("night", 130, 1, 2), flight("night", 130, 2, 2)
    first = plan_splits(odd, {})
    everything = odd + even
    second = plan_splits(everything, looked_up(everything, frozen_after(first)))
    assert set(second.new) <= set(second.groups)
    row = sorted(everything, key=lambda f: f.position[1])
    changes = [
        (a, b)
        for a, b in pairwise(row)
        if {second.splits.get(a.image_id), second.splits.get(b.image_id)} >= {"train", "test"}
    ]
    assert changes == []


@pytest.mark.parametrize(
    ("name", "captured_at", "expected"),
    [
        ("1_60_30_0_00017.jpg", None, ("n", 17)),
        ("DJI_0042.JPG", None, ("n", 42)),
        ("frame12 (copy).jpg", None, ("n", 12)),
        ("IMG.jpg", "1970-01-01T00:01:00+00:00", ("t", 60)),
        ("7.jpg", "1970-01-01T00:01:00+00:00", ("t", 60)),
        ("7.jpg", "no time", ("n", 7)),
        ("9" * 40 + ".jpg", None, ("n", int("9" * 18))),
    ],
)
def test_position(name, captured_at, expected):
    assert frame("f", name, captured_at).position == expected


def test_no_frames_no_plan():
    assert plan_splits([], {}) == SplitPlan({}, {}, {}, frozenset())


def test_twenty_thousand_frames_are_placed():
    frames = [f for number in range(20) for f in flight(f"flight-{number}", 1000)]
    random.Random(0).shuffle(frames)
    assert sizes(plan_splits(frames, {}))["train"] == 14_000


def test_the_real_night_flight():
    folder = shared_folder() / "data" / "hit-uav" / "night-60m" / "images"
    frames = [frame("night-60m", path.name) for path in sorted(folder.iterdir())]
    placed = plan_splits(frames, {})
    numbers = {f.image_id: f.position[1] for f in frames}
    trained = [numbers[i] for i, split in placed.splits.items() if split == "train"]
    tested = [numbers[i] for i, split in placed.splits.items() if split == "test"]
    assert min(abs(a - b) for a in trained for b in tested) > 3
    assert sizes(placed)["train"] > 150
