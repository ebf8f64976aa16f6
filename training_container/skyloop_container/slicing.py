"""The slicing plan: which parts of a picture the network looks at, the same in training, evaluation and serving.

A detector that sees a frame of 20 megapixels shrunk to 640 pixels finds no car in it: small objects need their pixels.
A plan is decided once, at training, from the sizes of the labeled boxes; it is written in model.json, and everything
after reads it there.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from .scaling import factor_for

OBJECT_PIXELS = 16
"""Of the network's input, the side (root of the area) that a small object shall have: two cells of the finest grid."""

SMALL = 0.1
"""Which of the boxes is "a small object": one in so many is smaller."""

FEW = 0.01
"""Large pictures that hold this share of the boxes are cut, if most boxes on them are too small and no others are."""

LARGE = 0.95
"""Slices have in common what holds this share of the boxes, so that each of them is whole on some slice."""

OVERLAPS = (0.1, 0.4)
"""The least and the largest share of a slice's side that neighbors have in common."""

SLACK = 1.25
"""A picture whose sides are up to so many times a slice's is looked at whole: it loses a fifth of its scale at most."""

COARSEST = 4
"""Slices are at most so many times the network's input: one that is scaled down more is hardly better than none."""

MORE = 4
"""A picture may have so many times the slices that one of the usual size may."""

WINDOW = 3
"""Slices of which side a detector looks at, at most, in the sides that it was trained on.

A network takes any size. What neighbors have in common is looked at twice, and slices of three times the side have only
a third of that. Much larger ones cost accuracy: the network has an attention over the whole of its input.
"""

MANY = 50
"""Slices of a picture, of which a sample takes more than one."""

LARGEST_INPUT = 1280
"""Pixels, the side of what a detector looks at at once, but at least the side that it was trained on: its memory."""


@dataclass(frozen=True, slots=True)
class View:
    """A part of a picture: left, top, right, bottom in its pixels, the last two exclusive.

    scale: from pixels of the picture to those of the network's input.
    larger_than: it is the whole picture beside its slices, looked at for boxes with a side of more pixels than this:
        smaller ones are whole on some slice. 0 for all other views.
    """

    left: int
    top: int
    right: int
    bottom: int
    scale: float
    larger_than: int = 0

    @property
    def width(self) -> int:
        """In pixels of the picture."""
        return self.right - self.left

    @property
    def height(self) -> int:
        """In pixels of the picture."""
        return self.bottom - self.top


