"""The evaluator as its documentation has it, to compare with what is made of it."""

import contextlib
import io
from collections.abc import Sequence

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster
from skyloop_container.detections import ScoredImage


def all_at_once(scored: list[ScoredImage], names: Sequence[str]) -> np.ndarray:
    """faster-coco-eval, as its documentation has it: (ious, recalls, categories, areas)."""
    truth, found = [], []
    for number, image in enumerate(scored, 1):
        for box in image.truth:
            truth.append(
                {"id": len(truth) + 1, "image_id": number, "category_id": names.index(box.category) + 1, "iscrowd": 0}
                | {"bbox": list(box.box), "area": box.width * box.height}
            )
        for one in image.detections:
            found.append(
                {"image_id": number, "category_id": names.index(one.category) + 1, "score": one.confidence}
                | {"bbox": [one.left, one.top, one.width, one.height]}
            )
    dataset = {
        "images": [{"id": number, "width": one.width, "height": one.height} for number, one in enumerate(scored, 1)],
        "categories": [{"id": number, "name": name} for number, name in enumerate(names, 1)],
        "annotations": truth,
    }
    with contextlib.redirect_stdout(io.StringIO()):
        reference = COCO(dataset)
        evaluation = COCOeval_faster(reference, reference.loadRes(found), iouType="bbox")
        evaluation.params.maxDets = [1, 100, 100_000]
        evaluation.evaluate()
        evaluation.accumulate()
    return np.asarray(evaluation.eval["precision"])[..., -1]
