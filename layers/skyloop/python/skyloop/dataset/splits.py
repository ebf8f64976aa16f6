"""Leak-free, frozen splits: whole flights, or blocks of consecutive frames where one flight is too large a part.

Frames of one flight look alike, and neighbors are nearly the same picture: a model that is tested on the neighbor of a
training frame scores too well. So a group (a flight, or a block of its frames) lies in one split as a whole, and stays
there: the test set only grows, and two models that are compared on it were trained on none of it.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from skyloop.documents import SPLITS, JsonObject, Split

SHARES: dict[Split, float] = {"train": 0.7, "validation": 0.15, "test": 0.15}

DOMINANT = 0.6
"""A flight with more than this share of all frames is cut into blocks."""

BLOCKS = 12
"""About how many blocks a flight is cut into: enough for three splits, and little is lost at so few borders."""

GUARD_FRAMES = 3
"""Frames left out on either side of a border between splits."""

MAX_GUARD_LOSS = 1 / 4
"""Share of a flight's frames in one split that guard frames may cost, at most; short flights have fewer of them."""

BY_BLOCK = "blocks"
"""Written in place of a split for a flight that is cut into blocks."""

_HASH_RANGE = 1 << 32

Place = tuple[str, tuple[str, int]]
"""A flight, and a position there: see `frame_position`."""

_LAST_NUMBER = re.compile(r"(\d{1,18})(?=\D*$)")


@dataclass(frozen=True, slots=True)
class Frame:
    """One image to be placed. `position` within its flight: see `frame_position`.

    others: flight and position of each other place that labels name for the same picture.
    """

    image_id: str
    flight: str
    position: tuple[str, int]
    others: tuple[Place, ...] = ()

    @property
    def place(self) -> Place:
        """Its flight, and its position there."""
        return self.flight, self.position


@dataclass(frozen=True)
class SplitPlan:
    """Which frame lies in which split.

    `splits`: image id -> split; guard frames have none. `groups`: every group -> its split. `new`: StateTable items (by
    group name, without the `split#` prefix) to freeze before the plan is used. `guards`: image ids that are left out.
    `unordered`: flights cut into blocks though nothing says which of their frames are neighbors. `moved`: image ids
    that are left out, because labels name them in groups of different splits.
    """

    splits: dict[str, Split]
    groups: dict[str, Split]
    new: dict[str, JsonObject]
    guards: frozenset[str]
    unordered: tuple[str, ...] = ()
    moved: frozenset[str] = frozenset()


def frame_position(image_id: str, key: str, captured_at: str | None) -> tuple[str, int]:
    """(lane, place) of a frame within its flight; near places within a lane are near in time.

    `t`: seconds, by the camera's clock (`captured_at` is ISO 8601). `n`: the last number in the file name; the text
    before it may change, because cameras count on when their settings change. `x`: neither is known; the place is a
    hash, and near means nothing.
    """
    if captured_at:
        try:
            return "t", int(datetime.fromisoformat(captured_at).timestamp())
        except ValueError:
            pass
    stem = key.rsplit("/", 1)[-1].rsplit(".", 1)[0]
    number = _LAST_NUMBER.search(stem)
    if number:
        return "n", int(number.group(1))
    return "x", int(hashlib.sha256(image_id.encode()).hexdigest()[:8], 16)


def flight_names(frames: Iterable[Frame]) -> list[str]:
    """The names of the groups to look up first: the flights themselves."""
    return sorted({flight for frame in frames for flight, _ in (frame.place, *frame.others)})


def block_names(frames: Iterable[Frame], flights: Mapping[str, JsonObject]) -> list[str]:
    """The names of the groups to look up next, from the items found for the flights: blocks of those that are cut."""
    cut = {flight: item["widths"] for flight, item in flights.items() if item["split"] == BY_BLOCK}
    places = ((flight, position) for frame in frames for flight, position in (frame.place, *frame.others))
    return sorted({_block(flight, *position, cut[flight]) for flight, position in places if flight in cut})


def plan_splits(frames: Iterable[Frame], frozen: Mapping[str, JsonObject]) -> SplitPlan:
    """Place every frame. Deterministic: the same frames and frozen items give the same plan, in any order.

    A picture that labels name in groups of different splits is left out: whichever is right, a model has been trained
    on it, or will be tested on its neighbors. `frozen` holds the items of StateTable, by group name. Frozen groups
    stay. New ones go to the split that lacks most frames of its share (70 % train, 15 % validation, 15 % test); with
    few groups left, to the empty splits first.
    """
    flights = _by_flight(frames)
    total = sum(len(members) for members in flights.values())
    # Not the groups that only other places of pictures are in.
    cut = _flights_to_cut(flights, {n: item for n, item in frozen.items() if n.partition("/")[0] in flights}, total)
    # Widths come before the blocks that need them: a writer that freezes in this order can stop after any item.
    new: dict[str, JsonObject] = {
        flight: {"split": BY_BLOCK, "widths": _widths(flights[flight])}
        for flight in sorted(cut)
        if flight not in frozen
    }
    widths = {flight: (new.get(flight) or frozen[flight])["widths"] for flight in cut}
    group_of = {frame.image_id: _group(*frame.place, widths) for members in flights.values() for frame in members}
    sizes = Counter(group_of.values())
    groups = {name: frozen[name]["split"] for name in sizes if name in frozen}
    for name, split in _place_new(sizes, groups):
        groups[name] = split
        new[name] = {"split": split}
    splits = {image_id: groups[group] for image_id, group in group_of.items()}
    cut_before = {name: item["widths"] for name, item in frozen.items() if item["split"] == BY_BLOCK}
    placed = {name: item["split"] for name, item in frozen.items()} | groups
    guards = {image_id for flight in sorted(cut) for image_id in _guards(flights[flight], splits, widths[flight])}
    moved = {
        frame.image_id
        for members in flights.values()
        for frame in members
        for flight, position in frame.others
        if placed.get(_group(flight, position, cut_before | widths), splits[frame.image_id]) != splits[frame.image_id]
    }
    unordered = [flight for flight in sorted(cut) if any(frame.position[0] == "x" for frame in flights[flight])]
    return SplitPlan(
        splits={image_id: split for image_id, split in splits.items() if image_id not in guards | moved},
        groups=dict(sorted(groups.items())),
        new=new,
        guards=frozenset(guards),
        unordered=tuple(unordered),
        moved=frozenset(moved - guards),
    )


