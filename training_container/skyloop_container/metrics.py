"""How good a detector is on labeled images: COCO's average precision, and how certain a difference is.

The scores are faster-coco-eval's (which agrees with pycocotools to the last digit). It does not say which box of which
image was right, and resampling images needs that: so boxes are matched here, by the same rules, at IoU 0.5.
"""

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, SupportsFloat

import numpy as np

from .inference import MAX_DETECTIONS, Detection

IOU = 0.5
RECALLS = np.linspace(0.0, 1.0, 101)  # COCO's recall thresholds
EVALUATOR = f"faster-coco-eval {version('faster-coco-eval')}"


@dataclass(frozen=True, slots=True)
class Truth:
    """One labeled box, in pixels of the displayed image."""

    category: str
    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class ScoredImage:
    """One image: the boxes that people labeled on it, and those a model detected, most confident first."""

    name: str
    width: int
    height: int
    truth: Sequence[Truth]
    detections: Sequence[Detection]


@dataclass(frozen=True, slots=True)
class Matches:
    """All detections of one category over a set of images, most confident first, matched with the truth.

    scores, right (bool), image (index of the image): one entry per detection. truth_counts: boxes of the category in
    each image.
    """

    scores: np.ndarray
    right: np.ndarray
    image: np.ndarray
    truth_counts: np.ndarray

    def curve(self, weights: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Precision and recall after each detection; `weights` counts how often each image is drawn."""
        weight = np.ones(len(self.scores)) if weights is None else weights[self.image]
        boxes = self.truth_counts.sum() if weights is None else weights @ self.truth_counts
        right = np.cumsum(weight * self.right)
        precision = right / np.maximum(np.cumsum(weight), np.spacing(1))
        return precision, right / np.maximum(boxes, np.spacing(1))

    def average_precision(self, weights: np.ndarray | None = None) -> float:
        """COCO's 101-point interpolated average precision at IoU 0.5; NaN where there is no such box.

        An image drawn w times counts w times. That is exact, not an approximation: the interpolated precision only
        looks at the best precision at or beyond a recall, which is reached at the end of a run of equal detections.
        """
        boxes = self.truth_counts.sum() if weights is None else weights @ self.truth_counts
        if boxes == 0:
            return float("nan")
        precision, recall = self.curve(weights)
        envelope = np.maximum.accumulate(precision[::-1])[::-1]
        at = np.searchsorted(recall, RECALLS, side="left")
        return float(np.append(envelope, 0.0)[at].mean())


def iou(box: Detection | Truth, others: Sequence[Truth]) -> np.ndarray:
    """Intersection over union of one box with each of the others, (n,)."""
    if not others:
        return np.zeros(0)
    corners = np.array([(o.left, o.top, o.left + o.width, o.top + o.height) for o in others])
    width = np.minimum(box.left + box.width, corners[:, 2]) - np.maximum(box.left, corners[:, 0])
    height = np.minimum(box.top + box.height, corners[:, 3]) - np.maximum(box.top, corners[:, 1])
    overlap = np.maximum(width, 0) * np.maximum(height, 0)
    union = box.width * box.height + np.array([o.width * o.height for o in others]) - overlap
    return np.asarray(overlap / np.maximum(union, np.spacing(1)))


def match_image(image: ScoredImage, category: str) -> tuple[np.ndarray, int]:
    """Match one image's detections of a category with its boxes: COCO's greedy rule, best confidence first.

    Returns:
        (n,) index into `image.truth` of the box each detection found, -1 for none; and how many boxes there are.
    """
    indices = [i for i, truth in enumerate(image.truth) if truth.category == category]
    boxes = [image.truth[i] for i in indices]
    taken = np.zeros(len(boxes), dtype=bool)
    found = []
    for detection in image.detections:
        if detection.category != category:
            continue
        overlap = np.where(taken, -1.0, iou(detection, boxes)) if boxes else np.zeros(0)
        # On a tie COCO takes the later box.
        best = len(overlap) - 1 - int(np.argmax(overlap[::-1])) if boxes else -1
        if best >= 0 and overlap[best] >= IOU - 1e-10:
            taken[best] = True
            found.append(indices[best])
        else:
            found.append(-1)
    return np.array(found, dtype=int), len(boxes)


def match(images: Sequence[ScoredImage], category: str) -> Matches:
    """Match every image's detections of one category with its boxes."""
    scores, right, owners, counts = [], [], [], []
    for index, image in enumerate(images):
        found, boxes = match_image(image, category)
        scores += [d.confidence for d in image.detections if d.category == category]
        right += list(found >= 0)
        owners += [index] * len(found)
        counts.append(boxes)
    order = np.argsort(-np.array(scores, dtype=float), kind="stable")
    return Matches(
        np.array(scores, dtype=float)[order],
        np.array(right, dtype=bool)[order],
        np.array(owners, dtype=int)[order],
        np.array(counts, dtype=float),
    )


def score(images: Sequence[ScoredImage], categories: Sequence[str], confidence: float) -> dict[str, Any]:
    """Score a model.

    Args:
        images: with detections down to a confidence of (nearly) 0.
        categories: the names that count; boxes and detections of others are left out.
        confidence: for precision and recall only.

    Returns:
        {"map50", "map50_95", "precision", "recall", "confidence", "per_class": {name: {"ap50", "ap50_95", "boxes"}}}.
        A category without boxes has null AP and no part in the means. Precision and recall pool all categories.
    """
    ap50, ap = _coco(images, categories)
    per_class = {}
    right = detected = boxes = 0
    for number, name in enumerate(categories):
        matches = match(images, name)
        count = int(matches.truth_counts.sum())
        per_class[name] = {
            "ap50": _rounded(ap50[number]) if count else None,
            "ap50_95": _rounded(ap[number]) if count else None,
            "boxes": count,
        }
        confident = matches.scores >= confidence
        right += int(matches.right[confident].sum())
        detected += int(confident.sum())
        boxes += count
    measured = [number for number, name in enumerate(categories) if per_class[name]["boxes"]]
    return {
        "map50": _rounded(np.mean([ap50[n] for n in measured])) if measured else None,
        "map50_95": _rounded(np.mean([ap[n] for n in measured])) if measured else None,
        "precision": _rounded(right / detected) if detected else None,
        "recall": _rounded(right / boxes) if boxes else None,
        "confidence": confidence,
        "per_class": per_class,
    }


def best_confidence(images: Sequence[ScoredImage], categories: Sequence[str], default: float = 0.25) -> float:
    """The confidence with the best F1 (all categories pooled), held to 0.05..0.9; `default` when nothing was found."""
    matches = [match(images, name) for name in categories]
    scores = np.concatenate([m.scores for m in matches])
    right = np.concatenate([m.right for m in matches])
    boxes = sum(m.truth_counts.sum() for m in matches)
    if not right.any():
        return default
    order = np.argsort(-scores, kind="stable")
    f1 = 2 * np.cumsum(right[order]) / (np.arange(1, len(order) + 1) + boxes)
    return float(np.round(np.clip(scores[order][np.argmax(f1)], 0.05, 0.9), 3))


def compare(
    candidate: Sequence[ScoredImage],
    champion: Sequence[ScoredImage],
    categories: Sequence[str],
    *,
    resamples: int = 500,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, Any]:
    """How much better the candidate's mAP50 is, with a paired bootstrap interval over images.

    Each resample draws as many images as there are, with replacement, the same for both models, so what makes an image
    hard cancels out. Percentile interval: Efron & Tibshirani, An Introduction to the Bootstrap (1993), ch. 13; paired
    resampling of a test set: Koehn, Statistical Significance Tests for Machine Translation Evaluation (EMNLP 2004).
    Detections are matched once; a resample only weighs them.

    Args:
        candidate: the test images with the candidate's detections.
        champion: the same images in the same order, with the champion's.
        categories: those that both models know.
        resamples: how many.
        confidence: of the interval, in 0..1.
        seed: of the resampling.

    Returns:
        {"map50_difference", "interval": [low, high], "confidence", "resamples", "method", "categories"}
    """
    pairs = [(match(candidate, name), match(champion, name)) for name in categories]
    pairs = [pair for pair in pairs if pair[0].truth_counts.any()]
    count = len(candidate)
    draws = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=resamples)

    def difference(weights: np.ndarray | None) -> float:
        values = [ours.average_precision(weights) - theirs.average_precision(weights) for ours, theirs in pairs]
        values = [value for value in values if not np.isnan(value)]  # no box of the category in this draw
        return float(np.mean(values)) if values else float("nan")

    differences = np.array([difference(weights.astype(float)) for weights in draws])
    tail = (1 - confidence) / 2
    low, high = np.nanquantile(differences, (tail, 1 - tail))
    return {
        "map50_difference": _rounded(difference(None)),
        "interval": [_rounded(low), _rounded(high)],
        "confidence": confidence,
        "resamples": resamples,
        "method": "paired bootstrap over images",
        "categories": list(categories),
    }


