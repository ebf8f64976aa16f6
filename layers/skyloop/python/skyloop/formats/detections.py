"""Match a model's detections with known ones: greedily, by intersection over union, as COCO's evaluation does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skyloop.documents import Detection


@dataclass(frozen=True)
class Pair:
    """A known detection and the found one that matches it. `iou` 0..1."""

    known: Detection
    found: Detection
    iou: float


@dataclass(frozen=True)
class Matching:
    """Every known and every found detection is in exactly one of the three."""

    pairs: tuple[Pair, ...]
    missed: tuple[Detection, ...]
    unexpected: tuple[Detection, ...]


def iou_matrix(first: Sequence[Detection], second: Sequence[Detection]) -> NDArray[np.float64]:
    """Intersection over union of every box of `first` with every box of `second`: float64 (len(first), len(second)).

    Two boxes without area have no union; their overlap counts as 0.
    """
    a, b = _corners(first), _corners(second)
    left_top = np.maximum(a[:, None, :2], b[None, :, :2])
    right_bottom = np.minimum(a[:, None, 2:], b[None, :, 2:])
    overlap: NDArray[np.float64] = np.clip(right_bottom - left_top, 0, None).prod(axis=2)
    areas = [(box[:, 2:] - box[:, :2]).prod(axis=1) for box in (a, b)]
    union = areas[0][:, None] + areas[1][None, :] - overlap
    shares: NDArray[np.float64] = np.divide(overlap, union, out=np.zeros_like(overlap), where=union > 0)
    return shares


def match_detections(known: Sequence[Detection], found: Sequence[Detection], *, min_iou: float = 0.5) -> Matching:
    """Pair known with found detections of the same category whose boxes overlap by at least `min_iou`.

    Found detections choose in order of falling confidence, each the best known one still free (COCO's greedy rule, Lin
    et al., "Microsoft COCO", 2014, and pycocotools' `evaluateImg`).
    """
    overlaps = iou_matrix(known, found)
    for row, expected in enumerate(known):
        for column, other in enumerate(found):
            if expected.category != other.category:
                overlaps[row, column] = -1.0
    pairs: list[Pair] = []
    free = set(range(len(known)))
    unexpected: list[Detection] = []
    for column in sorted(range(len(found)), key=lambda index: -found[index].confidence):
        best = max(free, key=lambda row: overlaps[row, column], default=None)
        if best is None or overlaps[best, column] < min_iou:
            unexpected.append(found[column])
            continue
        free.remove(best)
        pairs.append(Pair(known[best], found[column], float(overlaps[best, column])))
    return Matching(tuple(pairs), tuple(known[row] for row in sorted(free)), tuple(unexpected))


def _corners(detections: Sequence[Detection]) -> NDArray[np.float64]:
    boxes = np.array([(d.left, d.top, d.width, d.height) for d in detections], dtype=np.float64).reshape(-1, 4)
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
