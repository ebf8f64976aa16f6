"""Models keep the container that they were packaged with: baselines and answers may name other statistics than today's.

"glare" is a statistic that the product does not have. Here it is added, or has been written by a newer container.
"""

from __future__ import annotations

import numpy as np
import pytest
from skyloop.drift.detector import MIN_STATISTICS, CannotCompare, detect
from skyloop.formats import profile
from skyloop.formats.profile import Profile, Statistic

from tests.support.profiles import NAMES, Rows, baseline_of, draw, only, profiles_of

ALPHA = 0.01
DARK = only("brightness", -7.0)
WITH_GLARE = (*NAMES, "glare")


@pytest.fixture
def glare(monkeypatch: pytest.MonkeyPatch) -> None:
    """The product knows one more statistic."""
    statistic = Statistic("glare", "share of white pixels", "more dazzled", "less dazzled", 0.001)
    monkeypatch.setitem(profile.STATISTICS, "glare", statistic)


def glaring(random: np.random.Generator, rows: Rows, shift: float = 0.0) -> Rows:
    """The rows with one column more."""
    return np.column_stack([rows, 0.1 + 0.01 * (shift + random.normal(size=len(rows)))])


@pytest.mark.usefixtures("glare")
def test_a_model_packaged_before_a_statistic_existed_is_judged_as_before():
    random = np.random.default_rng(0)
    reference, same, dark = draw(random, 60), draw(random, 50), draw(random, 50, shift=DARK)
    usual = detect(baseline_of(reference), profiles_of(same), alpha=ALPHA)
    assert (usual.decision, usual.not_compared) == ("OK", {})
    drifted = detect(baseline_of(reference), profiles_of(dark), alpha=ALPHA)
    assert (drifted.decision, drifted.not_compared) == ("DRIFT", {})
    assert drifted.reasons[0].startswith("images are darker: median brightness")
    assert [evidence.name for evidence in drifted.statistics] == list(NAMES)


@pytest.mark.usefixtures("glare")
@pytest.mark.parametrize(
    ("in_baseline", "in_answers", "reason"),
    [
        (NAMES, WITH_GLARE, "the baseline does not have it"),
        (WITH_GLARE, NAMES, "the answers do not have it"),
    ],
)
def test_what_only_one_of_the_two_has_is_said_and_the_rest_is_judged(in_baseline, in_answers, reason):
    random = np.random.default_rng(1)
    reference, dark = draw(random, 60), draw(random, 50, shift=DARK)
    reference = glaring(random, reference) if "glare" in in_baseline else reference
    window = glaring(random, dark, 9.0) if "glare" in in_answers else dark
    judgment = detect(baseline_of(reference, names=in_baseline), profiles_of(window, names=in_answers), alpha=ALPHA)
    assert judgment.decision == "DRIFT"
    assert judgment.not_compared == {"glare": reason}
    without = detect(baseline_of(reference[:, : len(NAMES)]), profiles_of(dark), alpha=ALPHA)
    assert judgment.model_copy(update={"not_compared": {}}) == without


@pytest.mark.usefixtures("glare")
def test_a_new_statistic_counts_when_both_have_it():
    random = np.random.default_rng(2)
    reference, window = glaring(random, draw(random, 60)), glaring(random, draw(random, 50), 9.0)
    judgment = detect(baseline_of(reference, names=WITH_GLARE), profiles_of(window, names=WITH_GLARE), alpha=ALPHA)
    assert [evidence.name for evidence in judgment.statistics] == list(WITH_GLARE)
    assert judgment.reasons[0].startswith("images are more dazzled: median glare")
    assert judgment.not_compared == {}


def test_a_statistic_of_a_newer_container_is_left_out_by_an_older_stack():
    """After a rollback of the stack, models in service write names that it does not know."""
    random = np.random.default_rng(3)
    reference, dark = glaring(random, draw(random, 60)), draw(random, 50, shift=DARK)
    profiles = [Profile(known.names, known.values, (), ("glare",)) for known in profiles_of(dark)]
    judgment = detect(baseline_of(reference, names=WITH_GLARE), profiles, alpha=ALPHA)
    assert judgment.decision == "DRIFT"
    assert judgment.not_compared == {"glare": "no such statistic is known here"}


