"""A coarse look shows where to look closely: nothing is lost, and empty ground costs little."""

from pathlib import Path

import cv2
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
    """Finds bright squares, and of one that is cut what is there: an anchor for each, as sure as it is bright.

    farsighted: how much of that it shows at the scale of a coarse look; ground: what it shows where nothing is.
    """

    def __init__(self, farsighted: float = 1.0, ground: float = 0.0) -> None:
        self.farsighted, self.ground = farsighted, ground

    def run(self, images: np.ndarray, alone: bool = False) -> tuple[np.ndarray, np.ndarray]:
        heads = [self._head(image) for image in images]
        most = max(head.shape[1] for head in heads)
        padded = [np.pad(head, ((0, 0), (0, most - head.shape[1]))) for head in heads]
        return np.array(padded, dtype=np.float32), images.mean(axis=(2, 3))[:, :2]

    def _head(self, image: np.ndarray) -> np.ndarray:
        gray = (image[0] * 255).astype(np.uint8)
        _, _, found, _ = cv2.connectedComponentsWithStats((gray > 150).astype(np.uint8))
        rows, columns = (np.arange(32, side, 32) for side in gray.shape)
        boxes = [(x, y, 1.0, 1.0, self.ground) for y in rows for x in columns]
        for left, top, width, height, _ in found[1:]:
            near = height >= 0.8 * BRIGHT * IMGSZ / SIDE or width >= 0.8 * BRIGHT * IMGSZ / SIDE
            score = 0.8 if near else 0.8 * self.farsighted
            boxes.append((left + width / 2, top + height / 2, width, height, score))
        return np.array(boxes, dtype=np.float32).reshape(-1, 5).T


def detector(plan: SlicingPlan, engine: Bright | None = None, imgsz: int = IMGSZ) -> Detector:
    features = {"mean": [0.0, 0.0], "components": [[1.0, 0.0]]}
    card = {"categories": ["a"], "imgsz": imgsz, "confidence_default": 0.5, "features": features}
    return Detector(card | {"training_job": "t", "dataset_id": "d", "slicing": plan.as_card()}, engine or Bright())


def frame(*places: tuple[int, int]) -> np.ndarray:
    image = np.zeros((FRAME, FRAME, 3), dtype=np.uint8)
    for left, top in places:
        image[top : top + BRIGHT, left : left + BRIGHT] = 230
    return image


def whole_boxes(plan: SlicingPlan, image: np.ndarray) -> set[tuple[int, ...]]:
    """What is found, to eight pixels: fragments are other boxes than whole objects."""
    boxes = detector(plan).predict(image).detections
    return {tuple(round(value / 8) for value in (b.left, b.top, b.width, b.height)) for b in boxes}


positions = st.integers(0, FRAME - BRIGHT)


@settings(deadline=None, derandomize=True, max_examples=25)
@given(places=st.lists(st.tuples(positions, positions), max_size=12))
def test_no_object_is_lost_or_cut(places: list[tuple[int, int]]) -> None:
    places = [(x // 8 * 8, y // 8 * 8) for x, y in places]
    image = frame(*places)
    assert whole_boxes(TWICE, image) == whole_boxes(PLAN, image)


def test_an_object_as_large_as_what_neighbors_have_in_common_is_not_cut() -> None:
    image = np.zeros((2600, 2600, 3), dtype=np.uint8)
    image[1000:1240, 1000:1240] = 230
    model = detector(SlicingPlan(640, 0.4, whole=False, coarse=0.3), imgsz=640)
    (box,) = model.predict(image).detections
    assert (box.left, box.top, box.width, box.height) == pytest.approx((1000, 1000, 240, 240), abs=4)


def test_nor_where_slices_have_grown_because_there_would_be_too_many() -> None:
    """The margin around what is seen is what these have in common, not what the plan's would."""
    image = np.zeros((2600, 2600, 3), dtype=np.uint8)
    image[1010:1250, 1010:1250] = 230
    model = detector(SlicingPlan(100, 0.4, whole=False, most=49, coarse=0.3), imgsz=960)
    assert 960 / model.views(2600, 2600)[0].scale == pytest.approx(615)  # six times the plan's
    (box,) = model.predict(image).detections
    assert (box.left, box.top, box.width, box.height) == pytest.approx((1010, 1010, 240, 240), abs=4)


@pytest.mark.parametrize("plan", [PLAN, TWICE])
def test_a_window_may_hold_as_many_objects_as_its_slices(plan: SlicingPlan) -> None:
    """The limit of 300 is for a slice."""
    places = [(x, y) for x in range(8, FRAME - BRIGHT, 40) for y in range(8, FRAME - BRIGHT, 40)]
    assert len(detector(plan).predict(frame(*places)).detections) == len(places) == 1600


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


def channel(tmp_path: Path, count: int, objects: int) -> list[Sample]:
    samples, random = [], np.random.default_rng(0)
    for number in range(count):
        places = random.integers(0, FRAME // 80, (objects, 2)) * 80 + 20
        path = tmp_path / f"{number}.png"
        cv2.imwrite(str(path), frame(*map(tuple, places)))
        boxes = tuple((0, float(x), float(y), float(BRIGHT), float(BRIGHT)) for x, y in {*map(tuple, places)})
        samples.append(Sample(path.name, path, FRAME, FRAME, "", boxes))
    return samples


@pytest.mark.parametrize(
    ("objects", "engine", "sure"),
    [
        (30, Bright(farsighted=0.4), True),
        (3, Bright(), False),  # too few to say
        (30, Bright(farsighted=0.001, ground=0.01), False),  # blind from afar: empty ground shows more
    ],
)
def test_a_plan_gets_a_coarse_look_where_that_tells_something(
    tmp_path: Path, objects: int, engine: Bright, sure: bool
) -> None:
    model = detector(PLAN, engine)
    samples = channel(tmp_path, 6, objects)
    plan, scored, measured = planning.choose_plan(model, samples, samples, side_is_fixed=True)
    assert len(measured) == (3 if sure else 2)
    assert (plan.coarse is not None) is sure
    if plan.coarse is not None:
        assert plan.coarse == pytest.approx(planning.SURE * 0.8 * engine.farsighted, abs=0.01)
        assert len(scored) == 6
