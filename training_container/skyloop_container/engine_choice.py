"""Which engine serves a model: measured on the machine that evaluates it, and verified where it serves.

The network is timed on real pictures, and an engine that is not clearly faster than ONNX Runtime, or does not find the
same objects, is not chosen. INT8 is another network, which finds others of those that are hardly found: labels decide,
and they are only asked where it would be the fastest. What was chosen is judged and served; an endpoint that
cannot run it, or computes something else with it, says so and serves with ONNX Runtime.

Engines of processors are timed on one core. All cores share a GPU, so it is timed under what all of them ask of it at
once: either is what a picture takes of a core, and so how many pictures the machine answers.
"""

import time
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .engines import ENGINES, INT8, ON_GPU, REFERENCE, EngineMissing
from .engines.base import SHAPES
from .environment import JobError, available_cores
from .inference import Detection, Detector
from .metrics import iou

CLEARLY = 0.9  # of the reference's time; an engine that takes more is not worth being another one
ROUNDS = 7  # over the pictures, engine by engine, of which the fastest counts: other work only slows down
ALIKE_IOU, ALIKE_CONFIDENCE = 0.75, 0.15  # as the smoke test compares an endpoint with the evaluation
LEAST_ALIKE = 0.95  # share of detections
LEAST_ALIKE_INT8 = 0.8
"""It was 0.82 to 0.90 of an INT8 network as good by the labels as in float32: what came and went was unsure."""
PROBE_SIDE = 320  # pixels
MOST_APART = 0.05  # of what a probe gives, relative: bfloat16 differs by 0.005, another network by 1
MOST_APART_INT8 = 0.001
"""Of what it gave at training: AVX2, AVX-512 and VNNI give the same to the last digit, and an overflow 0.002."""

Labels = Callable[[Detector, Detector], dict[str, Any]]
"""What labeled pictures say of the reference and an engine, for `measured`; with "refused" where that is worse."""


@dataclass(frozen=True)
class Choice:
    """The engine that a model is judged and served with, and what was measured of each, for evaluation.json."""

    name: str
    measured: dict[str, dict[str, Any]]


def choose(
    model_dir: Path,
    pictures: list[np.ndarray],
    sizes: Collection[tuple[int, int]],
    labels: Labels,
    clock: Callable[[], float] = time.perf_counter,
) -> Choice:
    """Try every engine that this machine has.

    Args:
        model_dir: holds model.json and model.onnx.
        pictures: a few, (height, width, 3) uint8 RGB, that the network was not trained on.
        sizes: width and height of all pictures that these were taken of, in pixels.
        labels: asked once at most, of INT8.
        clock: seconds.

    Raises:
        JobError: the model cannot be loaded.
    """
    detectors, measured = _load(model_dir, sizes)
    # The first prediction of each warms it up.
    seen = {name: [_found(one, image) for image in pictures] for name, one in detectors.items()}
    seconds = dict.fromkeys(detectors, float("inf"))
    for _ in range(ROUNDS):
        for name, detector in detectors.items():
            threads = available_cores() if name == ON_GPU else 1
            seconds[name] = min(seconds[name], _timed(detector, pictures, threads, clock))
    faster, told = [REFERENCE], any(seen[REFERENCE])  # without a detection nothing says that an engine finds the same
    for name in detectors:
        alike = share_alike(seen[REFERENCE], seen[name])
        milliseconds = 1000 * seconds[name] / max(len(pictures), 1)
        measured[name] = {"milliseconds": round(milliseconds, 2), "alike": round(alike, 4)}
        clearly = seconds[name] <= CLEARLY * seconds[REFERENCE]
        if told and clearly and alike >= (LEAST_ALIKE_INT8 if name == INT8 else LEAST_ALIKE):
            faster.append(name)
    faster.sort(key=seconds.__getitem__)
    if faster[0] == INT8:
        measured[INT8] |= labels(detectors[REFERENCE], detectors[INT8])
        if "refused" in measured[INT8]:
            faster.remove(INT8)
    chosen = faster[0]
    return Choice(chosen, {name: measured[name] for name in ENGINES})


