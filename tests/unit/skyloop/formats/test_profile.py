"""Profiles and baselines: read strictly, because a wrong number is worse than none."""

from __future__ import annotations

import json

import pytest
from skyloop.formats.profile import STATISTIC_NAMES, Baseline, ProfileUnusable, profile_of

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
        "profile_names": list(STATISTIC_NAMES),
        "profiles": [list(VALUES.values()), [value / 2 for value in VALUES.values()]],
        "features": [[1.0, 2.0], [3.0, 4.0]],
        "groups": ["a", "b"],
        "detections": {"mean_count": 2.0},
        "dataset_id": "ds-1",
        "count": 2,
    }
    return json.dumps({**document, **changes}).encode()


def test_a_profile_without_features_is_one():
    assert profile_of({"profile": VALUES}).features == ()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (None, "no profile"),
        ({"error": "not an image"}, "no profile"),
        ({"profile": []}, "no profile"),
        ({"profile": {"brightness": 0.5}}, "lacks contrast"),
        ({"profile": {**VALUES, "p05": None}}, "no number"),
        ({"profile": {**VALUES, "p05": "dark"}}, "no number"),
        ({"profile": {**VALUES, "p95": float("nan")}}, "not finite"),
        ({"profile": {**VALUES, "features": [1.0, float("inf")]}}, "features holds a number that is not finite"),
    ],
)
def test_half_a_profile_is_none(answer, said):
    with pytest.raises(ProfileUnusable, match=said):
        profile_of(answer)


def test_a_baselines_columns_are_found_by_name():
    names = list(reversed(STATISTIC_NAMES))
    read = Baseline.parse(baseline(profile_names=names, profiles=[[VALUES[name] for name in names]], features=[]))
    assert read.statistics().tolist() == [list(VALUES.values())]
    assert read.feature_rows().shape == (0, 0)


def test_rows_that_are_not_finite_are_left_out():
    rows = [list(VALUES.values()), [float("nan")] * 7]
    assert len(Baseline.parse(baseline(profiles=rows, features=[])).statistics()) == 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"profiles": []}, "profiles"),
        ({"profiles": [[1.0] * 7, [1.0] * 6]}, "differ in length"),
        ({"profiles": [[1.0] * 6]}, "lack"),
        ({"profile_names": ["brightness"], "profiles": [[1.0]]}, "contrast"),
        ({"features": [[1.0]]}, "another number of feature rows"),
        ({"count": None}, "count"),
    ],
)
def test_a_broken_baseline_is_named(changes, said):
    with pytest.raises(ProfileUnusable, match=said):
        Baseline.parse(baseline(**changes))
