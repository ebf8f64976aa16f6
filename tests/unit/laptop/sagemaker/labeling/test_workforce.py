"""Workers' answers and how they become one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laptop.sagemaker.labeling.workforce import Settings, answer, consolidate
from laptop.skyloop_plugin import LabeledBox, Rectangle

CATEGORIES = ["tree", "car"]


def box(category: str, *edges: float) -> LabeledBox:
    """`edges` are left, top, width and height, pixels."""
    return LabeledBox(category, Rectangle(*edges))


def test_one_worker_is_taken_at_their_word_with_no_confidence() -> None:
    drawn = box("car", 1, 2, 3, 4)
    assert consolidate([[drawn]]) == [(drawn, 0.0)]
    assert consolidate([[]]) == []


def test_the_majority_decides_and_edges_are_averaged() -> None:
    left, right = box("car", 0, 0, 20, 20), box("car", 2, 0, 20, 20)
    alone = box("car", 60, 60, 5, 5)
    ((mean, confidence),) = consolidate([[left], [right, alone], []])
    assert mean == box("car", 1, 0, 20, 20)
    overlap = 18 * 20 / (2 * 400 - 18 * 20)
    assert confidence == round(overlap * 2 / 3, 2)


def test_half_is_no_majority_and_categories_do_not_mix() -> None:
    assert consolidate([[box("car", 0, 0, 9, 9)], []]) == []
    assert consolidate([[box("car", 0, 0, 9, 9)], [box("tree", 0, 0, 9, 9)], []]) == []


def test_two_boxes_of_one_worker_are_two_objects() -> None:
    twice = [box("car", 0, 0, 20, 20), box("car", 1, 1, 20, 20)]
    assert len(consolidate([twice, twice, twice])) == 2


@given(
    edges=st.tuples(st.floats(-50, 250), st.floats(-50, 150), st.floats(0.2, 300), st.floats(0.2, 300)),
    jitter=st.floats(0, 30),
    wrong=st.floats(0, 1),
    seed=st.integers(),
)
def test_answers_are_whole_pixels_inside_the_image(
    edges: tuple[float, float, float, float], jitter: float, wrong: float, seed: int
) -> None:
    settings = Settings(jitter=jitter, wrong_class_rate=wrong, seed=seed)
    for drawn in answer(
        [box("car", *edges), box("person", *edges)], 0, "s3://b/i.jpg", (200, 100), CATEGORIES, settings
    ):
        assert drawn.category in CATEGORIES
        assert all(isinstance(value, int) for value in vars(drawn.box).values())
        assert min(drawn.box.left, drawn.box.top) >= 0
        assert min(drawn.box.width, drawn.box.height) >= 1
        assert drawn.box.right <= 200
        assert drawn.box.bottom <= 100


def test_workers_err_each_in_their_own_way() -> None:
    known = [box("car", x, 10, 8, 8) for x in range(0, 190, 10)]
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
def test_settings_that_make_no_sense_are_refused(given_: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Settings.read(given_)