def _load(model_dir: Path, sizes: Collection[tuple[int, int]]) -> tuple[dict[str, Detector], dict[str, dict[str, Any]]]:
    """The model with each engine that can serve it here, and why others cannot. Raises JobError: none can."""
    detectors: dict[str, Detector] = {}
    refused: dict[str, dict[str, Any]] = {}
    for name in ENGINES:
        try:
            detectors[name] = Detector.load(model_dir, threads=1, engine=name)
            verify(detectors[name], name)
            cut = any(len(detectors[name].views(*size)) > 1 for size in sizes)
            if name == ON_GPU and (cut or len(sizes) > SHAPES):
                raise EngineMissing(f"it plans anew for each shape of input, and keeps {SHAPES}: here are more")
        except (EngineMissing, EngineDiffers) as error:
            detectors.pop(name, None)
            if name == REFERENCE:
                raise JobError(f"The model cannot be judged: {error}.") from error
            refused[name] = {"refused": str(error)}
    return detectors, refused


def _timed(detector: Detector, pictures: list[np.ndarray], threads: int, clock: Callable[[], float]) -> float:
    """Seconds in which each of so many threads looks once at each picture."""

    def look(_: int) -> None:
        for image in pictures:
            list(detector.run(image, detector.views(image.shape[1], image.shape[0])[:1]))

    with ThreadPoolExecutor(threads) as pool:
        started = clock()
        list(pool.map(look, range(threads)))
        return clock() - started


def _found(detector: Detector, image: np.ndarray) -> list[Detection]:
    """Down to half of the confidence of service: a cautious model says little of a few pictures."""
    return detector.predict(image, detector.confidence / 2).detections


def share_alike(known: list[list[Detection]], found: list[list[Detection]]) -> float:
    """The share of detections that both of two lists of pictures have, 0..1; 1 where neither has any."""
    pairs = sum(_pairs(ours, theirs) for ours, theirs in zip(known, found, strict=True))
    most = sum(max(len(ours), len(theirs)) for ours, theirs in zip(known, found, strict=True))
    return pairs / most if most else 1.0


def _pairs(known: list[Detection], found: list[Detection]) -> int:
    """How many of one picture's detections have their own counterpart among the others', best confidence first."""
    overlaps, left, pairs = iou(known, found), list(range(len(found))), 0
    for number, one in enumerate(known):
        alike = (
            other
            for other in left
            if found[other].category == one.category
            and abs(found[other].confidence - one.confidence) <= ALIKE_CONFIDENCE
            and overlaps[number, other] >= ALIKE_IOU
        )
        if (counterpart := next(alike, None)) is not None:
            left.remove(counterpart)
            pairs += 1
    return pairs


class EngineDiffers(Exception):
    """An engine computes something else than the network that was exported. The text says by how much."""


def probe(detector: Detector) -> dict[str, list[float]]:
    """What a network makes of a fixed picture of noise, in a few numbers that model.json keeps.

    Returns:
        detections: the mean of each row of the head's output, (4 + categories,); pooled: (2 * channels,).
    """
    side = detector.size if detector.card.from_before_slicing else min(PROBE_SIDE, detector.size)
    noise = np.random.default_rng(0).random((1, 3, side, side), dtype=np.float32)
    output, pooled = detector.engine.run(noise)
    return {"detections": output[0].mean(axis=1).tolist(), "pooled": pooled[0].tolist()}


def verify(detector: Detector, engine: str) -> None:
    """Compare what a detector's engine, one of `ENGINES`, computes with what model.json says.

    Raises:
        EngineDiffers: it is something else, or it fails, or model.json is of a network of another shape.
    """
    card = detector.card
    try:
        found = probe(detector)
    except RuntimeError as error:
        raise EngineDiffers(f"it fails: {error}") from error
    categories, features = len(found["detections"]) - 4, len(found["pooled"])
    if categories != len(card.categories):
        raise EngineDiffers(f"it tells {categories} categories apart, and model.json names {len(card.categories)}")
    if card.features.components and features != len(card.features.mean):
        raise EngineDiffers(f"it gives {features} features, and model.json projects {len(card.features.mean)}")
    known, most = card.probe, MOST_APART
    if engine == INT8:
        known, most = card.int8.probe if card.int8 else None, MOST_APART_INT8
    if known is None:
        return  # a model from before there were engines
    for name, before in (("detections", known.detections), ("pooled", known.pooled)):
        ours, theirs = np.asarray(before), np.asarray(found[name])
        apart = np.linalg.norm(ours - theirs) / np.linalg.norm(ours) if ours.shape == theirs.shape else np.inf
        if not apart <= most:
            raise EngineDiffers(f"its {name} differ by {apart:.2g} of their size from what was exported")
