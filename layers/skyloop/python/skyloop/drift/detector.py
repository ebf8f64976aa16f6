"""Have the images drifted away from what the model was judged on? Reference and window profiles in, a judgment out.

Pure: no clock, no cloud. The lines of evidence, of which as many as there are share alpha equally (Bonferroni):

statistic   each image statistic by itself, Kolmogorov-Smirnov, Holm-adjusted over all of them; counts only when the
            median has also moved by MIN_SHIFT standard deviations. Says *what* changed, in words.
novelty     are the images, by all statistics together, less like the reference than the reference is like itself?
            Squared Mahalanobis distances, one-sided Kolmogorov-Smirnov. Sees combinations, and a mixture of extremes.
features    the same on the network's pooled early-layer features; counts only when at least half of the window lies
            outside what 95 % of the reference does, because early features also answer to a mere change of scene.

The statistics that are compared are those that the baseline and all answers of the window share. What only one of the
two has is listed in the judgment; it is no failure, because models keep the container that they were packaged with.

Two traps, and what is done about them (measured by bench/drift.py):
- Frames of one flight are not independent. Every p-value is computed for the window's *effective* sample size, and the
  novelty of reference images is taken without their own scene (`statistics.novelty_scores`).
- A reference of a few scenes makes every new scene look like drift. More flights in the validation split help; no test
  can know scenes that it was never shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

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

MIN_STATISTICS = 3  # shared ones; by one or two numbers most drifts would be called OK
MIN_REFERENCE = 8  # images; fewer say nothing about what is usual
MIN_SHIFT = 1.5  # reference standard deviations between the medians
MIN_OUTSIDE = {"novelty": 0.0, "features": 0.5}
OUTSIDE_QUANTILE = 0.95
LEFT_OUT = 0.25  # share of the reference that counts as an image's own scene
LEAST_EFFECTIVE = 5.0  # a window in two steps has almost no effective size, yet is no accident
LEADING_FEATURES = 8  # principal components that are compared, the first ones
CLEAR_FACTOR = 5.0  # drift is over when nothing alarms at this multiple of alpha: keeps the state from flapping
FEATURE_RESOLUTION = 1e-6


class CannotCompare(ProfileUnusable):
    """The baseline is too small, or shares too little with the answers. A retry does not help; another model does."""


def minimum_window(window: int) -> int:
    """How many images must be there before a window of `window` is judged: half of it, at least 8."""
    return min(window, max(8, -(-window // 2)))


def detect(baseline: Baseline, profiles: Sequence[Profile], *, alpha: float) -> Judgment:
    """Compare a window of profiles, in the order in which they were seen, with the baseline.

    Raises CannotCompare when they share fewer than MIN_STATISTICS statistics or the reference has fewer than
    MIN_REFERENCE usable images, ProfileUnusable when the window is empty.
    """
    if not profiles:
        raise ProfileUnusable("the window is empty")
    compared, not_compared = shared_statistics(baseline, profiles)
    names = [statistic.name for statistic in compared]
    if len(names) < MIN_STATISTICS:
        lacking = "; ".join(f"{name}: {reason}" for name, reason in not_compared.items())
        raise CannotCompare(
            f"the baseline and the answers share {len(names)} statistics ({', '.join(names) or 'none'}), "
            f"{MIN_STATISTICS} are needed; {lacking}"
        )
    reference = baseline.statistics(names)
    if len(reference) < MIN_REFERENCE:
        raise CannotCompare(f"the baseline has {len(reference)} usable images, {MIN_REFERENCE} are needed")
    window = np.array([profile.select(names) for profile in profiles], dtype=np.float64)

    each = _each_statistic(compared, reference, window)
    resolution = np.array([statistic.resolution for statistic in compared])
    together, scores = _novelty("novelty", reference, window, resolution)
    novelty = [together]
    features = _features(baseline, profiles)
    if isinstance(features, NoveltyEvidence):
        novelty.append(features)
    elif features:
        not_compared["features"] = features

    lines = [min(evidence.p_adjusted for evidence in each), *(evidence.p_value for evidence in novelty)]
    level = alpha / len(lines)
    reasons = _alarms(each, novelty, level)
    return Judgment(
        decision="DRIFT" if reasons else "OK",
        clear=not _alarms(each, novelty, CLEAR_FACTOR * level),
        p_value=min(1.0, len(lines) * min(lines)),
        alpha=alpha,
        window=len(window),
        reference=len(reference),
        statistics=[evidence.model_copy(update={"moved": _moves(evidence, level)}) for evidence in each],
        novelty=[evidence.model_copy(update={"alarms": _unlike(evidence, level)}) for evidence in novelty],
        not_compared=not_compared,
        reasons=reasons,
        scores=[round(float(score), 4) for score in scores],
    )


def shared_statistics(baseline: Baseline, profiles: Sequence[Profile]) -> tuple[list[Statistic], dict[str, str]]:
    """The statistics that the baseline and every profile have, and why each other name is not compared, by name."""
    in_answers = set(profiles[0].names).intersection(*(profile.names for profile in profiles))
    in_some = {name for profile in profiles for name in (*profile.names, *profile.unknown)}
    in_baseline = set(baseline.profile_names)
    reasons = {}
    for name in sorted(in_baseline | in_some):
        if name not in STATISTICS:
            reasons[name] = "no such statistic is known here"
        elif name not in in_baseline:
            reasons[name] = "the baseline does not have it"
        elif name not in in_answers:
            reasons[name] = f"{'some' if name in in_some else 'the'} answers do not have it"
    return [STATISTICS[name] for name in STATISTICS if name in in_answers & in_baseline], reasons


def _alarms(each: list[StatisticEvidence], novelty: list[NoveltyEvidence], level: float) -> list[str]:
    moved = [evidence for evidence in each if _moves(evidence, level)]
    moved.sort(key=lambda evidence: -abs(evidence.shift))
    unlike = [evidence for evidence in novelty if _unlike(evidence, level)]
    return [evidence.sentence for evidence in moved] + [evidence.sentence for evidence in unlike]


def _moves(evidence: StatisticEvidence, level: float) -> bool:
    return evidence.p_adjusted < level and abs(evidence.shift) >= MIN_SHIFT


def _unlike(evidence: NoveltyEvidence, level: float) -> bool:
    return evidence.p_value < level and evidence.outside >= MIN_OUTSIDE[evidence.name]


def _each_statistic(
    compared: list[Statistic], reference: NDArray[np.float64], window: NDArray[np.float64]
) -> list[StatisticEvidence]:
    """One line of evidence: the columns one by one. What has `moved` is decided when all lines are counted."""
    distances = [ks_statistic(before, now) for before, now in zip(reference.T, window.T, strict=True)]
    sizes = [_size(column) for column in window.T]
    p_values = [ks_p_value(d, len(reference), int(size)) for d, size in zip(distances, sizes, strict=True)]
    evidence = []
    for column, (statistic, adjusted) in enumerate(zip(compared, holm(p_values), strict=True)):
        before, now = float(np.median(reference[:, column])), float(np.median(window[:, column]))
        evidence.append(
            StatisticEvidence(
                name=statistic.name,
                ks=distances[column],
                p_value=p_values[column],
                p_adjusted=adjusted,
                effective_size=sizes[column],
                median_reference=before,
                median_window=now,
                shift=(now - before) / max(float(reference[:, column].std()), statistic.resolution),
                sentence=_in_words(statistic, before, now),
            )
        )
    return evidence


def _in_words(statistic: Statistic, before: float, now: float) -> str:
    direction = statistic.higher if now > before else statistic.lower
    return f"images are {direction}: median {statistic.name} {now:.2f} against {before:.2f}"


def _features(baseline: Baseline, profiles: Sequence[Profile]) -> NoveltyEvidence | str:
    """A line of evidence from the features, as many as the reference can carry; or why there is none.

    A model that gives no features needs no reason: the text is empty.
    """
    reference = baseline.feature_rows()
    width, widths = reference.shape[1], {len(profile.features) for profile in profiles}
    if widths != {width}:
        return f"the baseline has {width} of them, the answers have {' or '.join(map(str, sorted(widths)))}"
    if width == 0:
        return ""
    if len(reference) < MIN_REFERENCE:
        return f"the baseline has {len(reference)} usable rows of them, {MIN_REFERENCE} are needed"
    used = min(width, LEADING_FEATURES, len(reference) // 8)
    window = np.array([profile.features[:used] for profile in profiles], dtype=np.float64)
    return _novelty("features", reference[:, :used], window, np.full(used, FEATURE_RESOLUTION))[0]


def _novelty(
    name: Literal["novelty", "features"],
    reference: NDArray[np.float64],
    window: NDArray[np.float64],
    resolution: NDArray[np.float64],
) -> tuple[NoveltyEvidence, NDArray[np.float64]]:
    """One line of evidence, and each window image's distance in units of what 95 % of the reference keep to.

    Whether it `alarms` is decided when all lines are counted.
    """
    own, distances = novelty_scores(reference, window, resolution=resolution, left_out=LEFT_OUT)
    boundary = max(float(np.quantile(own, OUTSIDE_QUANTILE)), 1e-12)
    outside = float((distances > boundary).mean())
    size = _size(np.log(distances + 1e-12))
    ks = ks_statistic_greater(own, distances)
    by = "by their statistics together" if name == "novelty" else "by the network's early features"
    evidence = NoveltyEvidence(
        name=name,
        ks=ks,
        p_value=ks_p_value(ks, len(own), int(size), one_sided=True),
        effective_size=size,
        outside=outside,
        sentence=f"{outside:.0%} of the images lie outside what 95% of the reference does, {by}",
    )
    return evidence, distances / boundary


def _size(series: NDArray[np.float64]) -> float:
    return max(effective_sample_size(series), min(LEAST_EFFECTIVE, float(len(series))))
