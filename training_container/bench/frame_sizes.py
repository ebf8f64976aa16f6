"""False alarms of drift by the size of frames: those of the same flights, in sizes that the baseline has and has not.

    PYTHONPATH=training_container python -m training_container.bench.frame_sizes MODEL GROUND... [--draws 20]

MODEL is a folder with model.onnx and model.json, whose plan has slices; GROUND are folders of large pictures of the same
flights. Frames are cut out of them, 5:4, 1 to 8 slices' sides wide as far as the pictures go; the middles of all lie at
random places that the largest leave them, or a baseline of large frames would know less ground than the windows. A draw
takes a baseline of 60 frames of one size, or of all, and windows of 30 of each size and of each shift; the judgment is the
layer's, with alpha 0.01. A line for each baseline, a column for each window: judgments that rang, of how many.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table
from skyloop.drift.detector import detect
from skyloop.formats.profile import Baseline, Profile
from skyloop_container.dataset import decode
from skyloop_container.inference import Detector
from skyloop_container.profile import STATISTICS, image_statistics

SIDES = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
BASELINES = (1.0, 2.0, 4.0, 8.0)
REFERENCE, WINDOW, POOL = 60, 30, 90
HIGHER = 0.5  # of the scale: twice the altitude
SHIFTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "haze": lambda frame: (frame * 0.55 + 100).astype(np.uint8),
    "blur": lambda frame: cv2.GaussianBlur(frame, (0, 0), 2.5),
    "dark": lambda frame: (frame * 0.6).astype(np.uint8),
    "altitude": lambda frame: cv2.resize(frame, None, fx=HIGHER, fy=HIGHER, interpolation=cv2.INTER_AREA),
}
ALPHA = 0.01


class Frames:
    """Frames that chance cuts out of large pictures, and their profiles as the endpoint answers them."""

    def __init__(self, detector: Detector, grounds: list[np.ndarray]) -> None:
        self.detector, self.grounds = detector, grounds
        self.random = np.random.default_rng(0)
        self.side = float(detector.plan.side or detector.size)
        height, width = (max(one.shape[axis] for one in grounds) for axis in (0, 1))
        self.sizes = [sides for sides in SIDES if self.size(sides)[0] <= width and self.size(sides)[1] <= height]
        self.room = self.size(self.sizes[-1])
        self.grounds = [one for one in grounds if one.shape[1] >= self.room[0] and one.shape[0] >= self.room[1]]

    def profiles(self, sides: float, change: Callable[[np.ndarray], np.ndarray] | None = None) -> list[Profile]:
        """Of POOL frames; change: what became of them."""
        found, (width, height) = [], self.size(sides)
        for _ in range(POOL):
            ground = self.grounds[self.random.integers(len(self.grounds))]
            left = self.random.integers(0, ground.shape[1] - self.room[0] + 1) + (self.room[0] - width) // 2
            top = self.random.integers(0, ground.shape[0] - self.room[1] + 1) + (self.room[1] - height) // 2
            frame = ground[top : top + height, left : left + width]
            frame = frame if change is None else change(frame)
            statistics = image_statistics(frame, self.detector.plan, self.detector.size)
            features = tuple(self.detector.predict(frame).features)
            found.append(Profile(STATISTICS, tuple(statistics[name] for name in STATISTICS), features))
        return found

    def size(self, sides: float) -> tuple[int, int]:
        """Width and height of a frame, in pixels."""
        return round(self.side * sides), round(self.side * sides * 0.8)


def baseline(profiles: list[Profile]) -> Baseline:
    return Baseline(
        profile_names=STATISTICS,
        profiles=[list(one.values) for one in profiles],
        features=[list(one.features) for one in profiles],
        dataset_id="",
        count=len(profiles),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("ground", type=Path, nargs="+")
    parser.add_argument("--draws", type=int, default=20)
    options = parser.parse_args()
    paths = sorted(path for folder in options.ground for path in folder.rglob("*.jpg"))
    frames = Frames(Detector.load(options.model, 1), [decode(path.read_bytes(), None) for path in paths])
    pools = {f"{sides:g}": frames.profiles(sides) for sides in frames.sizes}
    pools |= {name: frames.profiles(2.0, change) for name, change in SHIFTS.items()}
    known = [f"{sides:g}" for sides in BASELINES if sides in frames.sizes]
    table = Table(title=f"rang, of {options.draws}; {frames.side:g} px a side")
    for name in ("baseline", *pools):
        table.add_column(name)
    for names in [*([one] for one in known), known]:
        rang = dict.fromkeys(pools, 0)
        for _, (name, pool) in itertools.product(range(options.draws), pools.items()):
            order = {one: frames.random.permutation(POOL) for one in pools}
            judged = baseline([pools[one][n] for one in names for n in order[one][: REFERENCE // len(names)]])
            window = [pool[n] for n in order[name][-WINDOW:]]  # none of the baseline's frames
            rang[name] += detect(judged, window, alpha=ALPHA).decision == "DRIFT"
        table.add_row(", ".join(names), *map(str, rang.values()))
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