@dataclass(frozen=True, slots=True)
class SlicingPlan:
    """How pictures are cut.

    side: of the slices that a network is trained on, in pixels of the picture; None: every picture is looked at whole.
    overlap: the share of the side that neighboring slices have in common, at least; in [0, 1).
    whole: whether the whole picture is looked at beside its slices, for objects that are larger than these.
    most: slices of a picture. One that would have more gets larger ones, or its answer would not come in time.
    coarse: how much must be seen of a place from afar, as a score in (0, 1), for a close look; None: all is looked at
        closely. See `coarse`.
    """

    side: int | None = None
    overlap: float = OVERLAPS[0]
    whole: bool = True
    most: int = 100
    coarse: float | None = None

    def as_card(self) -> dict[str, Any]:
        """As model.json holds it."""
        return asdict(self)

    def slices(self, width: int, height: int, imgsz: int) -> list[View]:
        """What a network is trained on of a picture of this size: slices of exactly the plan's side, row by row.

        They are spread evenly. A picture that is little larger than a slice is one view, scaled to the network's input.
        """
        return self._cut(width, height, imgsz, lambda length, side, common: min(side, length))

    def views(self, width: int, height: int, imgsz: int) -> list[View]:
        """What a detector looks at: slices of up to WINDOW sides, at the same scale, as few and as small as can be.

        The whole picture comes last.
        """
        sides = max(min(WINDOW, LARGEST_INPUT / imgsz), 1)
        return self._cut(width, height, imgsz, lambda length, side, common: _fitting(length, int(sides * side), common))

    def sample(self, width: int, height: int, imgsz: int) -> list[View]:
        """Slices that stand for all of a picture: the one in its middle, and of MANY also one in each quarter."""
        slices = [view for view in self.slices(width, height, imgsz) if not view.larger_than]
        places = [(0.5, 0.5), (0.25, 0.25), (0.75, 0.25), (0.25, 0.75), (0.75, 0.75)][: 5 if len(slices) > MANY else 1]

        def distance(view: View, x: float, y: float) -> float:
            return math.hypot((view.left + view.right) / 2 - x * width, (view.top + view.bottom) / 2 - y * height)

        return [min(slices, key=lambda view: distance(view, *place)) for place in places]

    def common(self) -> int:
        """What neighboring slices have in common, in pixels; 0 without slices."""
        return round(self.overlap * (self.side or 0))

    def count(self, width: int, height: int) -> int:
        """How many slices of the plan's side cover a picture of this size; 1 where it is looked at whole."""
        if self.side is None or max(width, height) <= self.side * SLACK:
            return 1
        return math.prod(_gaps(length, min(self.side, length), self.common()) + 1 for length in (width, height))

    def factor(self, width: int, height: int, side: int) -> int:
        """How many pixels of a picture may be averaged on either side as it is read, for it is looked at whole.

        side: the longest in which anything wants it, in pixels. 1 where a slice needs them all.
        """
        return factor_for(side / max(width, height)) if self.count(width, height) == 1 else 1

    def _cut(self, width: int, height: int, imgsz: int, length_of: Callable[[int, int, int], int]) -> list[View]:
        """Views of a picture; length_of: a slice's, from the picture's, the plan's side and what neighbors share."""
        plan = self
        while plan.side is not None and (count := plan.count(width, height)) > plan.most:
            plan = replace(plan, side=math.ceil(plan.side * math.sqrt(count / plan.most)))
        if plan.side is None or plan.count(width, height) == 1:
            return [_whole(width, height, imgsz)]
        side, common = plan.side, plan.common()
        across, down = (length_of(length, side, common) for length in (width, height))
        lefts, tops = _starts(width, across, common), _starts(height, down, common)
        slices = [View(x, y, x + across, y + down, imgsz / side) for y in tops for x in lefts]
        return [*slices, _whole(width, height, imgsz, max(common, 1))] if self.whole else slices


def cost(views: Sequence[View], imgsz: int) -> float:
    """What the network has to do for views, in squares of its input."""
    return sum(view.width * view.height * view.scale**2 for view in views) / imgsz**2


def _whole(width: int, height: int, imgsz: int, larger_than: int = 0) -> View:
    return View(0, 0, width, height, imgsz / max(width, height), larger_than)


