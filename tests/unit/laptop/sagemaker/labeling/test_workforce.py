"""Workers' answers and how they become one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laptop.sagemaker.labeling.workforce import Box, Settings, answer, consolidate

CATEGORIES = ["tree", "car"]


def test_one_worker_is_taken_at_their_word_with_no_confidence() -> None:
    box = Box("car", 1, 2, 3, 4)
    assert consolidate([[box]]) == [(box, 0.0)]
    assert consolidate([[]]) == []


def test_the_majority_decides_and_edges_are_averaged() -> None:
    left, right = Box("car", 0, 0, 20, 20), Box("car", 2, 0, 20, 20)
    alone = Box("car", 60, 60, 5, 5)
    ((box, confidence),) = consolidate([[left], [right, alone], []])
    assert box == Box("car", 1, 0, 20, 20)
    overlap = 18 * 20 / (2 * 400 - 18 * 20)
    assert confidence == round(overlap * 2 / 3, 2)


def test_half_is_no_majority_and_categories_do_not_mix() -> None:
    assert consolidate([[Box("car", 0, 0, 9, 9)], []]) == []
    assert consolidate([[Box("car", 0, 0, 9, 9)], [Box("tree", 0, 0, 9, 9)], []]) == []


def test_two_boxes_of_one_worker_are_two_objects() -> None:
    twice = [Box("car", 0, 0, 20, 20), Box("car", 1, 1, 20, 20)]
    assert len(consolidate([twice, twice, twice])) == 2


@given(
    box=st.tuples(st.floats(-50, 250), st.floats(-50, 150), st.floats(0.2, 300), st.floats(0.2, 300)),
    jitter=st.floats(0, 30),
    wrong=st.floats(0, 1),
    seed=st.integers(),
)
def test_answers_are_whole_pixels_inside_the_image(
    box: tuple[float, float, float, float], jitter: float, wrong: float, seed: int
) -> None:
    settings = Settings(jitter=jitter, wrong_class_rate=wrong, seed=seed)
    for drawn in answer([Box("car", *box), Box("person", *box)], 0, "s3://b/i.jpg", (200, 100), CATEGORIES, settings):
        assert drawn.label in CATEGORIES
        assert all(isinstance(value, int) for value in (drawn.left, drawn.top, drawn.width, drawn.height))
        assert drawn.left >= 0 and drawn.top >= 0  # noqa: PT018
        assert drawn.width >= 1 and drawn.height >= 1  # noqa: PT018
        assert drawn.left + drawn.width <= 200
        assert drawn.top + drawn.height <= 100


def test_workers_err_each_in_their_own_way() -> None:
    known = [Box("car", x, 10, 8, 8) for x in range(0, 190, 10)]
    settings = Settings(error_rate=0.5, seed=3)
    one, two = (answer(known, worker, "s3://b/i.jpg", (200, 100), CATEGORIES, settings) for worker in (0, 1))
    assert one != two


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        ({"error_rat": 0.1}, "unknown setting error_rat"),
        ({"error_rate": 1.5}, "between 0 and 1"),
        ({"jitter": -1}, "must not be negative"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    monkeypatch: pytest.MonkeyPatch, given_: dict[str, float], message: str
) -> None:
    class Here:
        def settings(self, name: str) -> dict[str, float]:
            return given_

    monkeypatch.setattr("laptop.sagemaker.labeling.workforce.context.current", Here)
    with pytest.raises(ValueError, match=message):
        Settings.load()
