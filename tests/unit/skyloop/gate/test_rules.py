"""The gate's rules, each from both sides, and what holds for every evaluation."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from skyloop.aws.settings import Settings
from skyloop.documents import GateVerdict, Rule, Thresholds
from skyloop.formats.evaluation import Evaluation, EvaluationUnreadable
from skyloop.gate.rules import apply_rules

from tests.support.account import ENVIRONMENT
from tests.support.files import REPOSITORY

JOB, TEST_SET = "skyloop-dev-0123456789ab", "test-1"
THRESHOLDS = Settings.from_environment(ENVIRONMENT).thresholds.model_copy(update={"min_class_ap50": 0.3})
STORED = json.loads((REPOSITORY / "tests/documents/evaluation.json").read_text())


def evaluation(**changes: Any) -> dict[str, Any]:
    """The stored evaluation; a change's name is a path with `__` between its steps."""
    document = json.loads(json.dumps(STORED))
    for path, value in changes.items():
        *steps, last = path.split("__")
        place = document
        for step in steps:
            place = place[step]
        place[last] = value
    return document


def verdict(document: dict[str, Any], thresholds: Thresholds = THRESHOLDS, **about: Any) -> GateVerdict:
    about = {"training_job": JOB, "test_set_id": TEST_SET, **about}
    return apply_rules(Evaluation.parse(json.dumps(document).encode()), thresholds, **about)


def rule(answer: GateVerdict, name: str, subject: str | None = None) -> Rule:
    [found] = [r for r in answer.rules if r.name == name and (subject is None or r.subject == subject)]
    return found


def compared(difference: float, low: float, high: float) -> dict[str, Any]:
    changes = {"comparison__map50_difference": difference, "comparison__interval": [low, high]}
    return evaluation(candidate__map50=round(0.7 + difference, 6), **changes)


def test_a_good_candidate_is_approved_and_every_rule_says_why():
    answer = verdict(STORED)
    assert answer.decision == "approve"
    assert answer.summary.startswith("mAP50 0.710 reaches the floor of 0.500")
    assert (answer.map50, answer.champion_map50, answer.difference_interval) == (0.71, 0.7, (-0.015, 0.033))
    assert all(r.sentence for r in answer.rules)
    assert {r.name for r in answer.rules} >= {"map50-floor", "class-ap50-floor", "not-worse-than-champion"}
    assert answer.reasons == [r.sentence for r in answer.rules if r.passed]


@pytest.mark.parametrize(
    ("map50", "decision"), [(0.5, "approve"), (0.499, "refuse"), (0.0, "refuse"), (1.0, "approve")]
)
def test_the_floor_is_met_at_its_value(map50, decision):
    answer = verdict(evaluation(candidate__map50=map50))
    assert answer.decision == decision
    assert rule(answer, "map50-floor").passed is (decision == "approve")


def test_a_floor_reached_on_paper_is_reached_in_floating_point():
    assert (
        verdict(
            evaluation(candidate__map50=0.1 + 0.2, champion=None),
            THRESHOLDS.model_copy(update={"min_map50": 0.3, "min_class_ap50": 0.0}),
        ).decision
        == "approve"
    )
    assert 0.1 + 0.7 < 0.8  # so a plain comparison would refuse this one:
    high = THRESHOLDS.model_copy(update={"min_map50": 0.8})
    assert verdict(evaluation(candidate__map50=0.1 + 0.7, champion=None), high).decision == "approve"


def test_a_class_of_two_boxes_is_reported_and_not_judged():
    answer = verdict(STORED)
    bicycle = rule(answer, "class-ap50-floor", "bicycle")
    assert bicycle.passed is None
    assert bicycle.sentence == "bicycle: too few boxes to judge (2 in the test set, 20 needed)"
    assert bicycle.sentence not in answer.reasons


def test_the_same_class_with_enough_boxes_is_judged():
    answer = verdict(STORED, THRESHOLDS.model_copy(update={"min_class_boxes": 2}))
    assert answer.decision == "refuse"
    assert answer.reasons == ["bicycle: AP50 0.000 is below the floor of 0.300 (2 boxes)"]