def _fitting(length: int, most: int, common: int) -> int:
    """The side of equal slices, as few as `most` pixels allow and no larger than they must be."""
    count = max(-(-(length - common) // max(most - common, 1)), 1)
    return min(-(-(length + (count - 1) * common) // count), length)


def _gaps(length: int, side: int, common: int) -> int:
    """How many slices there are beside the first along one side of a picture."""
    return max(-(-(length - side) // max(side - common, 1)), 0)


def _starts(length: int, side: int, common: int) -> list[int]:
    """Where slices begin along one side of a picture."""
    gaps = _gaps(length, side, common)
    return [round(number * (length - side) / gaps) for number in range(gaps + 1)] if gaps else [0]


def plan_for(pictures: Sequence[tuple[tuple[int, int], np.ndarray]], imgsz: int, max_slices: int) -> SlicingPlan:
    """The plan that shows small objects large enough, within a number of slices.

    Of the boxes of all pictures no more than SMALL are smaller than OBJECT_PIXELS then, as far as `max_slices` allows
    it for the pictures that they are on: what matters is how large a box is seen on its own picture, and however many
    small pictures there are besides, the large ones are cut. A picture that is looked at whole by SLACK shows a little
    less.

    Args:
        pictures: of each the (width, height) and its boxes' (n, 2) widths and heights, in its pixels.
        imgsz: side of the network's input.
        max_slices: of the plan's side for a picture of the median size, of those that slices are for; they get larger
            until there are no more.

    Returns:
        A plan without slices where boxes are large enough on whole pictures, or there is no box.
    """
    sizes = np.array([size for size, _ in pictures], dtype=int).reshape(-1, 2)
    boxes = np.concatenate([np.zeros((0, 2)), *(found for _, found in pictures)])
    if not len(boxes):
        return SlicingPlan()
    on = np.repeat(np.arange(len(pictures)), [len(found) for _, found in pictures])
    needs = np.sqrt(boxes[:, 0] * boxes[:, 1]) / OBJECT_PIXELS * imgsz
    longest = sizes.max(axis=1)[on]
    small = needs < longest
    # Boxes that are large enough on their whole picture ask for no slices, however large others' pictures are.
    asked = np.where(small, needs, np.maximum(needs, longest.max()))
    # Scaling up adds nothing that the camera has not seen, but cells: no more than once again.
    least, largest = imgsz / 2, COARSEST * imgsz
    wanted = float(np.quantile(asked, SMALL))
    if wanted >= longest.max() and small.mean() <= SMALL:
        few = _few_large(small, longest)
        if few is None:
            return SlicingPlan()
        small &= few
        # Larger than what the few would need, if all others are to stay whole.
        wanted, least = float(np.quantile(asked[few], SMALL)), math.ceil(longest[~few].max() / SLACK)
    side = round(max(min(wanted, largest), least))
    return _affordable(sizes, boxes, on, small, needs, side=side, max_slices=max_slices)


def _few_large(small: np.ndarray, longest: np.ndarray) -> np.ndarray | None:
    """Which boxes are on pictures so large that most are too small there, though they are few of all boxes.

    Args:
        small: (n,) bool, whether a box is too small on its whole picture.
        longest: (n,) the longer side of that, in pixels.

    Returns:
        (n,) bool; None where there are no such pictures, or they hold less than FEW of the boxes.
    """
    order = np.argsort(-longest, kind="stable")
    share = np.cumsum(small[order]) / np.arange(1, len(order) + 1)
    last = longest[order][1:] < longest[order][:-1]  # after it pictures are smaller
    ends = np.flatnonzero(last & (share[:-1] > 0.5))
    if not len(ends) or ends[-1] + 1 < FEW * len(order):
        return None
    return np.asarray(longest >= longest[order[ends[-1]]])


def _affordable(
    sizes: np.ndarray,
    boxes: np.ndarray,
    on: np.ndarray,
    small: np.ndarray,
    needs: np.ndarray,
    *,
    side: int,
    max_slices: int,
) -> SlicingPlan:
    """The plan with slices of this side, or larger ones where the usual picture would have too many.

    Args:
        sizes: (m, 2) width and height of each picture.
        boxes: (n, 2) widths and heights.
        on: (n,) which picture each is on.
        small: (n,) bool, for which of them there are slices.
        needs: (n,) side of the slices that show each large enough.
        side: of slices that show as many as shall be.
        max_slices: as for `plan_for`.
    """
    cut = sizes.max(axis=1) > side * SLACK
    small = small & cut[on]
    matter = np.unique(on[small])
    if not len(matter):
        return SlicingPlan()
    held = boxes[cut[on]]
    width, height = (int(np.median(sizes[matter, axis])) for axis in (0, 1))
    plan = first = plan_of(held, side, max_slices)
    while plan.count(width, height) > max_slices:
        side = math.ceil(side * 1.05)
        plan = plan_of(held, side, max_slices)
    kinds, kind = np.unique(sizes, axis=0, return_inverse=True)
    counts = np.array([first.count(*size) for size in kinds.tolist()])[kind.reshape(-1)]
    if plan != first and (small & (counts[on] <= max_slices) & (needs < side)).mean() > SMALL:
        # Smaller pictures may have all the slices that they need: only the others get larger ones.
        return replace(first, most=max_slices)
    return plan if any(plan.count(*size) > 1 for size in sizes[matter].tolist()) else SlicingPlan()


def plan_of(boxes: np.ndarray, side: int, max_slices: int) -> SlicingPlan:
    """The plan with slices of this side.

    Args:
        boxes: (n, 2) widths and heights of those on pictures that are cut, in their pixels.
        side: in pixels of the picture.
        max_slices: as for `plan_for`.
    """
    large = float(np.quantile(boxes.max(axis=1), LARGE)) if len(boxes) else 0.0
    overlap = round(min(max(large / side, OVERLAPS[0]), OVERLAPS[1]), 2)
    return SlicingPlan(side, overlap, most=MORE * max_slices)
