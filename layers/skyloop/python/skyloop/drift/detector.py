"""Have the images drifted away from what the model was judged on? Reference and window profiles in, a judgment out.

Pure: no clock, no cloud. Three lines of evidence, each allowed a third of alpha (Bonferroni):

statistic   each of the seven image statistics, Kolmogorov-Smirnov, Holm-adjusted over the seven; counts only when the
            median has also moved by MIN_SHIFT standard deviations. Says *what* changed, in words.
novelty     are the images, by all seven statistics together, less like the reference than the reference is like itself?
            Squared Mahalanobis distances, one-sided Kolmogorov-Smirnov. Sees combinations, and a mixture of extremes.
features    the same on the network's pooled early-layer features; counts only when at least MIN_OUTSIDE of the window
            lies outside what 95 % of the reference does, because early features also answer to a mere change of scene.

Two traps, and what is done about them (measured by bench/drift.py):
- Frames of one flight are not independent. Every p-value is computed for the window's *effective* sample size, and the
  novelty of reference images is taken without their own scene (`drift_tests.novelty_scores`).
- A reference of a few scenes makes every new scene look like drift. More flights in the validation split help; no test
  can know scenes that it was never shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from skyloop.documents import Judgment, NoveltyEvidence, StatisticEvidence
from skyloop.drift.statistics import (
    effective_sample_size,
    holm,
    ks_p_value,
    ks_statistic,
    ks_statistic_greater,
    novelty_scores,
)
from skyloop.formats.profile import STATISTICS, Baseline, Profile, ProfileUnusable, Statistic

MIN_REFERENCE = 8  # images; fewer say nothing about what is usual
MIN_SHIFT = 1.5  # reference standard deviations between the medians
MIN_OUTSIDE = 0.5
OUTSIDE_QUANTILE = 0.95
LEFT_OUT = 0.25  # share of the reference that counts as an image's own scene
LEAST_EFFECTIVE = 5.0  # a window in two steps has almost no effective size, yet is no accident
LEADING_FEATURES = 8  # principal components that are compared, the first ones
CLEAR_FACTOR = 5.0  # drift is over when nothing alarms at this multiple of alpha: keeps the state from flapping

# Differences below these are measurement, not image: half a gray level, a hundredth of a bit.
RESOLUTION = np.array([0.005, 0.005, 0.02, 0.005, 0.02, 0.005, 0.005])
FEATURE_RESOLUTION = 1e-6


class BaselineTooSmall(ProfileUnusable):
    """The reference has too few images to say what is usual. Trying again does not help; more flights do."""


def minimum_window(window: int) -> int:
    """How many images must be there before a window of `window` is judged: half of it, at least 8."""
    return min(window, max(8, -(-window // 2)))


def detect(baseline: Baseline, profiles: Sequence[Profile], *, alpha: float) -> Judgment:
    """Compare a window of profiles, in the order in which they were seen, with the baseline.

    Raises BaselineTooSmall when the reference has fewer than MIN_REFERENCE usable images, ProfileUnusable when the
    window is empty.
    """
    reference = baseline.statistics()
    if len(reference) < MIN_REFERENCE:
        raise BaselineTooSmall(f"the baseline has {len(reference)} usable images, {MIN_REFERENCE} are needed")
    if not profiles:
        raise ProfileUnusable("the window is empty")
    window = np.array([profile.statistics for profile in profiles], dtype=np.float64)
    level = alpha / 3
    statistics = _statistics(reference, window, level)
    novelty, scores = _novelty("novelty", reference, window, RESOLUTION, level)
    evidence = [novelty]
    features = _features(baseline, profiles, level)
    if features:
        evidence.append(features)
    smallest = min([*(e.p_adjusted for e in statistics), *(e.p_value for e in evidence)])
    alarms = _alarms(statistics, evidence, level)
    return Judgment(
        decision="DRIFT" if alarms else "OK",
        clear=not _alarms(statistics, evidence, CLEAR_FACTOR * level),
        p_value=min(1.0, 3 * smallest),
        alpha=alpha,
        window=len(window),
        reference=len(reference),
        statistics=statistics,
        novelty=evidence,
        reasons=alarms,
        scores=[round(float(score), 4) for score in scores],
    )


def _alarms(statistics: list[StatisticEvidence], evidence: list[NoveltyEvidence], level: float) -> list[str]:
    moved = [e for e in statistics if _moves(e.p_adjusted, e.shift, level)]
    moved.sort(key=lambda e: -abs(e.shift))
    return [e.sentence for e in moved] + [e.sentence for e in evidence if _unlike(e.name, e.p_value, e.outside, level)]


def _moves(p_adjusted: float, shift: float, level: float) -> bool:
    return p_adjusted < level and abs(shift) >= MIN_SHIFT


def _unlike(name: str, p_value: float, outside: float, level: float) -> bool:
    return p_value < level and (name == "novelty" or outside >= MIN_OUTSIDE)


def _statistics(reference: np.ndarray, window: np.ndarray, level: float) -> list[StatisticEvidence]:
    distances = [ks_statistic(reference[:, column], window[:, column]) for column in range(len(STATISTICS))]
    sizes = [_size(window[:, column]) for column in range(len(STATISTICS))]
    p_values = [ks_p_value(d, len(reference), int(size)) for d, size in zip(distances, sizes, strict=True)]
    evidence = []
    for column, adjusted in enumerate(holm(p_values)):
        before, now = float(np.median(reference[:, column])), float(np.median(window[:, column]))
        shift = (now - before) / max(float(reference[:, column].std()), float(RESOLUTION[column]))
        evidence.append(
            StatisticEvidence(
                name=STATISTICS[column].name,
                ks=distances[column],
                p_value=p_values[column],
                p_adjusted=adjusted,
                effective_size=sizes[column],
                median_reference=before,
                median_window=now,
                shift=shift,
                moved=_moves(adjusted, shift, level),
                sentence=_in_words(STATISTICS[column], before, now),
            )
        )
    return evidence


def _in_words(statistic: Statistic, before: float, now: float) -> str:
    direction = statistic.higher if now > before else statistic.lower
    return f"images are {direction}: median {statistic.name} {now:.2f} against {before:.2f}"


def _features(baseline: Baseline, profiles: Sequence[Profile], level: float) -> NoveltyEvidence | None:
    """Evidence from the features, where the model gives them, as many as the reference can carry."""
    reference = baseline.feature_rows()
    width = reference.shape[1]
    if width == 0 or len(reference) < MIN_REFERENCE or any(len(profile.features) != width for profile in profiles):
        return None
    used = min(width, LEADING_FEATURES, len(reference) // 8)
    window = np.array([profile.features[:used] for profile in profiles], dtype=np.float64)
    resolution = np.full(used, FEATURE_RESOLUTION)
    return _novelty("features", reference[:, :used], window, resolution, level)[0]


def _novelty(
    name: Literal["novelty", "features"],
    reference: np.ndarray,
    window: np.ndarray,
    resolution: np.ndarray,
    level: float,
) -> tuple[NoveltyEvidence, np.ndarray]:
    own, distances = novelty_scores(reference, window, resolution=resolution, left_out=LEFT_OUT)
    boundary = max(float(np.quantile(own, OUTSIDE_QUANTILE)), 1e-12)
    outside = float((distances > boundary).mean())
    size = _size(np.log(distances + 1e-12))
    ks = ks_statistic_greater(own, distances)
    p_value = ks_p_value(ks, len(own), int(size), one_sided=True)
    by = "by their statistics together" if name == "novelty" else "by the network's early features"
    evidence = NoveltyEvidence(
        name=name,
        ks=ks,
        p_value=p_value,
        effective_size=size,
        outside=outside,
        alarms=_unlike(name, p_value, outside, level),
        sentence=f"{outside:.0%} of the images lie outside what 95% of the reference does, {by}",
    )
    return evidence, distances / boundary


def _size(series: np.ndarray) -> float:
    return max(effective_sample_size(series), min(LEAST_EFFECTIVE, float(len(series))))