def test_a_dataset_class_that_the_test_set_lacks_is_named():
    answer = verdict(STORED, categories=["person", "car", "bicycle", "boat"])
    assert rule(answer, "class-ap50-floor", "boat").passed is None
    assert answer.decision == "approve"


def test_a_class_without_boxes_is_never_judged_even_when_no_boxes_are_asked_for():
    document = evaluation(candidate__per_class__bicycle={"ap50": None, "ap50_95": None, "boxes": 0})
    assert verdict(document, THRESHOLDS.model_copy(update={"min_class_boxes": 0})).decision == "approve"


@pytest.mark.parametrize(
    ("difference", "low", "high", "decision", "meaning"),
    [
        (0.05, 0.02, 0.08, "approve", "not worse than the champion"),
        (-0.01, -0.03, 0.01, "approve", "within the drop of 0.020 that is tolerated"),
        (-0.019, -0.025, -0.012, "approve", "within the drop of 0.020 that is tolerated"),  # real, and tolerated
        (-0.05, -0.12, 0.02, "approve", "within the noise of a test set of 40 images"),
        (-0.05, -0.08, -0.03, "refuse", "worse than the champion by more than the 0.020"),
        (-0.05, -0.09, -0.01, "refuse", "worse than the champion by more than the 0.020"),  # no loss is implausible
        (-0.15, -0.60, -0.01, "refuse", "worse than the champion by more than the 0.020"),
        (-0.02, -0.03, -0.01, "approve", "within the drop of 0.020 that is tolerated"),
    ],
)
def test_against_the_champion(difference, low, high, decision, meaning):
    answer = verdict(compared(difference, low, high))
    assert answer.decision == decision
    found = rule(answer, "not-worse-than-champion")
    assert meaning in found.sentence
    assert f"{low:+.3f} to {high:+.3f}" in found.sentence
    assert (found.value, found.threshold) == (difference, -0.02)


def test_without_a_champion_the_floors_decide():
    answer = verdict(evaluation(champion=None, comparison=None))
    assert answer.decision == "approve"
    assert rule(answer, "not-worse-than-champion").passed is None
    assert answer.champion_map50 is None


def test_the_evaluations_notes_say_why_no_champion_was_compared():
    document = evaluation(champion=None, comparison=None, notes=["The test set has no box the champion knows."])
    assert "no box the champion knows" in rule(verdict(document), "not-worse-than-champion").sentence


@pytest.mark.parametrize(
    "change",
    [
        {"comparison": None},
        {"comparison__interval": [None, None]},
        {"comparison__interval": [math.nan, 0.1]},
        {"comparison__interval": [0.2, 0.1]},
        {"comparison__map50_difference": math.nan},
        {"comparison__resamples": 0},
        {"champion__map50": None},
        {"champion__map50": math.nan},
    ],
)
def test_a_champion_without_a_usable_comparison_is_not_replaced(change):
    answer = verdict(evaluation(**change))
    assert answer.decision == "refuse"
    assert rule(answer, "not-worse-than-champion").passed is False


@pytest.mark.parametrize("map50", [None, math.nan, math.inf, -0.1, 1.1])
def test_a_score_that_is_none_is_refused_and_nothing_is_compared_with_it(map50):
    answer = verdict(evaluation(candidate__map50=map50))
    assert answer.decision == "refuse"
    assert [r.name for r in answer.rules if r.passed is False] == ["map50-is-a-number"]
    assert "map50-floor" not in {r.name for r in answer.rules}
    json.loads(json.dumps(answer.model_dump(mode="json"), allow_nan=False))


def test_a_judged_class_without_a_score_is_refused():
    answer = verdict(evaluation(candidate__per_class__car__ap50=math.nan))
    assert answer.reasons == ["car: AP50 is nan although the test set has 118 boxes: the evaluation is broken"]


