"""Whether an engine with another network is as good as the reference: by the labels of validation pictures."""

from typing import Any

import numpy as np

from .dataset import Sample, spread, with_pictures
from .detections import ScoredImage
from .environment import JobError
from .inference import Detector
from .metrics import score
from .predictions import score_image

IMAGES = 300  # that both look at
LEAST_BOXES = 100  # or a single one that is found or not decides
MOST_WORSE = 0.005
"""Of mAP50 and of mAP50-95: as much as a cheaper slicing plan may cost."""
SCORES = ("map50", "map50_95")


def labeled_boxes(samples: list[Sample]) -> int:
    """How many boxes there are to compare by: of as many pictures as are looked at."""
    return sum(len(sample.boxes) for sample in spread(samples, IMAGES))


def compare_by_labels(known: Detector, other: Detector, samples: list[Sample], categories: list[str]) -> dict[str, Any]:
    """Score two engines of one model on the same pictures, as they are served.

    Args:
        known: the model with the reference.
        other: with the engine that is in question.
        samples: validation pictures; IMAGES of them at most are looked at, evenly spaced.
        categories: the names of their category ids.

    Returns:
        "map50", "map50_95" of the other (null: not measured), the same of the known with "_reference" behind, "images"
        and "boxes"; and as "refused" a sentence where it is worse, or where too little is labeled to say.
    """

    def look(sample: Sample, image: np.ndarray) -> tuple[ScoredImage, ScoredImage]:
        first, second = (score_image(one, sample, image, categories) for one in (known, other))
        return first, second

    chosen = spread(samples, IMAGES)
    if (boxes := labeled_boxes(samples)) < LEAST_BOXES:
        return {"images": len(chosen), "boxes": boxes, "refused": f"{boxes} labeled boxes say too little of it"}
    try:
        looked, _ = with_pictures("reference", chosen, known.window, look, known.factor)
    except JobError as error:
        return {"images": 0, "boxes": 0, "refused": str(error)}
    first, second = (score([pair[number] for _, pair in looked], categories, known.confidence) for number in (0, 1))
    told: dict[str, Any] = {"images": len(looked), "boxes": sum(len(sample.boxes) for sample, _ in looked)}
    for name in SCORES:
        told |= {name: second[name], f"{name}_reference": first[name]}
    if worse := [name for name in SCORES if not (second[name] or 0.0) >= (first[name] or 0.0) - MOST_WORSE]:
        was = " and ".join(f"{name} {second[name] or 0:.3f} instead of {first[name] or 0:.3f}" for name in worse)
        told["refused"] = f"on {len(looked)} validation pictures it has {was}"
    return told
