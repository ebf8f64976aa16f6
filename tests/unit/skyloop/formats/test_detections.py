"""Matching detections with known ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skyloop.documents import Detection
from skyloop.formats.detections import iou_matrix, match_detections


def box(
    left: float, top: float, width: float, height: float, category: str = "car", confidence: float = 0.9
) -> Detection:
    return Detection(category=category, confidence=confidence, left=left, top=top, width=width, height=height)


boxes = st.builds(
    box,
    st.floats(-50, 50), st.floats(-50, 50), st.floats(0, 40), st.floats(0, 40),
    st.sampled_from(["car", "person"]), st.floats(0, 1),
)  # fmt: skip


@pytest.mark.parametrize(
    ("other", "iou"),
    [
        (box(0, 0, 10, 10), 1.0),
        (box(5, 0, 10, 10), 1 / 3),
        (box(0, 5, 10, 10), 1 / 3),
        (box(10, 0, 10, 10), 0.0),
        (box(2, 2, 5, 5), 0.25),
        (box(0, 0, 0, 0), 0.0),
    ],
)
def test_overlap_by_hand(other, iou):
    assert iou_matrix([box(0, 0, 10, 10)], [other])[0, 0] == pytest.approx(iou)


def test_boxes_without_area_and_no_boxes_at_all():
    assert iou_matrix([box(1, 1, 0, 0)], [box(1, 1, 0, 0)])[0, 0] == 0.0
    assert iou_matrix([], [box(0, 0, 1, 1)]).shape == (0, 1)
    assert match_detections([], []).pairs == ()


def test_the_surer_detection_chooses_first():
    known = [box(0, 0, 10, 10)]
    sure, unsure = box(1, 0, 10, 10, confidence=0.9), box(0, 0, 10, 10, confidence=0.5)
    result = match_detections(known, [unsure, sure])
    assert [pair.found for pair in result.pairs] == [sure]
    assert result.unexpected == (unsure,)


def test_another_category_is_no_match():
    result = match_detections([box(0, 0, 10, 10, "car")], [box(0, 0, 10, 10, "person")])
    assert (len(result.pairs), len(result.missed), len(result.unexpected)) == (0, 1, 1)


def test_each_takes_the_best_that_is_free():
    known = [box(0, 0, 10, 10), box(4, 0, 10, 10)]
    result = match_detections(known, [box(4, 0, 10, 10, confidence=0.8), box(1, 0, 10, 10, confidence=0.7)])
    assert {(pair.known.left, pair.found.left) for pair in result.pairs} == {(4, 4), (0, 1)}


@given(st.lists(boxes, max_size=6), st.lists(boxes, max_size=6))
def test_every_detection_is_accounted_for_once(known, found):
    result = match_detections(known, found, min_iou=0.3)
    assert len(result.pairs) + len(result.missed) == len(known)
    assert len(result.pairs) + len(result.unexpected) == len(found)
    assert all(pair.known.category == pair.found.category and pair.iou >= 0.3 for pair in result.pairs)


@given(st.lists(boxes, min_size=1, max_size=5), st.lists(boxes, min_size=1, max_size=5))
def test_overlap_is_symmetric_and_a_share(first, second):
    overlaps = iou_matrix(first, second)
    assert np.allclose(overlaps, iou_matrix(second, first).T)
    assert ((overlaps >= 0) & (overlaps <= 1 + 1e-9)).all()
