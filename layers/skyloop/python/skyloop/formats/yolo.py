"""Ultralytics' label files: one line per box, `<class> <x center> <y center> <width> <height>`.

The four are shares of the picture's sides. An empty file is a true negative: a picture known to show none of the
classes (docs.ultralytics.com/datasets/detect).
"""

from __future__ import annotations

from collections.abc import Iterable

from skyloop.documents import Box

DIGITS = 8
"""Decimals written: on a side of 100,000 pixels that is a thousandth of a pixel."""


def write_labels(boxes: Iterable[Box], width: int, height: int) -> str:
    """The text of a label file, for a picture of `width` × `height` pixels."""
    return "".join(
        f"{box.class_id} {_share(box.left + box.width / 2, width)} {_share(box.top + box.height / 2, height)}"
        f" {_share(box.width, width)} {_share(box.height, height)}\n"
        for box in boxes
    )


def _share(value: float, whole: int) -> str:
    return f"{min(1.0, max(0.0, value / whole)):.{DIGITS}f}"
