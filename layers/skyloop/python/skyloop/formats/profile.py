"""The profile of an image: the numbers that an endpoint answers about every image, and that drift is judged by.

The container computes them, because it has the pixels and the network, and is their only writer. Baselines hold the
same numbers for the reference images. The contract between writer and reader is the *names*:

- A name stands for one computation in one unit, for good. A statistic that is computed in another way gets a new name.
- A document says which names it holds. A model keeps the container that it was packaged with, so its answers and its
  baseline do not change when STATISTICS grows. A name that is not in STATISTICS is remembered, but its value is not
  read: a newer container may have written it.
- `version` is the version of the layout, not of the list of names. A document without one has version 1, because the
  first writers gave none. A version later than PROFILE_VERSION is refused.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError, field_validator

from skyloop.documents import Document

PROFILE_VERSION = 1
NOT_STATISTICS = frozenset({"version", "features"})
"""Keys of an answer's profile that stand beside its statistics."""


@dataclass(frozen=True)
class Statistic:
    """One image statistic. `higher` and `lower` complete the sentence "images are …".

    Differences smaller than `resolution`, in the unit of the statistic, are measurement and not image.
    """

    name: str
    meaning: str
    higher: str
    lower: str
    resolution: float


# Gray and saturation are 0..1: a resolution of 0.005 is about one of 256 levels. Entropy's is two hundredths of a bit,
# and sharpness's 2 % of the Laplacian's variance.
_TABLE = (
    Statistic("brightness", "mean gray", "brighter", "darker", 0.005),
    Statistic("contrast", "standard deviation of gray", "higher in contrast", "flatter in contrast", 0.005),
    Statistic("sharpness", "log of the Laplacian's variance", "sharper or noisier", "more blurred", 0.02),
    Statistic("saturation", "mean HSV saturation", "more colorful", "less colorful", 0.005),
    Statistic("entropy", "bits of the 256-bin gray histogram", "richer in gray levels", "poorer in gray levels", 0.02),
    Statistic("p05", "5th percentile of gray", "brighter in the shadows", "darker in the shadows", 0.005),
    Statistic("p95", "95th percentile of gray", "brighter in the highlights", "darker in the highlights", 0.005),
)
_OF_A_SLICE = tuple(
    replace(one, name=f"slice_{one.name}", meaning=f"{one.meaning}, of the middle slice") for one in _TABLE
)
"""Of as much ground as one slice shows, at the scale of slices: the same whatever the frame's size. Models that were
packaged before slices have those of the whole frame at 640 pixels, _TABLE's."""

STATISTICS: Mapping[str, Statistic] = {one.name: one for one in (*_TABLE, *_OF_A_SLICE)}


class ProfileUnusable(ValueError):
    """A profile or a baseline cannot be used: incomplete, too new, or with something that is no finite number."""


class NoProfile(ProfileUnusable):
    """The answer has no profile at all, as the answer to a request that could not be served."""


@dataclass(frozen=True)
class Profile:
    """What one answer says about its image.

    `values[i]` is the statistic `names[i]`; both are in the order of STATISTICS. `features` are the k pooled features
    of the network's early layers. `unknown` are names that the answer holds and STATISTICS does not, sorted.
    """

    names: tuple[str, ...]
    values: tuple[float, ...]
    features: tuple[float, ...] = ()
    unknown: tuple[str, ...] = ()

    def select(self, names: Iterable[str]) -> list[float]:
        """The values of `names`, which the profile must have."""
        return [self.values[self.names.index(name)] for name in names]


def profile_of(answer: object) -> Profile:
    """The profile in an endpoint's answer `{"profile": {"version": 1, "slice_brightness": …, …, "features": […]}, …}`.

    Raises NoProfile for an error answer, ProfileUnusable for a later layout, a value that is no finite number, and a
    profile without any statistic that is known here.
    """
    profile = answer.get("profile") if isinstance(answer, dict) else None
    if not isinstance(profile, dict):
        raise NoProfile("the answer has no profile")
    _check_version(profile.get("version", 1), "the profile")
    names = tuple(name for name in STATISTICS if name in profile)
    if not names:
        raise ProfileUnusable("the profile has no statistic that is known here")
    return Profile(
        names=names,
        values=_finite([profile[name] for name in names], "the profile"),
        features=_finite(profile.get("features") or [], "the profile's features"),
        unknown=tuple(sorted(profile.keys() - STATISTICS.keys() - NOT_STATISTICS)),
    )


class Baseline(Document):
    """baseline.json: the profiles of the reference images (the validation split) under the model that is judged.

    Each of `profiles` has one value per name in `profile_names`, each of `features` the k pooled features of the same
    image.
    """

    version: int = 1
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
        _check_version(baseline.version, "the baseline")
        names, row = len(baseline.profile_names), len(baseline.profiles[0])
        if names != row:
            raise ProfileUnusable(f"the baseline names {names} statistics, and its rows have {row}")
        if baseline.features and len(baseline.features) != len(baseline.profiles):
            raise ProfileUnusable("the baseline has another number of feature rows than of profiles")
        return baseline

    def statistics(self, names: Sequence[str]) -> NDArray[np.float64]:
        """float64 (count, len(names)), columns as `names`; rows with a value that is not finite are left out."""
        order = [self.profile_names.index(name) for name in names]
        return _finite_rows(np.array(self.profiles, dtype=np.float64)[:, order])

    def feature_rows(self) -> NDArray[np.float64]:
        """float64 (count, k); k = 0 when the model gives no features."""
        if not self.features:
            return np.zeros((0, 0))
        return _finite_rows(np.array(self.features, dtype=np.float64))


def _check_version(version: object, what: str) -> None:
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise ProfileUnusable(f"{what} has the version {version!r}, which is none")
    if version > PROFILE_VERSION:
        raise ProfileUnusable(f"{what} has version {version}, and only versions up to {PROFILE_VERSION} are known here")


def _finite(values: object, what: str) -> tuple[float, ...]:
    if not isinstance(values, list):
        raise ProfileUnusable(f"{what} are no list")
    numbers = []
    for value in values:
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise ProfileUnusable(f"{what} holds something that is no number: {value!r}")
        try:
            number = float(value)
        except OverflowError:  # JSON has integers of any length
            number = math.inf
        if not math.isfinite(number):
            raise ProfileUnusable(f"{what} holds a number that is not finite")
        numbers.append(number)
    return tuple(numbers)


def _finite_rows(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    return rows[np.isfinite(rows).all(axis=1)]
