"""What a served model says of an image: to a caller of the endpoint, and beside the truth to whoever judges it."""

from typing import Any

from .dataset import Sample, read_image, to_pixels
from .images import decode
from .inference import EVALUATION_CONFIDENCE, Detector
from .metrics import Judged, Truth
from .profile import PROFILE_VERSION, image_statistics


def answer_image(detector: Detector, data: bytes, confidence: float | None) -> dict[str, Any]:
    """Everything the endpoint says about one image.

    Raises:
        ImageError: the bytes are not a usable image.
    """
    image = decode(data)
    answer = detector.answer(image, confidence)
    height, width = image.shape[:2]
    statistics = {name: round(value, 6) for name, value in image_statistics(image).items()}
    features = [round(value, 5) for value in answer.features]
    return {
        "image": {"width": width, "height": height},
        "detections": [detection.as_dict() for detection in answer.detections],
        "profile": {"version": PROFILE_VERSION, **statistics, "features": features},
        "model": {"training_job": detector.card["training_job"], "dataset_id": detector.card["dataset_id"]},
    }


def judge(detector: Detector, sample: Sample, categories: list[str]) -> Judged:
    """Answer one labeled image down to nearly no confidence, and set the answer beside the truth.

    Args:
        categories: the names of the sample's category ids (the model may have another list).
    """
    image = read_image(sample)
    height, width = image.shape[:2]
    truth = [Truth(categories[box[0]], *to_pixels(box, width, height)) for box in sample.boxes]
    return Judged(sample.name, width, height, truth, detector.answer(image, EVALUATION_CONFIDENCE).detections)
