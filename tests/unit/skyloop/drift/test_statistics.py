"""The statistics against published and brute-force values, and by simulation."""

from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skyloop.drift.statistics import (
    effective_sample_size,
    holm,
    kolmogorov_survival,
    ks_p_value,
    ks_statistic,
    ks_statistic_greater,
    novelty_scores,
)


@pytest.mark.parametrize(
    ("critical", "tail"),
    # Smirnov, "Table for estimating the goodness of fit of empirical distributions", Ann. Math. Stat. 19, 1948.
    [(1.22, 0.10), (1.36, 0.05), (1.48, 0.025), (1.63, 0.01), (1.95, 0.001)],
)
def test_kolmogorovs_distribution_at_its_published_points(critical, tail):
    assert kolmogorov_survival(critical) == pytest.approx(tail, rel=0.04)


def test_kolmogorovs_distribution_at_its_ends():
    assert kolmogorov_survival(0.0) == 1.0
    assert kolmogorov_survival(0.04) == pytest.approx(1.0, abs=1e-9)
    assert kolmogorov_survival(30.0) == 0.0


def by_counting(statistic: float, n: int, m: int, one_sided: bool) -> float:
    """P(D >= statistic) by looking at every arrangement of the two samples."""
    reached = 0
    for places in combinations(range(n + m), n):
        i = j = 0
        largest = 0.0
        for place in range(n + m):
            i, j = (i + 1, j) if place in places else (i, j + 1)
            difference = i / n - j / m
            largest = max(largest, difference if one_sided else abs(difference))
        reached += largest >= statistic - 1e-12
    return reached / comb(n + m, n)


@pytest.mark.parametrize("one_sided", [False, True])
@pytest.mark.parametrize(
    ("n", "m", "statistic"), [(5, 7, 0.6), (6, 6, 0.5), (4, 9, 0.75), (3, 8, 1.0), (7, 5, 0.31), (1, 4, 0.5)]
)
def test_small_samples_are_counted_exactly(n, m, statistic, one_sided):
    assert ks_p_value(statistic, n, m, one_sided=one_sided) == pytest.approx(by_counting(statistic, n, m, one_sided))


def test_published_critical_values_for_equal_samples():
    # Birnbaum and Hall, Ann. Math. Stat. 31, 1960, table 1: 1 - P(D <= (k - 1) / n).
    assert ks_p_value(4 / 5, 5, 5) == pytest.approx(0.0794, abs=5e-5)
    assert ks_p_value(6 / 10, 10, 10) == pytest.approx(0.0524, abs=5e-4)
    assert ks_p_value(7 / 10, 10, 10) == pytest.approx(0.0123, abs=5e-4)


def test_separated_samples_have_the_smallest_possible_p():
    assert ks_p_value(1.0, 40, 5, one_sided=True) == pytest.approx(1 / comb(45, 5), rel=1e-9)
    assert 0 < ks_p_value(1.0, 100, 100) < 1e-50  # no cancellation down there


def test_the_asymptotic_tail_continues_the_exact_one():
    assert ks_p_value(0.25, 201, 100) == pytest.approx(ks_p_value(0.25, 199, 100), rel=0.15)
    exact, asymptotic = (ks_p_value(0.2, n, 100, one_sided=True) for n in (199, 201))
    assert exact <= asymptotic <= 1.25 * exact  # Smirnov's bound is on the safe side


samples = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30).map(np.array)


@given(samples, samples)
def test_the_statistic_is_symmetric_and_a_distance(first, second):
    distance = ks_statistic(first, second)
    assert distance == pytest.approx(ks_statistic(second, first))
    assert 0 <= distance <= 1
    assert ks_statistic(first, first) == 0
    assert distance == pytest.approx(max(ks_statistic_greater(first, second), ks_statistic_greater(second, first)))


@given(st.integers(1, 40), st.integers(1, 40), st.floats(0, 1), st.floats(0, 1))
def test_a_larger_distance_is_never_more_likely(n, m, first, second):
    low, high = sorted((first, second))
    assert 0 <= ks_p_value(high, n, m) <= ks_p_value(low, n, m) + 1e-12 <= 1 + 2e-12