@pytest.mark.parametrize("counts", [{"images": 0, "boxes": 0}, {"images": 12, "boxes": 0}])
def test_an_empty_test_set_is_refused_in_words(counts):
    answer = verdict(evaluation(**counts))
    assert answer.decision == "refuse"
    assert "nothing to judge a model on" in answer.summary


def test_another_test_set_is_refused():
    answer = verdict(STORED, test_set_id="test-2")
    assert answer.decision == "refuse"
    assert "test set test-1, but the dataset's frozen test set is test-2" in answer.summary
    assert len([r for r in answer.rules if r.passed is False]) == 1


def test_a_champion_of_another_test_set_is_not_compared():
    answer = verdict(evaluation(champion__test_set_id="test-0"))
    assert answer.decision == "refuse"
    assert "they cannot be compared" in answer.summary


def test_another_jobs_evaluation_is_refused():
    answer = verdict(STORED, training_job="skyloop-dev-aaaaaaaaaaaa")
    assert answer.decision == "refuse"
    assert "says nothing about this candidate" in answer.summary


def new_class(car_ap50: float, categories: list[str] | None) -> dict[str, Any]:
    document = evaluation(candidate__per_class__boat={"ap50": 0.99, "ap50_95": 0.6, "boxes": 50})
    document["candidate"]["per_class"]["car"]["ap50"] = car_ap50
    document["comparison"]["categories"] = categories
    return document


def test_a_new_class_does_not_hide_a_loss_in_the_old_ones():
    answer = verdict(new_class(0.4, None))
    assert answer.decision == "refuse"
    assert "the champion does not know boat" in answer.reasons[0]


def test_a_new_class_is_welcome_when_the_old_ones_hold():
    assert verdict(new_class(0.6, None)).decision == "approve"


def test_a_comparison_over_the_shared_classes_is_taken_as_it_is():
    answer = verdict(new_class(0.6, ["person", "car", "bicycle"]))
    assert rule(answer, "shared-classes").passed is None
    assert "compared on person, car, bicycle" in rule(answer, "shared-classes").sentence


def test_a_class_that_the_candidate_forgot_is_refused():
    document = evaluation()
    del document["candidate"]["per_class"]["car"]
    answer = verdict(document)
    assert answer.decision == "refuse"
    assert answer.reasons == ["car: the champion detects it, the candidate does not know it"]


@pytest.mark.parametrize(
    ("body", "said"),
    [(b"", "JSON"), (b"{}", "dataset_id"), (b'{"images": -1}', "images"), (b"[]", "document")],
)
def test_an_unreadable_evaluation_says_what_is_wrong(body, said):
    with pytest.raises(EvaluationUnreadable, match=said):
        Evaluation.parse(body)


numbers = st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True), st.floats(0, 1))


@given(
    map50=numbers,
    champion=numbers,
    difference=numbers,
    low=numbers,
    high=numbers,
    ap50=numbers,
    boxes=st.integers(0, 99),
)
def test_for_any_measurement_the_verdict_explains_itself(map50, champion, difference, low, high, ap50, boxes):
    document = evaluation(
        candidate__map50=map50,
        champion__map50=champion,
        comparison__map50_difference=difference,
        comparison__interval=[low, high],
        candidate__per_class__car={"ap50": ap50, "boxes": boxes},
    )
    answer = verdict(document)
    assert (answer.decision == "refuse") == any(r.passed is False for r in answer.rules)
    assert answer.reasons
    assert answer.summary
    json.dumps(answer.model_dump(mode="json"), allow_nan=False)


@given(better=st.floats(0, 0.2), difference=st.floats(-0.3, 0.3), half=st.floats(0.001, 0.3))
def test_a_better_difference_never_turns_approval_into_refusal(better, difference, half):
    before = compared(difference, difference - half, difference + half)
    after = compared(difference + better, difference + better - half, difference + better + half)
    before["candidate"]["map50"] = after["candidate"]["map50"] = 0.7  # the floor is not what is asked about
    if verdict(before).decision == "approve":
        assert verdict(after).decision == "approve"
