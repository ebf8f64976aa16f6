"""The slicing plan: views cover the picture, objects keep their pixels, and seams leave every object once."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skyloop_container.inference import Detector
from skyloop_container.seams import Found, merge
from skyloop_container.slicing import (
    COARSEST,
    OBJECT_PIXELS,
    OVERLAPS,
    SLACK,
    SMALL,
    WINDOW,
    SlicingPlan,
    View,
    cost,
    plan_for,
    plan_of,
)
from skyloop_container.training_set import TINY, boxes_on_views

sides = st.integers(10, 3000)
plans = st.builds(
    SlicingPlan, side=st.integers(80, 1500), overlap=st.floats(0.05, 0.5), whole=st.booleans(), most=st.just(100_000)
)
examples = settings(deadline=None, derandomize=True)


def both(plan: SlicingPlan, width: int, height: int, imgsz: int = 640) -> list[list[View]]:
    """What is trained on, and what is looked at."""
    return [plan.slices(width, height, imgsz), plan.views(width, height, imgsz)]


@examples
@given(width=sides, height=sides, plan=plans)
def test_views_cover_the_picture_and_stay_inside(width: int, height: int, plan: SlicingPlan) -> None:
    assert plan.side
    for views, most in zip(both(plan, width, height), (plan.side, WINDOW * plan.side), strict=True):
        seen = np.zeros((height, width), dtype=bool)
        for view in views:
            assert 0 <= view.left < view.right <= width
            assert 0 <= view.top < view.bottom <= height
            if not view.larger_than:
                seen[view.top : view.bottom, view.left : view.right] = True
        assert seen.all()
        cut = max(width, height) > SLACK * plan.side
        assert sum(view.larger_than > 0 for view in views) == (plan.whole and cut)
        if cut:
            slices = [view for view in views if not view.larger_than]
            assert len({(view.width, view.height) for view in slices}) == 1
            assert max(slices[0].width, slices[0].height) <= most
            assert {view.scale for view in slices} == {640 / plan.side}


@examples
@given(width=sides, height=sides, plan=plans)
def test_neighbors_have_in_common_what_the_plan_says(width: int, height: int, plan: SlicingPlan) -> None:
    assert plan.side
    for views in both(plan, width, height):
        slices = [view for view in views if not view.larger_than]
        for near, far in (("left", "right"), ("top", "bottom")):
            spans = sorted({(getattr(view, near), getattr(view, far)) for view in slices})
            for (_, end), (start, _) in pairwise(spans):
                assert end - start >= round(plan.overlap * plan.side) - 1


@examples
@given(width=sides, height=sides, plan=plans)
def test_looking_costs_no_more_than_the_slices_of_training_would(width: int, height: int, plan: SlicingPlan) -> None:
    trained, looked = (cost(views, 640) for views in both(plan, width, height))
    assert looked <= trained * 1.01


def test_small_pictures_are_one_view() -> None:
    plan = SlicingPlan(640)
    for views in both(plan, round(640 * SLACK), 500):
        assert views == [View(0, 0, 800, 500, 0.8)]
    assert [len(views) for views in both(plan, round(640 * SLACK) + 1, 500)] == [3, 2]
    assert SlicingPlan().views(9000, 4500, 900) == [View(0, 0, 9000, 4500, 0.1)]


def boxes(side: float, count: int = 100) -> np.ndarray:
    return np.full((count, 2), side)


def test_a_picture_may_have_only_so_many_slices() -> None:
    plan = SlicingPlan(353, 0.1, most=48)
    for width, height in ((1280, 720), (5472, 3648), (10000, 10000), (100, 6400)):
        slices = [view for view in plan.slices(width, height, 640) if not view.larger_than]
        assert len(slices) <= 48
        assert cost(plan.views(width, height, 640), 640) <= 49 * 1.3


def test_large_objects_are_not_crowded_out_by_small_ones() -> None:
    head = np.zeros((5, 400), dtype=np.float32)
    head[:4] = np.array([[10 + i % 20 * 30, 10 + i // 20 * 30, 8, 8] for i in range(400)]).T
    head[4] = 0.9
    head[:, 7] = (300, 300, 200, 150, 0.5)

    class Engine:
        def run(self, images: np.ndarray, alone: bool = False) -> tuple[np.ndarray, np.ndarray]:
            return head[None].repeat(len(images), 0), np.zeros((len(images), 2), dtype=np.float32)

    features = {"mean": [0.0, 0.0], "components": []}
    card = {"categories": ["a"], "imgsz": 640, "confidence_default": 0.1, "features": features, "slicing": {}}
    detector = Detector(card | {"training_job": "t", "dataset_id": "d"}, Engine())
    (view,) = [one for one in SlicingPlan(640, 0.1).views(1280, 1280, 640) if one.larger_than]
    ((_, boxes, scores, _),), _ = detector.look(np.zeros((1280, 1280, 3), dtype=np.uint8), [view])
    assert boxes.tolist() == [[400, 450, 800, 750]]
    assert scores.tolist() == [0.5]


Pictures = list[tuple[tuple[int, int], np.ndarray]]
FRAME, SMALL_PICTURE = (5472, 3648), (640, 640)


def alike(side: float, *sizes: tuple[int, int]) -> Pictures:
    """Pictures with two boxes of this side each."""
    return [(size, boxes(side, 2)) for size in sizes]


def test_small_objects_get_their_pixels() -> None:
    plan = plan_for(alike(16, *[FRAME] * 3), 640, 1000)
    assert plan.side == 640
    assert plan_for(alike(32, *[FRAME] * 3), 640, 1000).side == 1280
    assert plan_for(alike(6, FRAME), 640, 1000).side == 320  # scaled up once, no more
    mixed = np.concatenate([boxes(200, 80), boxes(16, 20)])
    assert plan_for([(FRAME, mixed)], 640, 1000).side == 640


def test_large_objects_need_no_slices() -> None:
    assert plan_for(alike(OBJECT_PIXELS * COARSEST * 3, (2000, 1500)), 640, 30).side is None
    assert plan_for(alike(20, (640, 512)), 640, 30).side is None
    assert plan_for([(FRAME, boxes(16, 0))], 640, 30).side is None
    assert plan_for([], 640, 30).side is None


def test_large_pictures_are_cut_however_many_small_ones_there_are() -> None:
    cut = plan_for(alike(30, *[FRAME] * 4), 640, 12)
    assert cut.side
    for small, large in ((490, 510), (510, 490), (800, 200), (950, 50), (980, 20)):
        assert plan_for(alike(30, *[SMALL_PICTURE] * small, *[FRAME] * large), 640, 12) == cut
    # A stray large one is none of those that the set is made of.
    assert plan_for(alike(30, *[SMALL_PICTURE] * 999, FRAME), 640, 12).side is None


def test_a_few_large_pictures_do_not_cut_the_others() -> None:
    usual = [((1920, 1080), boxes(60, 2))] * 95
    plan = plan_for([*usual, *alike(10, *[FRAME] * 5)], 640, 12)
    assert plan.side
    assert plan.count(1920, 1080) == 1 < plan.count(*FRAME)


def test_small_pictures_have_the_slices_they_need_beside_large_ones_that_may_not() -> None:
    sizes = [(1280, 720)] * 40 + [FRAME] * 60
    plan = plan_for(alike(16, *sizes), 640, 12)
    assert plan.slices(1280, 720, 640)[0].scale == 1
    assert 1 < len([view for view in plan.slices(*FRAME, 640) if not view.larger_than]) <= 12


def test_large_boxes_ask_for_no_slices_however_long_the_frame_is() -> None:
    """Longer than slices may be, too."""
    assert plan_for(alike(1500, (4000, 3000)), 640, 12) == SlicingPlan()
    assert plan_for(alike(1500, (4000, 3000)), 320, 12) == SlicingPlan()
    assert plan_for(alike(180, (4000, 3000)), 320, 12).side == 1280  # 14 of the network's pixels


def uniform_before(found: np.ndarray, size: tuple[int, int], imgsz: int, max_slices: int) -> SlicingPlan:
    """The rule for pictures of one size: a tenth of the boxes is smaller, and so many slices are allowed."""
    sides = np.sqrt(found[:, 0] * found[:, 1])
    small = float(np.quantile(sides, SMALL))
    shown = OBJECT_PIXELS / imgsz * max(size)  # the least that is large enough on the whole picture
    if small >= shown and (sides < shown).mean() <= SMALL:
        return SlicingPlan()
    side = round(min(max(small / OBJECT_PIXELS, 0.5), COARSEST) * imgsz)
    while (count := plan_of(found, side, max_slices).count(*size)) > max_slices:
        side = -(-side * 105 // 100)
    return plan_of(found, side, max_slices) if count > 1 else SlicingPlan()


lengths = st.integers(200, 8000)
kinds = st.tuples(lengths, lengths, st.lists(st.integers(4, 400), max_size=12), st.integers(1, 40))
slices_allowed = st.sampled_from([1, 2, 4, 12, 50, 1000])


@settings(deadline=None, derandomize=True, max_examples=300)
@given(width=lengths, height=lengths, found=st.lists(st.integers(4, 400), min_size=1, max_size=40), most=slices_allowed)
def test_pictures_of_one_size_get_the_plan_of_the_rule(width: int, height: int, found: list[int], most: int) -> None:
    pictures = [((width, height), boxes(side, 1)) for side in found]
    expected = uniform_before(np.concatenate([one for _, one in pictures]), (width, height), 640, most)
    assert plan_for(pictures, 640, most) == expected


@settings(deadline=None, derandomize=True, max_examples=200)
@given(mix=st.lists(kinds, min_size=1, max_size=5), most=slices_allowed)
def test_all_but_a_tenth_of_the_boxes_are_large_enough_in_any_mix(mix: Any, most: int) -> None:
    """Unless their own picture may need more slices than it may have, or scaling up once would not do."""
    pictures: Pictures = []
    for width, height, found, count in mix:
        pictures += [((width, height), np.array([[side, side] for side in found], dtype=float).reshape(-1, 2))] * count
    plan = plan_for(pictures, 640, most)
    total, short = 0, 0
    for size, found in pictures:
        total += len(found)
        if not len(found):
            continue
        scale = plan.slices(*size, 640)[0].scale
        for side in found[:, 0]:
            enough = min(OBJECT_PIXELS, 2 * side) / (SLACK if scale == 640 / max(size) else 1)
            slices = round(min(max(side / OBJECT_PIXELS, 0.5), COARSEST) * 640)
            asked = replace(plan_of(found, slices, most), overlap=OVERLAPS[1])  # for boxes of other pictures, at most
            short += side * scale < enough * 0.999 and asked.count(*size) <= most
    assert short <= SMALL * total + 1


@pytest.mark.parametrize("most", [1, 4, 12, 30])
def test_a_picture_of_the_usual_size_has_no_more_slices_than_it_may(most: int) -> None:
    plan = plan_for(alike(16, *[FRAME] * 5, (20000, 10000)), 640, most)
    assert len(plan.slices(*FRAME, 640)) <= most + 1


def test_an_object_is_whole_on_some_slice() -> None:
    plan = plan_for(alike(100, FRAME), 640, 1000)
    assert plan.side
    assert plan.overlap * plan.side >= 100


# Training


box = st.tuples(st.just(0), st.integers(0, 900), st.integers(0, 900), st.integers(2, 300), st.integers(2, 300))


@examples
@given(found=st.lists(box, max_size=5), plan=plans)
def test_no_object_is_lost_in_training(found: list[Any], plan: SlicingPlan) -> None:
    inside = [(c, x, y, min(w, 1000 - x), min(h, 1000 - y)) for c, x, y, w, h in found]
    views = plan.slices(1000, 1000, 640)
    placed = boxes_on_views(inside, views)
    for view, on_view in zip(views, placed, strict=True):
        for _, left, top, width, height in on_view:
            assert 0 <= left < left + width <= view.width
            assert 0 <= top < top + height <= view.height
    slices = [on_view for view, on_view in zip(views, placed, strict=True) if not view.larger_than]
    assert sum(map(len, slices)) >= len(inside)


def test_a_box_is_on_each_slice_that_shows_half_of_it() -> None:
    views = [View(0, 0, 100, 100, 1), View(80, 0, 180, 100, 1), View(0, 0, 180, 100, 1, larger_than=20)]
    wide = (0, 60.0, 10.0, 40.0, 10.0)  # whole on the first, half on the second
    cut = (0, 64.0, 30.0, 30.0, 10.0)  # whole on the first, less than half on the second
    tiny = (0, 10.0, 50.0, TINY - 1, TINY - 1)
    first, second, whole = boxes_on_views([wide, cut, tiny], views)
    assert first == (wide, cut, tiny)
    assert second == ((0, 0, 10.0, 20.0, 10.0),)
    assert whole == (wide, cut)


# Seams


def found(view: View, *detections: tuple[float, float, float, float, float, int]) -> Found:
    rows = np.array(detections, dtype=float).reshape(-1, 6)
    return view, rows[:, :4], rows[:, 4], rows[:, 5].astype(int)


LEFT, RIGHT = View(0, 0, 100, 100, 1), View(80, 0, 180, 100, 1)
WHOLE = View(0, 0, 180, 100, 0.5, larger_than=20)


def merged(*views: Found) -> list[tuple[float, ...]]:
    boxes, scores, categories = merge(views, 180, 100)
    return [(*box, score, category) for box, score, category in zip(boxes.tolist(), scores, categories, strict=True)]


def test_an_object_that_two_slices_saw_whole_is_one() -> None:
    assert merged(found(LEFT, (85, 10, 95, 20, 0.8, 0)), found(RIGHT, (85, 10, 95.5, 20, 0.9, 0))) == [
        (85, 10, 95.5, 20, 0.9, 0)
    ]


def test_a_part_gives_way_to_the_whole_however_certain_it_is() -> None:
    part, whole = (90, 10, 100, 20, 0.95, 0), (90, 10, 120, 20, 0.4, 0)
    assert merged(found(LEFT, part), found(RIGHT, whole)) == [whole]
    other = (90, 10, 120, 20, 0.4, 1)  # of another category it is no part
    assert merged(found(LEFT, part), found(RIGHT, other)) == [part, other]
    unsure = (90, 10, 120, 20, 0.2, 0)  # it may be none
    assert merged(found(LEFT, part), found(RIGHT, unsure)) == [part, unsure]


def test_neighbors_that_are_whole_stay_two() -> None:
    """People stand close: of two boxes that have nearly half of both in common, neither is a part."""
    one, two = (20, 10, 40, 30, 0.9, 0), (27, 10, 47, 30, 0.8, 0)  # 13 of 27
    assert merged(found(LEFT, one, two), found(RIGHT)) == [one, two]


def test_an_object_larger_than_a_slice_is_taken_from_the_whole_picture() -> None:
    large = (10, 10, 170, 60, 0.7, 0)
    parts = found(LEFT, (10, 10, 100, 60, 0.9, 0)), found(RIGHT, (80, 10, 170, 60, 0.8, 0))
    assert merged(*parts, found(WHOLE, large)) == [large]


def test_boxes_are_clipped_and_none_is_left_of_what_lies_outside() -> None:
    assert merged(found(LEFT, (-5, -5, 10, 10, 0.9, 0), (200, 10, 220, 20, 0.8, 0))) == [(0, 0, 10, 10, 0.9, 0)]
    assert merged(found(LEFT), found(RIGHT)) == []
