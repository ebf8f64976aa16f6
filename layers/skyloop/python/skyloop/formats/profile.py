"""The profile of an image: what the endpoint says about every image that it answered, and drift is judged by.

The container computes it (it has the pixels and the network); this module gives the numbers their names, order and
words. Baselines hold the same numbers for the reference images.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import Field, ValidationError, field_validator

from skyloop.documents import Document


@dataclass(frozen=True)
class Statistic:
    """One image statistic. `higher`/`lower` complete the sentence "images are …"."""

    name: str
    meaning: str
    higher: str
    lower: str


# Gray is luma 0..1. The order is that of a baseline's rows.
STATISTICS: tuple[Statistic, ...] = (
    Statistic("brightness", "mean gray", "brighter", "darker"),
    Statistic("contrast", "standard deviation of gray", "higher in contrast", "flatter in contrast"),
    Statistic("sharpness", "log of the Laplacian's variance", "sharper or noisier", "more blurred"),
    Statistic("saturation", "mean HSV saturation", "more colorful", "less colorful"),
    Statistic("entropy", "bits of the 256-bin gray histogram", "richer in gray levels", "poorer in gray levels"),
    Statistic("p05", "5th percentile of gray", "brighter in the shadows", "darker in the shadows"),
    Statistic("p95", "95th percentile of gray", "brighter in the highlights", "darker in the highlights"),
)
STATISTIC_NAMES = tuple(statistic.name for statistic in STATISTICS)


class ProfileUnusable(ValueError):
    """An answer's profile, or a baseline, is missing something or holds what is no finite number."""


@dataclass(frozen=True)
class Profile:
    """Seven statistics in the order of STATISTIC_NAMES and the k pooled features of one image."""

    statistics: tuple[float, ...]
    features: tuple[float, ...]


def profile_of(answer: Any) -> Profile:
    """The profile in an endpoint's answer `{"profile": {"brightness": …, …, "features": […]}, …}`.

    Raises ProfileUnusable: an error answer, another container's answer, NaN.
    """
    profile = answer.get("profile") if isinstance(answer, dict) else None
    if not isinstance(profile, dict):
        raise ProfileUnusable("the answer has no profile")
    missing = [name for name in STATISTIC_NAMES if name not in profile]
    if missing:
        raise ProfileUnusable(f"the profile lacks {', '.join(missing)}")
    return Profile(
        statistics=_finite([profile[name] for name in STATISTIC_NAMES], "the profile"),
        features=_finite(profile.get("features") or [], "the profile's features"),
    )


class Baseline(Document):
    """baseline.json: the profiles of the reference images (the validation split) under the model that is judged."""

    profile_names: tuple[str, ...]
    profiles: list[list[float]] = Field(min_length=1)
    features: list[list[float]] = Field(default_factory=list)
    dataset_id: str
    count: int = Field(ge=1)

    @field_validator("profiles", "features")
    @classmethod
    def _rectangular(cls, rows: list[list[float]]) -> list[list[float]]:
        if len({len(row) for row in rows}) > 1:
            raise ValueError("rows differ in length")
        return rows

    @classmethod
    def parse(cls, body: bytes) -> Baseline:
        """Read baseline.json. Raises ProfileUnusable."""
        try:
            baseline = cls.model_validate_json(body)
        except ValidationError as error:
            raise ProfileUnusable(f"the baseline cannot be read: {error}") from error
        missing = [name for name in STATISTIC_NAMES if name not in baseline.profile_names]
        if missing or any(len(row) != len(baseline.profile_names) for row in baseline.profiles):
            raise ProfileUnusable(f"the baseline's rows lack {', '.join(missing) or 'some statistics'}")
        if baseline.features and len(baseline.features) != len(baseline.profiles):
            raise ProfileUnusable("the baseline has another number of feature rows than of profiles")
        return baseline

    def statistics(self) -> np.ndarray:
        """float64 (count, 7), columns as STATISTIC_NAMES; rows with a value that is not finite are left out."""
        order = [self.profile_names.index(name) for name in STATISTIC_NAMES]
        return _finite_rows(np.array(self.profiles, dtype=np.float64)[:, order])

    def feature_rows(self) -> np.ndarray:
        """float64 (count, k); k = 0 when the model gives no features."""
        if not self.features:
            return np.zeros((0, 0))
        return _finite_rows(np.array(self.features, dtype=np.float64))


def _finite(values: Sequence[Any], what: str) -> tuple[float, ...]:
    try:
        numbers = tuple(float(value) for value in values)
    except (TypeError, ValueError) as error:
        raise ProfileUnusable(f"{what} holds something that is no number: {error}") from error
    if not all(math.isfinite(number) for number in numbers):
        raise ProfileUnusable(f"{what} holds a number that is not finite")
    return numbers


def _finite_rows(rows: np.ndarray) -> np.ndarray:
    return rows[np.isfinite(rows).all(axis=1)] if rows.size else rows
