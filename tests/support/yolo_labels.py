"""Ultralytics' label files, read back."""

from __future__ import annotations

from skyloop.formats.geometry import Rectangle


def read_labels(text: str, width: int, height: int) -> list[tuple[int, Rectangle]]:
    """(class id, box in pixels) of every line, on a picture of `width` × `height` pixels."""
    boxes = []
    for line in text.splitlines():
        class_id, *shares = line.split()
        x, y, across, down = (float(share) for share in shares)
        left, top = (x - across / 2) * width, (y - down / 2) * height
        boxes.append((int(class_id), Rectangle(left, top, across * width, down * height)))
    return boxes
