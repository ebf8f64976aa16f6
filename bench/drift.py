"""Drift tests side by side on real images: how often each alarms for nothing, and how often it sees a real shift.

    python -m bench.drift PROFILES [--trials 40] [--json]

PROFILES is what training_container/bench/profiles.py writes: image statistics and pooled features of `night-60m`, what
the model was judged on, and of real shifts, `day-60m` and `night-120m`. The PCA is fitted on images of its own.

A trial draws a fold for the PCA, a reference and a window, none sharing a frame. The reference is drawn frame by frame
(`frames`) or in blocks of neighboring frames (`blocks`: what a leak-free split makes of few flights). Windows of the
same kind are drawn frame by frame (`same, shuffled`) or as consecutive frames (`same, consecutive`): an alarm there is
false. `darker` is the latter at 85 % of the light. Windows of the shifts are consecutive.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from skyloop.drift.detector import FEATURE_RESOLUTION, LEADING_FEATURES, LEFT_OUT, detect
from skyloop.drift.statistics import (
    effective_sample_size,
    holm,
    ks_p_value,
    ks_statistic,
    ks_statistic_greater,
    novelty_scores,
)
from skyloop.formats.profile import STATISTICS, Baseline, Profile

ALPHA = 0.01
BLOCK = 13  # neighboring frames that stay together
FOLD = 100  # frames the PCA is fitted on
COMPONENTS = 16
PERMUTATIONS = 199
SAME = ("same, shuffled", "same, consecutive")
SHIFTS = ("darker", "day-60m", "night-120m")


@dataclass(frozen=True)
class Images:
    """A folder's images in the order of their file names, one row per image.

    `statistics` float64 (n, len(names)), columns as `names`; `pooled` features float64 (n, 2 * channels).
    """

    names: tuple[str, ...]
    statistics: np.ndarray
    pooled: np.ndarray

    def take(self, rows: np.ndarray) -> Images:
        """Those rows, in that order."""
        return replace(self, statistics=self.statistics[rows], pooled=self.pooled[rows])


@dataclass(frozen=True)
class Trial:
    """A reference and a window, features already projected."""

    reference: Images
    window: Images


def load(path: Path) -> dict[str, Images]:
    """The images of every folder, by its name."""
    with np.load(path) as arrays:
        names = tuple(arrays["names"].tolist())
        folders = {key.partition("/")[0] for key in arrays if "/" in key}
        return {name: Images(names, arrays[f"{name}/statistics"], arrays[f"{name}/pooled"]) for name in folders}


def draw(images: dict[str, Images], kind: str, by: str, size: int, window: int, random: np.random.Generator) -> Trial:
    """One trial; see the module's docstring."""
    home = images["night-60m"]
    count = len(home.statistics)
    if by == "frames":
        order = random.permutation(count)
    else:
        blocks = np.arange(count) // BLOCK
        order = np.concatenate([np.flatnonzero(blocks == block) for block in random.permutation(blocks.max() + 1)])
    fold, reference, rest = order[:FOLD], order[FOLD : FOLD + size], np.sort(order[FOLD + size :])
    start = int(random.integers(0, len(rest) - window + 1))
    if kind == "same, shuffled":
        seen = home.take(random.choice(rest, window, replace=False))
    elif kind == "same, consecutive":
        seen = home.take(rest[start : start + window])
    elif kind == "darker":
        seen = images["darker"].take(rest[start : start + window])
    else:
        start = int(random.integers(0, len(images[kind].statistics) - window + 1))
        seen = images[kind].take(np.arange(start, start + window))
    mean = home.pooled[fold].mean(axis=0)
    components = np.linalg.svd(home.pooled[fold] - mean, full_matrices=False)[2][:COMPONENTS]
    known = home.take(np.sort(reference))
    return Trial(*(replace(part, pooled=(part.pooled - mean) @ components.T) for part in (known, seen)))


def kolmogorov(trial: Trial, *, effective: bool) -> bool:
    """One Kolmogorov-Smirnov test per statistic, Holm; with the window's own size or its effective one."""
    p_values = []
    for before, now in zip(trial.reference.statistics.T, trial.window.statistics.T, strict=True):
        size = int(effective_sample_size(now)) if effective else len(now)
        p_values.append(ks_p_value(ks_statistic(before, now), len(before), size))
    return min(holm(p_values)) < ALPHA


Split = Callable[[np.ndarray, np.ndarray], float]


def by_permutation(prepare: Callable[[np.ndarray], Split]) -> Callable[[Trial], bool]:
    """A two-sample test of the features whose p-value comes from shuffling who belongs to which sample.

    `prepare` is given all rows and answers the statistic of two groups of their numbers.
    """

    def alarms(trial: Trial) -> bool:
        random = np.random.default_rng(0)
        size, count = len(trial.reference.pooled), len(trial.reference.pooled) + len(trial.window.pooled)
        statistic = prepare(np.concatenate([trial.reference.pooled, trial.window.pooled]))
        found = statistic(np.arange(size), np.arange(size, count))
        orders = (random.permutation(count) for _ in range(PERMUTATIONS))
        larger = sum(statistic(order[:size], order[size:]) >= found for order in orders)
        return (larger + 1) / (PERMUTATIONS + 1) < ALPHA

    return alarms


