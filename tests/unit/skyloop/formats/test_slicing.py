"""skyloop.formats.slicing: slices cover the picture, and no object is lost."""

from __future__ import annotations

from dataclasses import asdict
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from skyloop.documents import Box
from skyloop.formats.geometry import Rectangle
from skyloop.formats.slicing import MIN_VISIBLE, OVERLAP, boxes_on_slices, plan_slices

SIZES = st.integers(1, 3000)


def box_at(place: Rectangle, class_id: int = 0) -> Box:
    return Box(category=f"class {class_id}", class_id=class_id, **asdict(place))


def place_of(box: Box) -> Rectangle:
    return Rectangle(box.left, box.top, box.width, box.height)


def test_a_picture_that_fits_is_one_slice():
    assert plan_slices(640, 512, 1280) == [Rectangle(0, 0, 640, 512)]
    assert plan_slices(1280, 1280, 1280) == [Rectangle(0, 0, 1280, 1280)]


def test_a_long_picture_is_one_row():
    slices = plan_slices(3000, 100, 1280)
    assert [(place.left, place.top, place.width, place.height) for place in slices] == [
        (0, 0, 1280, 100),
        (860, 0, 1280, 100),
        (1720, 0, 1280, 100),
    ]


@given(SIZES, SIZES, st.integers(64, 1500))
def test_slices_cover_everything_and_reach_nowhere_else(width, height, side):
    slices = plan_slices(width, height, side)
    assert len(set(slices)) == len(slices)
    for place in slices:
        assert place.left >= 0
        assert place.top >= 0
        assert place.right <= width
        assert place.bottom <= height
        assert max(place.width, place.height) <= side
    for starts, length in (({s.left for s in slices}, width), ({s.top for s in slices}, height)):
        ordered, reach = sorted(starts), min(side, length)
        assert ordered[0] == 0
        assert ordered[-1] + reach == length
        for earlier, later in pairwise(ordered):
            assert later - earlier <= side * (1 - OVERLAP) + 1


@given(st.data())
def test_every_box_is_somewhere_and_lies_where_it_lay(data):
    width, height, side = data.draw(SIZES), data.draw(SIZES), data.draw(st.integers(64, 1500))
    slices = plan_slices(width, height, side)
    places = []
    for _ in range(data.draw(st.integers(1, 4))):
        left, top = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
        places.append(
            Rectangle(left, top, data.draw(st.integers(1, width - left)), data.draw(st.integers(1, height - top)))
        )
    placed = boxes_on_slices([box_at(place, number) for number, place in enumerate(places)], slices)
    assert {box.class_id for boxes in placed for box in boxes} == set(range(len(places)))
    for where, boxes in zip(slices, placed, strict=True):
        for box in boxes:
            assert place_of(box).moved(where.left, where.top) == places[box.class_id].shared_with(where)
            assert box.category == f"class {box.class_id}"
    for number, place in enumerate(places):
        for where, boxes in zip(slices, placed, strict=True):
            visible = place.shared_with(where)
            if visible and visible.area >= MIN_VISIBLE * place.area:
                assert number in [box.class_id for box in boxes]


@given(st.data())
def test_an_object_smaller_than_the_overlap_is_whole_on_some_slice(data):
    width, height, side = data.draw(SIZES), data.draw(SIZES), data.draw(st.integers(100, 1500))
    largest = max(1, int(side * OVERLAP) - 2)
    place = Rectangle(
        data.draw(st.integers(0, max(0, width - largest))),
        data.draw(st.integers(0, max(0, height - largest))),
        min(largest, width),
        min(largest, height),
    )
    placed = boxes_on_slices([box_at(place)], plan_slices(width, height, side))
    assert any(place_of(box).area == place.area for boxes in placed for box in boxes)


def test_a_sliver_is_left_to_the_slice_that_shows_the_object():
    slices = [Rectangle(0, 0, 100, 100), Rectangle(80, 0, 100, 100)]
    box = box_at(Rectangle(60, 10, 30, 10))
    assert boxes_on_slices([box], slices) == [[box], []]


@pytest.mark.parametrize("place", [Rectangle(-50, -50, 20, 20), Rectangle(500, 0, 5, 5)])
def test_a_box_outside_is_on_no_slice(place):
    assert boxes_on_slices([box_at(place)], plan_slices(200, 200, 128)) == [[]] * 4