def test_answers_that_differ_are_compared_by_what_all_of_them_have():
    random = np.random.default_rng(4)
    full, short = profiles_of(draw(random, 10)), profiles_of(draw(random, 10)[:, :-1], names=NAMES[:-1])
    judgment = detect(baseline_of(draw(random, 60)), full + short, alpha=ALPHA)
    assert judgment.not_compared == {NAMES[-1]: "some answers do not have it"}
    assert len(judgment.scores) == 20


def test_too_few_shared_statistics_are_no_ground_for_a_judgment():
    random = np.random.default_rng(5)
    baseline, rows = baseline_of(draw(random, 60)), draw(random, 20)
    enough = MIN_STATISTICS
    assert detect(baseline, profiles_of(rows[:, :enough], names=NAMES[:enough]), alpha=ALPHA).decision == "OK"
    few = profiles_of(rows[:, : enough - 1], names=NAMES[: enough - 1])
    with pytest.raises(CannotCompare, match=r"share 2 statistics \(brightness, contrast\), 3 are needed; entropy: the"):
        detect(baseline, few, alpha=ALPHA)


@pytest.mark.parametrize(
    ("in_baseline", "in_window", "reason"),
    [
        (None, np.zeros((20, 4)), "the baseline has 0 of them, the answers have 4"),
        (np.ones((40, 4)), None, "the baseline has 4 of them, the answers have 0"),
        (np.ones((40, 4)), np.ones((20, 5)), "the baseline has 4 of them, the answers have 5"),
        (np.full((40, 4), np.nan), np.ones((20, 4)), "the baseline has 0 usable rows of them, 8 are needed"),
        (None, None, None),
    ],
)
def test_features_that_cannot_be_compared_are_said(in_baseline, in_window, reason):
    random = np.random.default_rng(7)
    baseline = baseline_of(draw(random, 40), in_baseline)
    judgment = detect(baseline, profiles_of(draw(random, 20), in_window), alpha=ALPHA)
    assert [evidence.name for evidence in judgment.novelty] == ["novelty"]
    assert judgment.not_compared == ({"features": reason} if reason else {})


def test_alpha_is_shared_by_the_lines_of_evidence_that_there_are():
    random = np.random.default_rng(8)
    reference, window = draw(random, 60), draw(random, 30, shift=only("entropy", 1.0))
    pooled = random.normal(size=(60, 8)), random.normal(size=(30, 8))
    for lines, features in ((2, (None, None)), (3, pooled)):
        judgment = detect(baseline_of(reference, features[0]), profiles_of(window, features[1]), alpha=ALPHA)
        smallest = min(
            *(evidence.p_adjusted for evidence in judgment.statistics),
            *(evidence.p_value for evidence in judgment.novelty),
        )
        assert smallest < 1 / lines
        assert judgment.p_value == pytest.approx(lines * smallest)


def test_statistics_of_a_slice_are_others_than_those_of_the_whole_frame():
    """A baseline from before says nothing about them, and is compared with answers from before as ever."""
    random = np.random.default_rng(4)
    of_a_slice = tuple(f"slice_{name}" for name in NAMES)
    reference, window = draw(random, 60), draw(random, 30, shift=DARK)
    with pytest.raises(CannotCompare, match="slice_brightness: the baseline does not have it"):
        detect(baseline_of(reference), profiles_of(window, names=of_a_slice), alpha=ALPHA)
    for names in (NAMES, of_a_slice):
        judged = detect(baseline_of(reference, names=names), profiles_of(window, names=names), alpha=ALPHA)
        assert judged.reasons[0].startswith(f"images are darker: median {names[0]}")
        assert [evidence.name for evidence in judged.statistics] == list(names)
