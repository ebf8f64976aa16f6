"""skyloop.tiling: tiles cover the picture, and no object is lost."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from skyloop.formats.geometry import Rectangle
from skyloop.formats.slicing import MIN_VISIBLE, OVERLAP, plan_tiles, share_boxes

SIZES = st.integers(1, 3000)


def test_a_picture_that_fits_is_one_tile():
    assert plan_tiles(640, 512, 1280) == [Rectangle(0, 0, 640, 512)]
    assert plan_tiles(1280, 1280, 1280) == [Rectangle(0, 0, 1280, 1280)]


def test_a_long_picture_is_one_row():
    tiles = plan_tiles(3000, 100, 1280)
    assert [(tile.left, tile.top, tile.width, tile.height) for tile in tiles] == [
        (0, 0, 1280, 100),
        (860, 0, 1280, 100),
        (1720, 0, 1280, 100),
    ]


@given(SIZES, SIZES, st.integers(64, 1500))
def test_tiles_cover_everything_and_reach_nowhere_else(width, height, side):
    tiles = plan_tiles(width, height, side)
    assert len(set(tiles)) == len(tiles)
    for tile in tiles:
        assert tile.left >= 0
        assert tile.top >= 0
        assert tile.right <= width
        assert tile.bottom <= height
        assert max(tile.width, tile.height) <= side
    for starts, length in (({t.left for t in tiles}, width), ({t.top for t in tiles}, height)):
        ordered, reach = sorted(starts), min(side, length)
        assert ordered[0] == 0
        assert ordered[-1] + reach == length
        for earlier, later in pairwise(ordered):
            assert later - earlier <= side * (1 - OVERLAP) + 1


@given(st.data())
def test_every_box_is_somewhere_and_lies_where_it_lay(data):
    width, height, side = data.draw(SIZES), data.draw(SIZES), data.draw(st.integers(64, 1500))
    tiles = plan_tiles(width, height, side)
    boxes = []
    for _ in range(data.draw(st.integers(1, 4))):
        left, top = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
        boxes.append(
            Rectangle(left, top, data.draw(st.integers(1, width - left)), data.draw(st.integers(1, height - top)))
        )
    shared = share_boxes(boxes, tiles)
    seen = {index for parts in shared for index, _ in parts}
    assert seen == set(range(len(boxes)))
    for tile, parts in zip(tiles, shared, strict=True):
        for index, part in parts:
            assert part.moved(tile.left, tile.top) == boxes[index].shared_with(tile)
    for index, box in enumerate(boxes):
        for tile, parts in zip(tiles, shared, strict=True):
            visible = box.shared_with(tile)
            if visible and visible.area >= MIN_VISIBLE * box.area:
                assert index in [number for number, _ in parts]


@given(st.data())
def test_an_object_smaller_than_the_overlap_is_whole_in_some_tile(data):
    width, height, side = data.draw(SIZES), data.draw(SIZES), data.draw(st.integers(100, 1500))
    largest = max(1, int(side * OVERLAP) - 2)
    box = Rectangle(
        data.draw(st.integers(0, max(0, width - largest))),
        data.draw(st.integers(0, max(0, height - largest))),
        min(largest, width),
        min(largest, height),
    )
    parts = [part for shared in share_boxes([box], plan_tiles(width, height, side)) for _, part in shared]
    assert any(part.area == box.area for part in parts)


def test_a_sliver_is_left_to_the_tile_that_shows_the_object():
    tiles = [Rectangle(0, 0, 100, 100), Rectangle(80, 0, 100, 100)]
    assert share_boxes([Rectangle(60, 10, 30, 10)], tiles) == [[(0, Rectangle(60, 10, 30, 10))], []]


@pytest.mark.parametrize("box", [Rectangle(-50, -50, 20, 20), Rectangle(500, 0, 5, 5)])
def test_a_box_outside_is_in_no_tile(box):
    assert share_boxes([box], plan_tiles(200, 200, 128)) == [[]] * 4
