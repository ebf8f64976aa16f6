"""Comparing a window: what moved, in words, and how often nothing is taken for something."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skyloop.documents import Judgment
from skyloop.drift.detector import LEAST_EFFECTIVE, detect, minimum_window
from skyloop.formats.profile import ProfileUnusable

from tests.support.profiles import CENTER, NAMES, SPREAD, baseline_of, draw, only, profiles_of

ALPHA = 0.01


def moved(judgment: Judgment) -> set[str]:
    return {evidence.name for evidence in judgment.statistics if evidence.moved}


def test_the_same_kind_of_images_is_ok():
    random = np.random.default_rng(0)
    judgment = detect(baseline_of(draw(random, 60)), profiles_of(draw(random, 50)), alpha=ALPHA)
    assert (judgment.decision, judgment.clear, judgment.reasons) == ("OK", True, [])
    assert judgment.p_value > ALPHA
    assert (judgment.window, judgment.reference, len(judgment.scores)) == (50, 60, 50)


def test_darker_images_are_called_darker_with_both_medians():
    random = np.random.default_rng(1)
    reference, window = draw(random, 60), draw(random, 50, shift=only("brightness", -7.0))
    judgment = detect(baseline_of(reference), profiles_of(window), alpha=ALPHA)
    assert judgment.decision == "DRIFT"
    assert moved(judgment) == {"brightness"}
    before, now = np.median(reference[:, 0]), np.median(window[:, 0])
    assert judgment.reasons[0] == f"images are darker: median brightness {now:.2f} against {before:.2f}"
    assert judgment.statistics[0].shift == pytest.approx((now - before) / reference[:, 0].std())
    assert judgment.statistics[0].ks == 1.0


@pytest.mark.parametrize(
    ("name", "size", "words"),
    [
        ("brightness", 5.0, "brighter"),
        ("contrast", -5.0, "flatter in contrast"),
        ("sharpness", -5.0, "more blurred"),
        ("sharpness", 5.0, "sharper or noisier"),
        ("saturation", 5.0, "more colorful"),
        ("entropy", -5.0, "poorer in gray levels"),
        ("p05", 5.0, "brighter in the shadows"),
        ("p95", -5.0, "darker in the highlights"),
    ],
)
def test_every_statistic_has_words_for_its_direction(name, size, words):
    random = np.random.default_rng(2)
    judgment = detect(baseline_of(draw(random, 60)), profiles_of(draw(random, 50, shift=only(name, size))), alpha=ALPHA)
    assert judgment.reasons[0].startswith(f"images are {words}: median {name} ")


def test_color_where_there_never_was_any():
    """A thermal camera's baseline has saturation exactly 0; the first color picture is no infinite surprise."""
    random = np.random.default_rng(3)
    reference, window = draw(random, 50), draw(random, 20)
    reference[:, 3], window[:, 3] = 0.0, 0.4
    judgment = detect(baseline_of(reference), profiles_of(window), alpha=ALPHA)
    assert moved(judgment) == {"saturation"}
    json.dumps(judgment.plain(), allow_nan=False)
    window[:, 3] = 0.0
    assert detect(baseline_of(reference), profiles_of(window), alpha=ALPHA).decision == "OK"


def test_a_mixture_of_two_extremes_moves_no_median_and_is_seen():
    random = np.random.default_rng(4)
    shift = np.where(np.arange(50)[:, None] % 2 == 0, only("brightness", 8.0), only("brightness", -8.0))
    judgment = detect(baseline_of(draw(random, 60)), profiles_of(draw(random, 50, shift=shift)), alpha=ALPHA)
    assert judgment.decision == "DRIFT"
    assert "brightness" not in moved(judgment)
    assert [evidence.name for evidence in judgment.novelty if evidence.alarms] == ["novelty"]


def test_a_difference_that_is_real_and_small_is_no_alarm():
    random = np.random.default_rng(5)
    window = draw(random, 400, shift=only("brightness", 0.7))
    judgment = detect(baseline_of(draw(random, 400)), profiles_of(window), alpha=ALPHA)
    assert judgment.statistics[0].p_adjusted < ALPHA / 10
    assert not judgment.statistics[0].moved
    assert judgment.decision == "OK"


def test_features_alone_can_tell():
    random = np.random.default_rng(6)
    reference, window = random.normal(size=(80, 16)), random.normal(size=(50, 16)) + 8.0
    same = draw(random, 80), draw(random, 50)
    judgment = detect(baseline_of(same[0], reference), profiles_of(same[1], window), alpha=ALPHA)
    assert judgment.decision == "DRIFT"
    assert judgment.reasons == [
        "100% of the images lie outside what 95% of the reference does, by the network's early features"
    ]


