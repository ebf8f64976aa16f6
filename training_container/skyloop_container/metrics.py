"""How good a detector is on labeled images: COCO's average precision, and how certain a difference is.

The scores are faster-coco-eval's (which agrees with pycocotools to the last digit). It does not say which box of which
image was right, and resampling images needs that: so boxes are matched here, by the same rules, at IoU 0.5.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, SupportsFloat

import numpy as np

from .average_precision import SIZES, average_precisions
from .detections import ScoredImage, Truth
from .inference import Detection

IOU = 0.5
LEAST_FLIGHTS = 8  # to resample: the interval of a few would say how many there are, not how sure the difference is
MOST_GROUPS = 256  # that are drawn: more images are drawn in blocks, for memory is for groups times right detections
VALUES_AT_ONCE = 2_000_000  # of resamples times right detections that are looked at
EVERY_ONE = 500  # right detections, of the most confident ones, that each are a point of a curve
STEP = 1.002  # from one point of a curve to the next, of all detections and of right ones: nothing changes more
RECALLS = np.linspace(0.0, 1.0, 101)  # COCO's recall thresholds


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

    def average_precisions(self, groups: np.ndarray, count: int) -> list[float]:
        """That of each group of images alone, NaN where it has no such box; every detection is looked at once.

        Args:
            groups: (images,) the group of each image, from 0.
            count: of the groups.
        """
        of = groups[self.image]
        order = np.argsort(of, kind="stable")  # within a group most confident first, as they were
        ends = np.searchsorted(of[order], np.arange(1, count))
        boxes = np.bincount(groups, self.truth_counts, count)
        return [
            Matches(
                self.scores[part], self.right[part], np.zeros(len(part), dtype=int), boxes[[number]]
            ).average_precision()
            for number, part in enumerate(np.split(order, ends))
        ]


def iou(boxes: Sequence[Detection | Truth], others: Sequence[Detection | Truth]) -> np.ndarray:
    """Intersection over union of each box with each of the others, (n, m)."""
    return overlaps(*(np.array([(o.left, o.top, o.width, o.height) for o in group]) for group in (boxes, others)))


def overlaps(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """As `iou`, of (n, 4) and (m, 4) left, top, width, height."""
    boxes, others = boxes.reshape(-1, 4), others.reshape(-1, 4)
    ends, other_ends = boxes[:, :2] + boxes[:, 2:], others[:, :2] + others[:, 2:]
    shared = np.minimum(ends[:, None], other_ends[None]) - np.maximum(boxes[:, None, :2], others[None, :, :2])
    overlap = shared.clip(0).prod(axis=2)
    union = boxes[:, 2:].prod(axis=1)[:, None] + others[:, 2:].prod(axis=1)[None] - overlap
    return np.asarray(overlap / np.maximum(union, np.spacing(1)))


def match_image(image: ScoredImage, category: str) -> tuple[np.ndarray, int]:
    """Match one image's detections of a category with its boxes: COCO's greedy rule, best confidence first.

    Returns:
        (n,) index into `image.truth` of the box each detection found, -1 for none; and how many boxes there are.
    """
    if category not in image.matched:
        image.matched[category] = _match_image(image, category)
    return image.matched[category]


def _match_image(image: ScoredImage, category: str) -> tuple[np.ndarray, int]:
    indices = [i for i, truth in enumerate(image.truth) if truth.category == category]
    boxes, _ = image.detections.of(category)
    found = np.full(len(boxes), -1, dtype=np.int32)
    if not indices or not len(boxes):
        return found, len(indices)
    shared = overlaps(boxes, np.array([image.truth[i].box for i in indices]))
    for number in np.flatnonzero(shared.max(axis=1) >= IOU - 1e-10):
        overlap = shared[number]
        # On a tie COCO takes the later box.
        best = len(overlap) - 1 - int(np.argmax(overlap[::-1]))
        if overlap[best] >= IOU - 1e-10:
            shared[:, best] = -1.0  # it is taken
            found[number] = indices[best]
    return found, len(indices)


def match(images: Sequence[ScoredImage], category: str) -> Matches:
    """Match every image's detections of one category with its boxes."""
    matched = [match_image(image, category) for image in images]
    scores = np.concatenate([np.zeros(0), *(image.detections.of(category)[1] for image in images)])
    right = np.concatenate([np.zeros(0, dtype=bool), *(found >= 0 for found, _ in matched)])
    owners = np.repeat(np.arange(len(images), dtype=np.int32), [len(found) for found, _ in matched])
    order = np.argsort(-scores, kind="stable")
    return Matches(scores[order], right[order], owners[order], np.array([boxes for _, boxes in matched], dtype=float))