def _by_flight(frames: Iterable[Frame]) -> dict[str, list[Frame]]:
    flights: dict[str, list[Frame]] = defaultdict(list)
    for frame in frames:
        flights[frame.flight].append(frame)
    return {flight: sorted(flights[flight], key=lambda frame: frame.image_id) for flight in sorted(flights)}


def _flights_to_cut(flights: dict[str, list[Frame]], frozen: Mapping[str, JsonObject], total: int) -> set[str]:
    """Flights to cut into blocks: those cut before, those that dominate, and the largest if splits lack groups.

    A flight that was placed as a whole stays whole.
    """
    cut = {flight for flight in flights if frozen.get(flight, {}).get("split") == BY_BLOCK}
    free = sorted((flight for flight in flights if flight not in frozen), key=lambda f: (-len(flights[f]), f))
    cut |= {flight for flight in free if len(flights[flight]) > DOMINANT * total}
    filled = {item["split"] for item in frozen.values() if item["split"] != BY_BLOCK}
    missing = sum(split not in filled for split in SPLITS)
    whole = [flight for flight in free if flight not in cut]
    if not cut and len(whole) < missing:
        cut |= set(whole[:1])
    return cut


def _widths(members: list[Frame]) -> dict[str, int]:
    """For each lane the widest block that still makes about BLOCKS blocks with frames in them.

    Positions may have long gaps (two sorties in one folder), so the width is halved until enough blocks are filled.
    """
    lanes: dict[str, list[int]] = defaultdict(list)
    for frame in members:
        lane, place = frame.position
        lanes[lane].append(place)
    widths = {}
    for lane, places in lanes.items():
        wanted = min(BLOCKS, len(set(places)))
        width = max(1, (max(places) - min(places) + 1) // BLOCKS)
        while width > 1 and len({place // width for place in places}) < wanted:
            width //= 2
        widths[lane] = width
    return widths


def _group(flight: str, position: tuple[str, int], widths: Mapping[str, Mapping[str, int]]) -> str:
    """The name of the group at a place: the flight, or its block where it is among those that are cut."""
    return _block(flight, *position, widths[flight]) if flight in widths else flight


def _block(flight: str, lane: str, place: int, widths: Mapping[str, int]) -> str:
    """The name of the block at a place: `<flight>/<lane><number>`. Flights have no `/`, so no flight has this name.

    A lane without frames when the flight was first cut gets the width of the others; hashes get a twelfth of their
    range.
    """
    fallback = _HASH_RANGE // BLOCKS if lane == "x" else max(widths.values(), default=1)
    return f"{flight}/{lane}{place // int(widths.get(lane, fallback))}"


def _place_new(sizes: Counter[str], placed: Mapping[str, Split]) -> list[tuple[str, Split]]:
    """Give every group without a split one: largest first, each to the split that lacks most frames."""
    total = sum(sizes.values())
    have: dict[Split, int] = dict.fromkeys(SPLITS, 0)
    for name, split in placed.items():
        have[split] += sizes[name]
    # Groups of equal size come in the order of a hash, so that blocks of one split are spread over the flight.
    waiting = sorted((name for name in sizes if name not in placed), key=lambda name: (-sizes[name], _hash(name)))
    answer = []
    for number, name in enumerate(waiting):
        empty = [split for split in SPLITS if have[split] == 0]
        candidates = empty if empty and len(waiting) - number <= len(empty) else list(SPLITS)
        split = max(candidates, key=lambda split: SHARES[split] * total - have[split])
        have[split] += sizes[name]
        answer.append((name, split))
    return answer


def _guards(members: list[Frame], splits: Mapping[str, Split], widths: Mapping[str, int]) -> set[str]:
    """Frames of one flight to leave out: training frames next to others, validation frames next to test frames."""
    lanes: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for frame in members:
        lane, place = frame.position
        if lane != "x":
            lanes[lane].append((place, frame.image_id))
    left_out: set[str] = set()
    for lane, row in lanes.items():
        row.sort()
        far = int(widths.get(lane, 1))
        left_out |= _beside(row, splits, "train", {"validation", "test"}, far)
        left_out |= _beside(row, splits, "validation", {"test"}, far)
    return left_out


def _beside(
    row: list[tuple[int, str]], splits: Mapping[str, Split], split: Split, others: set[Split], far: int
) -> set[str]:
    """Frames of `split` with one of `others` among their next few in the row, not further away than a block.

    The reach shrinks until the frames are no more than MAX_GUARD_LOSS of the split's own.
    """
    own = [number for number, (_, image_id) in enumerate(row) if splits[image_id] == split]
    for reach in range(GUARD_FRAMES, 0, -1):
        near = {
            row[number][1]
            for number in own
            if any(
                splits[image_id] in others and abs(place - row[number][0]) <= far
                for place, image_id in row[max(0, number - reach) : number + reach + 1]
            )
        }
        if len(near) <= MAX_GUARD_LOSS * len(own):
            return near
    return set()


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()
