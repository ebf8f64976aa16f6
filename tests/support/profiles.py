"""Image profiles drawn at random, for tests of drift."""

from __future__ import annotations

import numpy as np
from skyloop.formats.profile import STATISTIC_NAMES

# brightness, contrast, sharpness, saturation, entropy, p05, p95: about those of thermal frames from 60 m at night
CENTER = np.array([0.52, 0.13, 4.0, 0.10, 6.8, 0.25, 0.68])
SPREAD = np.array([0.03, 0.02, 0.24, 0.02, 0.25, 0.05, 0.03])


def draw(random: np.random.Generator, count: int, *, shift: np.ndarray | float = 0.0, scale: float = 1.0) -> np.ndarray:
    """Statistics of `count` images: float64 (count, 7); `shift` in standard deviations."""
    return CENTER + SPREAD * (shift + scale * random.normal(size=(count, 7)))


def only(name: str, size: float) -> np.ndarray:
    """A shift of one statistic alone."""
    return np.array([size if statistic == name else 0.0 for statistic in STATISTIC_NAMES])
