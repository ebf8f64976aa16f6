"""One rule for boxes of one view and of several, and an answer at a confidence that is part of every lower one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skyloop_container.inference import Detector, select_boxes, select_in_parts
from skyloop_container.seams import SAME_IOU, merge
from skyloop_container.slicing import SlicingPlan, View

LEFT, RIGHT = View(0, 0, 200, 100, 1), View(150, 0, 350, 100, 1)
NOTHING = (np.zeros((0, 4)), np.zeros(0), np.zeros(0, dtype=int))


class Crowd:
    """A network that sees many boxes of any size on every view, seldom the same ones."""

    def __init__(self, seed: int, count: int = 60) -> None:
        self.seed, self.count = seed, count

    def run(self, images: np.ndarray, alone: bool = False) -> tuple[np.ndarray, np.ndarray]:
        return np.stack([self._head(image) for image in images]), np.zeros((len(images), 2), dtype=np.float32)

    def _head(self, image: np.ndarray) -> np.ndarray:
        random = np.random.default_rng([self.seed, int(image.sum(dtype=float) * 255)])
        height, width = image.shape[1:]
        centers = random.uniform(0, (width, height), (self.count, 2))
        sizes = random.choice([12, 40, 70], (self.count, 1)) * random.uniform(0.8, 1.2, (self.count, 2))
        return np.hstack([centers, sizes, random.uniform(0, 1, (self.count, 2))]).T.astype(np.float32)


def detector(engine: Crowd, plan: SlicingPlan) -> Detector:
    features = {"mean": [0.0, 0.0], "components": []}
    card = {"categories": ["a", "b"], "imgsz": 64, "confidence_default": 0.5, "features": features}
    return Detector(card | {"training_job": "t", "dataset_id": "d", "slicing": plan.as_card()}, engine)


def picture(width: int, height: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(
    seed=st.integers(0, 2**32),
    low=st.floats(0, 0.9),
    more=st.floats(0, 0.6),
    whole=st.booleans(),
    size=st.sampled_from([(300, 200), (400, 64), (64, 64)]),
)
def test_an_answer_is_that_of_a_lower_confidence_less_what_is_below(
    seed: int, low: float, more: float, whole: bool, size: tuple[int, int]
) -> None:
    """Else a confidence that is chosen where nearly every box is kept, and its precision, are not those of service."""
    model, image = detector(Crowd(seed), SlicingPlan(64, 0.25, whole=whole)), picture(*size)
    everything = model.predict(image, low).detections
    high = min(low + more, 1.0)
    assert model.predict(image, high).detections == [one for one in everything if one.confidence >= high]


def test_boxes_overlap_enough_to_say_so() -> None:
    """What the property above is about happens: of the boxes of a picture most are suppressed, not all."""
    model = detector(Crowd(3), SlicingPlan(64, 0.25))
    views = model.views(300, 200)
    assert len(views) > 3
    assert 20 < len(model.predict(picture(300, 200), 0.0).detections) < 0.7 * 60 * len(views)


def test_a_higher_confidence_creates_no_detection() -> None:
    """A part of .95 and its whole of .4: the whole is the answer as long as it is asked for, then there is none."""
    part, whole = (170, 10, 200, 40, 0.95), (170, 10, 240, 40, 0.4)
    views = [(LEFT, *rows(part)), (RIGHT, *rows(whole))]
    assert merge(views, 350, 100, 0.3)[1].tolist() == [0.4]
    assert merge(views, 350, 100, 0.5)[1].tolist() == []


def test_what_is_less_certain_than_a_third_changes_nothing() -> None:
    """A larger cut box stands for a part only where it comes first: else what suppresses it would have to be known."""
    part, larger, whole = (170, 10, 200, 40, 0.9), (150, 10, 230, 40, 0.4), (155, 10, 235, 40, 0.2)
    views = [(LEFT, *rows(part)), (RIGHT, *rows(larger)), (View(0, 0, 350, 100, 0.5), *rows(whole))]
    assert merge(views, 350, 100, 0.9)[1].tolist() == [0.9]
    assert merge(views[:2], 350, 100, 0.9)[1].tolist() == [0.9]


def rows(*boxes: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    table = np.array(boxes, dtype=float)
    return table[:, :4], table[:, 4], np.zeros(len(table), dtype=int)


@pytest.mark.parametrize("apart", [-0.2, -0.05, 0.05, 0.2])
def test_it_makes_no_difference_how_many_views_a_picture_has(apart: float) -> None:
    """Two boxes of one view are two, or one, whether there is a second view or not, and what both show likewise."""
    iou = SAME_IOU + apart
    shift = 60 * (1 - iou) / (1 + iou)  # of boxes of one size
    one, two = (20, 10, 80, 40, 0.9), (20 + shift, 10, 80 + shift, 40, 0.8)
    expected = 1 if iou > SAME_IOU else 2
    head = np.array([[(b[0] + b[2]) / 2, 25, 60, 30, b[4]] for b in (one, two)]).T
    assert len(select_boxes(head, 0.1)[0]) == expected  # on one view
    assert len(merge([(LEFT, *rows(one, two))], 350, 100)[0]) == expected
    assert len(merge([(LEFT, *rows(one, two)), (RIGHT, *NOTHING)], 350, 100)[0]) == expected
    assert len(merge([(LEFT, *rows(one)), (LEFT, *rows(two))], 350, 100)[0]) == expected


@pytest.mark.parametrize("center", [(-80.0, 30.0), (30.0, -80.0), (-80.0, -80.0), (30.0, 30.0)])
def test_a_box_whose_center_lies_outside_of_its_view_is_kept(center: tuple[float, float]) -> None:
    head = np.array([[*center, 220.0, 220.0, 0.9], [150.0, 150.0, 10.0, 10.0, 0.8]]).T
    assert select_in_parts(head, 0.5, (3, 3))[1].tolist() == [0.9, 0.8]
