"""A coarse look shows where to look closely: nothing is lost, and empty ground costs little."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skyloop_container import coarse, planning
from skyloop_container.dataset import Sample
from skyloop_container.inference import Detector
from skyloop_container.slicing import SlicingPlan, View, cost

SIDE, IMGSZ = 320, 160
PLAN = SlicingPlan(SIDE, 0.25, whole=False)
TWICE = SlicingPlan(SIDE, 0.25, whole=False, coarse=0.3)
FRAME = 1600
BRIGHT = 24
"""Pixels of the picture, the side of an object."""


class Bright:
    """Finds bright squares: an anchor for each 4 pixels of the input, as sure as they are bright."""

    def run(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        n, _, height, width = images.shape
        # The letterbox's gray is nothing.
        cells = images[:, 0].reshape(n, height // 4, 4, width // 4, 4).max(axis=(2, 4))
        y, x = np.mgrid[: height // 4, : width // 4] * 4 + 2.0
        sizes = np.full((2, x.size), BRIGHT * IMGSZ / SIDE)
        heads = [
            np.concatenate([[x.ravel(), y.ravel()], sizes, [np.where(one > 0.6, one, 0.0).ravel()]]) for one in cells
        ]
        return np.array(heads, dtype=np.float32), images.mean(axis=(2, 3))[:, :2]


def detector(plan: SlicingPlan) -> Detector:
    features = {"mean": [0.0, 0.0], "components": [[1.0, 0.0]]}
    card = {"categories": ["a"], "imgsz": IMGSZ, "confidence_default": 0.5, "features": features}
    return Detector(card | {"slicing": plan.as_card()}, Bright())


def frame(*places: tuple[int, int]) -> np.ndarray:
    image = np.zeros((FRAME, FRAME, 3), dtype=np.uint8)
    for left, top in places:
        image[top : top + BRIGHT, left : left + BRIGHT] = 230
    return image


def lost(image: np.ndarray, places: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Objects that no box lies on."""
    boxes = detector(TWICE).predict(image).detections
    return [
        (left, top)
        for left, top in places
        if not any(abs(b.left - left) < BRIGHT and abs(b.top - top) < BRIGHT for b in boxes)
    ]


positions = st.integers(0, FRAME - BRIGHT)


@settings(deadline=None, derandomize=True, max_examples=25)
@given(places=st.lists(st.tuples(positions, positions), max_size=12))
def test_no_object_is_lost(places: list[tuple[int, int]]) -> None:
    assert lost(frame(*places), places) == []


def test_empty_ground_costs_little_and_full_ground_hardly_more() -> None:
    closely = cost(detector(PLAN).views(FRAME, FRAME), IMGSZ)
    assert detector(TWICE).predict(frame()).looks < 0.45 * closely
    assert detector(TWICE).predict(frame((200, 900), (1300, 100))).looks < 0.6 * closely
    full = frame(*[(x, y) for x in range(0, FRAME - BRIGHT, 60) for y in range(0, FRAME - BRIGHT, 60)])
    assert detector(TWICE).predict(full).looks < 1.05 * closely


def test_a_cluster_of_objects_does_not_make_the_rest_expensive() -> None:
    cluster = frame(*[(x, y) for x in range(0, 500, 60) for y in range(0, 500, 60)])
    closely = cost(detector(PLAN).views(FRAME, FRAME), IMGSZ)
    assert detector(TWICE).predict(cluster).looks < 0.85 * closely


def test_features_do_not_depend_on_what_is_looked_at_closely() -> None:
    """Else a flight over more cars would look like another site to the drift alarm."""
    corner = frame((0, 0), (60, 0), (1500, 1500))
    assert detector(TWICE).predict(corner).features == detector(TWICE).predict(frame()).features
    model = detector(TWICE)
    assert model.predict(corner).features == (model._components @ model.pooled(corner, TWICE)).tolist()


def test_a_small_picture_has_no_coarse_look() -> None:
    image = frame((10, 10))[:SIDE, :SIDE]
    assert detector(TWICE).predict(image) == detector(PLAN).predict(image)


WINDOW = View(100, 200, 1060, 840, 0.5)
grids = st.lists(st.lists(st.booleans(), min_size=8, max_size=8), min_size=5, max_size=5).map(np.array)


@settings(derandomize=True)
@given(shows=grids, margin=st.integers(0, 100))
def test_places_hold_every_cell_that_shows_something_and_its_margin(shows: np.ndarray, margin: int) -> None:
    places = coarse.places(WINDOW, shows, margin)
    if places is None:
        assert shows.any()
        return
    covered = np.zeros((840, 1060), dtype=bool)
    for place in places:
        assert WINDOW.left <= place.left < place.right <= WINDOW.right
        assert WINDOW.top <= place.top < place.bottom <= WINDOW.bottom
        assert place.scale == WINDOW.scale
        covered[place.top : place.bottom, place.left : place.right] = True
    for row, column in np.argwhere(shows):
        left, top = 100 + column * 120, 200 + row * 128
        around = covered[max(top - margin, 200) : top + 128 + margin, max(left - margin, 100) : left + 120 + margin]
        assert around.all()
    assert covered.sum() <= coarse.WORTH * WINDOW.width * WINDOW.height
    assert shows.any() or not places


def test_evidence_is_of_a_cell_and_its_neighbors() -> None:
    near = coarse.evidence(WINDOW, np.array([[100.0, 200.0], [1059.0, 839.0]]), np.array([0.4, 0.7]))
    assert near.shape == (5, 8)  # of 64 pixels of the input, at 0.5 of the scale
    assert near[:2, :2] == pytest.approx(0.4)
    assert near[-2:, -2:] == pytest.approx(0.7)
    assert np.count_nonzero(near) == 8


def channel(tmp_path: Any, count: int, objects: int) -> list[Sample]:
    import cv2

    samples, random = [], np.random.default_rng(0)
    for number in range(count):
        places = random.integers(0, FRAME // 80, (objects, 2)) * 80 + 20
        path = tmp_path / f"{number}.png"
        cv2.imwrite(str(path), frame(*map(tuple, places)))
        boxes = tuple((0, float(x), float(y), float(BRIGHT), float(BRIGHT)) for x, y in {*map(tuple, places)})
        samples.append(Sample(path.name, path, FRAME, FRAME, "", boxes))
    return samples


@pytest.mark.parametrize(("objects", "sure"), [(30, True), (3, False)])
def test_a_plan_gets_a_coarse_look_that_missed_none_of_many_objects(tmp_path: Any, objects: int, sure: bool) -> None:
    plan, scored, measured = planning.choose_plan(detector(PLAN), channel(tmp_path, 6, objects), side_is_fixed=True)
    assert (plan.coarse is not None) is sure
    assert len(measured) == (3 if sure else 2)
    if plan.coarse is not None:
        assert plan.coarse == pytest.approx(planning.SURE * 230 / 255, abs=0.02)
        assert len(scored) == 6
