"""COCO's average precision, by faster-coco-eval, in memory that a large test set leaves.

The evaluator takes dictionaries, and keeps them: more than two kilobytes a detection. So it is given a few images at a
time, of one category, and keeps what it made of them; the curves are those of all images.
"""

import contextlib
import io
import math
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import numpy as np

from .detections import ScoredImage
from .inference import MAX_DETECTIONS

EVALUATOR = f"faster-coco-eval {version('faster-coco-eval')}"
SIZES = {"small": (0, 32**2), "medium": (32**2, 96**2), "large": (96**2, math.inf)}  # COCO's, square pixels
IOUS = np.linspace(0.5, 0.95, 10)
ALL = 1e5**2  # square pixels, COCO's
AT_ONCE = 32  # images
CATEGORY = 1


def average_precisions(
    images: Sequence[ScoredImage], categories: Sequence[str]
) -> tuple[list[float], list[float], dict[str, float]]:
    """AP50 and AP50-95 of each category, -1 where there is no such box; mAP50 by size of box, 0 where there is none."""
    ap50, ap, by_size = [], [], []
    for name in categories:
        everything = _precision(images, name, [(0.0, ALL)], IOUS)
        ap50.append(float(everything[0].mean()))
        ap.append(float(everything.mean()))
        by_size.append(_precision(images, name, [(low, min(high, ALL)) for low, high in SIZES.values()], IOUS[:1]))
    sizes = np.array([precision[0].mean(axis=0) for precision in by_size]).reshape(-1, len(SIZES))
    measured = {size: column[column >= 0] for size, column in zip(SIZES, sizes.T, strict=True)}
    return ap50, ap, {size: float(column.mean()) if len(column) else 0.0 for size, column in measured.items()}


def _precision(
    images: Sequence[ScoredImage], category: str, areas: list[tuple[float, float]], ious: np.ndarray
) -> np.ndarray:
    """Precision at COCO's 101 recalls, (ious, 101, areas); -1 where there is no box."""
    from faster_coco_eval import faster_eval_api_cpp

    most = max((len(image.detections) for image in images), default=0)  # a picture may have more slices than one
    matched: list[list[Any]] = [[] for _ in areas]
    parameters: Any = None
    for first in range(0, len(images), AT_ONCE):
        evaluation = _evaluation(images[first : first + AT_ONCE], first, category)
        parameters = evaluation.params
        parameters.maxDets = [1, 100, max(most, MAX_DETECTIONS)]
        parameters.areaRng, parameters.areaRngLbl = [list(area) for area in areas], [str(area) for area in areas]
        parameters.iouThrs = ious
        evaluation.evaluate()
        # Of each area all images, one after the other.
        for of_area, found in zip(matched, np.array_split(evaluation._evalImgs_cpp, len(areas)), strict=True):
            of_area += list(found)
    if parameters is None:
        return np.full((len(ious), 101, len(areas)), -1.0)
    parameters.imgIds = list(range(len(images)))
    curves = faster_eval_api_cpp.COCOevalAccumulate(parameters, [one for of_area in matched for one in of_area])
    return np.asarray(curves["precision"])[:, :, 0, :, -1]  # one category, most detections


def _evaluation(images: Sequence[ScoredImage], first: int, category: str) -> Any:  # noqa: ANN401
    """The evaluator of some images; the first has this number."""
    from faster_coco_eval import COCO, COCOeval_faster

    truth: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for number, image in enumerate(images, first):
        for box in image.truth:
            if box.category == category:
                truth.append(_annotation(number, box.box) | {"id": len(truth) + 1, "iscrowd": 0})
        boxes, confidences = image.detections.of(category)
        for corners, confidence in zip(boxes.tolist(), confidences.tolist(), strict=True):
            found.append(_annotation(number, corners) | {"score": confidence, "segmentation": []})
    dataset = {
        "images": [{"id": number, "width": i.width, "height": i.height} for number, i in enumerate(images, first)],
        "categories": [{"id": CATEGORY, "name": category}],
        "annotations": truth,
    }
    with contextlib.redirect_stdout(io.StringIO()):
        reference = COCO(dataset)
        return COCOeval_faster(reference, reference.loadRes(found), iouType="bbox", separate_eval=True)


def _annotation(image_id: int, box: Sequence[float]) -> dict[str, Any]:
    return {"image_id": image_id, "category_id": CATEGORY, "bbox": list(box), "area": box[2] * box[3]}
