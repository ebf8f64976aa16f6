"""Small pictures with known content, laid out as a channel."""

from pathlib import Path

import cv2
import numpy as np


def draw(seed: int, size: int = 64) -> tuple[np.ndarray, list[tuple[int, float, float, float, float]]]:
    """A noisy dark picture with one to three bright squares, and their YOLO boxes (category 0)."""
    random = np.random.default_rng(seed)
    picture = random.integers(20, 60, (size, size, 3), dtype=np.uint8)
    boxes = []
    for column in random.permutation(3)[: random.integers(1, 4)]:
        side = int(random.integers(10, 16))
        left = int(column * 21 + random.integers(0, 21 - 16 + 1))
        top = int(random.integers(0, size - side))
        picture[top : top + side, left : left + side] = (230, 220, 210)
        boxes.append((0, (left + side / 2) / size, (top + side / 2) / size, side / size, side / size))
    return picture, boxes


def write_channel(folder: Path, seeds: range, job: str = "labels-1") -> Path:
    """Images and labels of `seeds` below `folder`, as a ManifestFile channel lays them out."""
    (folder / job / "images").mkdir(parents=True)
    (folder / job / "labels").mkdir()
    for seed in seeds:
        picture, boxes = draw(seed)
        cv2.imwrite(str(folder / job / "images" / f"{seed:016x}.png"), picture)
        lines = [" ".join(str(value) for value in box) for box in boxes]
        (folder / job / "labels" / f"{seed:016x}.txt").write_text("\n".join(lines))
    return folder
