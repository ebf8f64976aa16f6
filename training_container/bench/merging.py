"""How what several views found becomes one list: our rule, NMS, NMM and WBF, on the same raw detections, in one run.

    python -m training_container.bench.merging MODEL CHANNEL [CHANNEL …]

MODEL is a folder with model.json and model.onnx, a CHANNEL a folder of whole frames with labels (see the container's
README). The network looks once at each frame, by the model's plan and once at the whole of it; every way to merge gets
the same outputs, and category by category. `NMS` is greedy suppression by score; `NMM` is SAHI's default, GREEDYNMM:
boxes that share more than half of the smaller one become one that holds both; `WBF` is weighted boxes fusion (Solovyev
et al., arXiv 1910.13302) with the best score of each cluster, for most objects are on one view only. Milliseconds are
the processor's, of one thread, for suppression on each view and merging, down to the confidence of the evaluation.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table
from skyloop_container.card import Card
from skyloop_container.dataset import Sample, read_channel, read_image
from skyloop_container.detections import Detections, ScoredImage
from skyloop_container.engines.base import Engine
from skyloop_container.inference import EVALUATION_CONFIDENCE, Detection, Detector, Letterbox
from skyloop_container.metrics import best_confidence, score
from skyloop_container.predictions import truth_of
from skyloop_container.seams import SAME_IOU, UNSURE, Found, merge, suppress
from skyloop_container.slicing import SlicingPlan, View

VIEW_IOU = 0.7  # Ultralytics' suppression on a picture, which every other way gets its boxes from

Boxes = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Boxes (n, 4) left, top, right, bottom; scores (n,), most confident first; category ids (n,)."""

Raw = tuple[View, Letterbox, np.ndarray]
"""A view, how it was fitted, and what the network said."""


@dataclass(frozen=True)
class Way:
    """How to merge: the overlap for suppression on each view, and what comes after, of all boxes."""

    name: str
    view_iou: float
    merge: Callable[[list[Found], int, int], Boxes]


class Recorder(Detector):
    """A detector that keeps what the network said of each view."""

    def __init__(self, card: Card | dict[str, Any], engine: Engine) -> None:
        """See `Detector`."""
        super().__init__(card, engine)
        self.raw: list[Raw] = []

    def found(
        self,
        view: View,
        fit: Letterbox,
        output: np.ndarray,
        confidence: float | None = None,
        iou: float = SAME_IOU,
    ) -> Found:
        """See `Detector`."""
        self.raw.append((view, fit, output[:, output[4:].max(axis=0) >= EVALUATION_CONFIDENCE * UNSURE]))
        return super().found(view, fit, output, confidence, iou)


def by_category(
    one: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]], least: float = EVALUATION_CONFIDENCE
) -> Callable[..., Boxes]:
    """A way to merge all boxes of one category, for those of all with `least` confidence."""

    def merged(found: list[Found], width: int, height: int) -> Boxes:
        boxes, scores, categories = (np.concatenate([each[i] for each in found]) for i in (1, 2, 3))
        boxes = boxes.clip(0, (width, height) * 2)
        kept = (scores >= least) & (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
        parts = []
        for category in np.unique(categories):
            of = np.flatnonzero(kept & (categories == category))
            of = of[np.argsort(-scores[of], kind="stable")]
            parts.append((*one(boxes[of], scores[of].astype(np.float64)), category))
        boxes, scores = (np.concatenate([np.zeros((0, 4)[: 2 - i]), *(part[i] for part in parts)]) for i in (0, 1))
        ids = np.repeat([part[2] for part in parts], [len(part[1]) for part in parts]).astype(int)
        order = np.argsort(-scores, kind="stable")
        return boxes[order], scores[order], ids[order]

    return merged


def nms(boxes: np.ndarray, scores: np.ndarray, iou: float) -> tuple[np.ndarray, np.ndarray]:
    """Greedy non-maximum suppression."""
    sizes = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
    kept = suppress(sizes, scores, np.zeros(len(boxes), dtype=int), iou)
    return boxes[kept], scores[kept]


def nmm(boxes: np.ndarray, scores: np.ndarray, threshold: float, smaller: bool) -> tuple[np.ndarray, np.ndarray]:
    """Greedy non-maximum merging, as SAHI's: what overlaps the box as it grows becomes a part of it.

    smaller: the overlap is a share of the smaller box, else of both.
    """
    left, merged, kept = np.ones(len(boxes), dtype=bool), [], []
    for number, box in enumerate(boxes):
        if not left[number]:
            continue
        left[number] = False
        alike = np.flatnonzero(left & (overlaps(box, boxes, smaller) > threshold))
        left[alike] = False  # SAHI takes them out even where the grown box no longer overlaps them enough
        for other in alike:
            if overlaps(box, boxes[other][None], smaller)[0] > threshold:
                box = np.concatenate([np.minimum(box[:2], boxes[other][:2]), np.maximum(box[2:], boxes[other][2:])])
        merged.append(box)
        kept.append(scores[number])
    return np.array(merged).reshape(-1, 4), np.array(kept)


def wbf(boxes: np.ndarray, scores: np.ndarray, iou: float) -> tuple[np.ndarray, np.ndarray]:
    """Weighted boxes fusion: a box joins the cluster whose mean it overlaps most, and moves that."""
    fused, sums, weights, best = np.zeros((len(boxes), 4)), np.zeros((len(boxes), 4)), np.zeros(len(boxes)), []
    for box, value in zip(boxes, scores, strict=True):
        clusters = len(best)
        shared = overlaps(box, fused[:clusters], False)
        of = int(shared.argmax()) if clusters and shared.max() > iou else clusters
        if of == clusters:
            best.append(value)
        sums[of] += value * box
        weights[of] += value
        fused[of] = sums[of] / weights[of]
    return fused[: len(best)], np.array(best)


def overlaps(box: np.ndarray, others: np.ndarray, smaller: bool) -> np.ndarray:
    """What a box shares with each of the others, of the smaller of the two or of their union, (n,)."""
    shared = (np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])).clip(0).prod(axis=1)
    area, areas = (box[2:] - box[:2]).prod(), (others[:, 2:] - others[:, :2]).prod(axis=1)
    return np.asarray(shared / np.maximum(np.minimum(area, areas) if smaller else area + areas - shared, 1e-9))


