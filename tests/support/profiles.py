"""Image profiles drawn at random, for tests of drift."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from skyloop.formats.profile import Baseline, Profile

# Mean and standard deviation, about those of thermal frames from 60 m at night. The list is the tests' own, so that a
# statistic that is new in the product leaves them with models that were packaged before it.
TYPICAL = {
    "brightness": (0.52, 0.03),
    "contrast": (0.13, 0.02),
    "sharpness": (4.0, 0.24),
    "saturation": (0.10, 0.02),
    "entropy": (6.8, 0.25),
    "p05": (0.25, 0.05),
    "p95": (0.68, 0.03),
}
NAMES = tuple(TYPICAL)
CENTER, SPREAD = np.array(list(TYPICAL.values())).T

Rows = NDArray[np.float64]


def draw(random: np.random.Generator, count: int, *, shift: Rows | float = 0.0, scale: float = 1.0) -> Rows:
    """Statistics of `count` images: float64 (count, len(NAMES)); `shift` in standard deviations."""
    return CENTER + SPREAD * (shift + scale * random.normal(size=(count, len(NAMES))))


def only(name: str, size: float) -> Rows:
    """A shift of one statistic alone."""
    return np.array([size if statistic == name else 0.0 for statistic in NAMES])


def baseline_of(statistics: Rows, features: Rows | None = None, names: Sequence[str] = NAMES) -> Baseline:
    """The baseline of reference images with these statistics and features."""
    return Baseline(
        profile_names=tuple(names),
        profiles=statistics.tolist(),
        features=[] if features is None else features.tolist(),
        dataset_id="ds-1",
        count=len(statistics),
    )


def profiles_of(statistics: Rows, features: Rows | None = None, names: Sequence[str] = NAMES) -> list[Profile]:
    """The profiles of images with these statistics and features."""
    pooled = np.zeros((len(statistics), 0)) if features is None else features
    rows = zip(statistics.tolist(), pooled.tolist(), strict=True)
    return [Profile(tuple(names), tuple(values), tuple(components)) for values, components in rows]
