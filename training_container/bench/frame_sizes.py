"""Profile frames of one flight in many sizes, as the endpoint does, for the judgment of bench/frame_sizes.py.

    PYTHONPATH=training_container python -m training_container.bench.frame_sizes MODEL PROFILES GROUND...

MODEL is a folder with model.onnx and model.json, whose plan has slices; GROUND are folders of large pictures of the
same flights. FRAMES frames of each size are cut out of them, 5:4, 0.5 to 8 slices' sides wide as far as the pictures
go; the middles of all lie at random places that the largest leave them, or large frames would show less ground than
others. PROFILES is the .npz file to write: for each size, for the largest with slices that are larger than planned, and
for shifts of frames of two sides, `<name>/statistics` float64 (n, statistics) and `<name>/features` float64 (n, k); and
`names`, those of the statistics' columns.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from skyloop_container.dataset import decode
from skyloop_container.inference import Detector
from skyloop_container.profile import STATISTICS, image_statistics

SIDES = (0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
FRAMES = 90
MOST = 4  # slices, where the largest frames shall have larger ones than planned
HIGHER = 0.5  # of the scale: twice the altitude
SHIFTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "haze": lambda frame: (frame * 0.55 + 100).astype(np.uint8),
    "blur": lambda frame: cv2.GaussianBlur(frame, (0, 0), 2.5),
    "dark": lambda frame: (frame * 0.6).astype(np.uint8),
    "altitude": lambda frame: cv2.resize(frame, None, fx=HIGHER, fy=HIGHER, interpolation=cv2.INTER_AREA),
}


class Frames:
    """Frames that chance cuts out of large pictures, and their profiles as the endpoint answers them."""

    def __init__(self, detector: Detector, grounds: list[np.ndarray]) -> None:
        self.detector = detector
        self.random = np.random.default_rng(0)
        self.side = float(detector.plan.side or detector.size)
        height, width = (max(one.shape[axis] for one in grounds) for axis in (0, 1))
        self.sizes = [sides for sides in SIDES if self.size(sides)[0] <= width and self.size(sides)[1] <= height]
        self.room = self.size(self.sizes[-1])
        self.grounds = [one for one in grounds if one.shape[1] >= self.room[0] and one.shape[0] >= self.room[1]]

    def profiles(self, sides: float, change: Callable[[np.ndarray], np.ndarray] | None = None) -> dict[str, np.ndarray]:
        """Statistics and features of FRAMES frames; change: what became of them."""
        statistics, features = [], []
        width, height = self.size(sides)
        for _ in range(FRAMES):
            ground = self.grounds[self.random.integers(len(self.grounds))]
            left = self.random.integers(0, ground.shape[1] - self.room[0] + 1) + (self.room[0] - width) // 2
            top = self.random.integers(0, ground.shape[0] - self.room[1] + 1) + (self.room[1] - height) // 2
            frame = ground[top : top + height, left : left + width]
            frame = frame if change is None else change(frame)
            statistics.append(list(image_statistics(frame, self.detector.plan, self.detector.size).values()))
            features.append(self.detector.predict(frame).features)
        return {"statistics": np.array(statistics), "features": np.array(features)}

    def size(self, sides: float) -> tuple[int, int]:
        """Width and height of a frame, in pixels."""
        return round(self.side * sides), round(self.side * sides * 0.8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("profiles", type=Path)
    parser.add_argument("ground", type=Path, nargs="+")
    options = parser.parse_args()
    paths = sorted(path for folder in options.ground for path in folder.rglob("*.jpg"))
    frames = Frames(Detector.load(options.model, 1), [decode(path.read_bytes(), None) for path in paths])
    pools = {f"{sides:g}": frames.profiles(sides) for sides in frames.sizes}
    pools |= {name: frames.profiles(2.0, change) for name, change in SHIFTS.items()}
    frames.detector.plan = replace(frames.detector.plan, most=MOST)
    pools[f"{frames.sizes[-1]:g}, larger slices"] = frames.profiles(frames.sizes[-1])
    arrays = {f"{name}/{part}": rows for name, pool in pools.items() for part, rows in pool.items()}
    np.savez(options.profiles, names=np.array(STATISTICS), **arrays)


if __name__ == "__main__":
    main()