def hotelling(rows: np.ndarray) -> Split:
    """Hotelling's two-sample T^2 up to a constant: Mahalanobis distance of the means (Hotelling 1931)."""

    def statistic(first: np.ndarray, second: np.ndarray) -> float:
        means = rows[first].mean(axis=0), rows[second].mean(axis=0)
        centered = np.concatenate([rows[first] - means[0], rows[second] - means[1]])
        difference = means[0] - means[1]
        return float(difference @ np.linalg.solve(centered.T @ centered + 1e-9 * np.eye(rows.shape[1]), difference))

    return statistic


def mmd(rows: np.ndarray) -> Split:
    """Squared maximum mean discrepancy, Gaussian kernel at the median distance (Gretton et al., JMLR 13, 2012)."""
    squares = ((rows[:, None] - rows[None]) ** 2).sum(axis=2)
    kernel = np.exp(-squares / np.median(squares[squares > 0]))

    def statistic(first: np.ndarray, second: np.ndarray) -> float:
        within = kernel[np.ix_(first, first)].mean() + kernel[np.ix_(second, second)].mean()
        return float(within - 2 * kernel[np.ix_(first, second)].mean())

    return statistic


def novelty(part: str, left_out: float) -> Callable[[Trial], bool]:
    """Distances to the reference, of `statistics` or `pooled` features, with the window's effective size."""

    def alarms(trial: Trial) -> bool:
        reference, window = getattr(trial.reference, part), getattr(trial.window, part)
        if part == "statistics":
            resolution = np.array([STATISTICS[name].resolution for name in trial.reference.names])
        else:
            resolution = np.full(min(LEADING_FEATURES, len(reference) // 8), FEATURE_RESOLUTION)
        columns = len(resolution)
        own, other = novelty_scores(
            reference[:, :columns], window[:, :columns], resolution=resolution, left_out=left_out
        )
        size = max(int(effective_sample_size(np.log(other + 1e-12))), min(5, len(other)))
        return ks_p_value(ks_statistic_greater(own, other), len(own), size, one_sided=True) < ALPHA

    return alarms


def as_deployed(trial: Trial) -> bool:
    """What detect_drift does."""
    baseline = Baseline(
        profile_names=trial.reference.names,
        profiles=trial.reference.statistics.tolist(),
        features=trial.reference.pooled.tolist(),
        dataset_id="bench",
        count=len(trial.reference.statistics),
    )
    names, rows = trial.window.names, zip(trial.window.statistics.tolist(), trial.window.pooled.tolist(), strict=True)
    return detect(baseline, [Profile(names, tuple(s), tuple(f)) for s, f in rows], alpha=ALPHA).decision == "DRIFT"


TESTS: dict[str, Callable[[Trial], bool]] = {
    "KS, Holm": lambda trial: kolmogorov(trial, effective=False),
    "KS, Holm, effective size": lambda trial: kolmogorov(trial, effective=True),
    "Hotelling, features": by_permutation(hotelling),
    "MMD, features": by_permutation(mmd),
    "novelty, features": novelty("pooled", LEFT_OUT),
    "novelty, leave one out": novelty("statistics", 0.0),
    "novelty, leave scene out": novelty("statistics", LEFT_OUT),
    "as deployed": as_deployed,
}


def rates(images: dict[str, Images], by: str, size: int, window: int, trials: int) -> list[dict[str, object]]:
    """A row for each test: how often it alarms, by kind of window, and its milliseconds."""
    rows = []
    for name, alarms in TESTS.items():
        row: dict[str, object] = {"reference": by, "images": size, "window": window, "test": name}
        spent = 0.0
        for kind in (*SAME, *SHIFTS):
            random = np.random.default_rng(0)  # every test sees the same draws
            drawn = [draw(images, kind, by, size, window, random) for _ in range(trials)]
            started = time.perf_counter()
            row[kind] = round(float(np.mean([alarms(trial) for trial in drawn])), 3)
            spent += time.perf_counter() - started
        row["ms"] = round(1000 * spent / trials / (len(SAME) + len(SHIFTS)), 1)
        rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("profiles", type=Path)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    images = load(options.profiles)
    settings = (("frames", 50, 50), ("frames", 50, 20), ("blocks", 40, 50), ("blocks", 80, 50))
    rows = [row for by, size, window in settings for row in rates(images, by, size, window, options.trials)]
    if options.json:
        print(json.dumps(rows, indent=1))
        return
    table = Table(title=f"Share of {options.trials} windows that alarm at alpha = {ALPHA}")
    for column in rows[0]:
        table.add_column(column, justify="left" if column in {"reference", "test"} else "right")
    for number, row in enumerate(rows, 1):
        table.add_row(*(str(value) for value in row.values()), end_section=number % len(TESTS) == 0)
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