def test_the_most_unusual_image_has_the_highest_score():
    random = np.random.default_rng(8)
    window = draw(random, 30)
    window[17] = CENTER + 9 * SPREAD
    scores = detect(baseline_of(draw(random, 60)), profiles_of(window), alpha=ALPHA).scores
    assert int(np.argmax(scores)) == 17
    assert scores[17] > 1
    assert np.mean(np.array(scores) > 1) < 0.2


def test_identical_frames_are_worth_few_and_a_step_is_still_seen():
    random = np.random.default_rng(9)
    steps = np.repeat(CENTER + SPREAD * np.array([[6.0], [9.0]]), 10, axis=0)
    judgment = detect(baseline_of(draw(random, 40)), profiles_of(steps), alpha=ALPHA)
    assert judgment.decision == "DRIFT"
    assert all(evidence.effective_size <= LEAST_EFFECTIVE for evidence in judgment.statistics)


def flight(random: np.random.Generator, count: int, rho: float) -> np.ndarray:
    """Frames of one flight: each resembles the one before it."""
    series = [random.normal(size=len(NAMES))]
    for _ in range(count - 1):
        series.append(rho * series[-1] + np.sqrt(1 - rho**2) * random.normal(size=len(NAMES)))
    return CENTER + SPREAD * np.array(series)


@pytest.mark.parametrize(("rho", "most"), [(0.0, 0.03), (0.6, 0.05), (0.85, 0.10)])
def test_false_alarms_stay_rare_for_consecutive_frames(rho, most):
    random = np.random.default_rng(10)
    alarms = [
        detect(baseline_of(draw(random, 60)), profiles_of(flight(random, 40, rho)), alpha=ALPHA).decision == "DRIFT"
        for _ in range(120)
    ]
    assert np.mean(alarms) <= most


@pytest.mark.parametrize("rho", [0.0, 0.6, 0.85])
def test_a_shift_of_four_deviations_is_found_however_alike_the_frames(rho):
    random = np.random.default_rng(11)
    shift = SPREAD * only("brightness", -4.0)
    found = [
        detect(baseline_of(draw(random, 60)), profiles_of(flight(random, 40, rho) + shift), alpha=ALPHA).decision
        == "DRIFT"
        for _ in range(40)
    ]
    assert np.mean(found) >= 0.9


def test_clear_asks_for_more_than_ok():
    random = np.random.default_rng(12)
    judgments = [
        detect(
            baseline_of(draw(random, 40)), profiles_of(draw(random, 10, shift=only("brightness", size))), alpha=ALPHA
        )
        for size in np.linspace(0, 4, 61)
    ]
    assert not any(judgment.clear for judgment in judgments if judgment.decision == "DRIFT")
    assert any(not judgment.clear for judgment in judgments if judgment.decision == "OK")


def test_the_smallest_reference_still_sees_what_is_far_away():
    random = np.random.default_rng(15)
    judgment = detect(baseline_of(draw(random, 8)), profiles_of(draw(random, 20, shift=12.0)), alpha=ALPHA)
    assert judgment.decision == "DRIFT"
    assert detect(baseline_of(draw(random, 8)), profiles_of(draw(random, 20)), alpha=ALPHA).decision == "OK"


def test_a_reference_of_a_handful_is_refused():
    random = np.random.default_rng(13)
    with pytest.raises(ProfileUnusable, match="7 usable images, 8 are needed"):
        detect(baseline_of(draw(random, 7)), profiles_of(draw(random, 20)), alpha=ALPHA)
    with pytest.raises(ProfileUnusable, match="window is empty"):
        detect(baseline_of(draw(random, 20)), [], alpha=ALPHA)


@pytest.mark.parametrize(("window", "needed"), [(5, 5), (8, 8), (12, 8), (50, 25), (51, 26)])
def test_half_a_window_is_needed(window, needed):
    assert minimum_window(window) == needed


@settings(max_examples=40)
@given(st.lists(st.lists(st.floats(-10, 10), min_size=7, max_size=len(NAMES)), min_size=1, max_size=12))
def test_every_window_gets_a_judgment_that_is_json(rows):
    random = np.random.default_rng(14)
    judgment = detect(baseline_of(draw(random, 20)), profiles_of(np.array(rows)), alpha=ALPHA)
    assert (judgment.decision == "DRIFT") == bool(judgment.reasons)
    json.dumps(judgment.plain(), allow_nan=False)