def ours(found: list[Found], width: int, height: int, iou: float) -> Boxes:
    """The product's rule with another threshold."""
    return merge(found, width, height, EVALUATION_CONFIDENCE, iou)


WAYS = [
    *(Way(f"ours, {iou}", iou, partial(ours, iou=iou)) for iou in (0.4, 0.5, 0.55, 0.6, 0.65, 0.7)),
    Way("ours, 0.7 on a view and 0.5 at seams", 0.7, partial(ours, iou=0.5)),
    *(Way(f"NMS, {iou}", VIEW_IOU, by_category(partial(nms, iou=iou))) for iou in (0.5, 0.6, 0.7)),
    Way("NMM, half of the smaller", VIEW_IOU, by_category(partial(nmm, threshold=0.5, smaller=True))),
    Way("the same, of boxes from 0.25", VIEW_IOU, by_category(partial(nmm, threshold=0.5, smaller=True), 0.25)),
    Way("NMM, IoU 0.5", VIEW_IOU, by_category(partial(nmm, threshold=0.5, smaller=False))),
    Way("WBF, 0.55", VIEW_IOU, by_category(partial(wbf, iou=0.55))),
]


def measure(detector: Recorder, samples: list[Sample], plan: SlicingPlan) -> list[dict[str, Any]]:
    """What each way finds of the frames, and its milliseconds a frame."""
    scored: list[list[ScoredImage]] = [[] for _ in WAYS]
    times = np.zeros(len(WAYS))
    for sample in samples:
        detector.raw = []
        detector.predict(read_image(sample, detector.window), EVALUATION_CONFIDENCE, plan)
        raw, truth = detector.raw, truth_of(sample, detector.categories)
        for number, way in enumerate(WAYS):
            started = time.thread_time()
            found = [Detector.found(detector, *one, EVALUATION_CONFIDENCE, way.view_iou) for one in raw]
            merged = way.merge(found, sample.width, sample.height) if found else None
            times[number] += 1000 * (time.thread_time() - started)
            scored[number].append(
                ScoredImage(sample.name, sample.width, sample.height, truth, detections(merged, detector.categories))
            )
    answers = []
    for images, spent in zip(scored, times, strict=True):
        confidence = best_confidence(images, detector.categories)
        answers.append(score(images, detector.categories, confidence) | {"milliseconds": spent / len(samples)})
    return answers


def detections(merged: Boxes | None, names: list[str]) -> Detections:
    """As they are scored."""
    if merged is None:
        return Detections([])
    return Detections(
        [
            Detection(names[category], int(category), float(value), left, top, right - left, bottom - top)
            for (left, top, right, bottom), value, category in zip(merged[0].tolist(), *merged[1:], strict=True)
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("channels", type=Path, nargs="+")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    detector = Recorder.load(options.model, 1)
    assert isinstance(detector, Recorder)
    table = Table(title=f"{detector.plan}, network {detector.size} px; {platform.machine()}")
    for column in ("frames", "looked at", "way", "mAP50", "mAP50-95", "small", "P", "R", "at", "ms a frame"):
        table.add_column(column)
    for channel in options.channels:
        samples, _ = read_channel(channel, len(detector.categories))
        frames = f"{len(samples)} of {samples[0].width} x {samples[0].height}"
        for looked, plan in {"whole": SlicingPlan(), "in slices": detector.plan}.items():
            if plan.side is not None and plan.count(samples[0].width, samples[0].height) == 1:
                continue
            for way, got in zip(WAYS, measure(detector, samples, plan), strict=True):
                shown = [got["map50"], got["map50_95"], got["by_size"]["small"]["map50"]]
                shown += [got[name] for name in ("precision", "recall", "confidence")]
                numbers = ["-" if value is None else f"{value:.3f}" for value in shown]
                table.add_row(frames, looked, way.name, *numbers, f"{got['milliseconds']:.1f}")
            table.add_section()
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
