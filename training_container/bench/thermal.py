"""Thermal frames of sixteen bits, with a radiometric window and without: levels of gray that are kept, and mAP50.

    PYTHONPATH=training_container python -m training_container.bench.thermal [--weights yolo11n.pt] [--epochs 20]

Frames are drawn: ground that spans some 400 counts around 22,000, as flights over warm and cold land have it, noise of
the sensor, and warm objects of 6 to 12 pixels that are 30 to 60 counts above the ground around them. "Without" are the
same frames as they are read where there is no window, by the high byte. Both are trained by the container's own
program, from the same weights and seeds, and judged on test flights as they are served.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table
from skyloop_container.dataset import Box, Sample, decode, read_channel, read_image, with_pictures
from skyloop_container.inference import Detector
from skyloop_container.metrics import score
from skyloop_container.predictions import score_image
from skyloop_container.radiometry import window_for

CONTAINER = Path(__file__).parents[1]
WIDTH, HEIGHT, FIELD = 96, 96, 32  # pixels; a field has one object at most, so that none overlap
CATEGORY = "warm"
MEDIAN, GROUND, BETWEEN_FLIGHTS, NOISE = 22_000, 300, 60, 4  # counts
FLIGHTS = {"train": range(8), "validation": range(100, 103), "test": range(200, 204)}
FRAMES = 8  # of a flight
RING = 4  # pixels around an object: the ground that it stands out from


def draw(flight: int, number: int) -> tuple[np.ndarray, list[Box]]:
    """A frame of counts, (HEIGHT, WIDTH) uint16, and the boxes of its objects."""
    random = np.random.default_rng((flight, number))
    offset = np.random.default_rng(flight).uniform(-BETWEEN_FLIGHTS, BETWEEN_FLIGHTS)
    coarse = random.uniform(-0.5, 0.5, (4, 4)).astype(np.float32)
    frame = MEDIAN + offset + GROUND * cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    boxes: list[Box] = []
    for place in random.permutation(9)[: random.integers(2, 6)]:
        width, height = random.integers(6, 13, 2)
        left = int(place % 3 * FIELD + random.integers(RING, FIELD - RING - width))
        top = int(place // 3 * FIELD + random.integers(RING, FIELD - RING - height))
        shape = np.zeros((HEIGHT, WIDTH), np.float32)
        center, axes = (left + (width - 1) / 2, top + (height - 1) / 2), (width / 2, height / 2)
        y, x = np.mgrid[:HEIGHT, :WIDTH]
        shape[((x - center[0]) / axes[0]) ** 2 + ((y - center[1]) / axes[1]) ** 2 <= 1] = random.uniform(30, 60)
        frame += shape
        boxes.append((0, float(left), float(top), float(width), float(height)))
    return (frame + random.normal(0, NOISE, frame.shape)).round().astype(np.uint16), boxes


def write_channel(folder: Path, flights: range, stored: Callable[[bytes], np.ndarray] | None) -> None:
    """Flights as a job gets them; stored: what becomes of a file before it is stored, None for nothing."""
    folder.mkdir(parents=True)
    with (folder / "labels.jsonl").open("w", encoding="utf-8") as lines:
        for flight in flights:
            for number in range(FRAMES):
                frame, boxes = draw(flight, number)
                body = cv2.imencode(".png", frame)[1].tobytes()
                name = f"{flight}-{number}.png"
                (folder / name).write_bytes(cv2.imencode(".png", stored(body))[1].tobytes() if stored else body)
                line = {"image": name, "width": WIDTH, "height": HEIGHT, "flight": str(flight), "boxes": boxes}
                lines.write(json.dumps(line) + "\n")


def levels(samples: list[Sample], pictures: list[np.ndarray]) -> tuple[float, float, float]:
    """Grays of a frame and of an object, and how many grays an object is above the ground around it: medians."""
    of_frames, of_objects, steps = [], [], []
    for sample, picture in zip(samples, pictures, strict=True):
        gray = picture[..., 0].astype(int)
        of_frames.append(len(np.unique(gray)))
        for _, left, top, width, height in sample.boxes:
            x, y, right, bottom = int(left), int(top), int(left + width), int(top + height)
            around = gray[max(y - RING, 0) : bottom + RING, max(x - RING, 0) : right + RING]
            inside = gray[y:bottom, x:right]
            ring = (around.sum() - inside.sum()) / (around.size - inside.size)
            middle = gray[(y + bottom) // 2 - 1 : (y + bottom) // 2 + 1, (x + right) // 2 - 1 : (x + right) // 2 + 1]
            of_objects.append(len(np.unique(inside)))
            steps.append(middle.mean() - ring)
    return float(np.median(of_frames)), float(np.median(of_objects)), float(np.median(steps))


def train(base: Path, weights: Path | None, seed: int, epochs: int) -> Detector:
    """Run a training job over the channels in `base`, from weights or from random ones; its model."""
    if weights:
        channel = base / "input" / "data" / "weights"
        channel.mkdir(exist_ok=True)
        shutil.copy(weights, channel)
    values = {"categories": [CATEGORY], "imgsz": WIDTH, "batch": 8, "epochs": epochs, "seed": seed}
    if not weights:
        values["weights"] = "scratch"
    config = base / "input" / "config"
    config.mkdir(exist_ok=True)
    text = json.dumps({name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()})
    (config / "hyperparameters.json").write_text(text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "skyloop_container", "train"],
        cwd=CONTAINER,
        env={**os.environ, "SAGEMAKER_BASE_DIR": str(base), "TMPDIR": str(base.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    return Detector.load(base / "model", threads=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, help="a .pt file; random ones need some hundred epochs")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    start = options.weights.name if options.weights else "random weights"
    table = Table(title=f"{WIDTH} x {HEIGHT} pixels; {options.epochs} epochs from {start}, {os.cpu_count()} cores")
    for column in ("read", "seed", "grays of a frame", "of an object", "object above ground", "mAP50", "seconds"):
        table.add_column(column)
    with tempfile.TemporaryDirectory() as folder:
        for way, stored in (("without a window", lambda body: decode(body, None)), ("with a window", None)):
            base = Path(folder) / way.replace(" ", "-")
            for name, flights in FLIGHTS.items():
                write_channel(base / "input" / "data" / name, flights, stored)
            samples, _ = read_channel(base / "input" / "data" / "test", 1)
            window = window_for(read_channel(base / "input" / "data" / "train", 1)[0])
            grays = levels(samples, [read_image(sample, window) for sample in samples])
            for seed in range(options.seeds):
                started = time.perf_counter()
                detector = train(base, options.weights, seed, options.epochs)
                seconds = time.perf_counter() - started
                judged, _ = with_pictures(
                    "test",
                    samples,
                    detector.window,
                    lambda sample, picture, model=detector: score_image(model, sample, picture, [CATEGORY]),
                )
                map50 = score([image for _, image in judged], [CATEGORY], detector.confidence)["map50"]
                shown = f"{way} {detector.window or ''}".strip()
                numbers = [f"{grays[0]:.0f}", f"{grays[1]:.0f}", f"{grays[2]:.2f}", f"{map50:.3f}", f"{seconds:.0f}"]
                table.add_row(shown, str(seed), *numbers)
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
