"""Small pictures with known content, laid out as a channel."""

import json
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


def frame(seed: int, tiles: int) -> tuple[np.ndarray, list[tuple[int, float, float, float, float]]]:
    """A large frame of `tiles` x `tiles` such pictures, each with its squares."""
    size, picture = 64 * tiles, np.zeros((64 * tiles, 64 * tiles, 3), dtype=np.uint8)
    boxes = []
    for place in range(tiles * tiles):
        left, top = 64 * (place % tiles), 64 * (place // tiles)
        picture[top : top + 64, left : left + 64], on_tile = draw(1000 * seed + place)
        boxes += [
            (c, (x * 64 + left) / size, (y * 64 + top) / size, w * 64 / size, h * 64 / size)
            for c, x, y, w, h in on_tile
        ]
    return picture, boxes


def label(image: str, size: int, boxes: list[tuple[int, float, float, float, float]], flight: str = "") -> str:
    """A line of a channel's labels for a square picture, from YOLO boxes."""
    pixels = [[c, (x - w / 2) * size, (y - h / 2) * size, w * size, h * size] for c, x, y, w, h in boxes]
    return json.dumps({"image": image, "width": size, "height": size, "flight": flight, "boxes": pixels}) + "\n"


def write_channel(folder: Path, seeds: range, tiles: int = 1) -> Path:
    """Pictures and labels of `seeds` below `folder`, as a ManifestFile channel lays them out.

    tiles: of a frame's side; see `frame`.
    """
    (folder / "images").mkdir(parents=True)
    lines = []
    for seed in seeds:
        picture, boxes = draw(seed) if tiles == 1 else frame(seed, tiles)
        cv2.imwrite(str(folder / "images" / f"{seed:016x}.png"), picture)
        lines.append(label(f"images/{seed:016x}.png", len(picture), boxes, "flight-1"))
    (folder / "labels.jsonl").write_text("".join(lines))
    return folder


def to_counts(folder: Path, low: int = 20_000) -> None:
    """Make the pictures of a channel those of a thermal camera: two counts from `low` for each gray."""
    for path in (folder / "images").iterdir():
        gray = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        cv2.imwrite(str(path), low + 2 * gray.astype(np.uint16))


def without_boxes(labels: Path) -> None:
    """Take the boxes out of a channel's labels."""
    lines = [json.loads(line) | {"boxes": []} for line in labels.read_text().splitlines()]
    labels.write_text("".join(json.dumps(line) + "\n" for line in lines))
