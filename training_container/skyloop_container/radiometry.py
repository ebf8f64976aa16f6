"""The radiometric window: which counts of a thermal camera are black and white, in training, evaluation and serving.

A frame of sixteen bits spans a few hundred to a few thousand counts; the high byte of them is a few levels of gray. A
window is decided once, at training, from the counts of the training pictures; it is written in model.json, and
everything after reads it there. One is for all pictures of a model: a stretch of each would show the same object
differently in every frame, and no drift.
"""

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from threading import Lock

import numpy as np
from skyloop.formats.pictures import (
    HEAD,
    READABLE,
    ImageRefused,
    RadiometricWindow,
    count_samples,
    may_have_counts,
    open_picture,
    range_of,
)

from .dataset import Box, Sample, spread
from .environment import available_cores

OUTLIERS = 0.001
"""Of all counts, this share may be darker than the window, and as many brighter: the sun's reflections, a hot pixel."""

OBJECT_OUTLIERS = 0.01
"""The same of those in labeled boxes. Objects are few pixels, and may be all of the hottest thousandth."""

MARGIN = 0.125
"""Of the width of all that, at each end: the next flight is on a warmer day. It costs a fifth of the levels of gray."""

LEAST = 255
"""Counts, the width of a window: in a narrower one no count would get a gray of its own that has none."""

PICTURES = 1000
"""Pictures that decide, at most, evenly spaced over the training set."""


def as_card(window: RadiometricWindow | None) -> dict[str, int] | None:
    """As model.json holds it."""
    return asdict(window) if window else None


def may_matter(sample: Sample) -> bool:
    """Whether a window may matter to a picture, by the first bytes of its file; False where these cannot be read."""
    try:
        with sample.path.open("rb") as file:
            return may_have_counts(file.read(HEAD))
    except OSError:
        return False


def window_for(samples: Sequence[Sample]) -> RadiometricWindow | None:
    """The window that shows what training pictures hold.

    All but OUTLIERS of their counts at each end and all but OBJECT_OUTLIERS of those in boxes, and MARGIN; 0 and 65535
    stand for no data. Pictures that cannot be read have no say. What is held at a time does not depend on how many
    pictures there are.

    Args:
        samples: the training split; those that are not gray of sixteen bits do not matter.

    Returns:
        None where no picture has counts.
    """
    total, on_objects = np.zeros((2, 2**16), dtype=np.int64)
    adding = Lock()

    def count(sample: Sample) -> None:
        try:
            picture = open_picture(sample.path.read_bytes(), READABLE)
            counts = picture.samples() if picture.has_counts else None
        except (ImageRefused, OSError):  # told where views are cut
            return
        if counts is None:
            return
        everywhere, inside = count_samples(counts), np.zeros_like(total)
        for box in sample.boxes:
            inside += count_samples(_part(counts, box))
        with adding:
            np.add(total, everywhere, out=total)
            np.add(on_objects, inside, out=on_objects)

    candidates = spread([sample for sample in samples if may_matter(sample)], PICTURES)
    with ThreadPoolExecutor(available_cores()) as pool:
        list(pool.map(count, candidates))
    ranges = [one for one in (range_of(total, OUTLIERS), range_of(on_objects, OBJECT_OUTLIERS)) if one]
    return _around(min(low for low, _ in ranges), max(high for _, high in ranges)) if ranges else None


def _part(counts: np.ndarray, box: Box) -> np.ndarray:
    _, left, top, width, height = box
    return counts[int(top) : math.ceil(top + height), int(left) : math.ceil(left + width)]


def _around(low: int, high: int) -> RadiometricWindow:
    """The window of counts from `low` to `high`, MARGIN and LEAST, shifted where that leads out of sixteen bits."""
    width = min(max(round((high - low) * (1 + 2 * MARGIN)), LEAST), 2**16 - 1)
    start = min(max((low + high - width) // 2, 0), 2**16 - 1 - width)
    return RadiometricWindow(start, start + width)
