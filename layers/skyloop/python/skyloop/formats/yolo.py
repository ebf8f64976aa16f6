"""Ultralytics' label files: one line a box, `<class> <x center> <y center> <width> <height>`, as shares of the picture.

An empty file is a true negative: a picture known to show none of the classes (docs.ultralytics.com/datasets/detect).
"""

from __future__ import annotations

import math

from skyloop.formats.geometry import Rectangle

DIGITS = 8
"""Decimals written: a pixel of a 100,000-pixel side is still told apart a thousandfold."""


class LabelFileError(ValueError):
    """The text is no label file; the message names the line."""


def write_labels(boxes: list[tuple[int, Rectangle]], width: int, height: int) -> str:
    """(class id, box in pixels) -> the text of a label file, for a picture of `width` × `height` pixels."""
    return "".join(
        f"{class_id} {_share(box.left + box.width / 2, width)} {_share(box.top + box.height / 2, height)}"
        f" {_share(box.width, width)} {_share(box.height, height)}\n"
        for class_id, box in boxes
    )


def read_labels(text: str, width: int, height: int) -> list[tuple[int, Rectangle]]:
    """The inverse of `write_labels`, up to the digits written. Raises LabelFileError."""
    boxes = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            first, *rest = line.split()
            class_id, (x, y, w, h) = int(first), (float(value) for value in rest)
        except ValueError as error:
            raise LabelFileError(f"line {number} is not `class x y width height`: {line!r}") from error
        if class_id < 0 or not all(math.isfinite(value) and 0 <= value <= 1 for value in (x, y, w, h)):
            raise LabelFileError(f"line {number} has values outside 0…1: {line!r}")
        boxes.append((class_id, Rectangle((x - w / 2) * width, (y - h / 2) * height, w * width, h * height)))
    return boxes


def _share(value: float, whole: int) -> str:
    return f"{min(1.0, max(0.0, value / whole)):.{DIGITS}f}"
