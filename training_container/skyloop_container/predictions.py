"""What a served model says about an image: to a caller of the endpoint, and beside the labels to the evaluation."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
from skyloop.formats.pictures import Picture

from .dataset import Sample, read_frame
from .detections import Detections, ScoredImage, Truth
from .inference import EVALUATION_CONFIDENCE, Detector
from .profile import PROFILE_VERSION, image_statistics
from .slicing import SlicingPlan, cost

MAX_BODY = 25 * 1024 * 1024  # bytes: SageMaker's own limit for a real-time invocation

Watch = Callable[[float], AbstractContextManager[Callable[[float], None]]]
"""Given the looks that a picture may take at most, a context that is told how many it took: see `slicing.cost`."""

COARSE_TOO = 1.5
"""Times the cost of a close look at everything: coarse looks that were in vain come on top."""


@contextmanager
def _unwatched(_: float) -> Iterator[Callable[[float], None]]:
    yield lambda _: None


def predict_image(
    detector: Detector,
    picture: Picture,
    confidence: float | None,
    watch: Watch = _unwatched,
) -> dict[str, Any]:
    """Everything the endpoint says about one image.

    Args:
        detector: the model.
        picture: an image file, opened and not decoded yet; it is decoded here, once.
        confidence: in 0..1; default the one chosen at training.
        watch: what to have around the model's work: see `Watch`.

    Raises:
        ImageRefused: its pixels cannot be decoded.
    """
    with detector.picture():
        frame = read_frame(picture, detector.window, detector.factor)
        width, height = frame.size
        with watch(COARSE_TOO * cost(detector.views(width, height), detector.size)) as looked:
            prediction = detector.predict(frame.pixels, confidence, size=frame.size)
            looked(prediction.looks)
        statistics = image_statistics(frame.pixels, detector.plan, detector.size, frame.size)
    rounded = {name: round(value, 6) for name, value in statistics.items()}
    features = [round(value, 5) for value in prediction.features]
    return {
        "image": {"width": width, "height": height},
        "detections": [detection.as_dict() for detection in prediction.detections],
        "profile": {"version": PROFILE_VERSION, **rounded, "features": features},
        "model": {"training_job": detector.card.training_job, "dataset_id": detector.card.dataset_id},
    }


def score_image(
    detector: Detector, sample: Sample, image: np.ndarray, categories: list[str], plan: SlicingPlan | None = None
) -> ScoredImage:
    """Set a model's detections on one labeled picture beside its labels, down to nearly no confidence.

    Args:
        detector: the model.
        sample: the labeled picture.
        image: its pixels as the model sees them, (h, w, 3) uint8 RGB, upright; by `detector.factor` fewer, or all.
        categories: the names of the sample's category ids (the model may have another list).
        plan: how to cut the picture; default the model's own.
    """
    seen = detector.predict(image, EVALUATION_CONFIDENCE, plan, (sample.width, sample.height))
    truth = truth_of(sample, categories)
    found = Detections(seen.detections)
    return ScoredImage(sample.name, sample.width, sample.height, truth, found, sample.flight, seen.looks)


def truth_of(sample: Sample, categories: list[str]) -> list[Truth]:
    """A sample's boxes with the names of their categories."""
    return [Truth(categories[category], *place) for category, *place in sample.boxes]