def score(images: Sequence[ScoredImage], categories: Sequence[str], confidence: float) -> dict[str, Any]:
    """Score a model.

    Args:
        images: with detections down to a confidence of (nearly) 0.
        categories: the names that count; boxes and detections of others are left out.
        confidence: for precision and recall only.

    Returns:
        {"map50", "map50_95", "precision", "recall", "confidence", "per_class": {name: {"ap50", "ap50_95", "boxes"}},
        "by_size": {size: {"map50", "boxes"}}, "by_flight": {flight: {"map50", "boxes"}}}.
        A category without boxes has null AP and no part in the means. Precision and recall pool all categories. Sizes
        are COCO's, of the labeled boxes in pixels of the picture.
    """
    ap50, ap, by_size = average_precisions(images, categories)
    every_match = []
    per_class = {}
    right = detected = boxes = 0
    for number, name in enumerate(categories):
        matches = match(images, name)
        every_match.append(matches)
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
        "by_size": _by_size(images, categories, by_size),
        "by_flight": _by_flight(images, every_match),
    }


def _by_flight(images: Sequence[ScoredImage], every_match: Sequence[Matches]) -> dict[str, dict[str, Any]]:
    names = sorted({image.flight for image in images})
    number_of = {flight: number for number, flight in enumerate(names)}
    flights = np.array([number_of[image.flight] for image in images])
    precisions = [matches.average_precisions(flights, len(names)) for matches in every_match]
    boxes = sum(np.bincount(flights, matches.truth_counts, len(names)) for matches in every_match)
    answer = {}
    for number, flight in enumerate(names):
        measured = [of_category[number] for of_category in precisions if not np.isnan(of_category[number])]
        answer[flight] = {
            "map50": _rounded(np.mean(measured)) if measured else None,
            "boxes": int(np.asarray(boxes)[number]),
        }
    return answer


