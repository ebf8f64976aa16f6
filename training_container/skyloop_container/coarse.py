"""A coarse look before a close one: parts of a large picture that show nothing from afar are not looked at closely.

Most frames of a flight are fields, water and roofs. A network that is asked to find a car at 0.6 of the scale at which
it was trained may miss it, but hardly ever sees nothing where it stands: that costs a third, and what follows is a look
at the few places where something might be. How much must be seen there is measured at training: see `planning`.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import cv2
import numpy as np

from .scaling import FACTORS
from .slicing import View

SCALE = 0.6
"""Of the close look. At half the scale places without objects show nearly as much as those with them."""

CELL = 64
"""Pixels of the network's input at the close look: the places that are told apart."""

SPARSE = 0.3
"""A picture where more cells of a sample show something is full of objects: more coarse looks would be in vain."""

WORTH = 0.6
"""Places that are more of a window than this are not worth it: what was saved, the coarse look has cost."""

MOST_PLACES = 64
"""Of one window: so many small looks cost more than their pixels say, and all pairs of them are compared."""


def coarse(window: View) -> View:
    """A window as it is looked at first."""
    return replace(window, scale=window.scale * SCALE)


def middle(width: int, height: int, side: int, imgsz: int, stride: int) -> View:
    """A slice's side of ground in the middle of a picture, at slices' scale whatever the picture's size.

    Of smaller pictures, what they have. At the coarse look its sides are whole strides, for a border would be seen.

    Args:
        width: of the picture, in pixels.
        height: likewise.
        side: of slices, in pixels.
        imgsz: side of the network's input at the close look.
        stride: of the network, in pixels of its input.
    """
    scale = imgsz / side
    unit = stride / (scale * SCALE)
    across, down = (
        min(round(int(min(length, side) / unit + 0.01) * unit) or length, length) for length in (width, height)
    )
    # Where a picture may have been read by.
    left, top = ((length - part) // 2 // FACTORS[0] * FACTORS[0] for length, part in ((width, across), (height, down)))
    return View(left, top, left + across, top + down, scale)


def evidence(window: View, positions: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """What a look shows near each cell of a window.

    Args:
        window: as it would be looked at closely.
        positions: (n, 2) x and y of the network's boxes, in pixels of the picture.
        scores: (n,) the best of any category.

    Returns:
        (rows, columns): the best score in a cell and the eight around it.
    """
    best = np.zeros(_grid(window), dtype=np.float32)
    np.maximum.at(best, cells(window, positions), scores)
    return around(best)


def around(cells: np.ndarray) -> np.ndarray:
    """(rows, columns): the largest value of a cell and the eight around it."""
    return np.asarray(cv2.dilate(cells, np.ones((3, 3), dtype=np.uint8)))


def cells(window: View, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Row and column of the cell of each (x, y) in pixels of the picture; outside of the window, of the nearest."""
    rows, columns = _grid(window)
    across = (positions[:, 0] - window.left) * columns / window.width
    down = (positions[:, 1] - window.top) * rows / window.height
    return down.astype(int).clip(0, rows - 1), across.astype(int).clip(0, columns - 1)


def places(window: View, shows: np.ndarray, margin: int) -> list[View] | None:
    """What to look at closely: the cells that show something, neighbors together, and `margin` pixels around.

    None: so much that the window should be looked at as a whole.

    Args:
        window: as it would be looked at closely.
        shows: (rows, columns) bool, of the cells.
        margin: what holds an object whose center is in a cell, in pixels of the picture.
    """
    rows, columns = shows.shape
    _, _, found, _ = cv2.connectedComponentsWithStats(shows.astype(np.uint8), connectivity=8)
    if len(found) > MOST_PLACES:
        return None
    views = []
    for left, top, width, height, _ in found[1:]:  # the first is the ground
        views.append(
            replace(
                window,
                left=max(window.left + left * window.width // columns - margin, window.left),
                top=max(window.top + top * window.height // rows - margin, window.top),
                right=min(window.left - (-(left + width) * window.width // columns) + margin, window.right),
                bottom=min(window.top - (-(top + height) * window.height // rows) + margin, window.bottom),
            )
        )
    views = _joined(views)
    return views if _area(views) <= WORTH * _area([window]) else None


def _grid(window: View) -> tuple[int, int]:
    """Rows and columns of a window's cells."""
    return max(round(window.height * window.scale / CELL), 1), max(round(window.width * window.scale / CELL), 1)


def _joined(views: list[View]) -> list[View]:
    """Views of one window, of which those are one that together are no larger than apart."""
    for one, other in combinations(views, 2):
        both = replace(
            one,
            left=min(one.left, other.left),
            top=min(one.top, other.top),
            right=max(one.right, other.right),
            bottom=max(one.bottom, other.bottom),
        )
        if _area([both]) <= _area([one, other]):
            return _joined([both, *(view for view in views if view is not one and view is not other)])
    return views


def _area(views: Sequence[View]) -> int:
    """In pixels of the picture, what is shown twice counted twice."""
    return sum(view.width * view.height for view in views)
