"""The gate's rules: may this candidate replace the champion? Thresholds and one evaluation in, a verdict out.

Pure: no clock, no cloud. Every rule is listed in the decision with its value, its threshold, whether it passed and a
sentence that a person can read. A rule that could not be judged says why (`passed` is null) and does not decide.

The rules
---------
evaluation-of-this-job   the evaluation names the training job that is being judged
same-test-set            the evaluation was made on the dataset's frozen test set, and so were the champion's scores
test-set-not-empty       the test set has images and boxes
map50-is-a-number        the candidate's mAP50 was measured (finite, 0..1)
map50-floor              candidate mAP50 >= MinMap50
class-ap50-floor         AP50 >= MinClassAp50, for each class with at least MinClassBoxes boxes in the test set; an AP
                         over a few boxes is noise, so rarer classes are reported and not judged
keeps-classes            every class that the champion was scored on is scored for the candidate too
not-worse-than-champion  see `_not_worse`
shared-classes           where the champion does not know a class: not worse on the classes that both know
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import partial

from skyloop.documents import GateVerdict, Rule, Thresholds
from skyloop.formats.evaluation import ClassScores, Evaluation, ModelScores, is_score

# 0.5 - 0.02 and 0.48 differ in the last bit; a threshold that is met on paper is met here.
ROUNDING = 1e-9


def apply_rules(
    evaluation: Evaluation,
    thresholds: Thresholds,
    *,
    training_job: str,
    test_set_id: str,
    categories: Iterable[str] = (),
) -> GateVerdict:
    """Apply every rule.

    `training_job` and `test_set_id` are what the evaluation should be about; `categories` are the dataset's classes, so
    that a class without any box in the test set is reported too.
    """
    about = [_of_this_job(evaluation, training_job), *_same_test_set(evaluation, test_set_id)]
    usable = [_not_empty(evaluation), _is_number(evaluation.candidate)]
    rules = about + usable
    map50 = evaluation.candidate.map50
    # Scores of another job, another test set, or of nothing are not compared: a number would suggest a meaning.
    if all(rule.passed for rule in rules) and is_score(map50):
        rules.append(_floor(map50, thresholds))
        rules += _class_floors(evaluation.candidate, thresholds, categories)
        rules += _against_champion(evaluation, thresholds)
    failed = [rule for rule in rules if rule.passed is False]
    reasons = [rule.sentence for rule in failed] or [rule.sentence for rule in rules if rule.passed]
    return GateVerdict(
        decision="refuse" if failed else "approve",
        summary=_summary(failed, rules),
        reasons=reasons,
        rules=rules,
        map50=_finite(map50),
        champion_map50=_finite(evaluation.champion.map50) if evaluation.champion else None,
        map50_difference=_finite(evaluation.comparison.map50_difference) if evaluation.comparison else None,
        difference_interval=_interval(evaluation),
    )


def _of_this_job(evaluation: Evaluation, training_job: str) -> Rule:
    same = evaluation.training_job == training_job
    return Rule(
        name="evaluation-of-this-job",
        passed=same,
        sentence=f"the evaluation is of training job {training_job}"
        if same
        else f"the evaluation is of training job {evaluation.training_job}, not of {training_job}: "
        "it says nothing about this candidate",
    )


def _same_test_set(evaluation: Evaluation, test_set_id: str) -> list[Rule]:
    same = evaluation.test_set_id == test_set_id
    rules = [
        Rule(
            name="same-test-set",
            passed=same,
            sentence=f"the candidate was evaluated on the frozen test set {test_set_id}"
            if same
            else f"the candidate was evaluated on test set {evaluation.test_set_id}, but the dataset's frozen test set "
            f"is {test_set_id}: evaluate it again on that one",
        )
    ]
    theirs = evaluation.champion.test_set_id if evaluation.champion else None
    if theirs is not None and theirs != test_set_id:
        rules.append(
            Rule(
                name="same-test-set",
                subject="champion",
                passed=False,
                sentence=f"the champion's scores are from test set {theirs}, the candidate's from "
                f"{evaluation.test_set_id}: they cannot be compared; evaluate both on the same test set",
            )
        )
    return rules


def _not_empty(evaluation: Evaluation) -> Rule:
    enough = evaluation.images > 0 and evaluation.boxes > 0
    held = f"the test set holds {evaluation.images} images with {evaluation.boxes} boxes"
    return Rule(
        name="test-set-not-empty",
        value=evaluation.boxes,
        threshold=1,
        passed=enough,
        sentence=held if enough else f"{held}: there is nothing to judge a model on; label more images",
    )


def _is_number(candidate: ModelScores) -> Rule:
    measured = is_score(candidate.map50)
    return Rule(
        name="map50-is-a-number",
        value=_finite(candidate.map50),
        passed=measured,
        sentence="the candidate's mAP50 was measured"
        if measured
        else f"the candidate's mAP50 is {candidate.map50}, not a score between 0 and 1: the evaluation is broken",
    )


def _floor(map50: float, thresholds: Thresholds) -> Rule:
    passed = map50 >= thresholds.min_map50 - ROUNDING
    return Rule(
        name="map50-floor",
        value=map50,
        threshold=thresholds.min_map50,
        passed=passed,
        sentence=f"mAP50 {map50:.3f} {'reaches' if passed else 'is below'} the floor of {thresholds.min_map50:.3f}",
    )


def _class_floors(candidate: ModelScores, thresholds: Thresholds, categories: Iterable[str]) -> list[Rule]:
    names = [*candidate.per_class, *(name for name in categories if name not in candidate.per_class)]
    return [_class_floor(name, candidate.per_class.get(name, ClassScores()), thresholds) for name in names]


def _class_floor(name: str, scores: ClassScores, thresholds: Thresholds) -> Rule:
    floor, boxes = thresholds.min_class_ap50, scores.boxes
    passed: bool | None
    needed = max(thresholds.min_class_boxes, 1)  # a class without a single box has no AP, even with MinClassBoxes 0
    if boxes < needed:
        passed = None
        sentence = f"{name}: too few boxes to judge ({boxes} in the test set, {needed} needed)"
    elif not is_score(scores.ap50):
        passed = False
        sentence = f"{name}: AP50 is {scores.ap50} although the test set has {boxes} boxes: the evaluation is broken"
    else:
        passed = scores.ap50 >= floor - ROUNDING
        sentence = f"{name}: AP50 {scores.ap50:.3f} {'reaches' if passed else 'is below'} the floor of {floor:.3f}"
        sentence += f" ({boxes} boxes)"
    return Rule(
        name="class-ap50-floor",
        subject=name,
        value=_finite(scores.ap50),
        threshold=floor,
        passed=passed,
        sentence=sentence,
    )


def _against_champion(evaluation: Evaluation, thresholds: Thresholds) -> list[Rule]:
    if evaluation.champion is None:
        return [
            Rule(
                name="not-worse-than-champion",
                threshold=-thresholds.max_map50_drop,
                passed=None,
                sentence=" ".join(["no champion was compared: the floors alone decide.", *evaluation.notes]),
            )
        ]
    rules = _keeps_classes(evaluation.candidate, evaluation.champion)
    rules.append(_not_worse(evaluation, evaluation.champion, thresholds))
    return rules + _shared_classes(evaluation, evaluation.champion, thresholds)


def _not_worse(evaluation: Evaluation, champion: ModelScores, thresholds: Thresholds) -> Rule:
    """Refuse a loss that is both too large and real.

    With d = mAP50(candidate) - mAP50(champion) and [low, high] its paired-bootstrap interval (Efron and Tibshirani, *An
    Introduction to the Bootstrap*, 1993, ch. 13; flights are resampled, or images where there are few flights, and both
    models are scored on the same draw):

        refused  <=>  high < -MaxMap50Drop                        the whole interval lies below the tolerated drop
                      or (d < -MaxMap50Drop and high < 0)         the drop is larger than tolerated, and "no loss" is
                                                                  not among the plausible values

    So an interval that reaches below -MaxMap50Drop but includes 0 does not refuse: on that test set the two models
    cannot be told apart. The sentence then says that the test set was too small to tell.
    """
    comparison, drop = evaluation.comparison, thresholds.max_map50_drop
    interval = _interval(evaluation)
    difference = _finite(comparison.map50_difference) if comparison else None
    rule = partial(Rule, name="not-worse-than-champion", value=difference, threshold=-drop)
    if not is_score(champion.map50):
        return rule(
            passed=False,
            sentence=f"the champion's mAP50 is {champion.map50}, which is not a score: it was not evaluated properly, "
            "and an unknown champion is not replaced",
        )
    if comparison is None or difference is None or interval is None or comparison.resamples == 0:
        return rule(
            passed=False,
            sentence="the evaluation has no usable paired comparison with the champion: evaluate both again",
        )
    low, high = interval
    measured = (
        f"mAP50 {evaluation.candidate.map50:.3f} against the champion's {champion.map50:.3f}: difference "
        f"{difference:+.3f}, {comparison.confidence:.0%} interval {low:+.3f} to {high:+.3f}"
    )
    too_much = difference < -drop - ROUNDING
    passed = not (high < -drop - ROUNDING or (too_much and high < -ROUNDING))
    if not passed:
        meaning = f"worse than the champion by more than the {drop:.3f} that is tolerated"
    elif too_much:
        meaning = f"a larger drop than {drop:.3f}, but within the noise of a test set of {evaluation.images} images"
    elif difference < -ROUNDING:
        meaning = f"within the drop of {drop:.3f} that is tolerated"
    else:
        meaning = "not worse than the champion"
    return rule(passed=passed, sentence=f"{measured}; {meaning}")


def _keeps_classes(candidate: ModelScores, champion: ModelScores) -> list[Rule]:
    return [
        Rule(
            name="keeps-classes",
            subject=name,
            passed=False,
            sentence=f"{name}: the champion detects it, the candidate does not know it",
        )
        for name, scores in champion.per_class.items()
        if is_score(scores.ap50) and scores.boxes > 0 and name not in candidate.per_class
    ]


def _shared_classes(evaluation: Evaluation, champion: ModelScores, thresholds: Thresholds) -> list[Rule]:
    """Judge the classes that both models know by themselves, where the candidate knows new ones.

    A new class raises the candidate's mAP above a champion that never saw it, and could hide a loss in all others. An
    evaluation that compared the two on the shared classes says so (`comparison.categories`). For any other, the mean
    AP50 over those classes is compared here, without an interval.
    """
    candidate = evaluation.candidate
    ours = {name: of.ap50 for name, of in candidate.per_class.items() if of.boxes > 0 and is_score(of.ap50)}
    theirs = {name: of.ap50 for name, of in champion.per_class.items() if is_score(of.ap50)}
    known = [name for name in ours if name in theirs]
    new = sorted(set(ours) - set(known))
    if not new:
        return []
    rule = partial(Rule, name="shared-classes", subject=", ".join(new), threshold=-thresholds.max_map50_drop)
    if not known:
        sentence = f"the champion knows none of the classes in the test set ({', '.join(new)})"
        return [rule(passed=None, sentence=sentence)]
    compared = evaluation.comparison.categories if evaluation.comparison else None
    if compared is not None and set(compared) <= set(known):
        sentence = f"the champion does not know {', '.join(new)}; the two were compared on {', '.join(compared)}"
        return [rule(passed=None, sentence=sentence)]
    our_mean = sum(ours[name] for name in known) / len(known)
    their_mean = sum(theirs[name] for name in known) / len(known)
    passed = our_mean - their_mean >= -thresholds.max_map50_drop - ROUNDING
    return [
        rule(
            value=our_mean - their_mean,
            passed=passed,
            sentence=f"the champion does not know {', '.join(new)}; on the classes that both know ({', '.join(known)}) "
            f"the mean AP50 is {our_mean:.3f} against {their_mean:.3f}, {'not' if passed else 'and that is'} more than "
            f"{thresholds.max_map50_drop:.3f} worse",
        )
    ]


def _summary(failed: list[Rule], rules: list[Rule]) -> str:
    if failed:
        more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        return failed[0].sentence + more
    by_name = {rule.name: rule for rule in rules}
    return f"{by_name['map50-floor'].sentence}; {by_name['not-worse-than-champion'].sentence}"


def _interval(evaluation: Evaluation) -> tuple[float, float] | None:
    if evaluation.comparison is None:
        return None
    low, high = (_finite(end) for end in evaluation.comparison.interval)
    return None if low is None or high is None or low > high else (low, high)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
