"""Profiles and baselines: read strictly, because a wrong number is worse than none."""

from __future__ import annotations

import json

import pytest
from skyloop.formats.profile import NOT_STATISTICS, STATISTICS, Baseline, NoProfile, ProfileUnusable, profile_of

VALUES = {
    "brightness": 0.5,
    "contrast": 0.1,
    "sharpness": 4.0,
    "saturation": 0.2,
    "entropy": 6.5,
    "p05": 0.2,
    "p95": 0.8,
}


def baseline(**changes) -> bytes:
    document = {
        "profile_names": list(VALUES),
        "profiles": [list(VALUES.values()), [value / 2 for value in VALUES.values()]],
        "features": [[1.0, 2.0], [3.0, 4.0]],
        "groups": ["a", "b"],
        "detections": {"mean_count": 2.0},
        "dataset_id": "ds-1",
        "count": 2,
    }
    return json.dumps({**document, **changes}).encode()


def test_every_statistic_has_words_and_a_resolution():
    for name, statistic in STATISTICS.items():
        assert name == statistic.name
        assert name not in NOT_STATISTICS
        assert statistic.meaning
        assert len({statistic.higher, statistic.lower} - {""}) == 2
        assert statistic.resolution > 0


def test_a_profile_without_a_version_is_read_as_version_1():
    """So were they written before profiles had one, and models in service still write them so."""
    features = {"features": [1.5]}
    assert profile_of({"profile": VALUES | features}) == profile_of({"profile": {"version": 1, **VALUES} | features})


def test_a_profile_without_features_is_one():
    assert profile_of({"profile": VALUES}).features == ()


def test_a_profile_has_what_the_answer_names_and_no_more():
    profile = profile_of({"profile": {"p05": 0.2, "glare": "strong", "brightness": 0.5}})
    assert (profile.names, profile.values, profile.unknown) == (("brightness", "p05"), (0.5, 0.2), ("glare",))
    assert profile.select(["p05"]) == [0.2]


@pytest.mark.parametrize("answer", [None, {"error": "not an image"}, {"profile": []}])
def test_an_answer_without_any_profile_is_told_apart(answer):
    with pytest.raises(NoProfile):
        profile_of(answer)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (None, "no profile"),
        ({"error": "not an image"}, "no profile"),
        ({"profile": []}, "no profile"),
        ({"profile": {"glare": 0.5}}, "no statistic that is known here"),
        ({"profile": {**VALUES, "p05": None}}, "no number"),
        ({"profile": {**VALUES, "p05": "dark"}}, "no number"),
        ({"profile": {**VALUES, "p95": float("nan")}}, "not finite"),
        ({"profile": {**VALUES, "features": [1.0, float("inf")]}}, "features holds a number that is not finite"),
        ({"profile": {**VALUES, "features": "none"}}, "features are no list"),
        ({"profile": {**VALUES, "version": 2}}, "version 2, and only versions up to 1"),
        ({"profile": {**VALUES, "version": "new"}}, "'new', which is none"),
        ({"profile": {**VALUES, "p95": True}}, "no number: True"),
        ({"profile": {**VALUES, "p95": 10**400}}, "not finite"),
        ({"profile": {**VALUES, "version": 0}}, "0, which is none"),
        ({"profile": {**VALUES, "version": True}}, "True, which is none"),
    ],
)
def test_half_a_profile_is_none(answer, said):
    with pytest.raises(ProfileUnusable, match=said):
        profile_of(answer)


def test_a_baselines_columns_are_found_by_name():
    names = list(reversed(VALUES))
    read = Baseline.parse(baseline(profile_names=names, profiles=[[VALUES[name] for name in names]], features=[]))
    assert read.statistics(list(VALUES)).tolist() == [list(VALUES.values())]
    assert read.statistics(["p95", "entropy"]).tolist() == [[0.8, 6.5]]
    assert read.feature_rows().shape == (0, 0)


def test_rows_that_are_not_finite_are_left_out():
    rows = [list(VALUES.values()), [float("nan"), *list(VALUES.values())[1:]]]
    read = Baseline.parse(baseline(profiles=rows, features=[]))
    assert len(read.statistics(["brightness", "entropy"])) == 1
    assert len(read.statistics(["contrast", "entropy"])) == 2


def test_a_baseline_without_a_version_is_read_as_version_1():
    assert Baseline.parse(baseline()) == Baseline.parse(baseline(version=1))
    assert Baseline.parse(baseline()).version == 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"profiles": []}, "profiles"),
        ({"profiles": [[1.0] * 7, [1.0] * 6]}, "differ in length"),
        ({"profiles": [[1.0] * 6]}, "names 7 statistics, and its rows have 6"),
        ({"version": 2}, "version 2, and only versions up to 1"),
        ({"features": [[1.0]]}, "another number of feature rows"),
        ({"count": None}, "count"),
    ],
)
def test_a_broken_baseline_is_named(changes, said):
    with pytest.raises(ProfileUnusable, match=said):
        Baseline.parse(baseline(**changes))
