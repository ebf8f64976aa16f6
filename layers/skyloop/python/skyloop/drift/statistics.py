"""The statistics behind drift detection, in plain numpy.

Nothing here knows about images. Arrays are float64; a sample's order is the order in which it was seen.

Why not scipy, which has `ks_2samp`? Its wheel for arm64 unpacks to 121 MB (1.18.1), more than all other packages of the
Lambda layer together, and Lambda takes 250 MB in all. What is needed of it is the hundred lines below, which the tests
check against published tables and by counting every arrangement of small samples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

EXACT_LIMIT = 20_000  # n * m up to which the Kolmogorov-Smirnov p-value is counted exactly
REFERENCE_LIMIT = 600  # rows that the pairwise distances of `novelty_scores` are computed for
SHRINKAGE = 0.1  # weight of the diagonal in the covariance: keeps it invertible for few and collinear rows


def ks_statistic(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Two-sample Kolmogorov-Smirnov D: the largest distance of the two empirical distribution functions, 0..1."""
    below, above = _ecdf_differences(first, second)
    return max(below, above)


def ks_statistic_greater(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """One-sided D+: how far `second` lies above `first`, the largest F_first - F_second, 0..1."""
    return _ecdf_differences(first, second)[0]


def _ecdf_differences(first: NDArray[np.float64], second: NDArray[np.float64]) -> tuple[float, float]:
    points = np.concatenate([first, second])
    difference = np.searchsorted(np.sort(first), points, side="right") / len(first)
    difference = difference - np.searchsorted(np.sort(second), points, side="right") / len(second)
    return max(0.0, float(difference.max())), max(0.0, float(-difference.min()))


def ks_p_value(statistic: float, n: int, m: int, *, one_sided: bool = False) -> float:
    """P(D >= statistic) for two independent samples of n and m from one continuous distribution.

    Exact for n * m <= EXACT_LIMIT: the share of lattice paths from (0, 0) to (n, m) that touch the boundary (Hodges,
    "The significance probability of the Smirnov two-sample test", Arkiv för Matematik 3, 1958). Ties make it
    conservative. Beyond that asymptotic: Kolmogorov's series with Stephens' correction for small samples (Stephens,
    JRSS B 32, 1970; Press et al., Numerical Recipes, 14.3), and Smirnov's exp(-2 n m D^2 / (n + m)) for one side.
    """
    if n * m <= EXACT_LIMIT:
        return _paths_touching(statistic, n, m, one_sided)
    effective = n * m / (n + m)
    if one_sided:
        return min(1.0, math.exp(-2.0 * effective * statistic**2))
    root = math.sqrt(effective)
    return kolmogorov_survival((root + 0.12 + 0.11 / root) * statistic)


def kolmogorov_survival(x: float) -> float:
    """Q(x) = 2 sum_k (-1)^(k-1) exp(-2 k^2 x^2): the tail of Kolmogorov's distribution (Kolmogorov 1933)."""
    if x < 0.04:  # the series converges slowly there, and Q is 1 to the last digit
        return 1.0
    terms = [2.0 * (-1.0) ** (k - 1) * math.exp(-2.0 * (k * x) ** 2) for k in range(1, 101)]
    return min(1.0, max(0.0, math.fsum(terms)))


def _paths_touching(statistic: float, n: int, m: int, one_sided: bool) -> float:
    # Probability that a random path touches, accumulated over the paths' first touch, so that a tiny p-value is not
    # the difference of two numbers near 1. inside[j]: probability of being at (i, j), untouched.
    if statistic <= 0.0:
        return 1.0
    columns = np.arange(m + 1)
    touched = 0.0
    inside = np.zeros(m + 1)
    for i in range(n + 1):
        difference = i / n - columns / m
        outside = (difference if one_sided else np.abs(difference)) >= statistic - 1e-12
        arriving = inside.copy() if i else np.eye(1, m + 1)[0]
        if i:
            # From (i - 1, j) the next of the n + m - (i - 1) - j remaining steps is one of the first sample with this
            # probability.
            arriving *= (n - i + 1) / np.maximum(n + m - (i - 1) - columns, 1)
        row = np.zeros(m + 1)
        carried = 0.0
        for j in range(m + 1):
            here = arriving[j] + carried
            if outside[j]:
                touched += here
                carried = 0.0
                continue
            row[j] = here
            remaining = n + m - i - j
            carried = here * (m - j) / remaining if remaining else 0.0
        inside = row
    return float(min(1.0, max(0.0, touched)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values that keep the family-wise error rate (Holm, Scandinavian Journal of Statistics 6, 1979)."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted = [1.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def effective_sample_size(series: NDArray[np.float64]) -> float:
    """How many independent values a series in time order is worth, 1..n.

    n / tau, where tau = 1 + 2 * (sum of the autocorrelations), summed in pairs as long as a pair is positive (Geyer,
    "Practical Markov chain Monte Carlo", Statistical Science 7, 1992). Frames of one flight resemble their neighbors:
    fifty of them can be worth five. A constant series is worth one value.
    """
    n = len(series)
    centered = series - series.mean()
    variance = float(centered @ centered) / n
    if n < 4 or variance <= 1e-18 * max(1.0, float(np.abs(series).max()) ** 2):
        return float(n) if n < 4 else 1.0
    correlations = [float(centered[lag:] @ centered[:-lag]) / (n * variance) for lag in range(1, n // 2)]
    tau = 1.0
    for odd, even in zip(correlations[0::2], correlations[1::2], strict=False):
        if odd + even <= 0.0:
            break
        tau += 2.0 * (odd + even)
    return min(float(n), max(1.0, n / tau))


def novelty_scores(
    reference: NDArray[np.float64], window: NDArray[np.float64], *, resolution: NDArray[np.float64], left_out: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How unlike the reference every row is: squared Mahalanobis distances, (of the reference rows, of the window's).

    A row's T^2 against the reference's mean and covariance (Hotelling, "Multivariate quality control", 1947). Reference
    rows are judged without themselves and without the nearest `left_out` share of the reference: photographs come in
    scenes, and a row that has its own scene among its judges looks far more usual than a frame of a scene that the
    reference does not hold, as all of a window's may be. `resolution` (k,) is the least standard deviation that counts,
    so that a column without any spread does not make every later difference infinite.
    """
    reference = _thinned(reference)
    scale = np.maximum(reference.std(axis=0), resolution)
    center = reference.mean(axis=0)
    reference, window = (reference - center) / scale, (window - center) / scale
    nearest_first = np.argsort(((reference[:, None, :] - reference[None, :, :]) ** 2).sum(axis=2), axis=1)
    skipped = max(1, int(left_out * len(reference)))
    own = np.array(
        [_distances(reference[nearest_first[row, skipped:]], reference[[row]])[0] for row in range(len(reference))]
    )
    return own, _distances(reference, window)


def _distances(reference: NDArray[np.float64], rows: NDArray[np.float64]) -> NDArray[np.float64]:
    centered = reference - reference.mean(axis=0)
    covariance = centered.T @ centered / max(1, len(reference) - 1)
    covariance = (1 - SHRINKAGE) * covariance + SHRINKAGE * np.eye(covariance.shape[0])
    offset = rows - reference.mean(axis=0)
    distances: NDArray[np.float64] = np.einsum("ij,ij->i", offset, np.linalg.solve(covariance, offset.T).T)
    return distances


def _thinned(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    if len(rows) <= REFERENCE_LIMIT:
        return rows
    thinned: NDArray[np.float64] = rows[np.linspace(0, len(rows) - 1, REFERENCE_LIMIT).round().astype(int)]
    return thinned