def test_the_one_sided_statistic_knows_its_side():
    low, high = np.arange(10.0), np.arange(10.0) + 100
    assert ks_statistic_greater(low, high) == 1.0
    assert ks_statistic_greater(high, low) == 0.0


def test_p_values_of_equal_distributions_are_not_too_small():
    random = np.random.default_rng(1)
    p_values = [ks_p_value(ks_statistic(*random.normal(size=(2, 40))), 40, 40) for _ in range(400)]
    assert np.mean(np.array(p_values) < 0.05) < 0.075  # 400 draws: 0.05 + 2.3 standard deviations


def test_holm_by_hand():
    # Holm's procedure on four p-values: 4 x 0.005, 3 x 0.01, then never below what came before.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=9))
def test_holm_lies_between_the_p_value_and_bonferroni(p_values):
    for p_value, adjusted in zip(p_values, holm(p_values), strict=True):
        assert p_value <= adjusted <= min(1.0, len(p_values) * p_value) + 1e-12


def autoregressive(n: int, rho: float, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    series = [random.normal()]
    for _ in range(n - 1):
        series.append(rho * series[-1] + np.sqrt(1 - rho**2) * random.normal())
    return np.array(series)


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.8])
def test_effective_size_of_a_known_process(rho):
    # An AR(1) process has tau = (1 + rho) / (1 - rho).
    sizes = [effective_sample_size(autoregressive(2_000, rho, seed)) for seed in range(10)]
    assert np.mean(sizes) == pytest.approx(2_000 * (1 - rho) / (1 + rho), rel=0.25)


def test_effective_size_at_its_ends():
    assert effective_sample_size(np.full(50, 0.3)) == 1.0
    assert effective_sample_size(np.array([1.0, 2.0, 3.0])) == 3.0
    assert effective_sample_size(np.array([1.0, -1.0] * 20)) == 40.0  # never worth more than it has


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=60).map(np.array))
def test_effective_size_is_a_size(series):
    assert 1 <= effective_sample_size(series) <= len(series)


def test_the_reference_is_as_unlike_itself_as_its_like():
    random = np.random.default_rng(2)
    own, other = novelty_scores(
        random.normal(size=(150, 4)), random.normal(size=(150, 4)), resolution=np.full(4, 1e-6), left_out=0.0
    )
    assert np.median(own) == pytest.approx(np.median(other), rel=0.25)


def test_a_reference_of_few_scenes_knows_that_it_is_one():
    """Frames cluster in scenes. A new scene of the same kind must not look alien, though no frame of it was seen."""
    random = np.random.default_rng(3)

    def frames(scenes: int) -> np.ndarray:
        return np.concatenate([random.normal(size=4) + 0.2 * random.normal(size=(12, 4)) for _ in range(scenes)])

    def alien(left_out: float) -> float:
        scores = [
            novelty_scores(frames(6), frames(1), resolution=np.full(4, 1e-6), left_out=left_out) for _ in range(60)
        ]
        return float(np.mean([np.mean(other > np.quantile(own, 0.95)) for own, other in scores]))

    assert alien(0.25) < 0.6 * alien(0.0)


def test_a_column_without_spread_counts_by_its_resolution():
    random = np.random.default_rng(4)
    reference = np.column_stack([random.normal(size=40), np.zeros(40)])
    same, moved = np.array([[0.0, 0.001]]), np.array([[0.0, 0.3]])
    resolution = np.array([1e-6, 0.005])
    own, unmoved = novelty_scores(reference, same, resolution=resolution, left_out=0.1)
    _, alien = novelty_scores(reference, moved, resolution=resolution, left_out=0.1)
    assert unmoved[0] < np.quantile(own, 0.9)
    assert alien[0] > 100 * own.max()


def test_a_large_reference_is_thinned_not_refused():
    random = np.random.default_rng(5)
    own, other = novelty_scores(
        random.normal(size=(2_000, 3)), random.normal(size=(10, 3)), resolution=np.full(3, 1e-6), left_out=0.25
    )
    assert len(own) == 600
    assert len(other) == 10
