"""Rectangles."""

from __future__ import annotations

import pytest
from skyloop.formats.geometry import Rectangle


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (Rectangle(0, 0, 10, 10), 1.0),
        (Rectangle(5, 0, 10, 10), 50 / 150),
        (Rectangle(2, 2, 5, 5), 25 / 100),
        (Rectangle(10, 0, 10, 10), 0.0),
        (Rectangle(3, 3, 0, 0), 0.0),
    ],
)
def test_intersection_over_union(other: Rectangle, expected: float) -> None:
    rectangle = Rectangle(0, 0, 10, 10)
    assert rectangle.iou(other) == other.iou(rectangle) == pytest.approx(expected)
