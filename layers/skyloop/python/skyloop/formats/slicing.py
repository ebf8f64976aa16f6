"""Cut large pictures into overlapping slices, and decide which box belongs to which slice.

A detector that sees a 100-megapixel orthophoto shrunk to 640 pixels finds nothing: small objects need their pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from skyloop.documents import Box
from skyloop.formats.geometry import Rectangle

OVERLAP = 0.2
"""Share of a slice's side that neighbors have in common, at least. Smaller objects are whole on some slice."""

MIN_VISIBLE = 0.5
"""A box is repeated on every slice that shows at least this share of it."""


def plan_slices(width: int, height: int, side: int, overlap: float = OVERLAP) -> list[Rectangle]:
    """Slices that cover a picture, row by row: none larger than `side` pixels, none reaching outside.

    A picture that fits on one slice is one slice. Slices of one picture are equally large and spread evenly, so that
    the last one of a row is not narrower. `overlap` is a share of the side, 0 ≤ overlap < 1.
    """
    return [
        Rectangle(left, top, min(side, width), min(side, height))
        for top in _starts(height, side, overlap)
        for left in _starts(width, side, overlap)
    ]


def boxes_on_slices(boxes: Sequence[Box], slices: Sequence[Rectangle]) -> list[list[Box]]:
    """For each slice, the boxes on it: their visible parts, in the slice's own pixels.

    A box goes to every slice that shows at least half of it and, so that no object is lost however large it is, to the
    slice that shows most of it.
    """
    placed: list[list[Box]] = [[] for _ in slices]
    for box in boxes:
        whole = Rectangle(box.left, box.top, box.width, box.height)
        parts = [(number, part) for number, place in enumerate(slices) if (part := whole.shared_with(place))]
        fullest = max(parts, key=lambda numbered: numbered[1].area, default=None)
        for number, part in parts:
            if (number, part) == fullest or part.area >= MIN_VISIBLE * whole.area:
                there = part.moved(-slices[number].left, -slices[number].top)
                placed[number].append(Box(category=box.category, class_id=box.class_id, **asdict(there)))
    return placed


def _starts(length: int, side: int, overlap: float) -> list[int]:
    """Where slices begin along one side."""
    if length <= side:
        return [0]
    step = max(1, int(side * (1 - overlap)))
    gaps = -(-(length - side) // step)
    return [round(number * (length - side) / gaps) for number in range(gaps + 1)]
