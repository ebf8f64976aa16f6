"""Synthetic flights for tests: bright vehicles on noisy ground, with the boxes that Ground Truth workers would draw.

Small enough to learn from scratch on a CPU in seconds, yet real images with real boxes: nothing about them is special
to the code under test.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

CATEGORIES = ("car",)
CAR_COLORS = ((235, 60, 50), (240, 235, 225), (60, 90, 235))


@dataclass(frozen=True)
class Flight:
    """One folder of frames: `folder/<name>.jpg` and `folder/annotations.json` in COCO form."""

    folder: Path
    images: list[Path]
    annotations: Path


def overlaps(one: Sequence[int], other: Sequence[int]) -> bool:
    """Whether two [left, top, width, height] boxes share a pixel."""
    return all(one[axis] < other[axis] + other[axis + 2] and other[axis] < one[axis] + one[axis + 2] for axis in (0, 1))


def frame(rng: np.random.Generator, size: int, brightness: float = 1.0) -> tuple[Image.Image, list[list[int]]]:
    """One `size`×`size` RGB frame and its cars as COCO boxes [left, top, width, height] in pixels."""
    ground = np.array((96, 112, 84)) + rng.normal(0, 9, (size, size, 1)) + rng.normal(0, 5, (size, size, 3))
    boxes: list[list[int]] = []
    for _ in range(int(rng.integers(2, 5))):
        width, height = (int(v) for v in rng.permutation([rng.integers(18, 26), rng.integers(12, 18)]))
        left, top = int(rng.integers(0, size - width)), int(rng.integers(0, size - height))
        if any(overlaps((left, top, width, height), box) for box in boxes):
            continue
        ground[top : top + height, left : left + width] = CAR_COLORS[rng.integers(len(CAR_COLORS))]
        ground[top + 3 : top + height - 3, left + 4 : left + width - 4] *= 0.75
        boxes.append([left, top, width, height])
    return Image.fromarray(np.clip(ground * brightness, 0, 255).astype(np.uint8)), boxes


def write_flight(
    folder: Path,
    frames: int,
    seed: int,
    *,
    size: int = 128,
    brightness: float = 1.0,
    scrambled: bool = False,
    names: Sequence[str] = (),
) -> Flight:
    """Write a flight of `frames` frames, the first ones under `names`; `scrambled` labels lie: every box is moved."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    elsewhere = np.random.default_rng(seed)  # its own, so that the same frames can be labeled rightly
    coco: dict[str, list[Any]] = {"images": [], "annotations": [], "categories": []}
    coco["categories"] = [{"id": index + 1, "name": name} for index, name in enumerate(CATEGORIES)]
    images = []
    for index in range(frames):
        image, boxes = frame(rng, size, brightness)
        path = folder / (names[index] if index < len(names) else f"frame_{index:04d}.jpg")
        image.save(path, quality=92)
        images.append(path)
        coco["images"].append({"id": index, "file_name": path.name, "width": size, "height": size})
        for left, top, width, height in boxes:
            if scrambled:
                left, top = int(elsewhere.integers(0, size - width)), int(elsewhere.integers(0, size - height))
            coco["annotations"].append(
                {
                    "id": len(coco["annotations"]),
                    "image_id": index,
                    "category_id": 1,
                    "bbox": [left, top, width, height],
                    "area": width * height,
                    "iscrowd": 0,
                }
            )
    annotations = folder / "annotations.json"
    annotations.write_text(json.dumps(coco))
    return Flight(folder, images, annotations)