def _by_size(
    images: Sequence[ScoredImage], categories: Sequence[str], map50: dict[str, float]
) -> dict[str, dict[str, Any]]:
    areas = np.array([box.width * box.height for image in images for box in image.truth if box.category in categories])
    counts = {size: int(((areas >= low) & (areas < high)).sum()) for size, (low, high) in SIZES.items()}
    return {size: {"map50": _rounded(map50[size]) if count else None, "boxes": count} for size, count in counts.items()}


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
    resamples: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, Any]:
    """How much better the candidate's mAP50 is, with a paired bootstrap interval over flights, or over images.

    Each resample draws as many flights as there are, with replacement, the same for both models, so what makes a flight
    hard cancels out. Frames of one flight look alike, so drawing images would make the interval too narrow; of fewer
    than LEAST_FLIGHTS flights images are drawn all the same, and of more than MOST_GROUPS images so many blocks of
    neighbors. Detections are matched once; a resample only weighs them. One image says nothing of others: any
    difference is possible.

    Percentile interval: Efron & Tibshirani, An Introduction to the Bootstrap (1993), ch. 13; paired resampling of a
    test set: Koehn, Statistical Significance Tests for Machine Translation Evaluation (EMNLP 2004).

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
    flights = {flight: number for number, flight in enumerate(sorted({image.flight for image in candidate}))}
    by_flight = len(flights) >= LEAST_FLIGHTS
    blocks = np.arange(len(candidate)) * min(MOST_GROUPS, len(candidate)) // max(len(candidate), 1)
    groups = np.array([flights[image.flight] for image in candidate]) if by_flight else blocks
    matches = [[match(images, name) for name in categories] for images in (candidate, champion)]
    models = [[Resampled(one, groups) for one in of_model] for of_model in matches]
    count = int(groups.max()) + 1
    few = "images" if count == len(candidate) else f"{count} blocks of images"
    random = np.random.default_rng(seed)

    def differences(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
        measured = ~np.isnan(ours)  # a category of which a draw has no box has no part in its mean
        total = np.where(measured, ours - theirs, 0.0).sum(axis=0)
        return np.where(measured.any(axis=0), total / np.maximum(measured.sum(axis=0), 1), np.nan)

    drawn = []
    at_once = max(VALUES_AT_ONCE // max(max(one.points for one in model) for model in models), 1)
    for first in range(0, resamples, at_once):
        size = min(at_once, resamples - first)
        weights = random.multinomial(count, np.full(count, 1 / count), size=size).astype(float)
        drawn.append(differences(*(np.stack([one.average_precision(weights) for one in model]) for model in models)))
    whole = (np.array([[one.average_precision()] for one in of_model]) for of_model in matches)
    tail = (1 - confidence) / 2
    low, high = np.nanquantile(np.concatenate(drawn), (tail, 1 - tail)) if count > 1 else (-1.0, 1.0)
    return {
        "map50_difference": _rounded(differences(*whole)[0]),
        "interval": [_rounded(low), _rounded(high)],
        "confidence": confidence,
        "resamples": resamples,
        "method": f"paired bootstrap over {'flights' if by_flight else few}",
        "categories": list(categories),
    }


class Resampled:
    """The average precision of one category over many resamples of groups of images at once.

    Only right detections raise the recall, and the precision falls between them: so all that a resample needs is how
    many right and wrong ones of each group come up to each right one. Of thousands a few per mille apart are enough.
    """

    def __init__(self, matches: Matches, groups: np.ndarray) -> None:
        """Count.

        Args:
            matches: of the category.
            groups: (images,) the group of each image, from 0.
        """
        count = int(groups.max()) + 1
        self._boxes = np.bincount(groups, weights=matches.truth_counts, minlength=count)
        right = np.flatnonzero(matches.right)
        # Of each detection the right one that comes next; behind the last, none counts.
        following = np.searchsorted(right, np.arange(len(matches.right)))
        counted = following < len(right)
        of = groups[matches.image[counted]]
        points = _points(right)
        self.points = max(len(points), 1)
        point = np.searchsorted(points, np.arange(len(right)))  # the one that comes next, of each right detection
        self._all = np.zeros((count, len(points)), dtype=np.float32)  # exact up to 2**24
        np.add.at(self._all, (of, point[following[counted]]), 1)
        self._right = np.zeros_like(self._all)
        np.add.at(self._right, (groups[matches.image[right]], point), 1)
        for counts in (self._all, self._right):
            np.cumsum(counts, axis=1, out=counts)

    def average_precision(self, weights: np.ndarray) -> np.ndarray:
        """COCO's 101-point average precision of each resample, (n,); NaN where it draws no box.

        weights: (n, groups), how often each group is drawn.
        """
        boxes = weights @ self._boxes
        single = weights.astype(np.float32)
        right, shown = ((single @ counts).astype(np.float64) for counts in (self._right, self._all))
        precision = right / np.maximum(shown, 1)
        envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        # How many of the 101 recalls are reached at each right detection.
        reached = np.searchsorted(RECALLS, right / np.maximum(boxes, 1)[:, None], side="right")
        new = np.diff(np.where(right > 0, reached, 0), axis=1, prepend=0)
        return np.where(boxes > 0, (envelope * new).sum(axis=1) / 101, np.nan)


def _points(right: np.ndarray) -> np.ndarray:
    """Which of the right detections are points of a curve, from 0: the first, then STEP apart, and the last.

    right: the rank of each among all detections. The one before a long run of wrong ones is a point, too.
    """
    count = len(right)
    if count <= EVERY_ONE:
        return np.arange(count)
    further = EVERY_ONE * STEP ** np.arange(1, math.ceil(math.log(count / EVERY_ONE, STEP)))
    before_wrong = np.flatnonzero(right[1:] > STEP * (right[:-1] + 1))
    return np.unique(np.concatenate([np.arange(EVERY_ONE), further.astype(int), before_wrong, [count - 1]]))


def _rounded(value: SupportsFloat) -> float:
    return round(float(value), 6)