def _coco(images: Sequence[ScoredImage], categories: Sequence[str]) -> tuple[list[float], list[float]]:
    """AP50 and AP50-95 per category, by faster-coco-eval; -1 where there is no such box."""
    from faster_coco_eval import COCO, COCOeval_faster

    ids = {name: number for number, name in enumerate(categories, 1)}
    truth: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for image_id, image in enumerate(images, 1):
        for box in image.truth:
            if box.category in ids:
                truth.append(_annotation(len(truth) + 1, image_id, ids[box.category], box) | {"iscrowd": 0})
        for detection in image.detections:
            if detection.category in ids:
                annotation = _annotation(len(found) + 1, image_id, ids[detection.category], detection)
                found.append(annotation | {"score": detection.confidence})
    if not truth or not found:
        boxes = {annotation["category_id"] for annotation in truth}
        none = [0.0 if ids[name] in boxes else -1.0 for name in categories]
        return none, none
    dataset = {
        "images": [{"id": number, "width": i.width, "height": i.height} for number, i in enumerate(images, 1)],
        "categories": [{"id": number, "name": name} for name, number in ids.items()],
        "annotations": truth,
    }
    with contextlib.redirect_stdout(io.StringIO()):
        reference = COCO(dataset)
        evaluation = COCOeval_faster(reference, reference.loadRes(found), iouType="bbox")
        evaluation.params.maxDets = [1, 100, MAX_DETECTIONS]
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][:, :, :, 0, -1]  # IoU, recall, category; all areas; most detections
    measured = [precision[:, :, k] for k in range(len(categories))]
    return [float(p[0].mean()) for p in measured], [float(p.mean()) for p in measured]


def _annotation(identifier: int, image_id: int, category_id: int, box: Detection | Truth) -> dict[str, Any]:
    corners = [box.left, box.top, box.width, box.height]
    area = box.width * box.height
    return {"id": identifier, "image_id": image_id, "category_id": category_id, "bbox": corners, "area": area}


def _rounded(value: SupportsFloat) -> float:
    return round(float(value), 6)
