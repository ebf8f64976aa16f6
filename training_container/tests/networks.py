"""Networks for the tests of engines: one that computes, and one that only takes its time."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from skyloop_container.inference import Detection, Detector
from skyloop_container.slicing import SlicingPlan

from training_container.bench.inference import jpeg, untrained

SIZE = 64


def exported(folder: Path, batches: int = 0) -> Path:
    """The model directory of random weights, exported as trainings do; batches: see `untrained`."""
    return untrained(folder, SIZE, jpeg(SIZE, SIZE), (SIZE, SIZE), batches)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0
        self.lock = threading.Lock()

    def __call__(self) -> float:
        return self.now


class Fake:
    """A detector whose network takes so long, and finds boxes that are so much to the right."""

    def __init__(self, clock: Clock, seconds: float, shift: float = 0.0) -> None:
        self.clock, self.seconds, self.shift = clock, seconds, shift

    confidence, boxes = 0.5, 4

    def predict(self, _: np.ndarray, confidence: float) -> Any:
        assert confidence < self.confidence
        found = [Detection("a", 0, 0.9, 100.0 * n + self.shift, 0.0, 20.0, 20.0) for n in range(self.boxes)]
        return type("Prediction", (), {"detections": found})

    def views(self, width: int, height: int) -> list[Any]:
        return SlicingPlan().views(width, height, SIZE)

    def run(self, *_: object) -> Iterator[None]:
        with self.clock.lock:
            self.clock.now += self.seconds
        yield None


def unasked(known: Detector, other: Detector) -> dict[str, Any]:
    """In the place of a look at labels: nothing but INT8 needs one."""
    raise AssertionError(f"{other} is compared with {known} by labels")
