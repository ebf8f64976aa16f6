"""Rectangles in pixels."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Rectangle:
    """Pixels; the origin is the picture's top left corner."""

    left: float
    top: float
    width: float
    height: float

    @property
    def right(self) -> float:
        """The right edge, in pixels from the picture's left one."""
        return self.left + self.width

    @property
    def bottom(self) -> float:
        """The lower edge, in pixels from the picture's upper one."""
        return self.top + self.height

    @property
    def area(self) -> float:
        """Square pixels."""
        return self.width * self.height

    def shared_with(self, other: Rectangle) -> Rectangle | None:
        """The part that both cover, or None where they do not overlap."""
        left, top = max(self.left, other.left), max(self.top, other.top)
        width, height = min(self.right, other.right) - left, min(self.bottom, other.bottom) - top
        return Rectangle(left, top, width, height) if width > 0 and height > 0 else None

    def iou(self, other: Rectangle) -> float:
        """Intersection over union, 0 to 1."""
        shared = self.shared_with(other)
        return shared.area / (self.area + other.area - shared.area) if shared else 0.0

    def moved(self, across: float, down: float) -> Rectangle:
        """The same rectangle, this many pixels further to the right and further down."""
        return Rectangle(self.left + across, self.top + down, self.width, self.height)
