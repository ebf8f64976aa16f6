"""Profile folders of images as the endpoint does, for the drift tests that bench/drift.py compares.

    PYTHONPATH=training_container python -m training_container.bench.profiles IMAGES WEIGHTS PROFILES [--size 320]

IMAGES holds frames of HIT-UAV (Suo et al., Scientific Data 2023) in folders `night-60m`, `day-60m` and `night-120m`,
each with its frames in `images`. WEIGHTS is a YOLO11n checkpoint; it is exported as a training job exports it.
PROFILES is the .npz file to write: for each folder, and for `darker`, a copy of `night-60m` at 85 % of the light,
`<name>/statistics` float64 (n, statistics) and `<name>/pooled` float64 (n, 2 * channels), in the order of the file
names; and `names`, those of the statistics' columns. Of frames of many sizes: `frame_sizes.py`.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from skyloop_container.dataset import Sample, decode
from skyloop_container.export import export
from skyloop_container.inference import Detector
from skyloop_container.profile import STATISTICS, image_statistics
from skyloop_container.slicing import SlicingPlan
from skyloop_container.ultralytics_setup import prepare

FOLDERS = ("night-60m", "day-60m", "night-120m")
LIGHT = 0.85
COCO_CATEGORIES = 80  # of the checkpoint; their names do not matter here


def profile(detector: Detector, pictures: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Statistics and pooled features of every picture."""
    statistics = [list(image_statistics(picture, detector.plan, detector.size).values()) for picture in pictures]
    pooled = [detector.pooled(picture, detector.plan) for picture in pictures]
    return {"statistics": np.array(statistics), "pooled": np.array(pooled, dtype=np.float64)}


def measure(folders: Path, weights: Path, size: int) -> dict[str, np.ndarray]:
    """The arrays of all folders, by the names that the .npz file gives them."""
    paths = {name: sorted((folders / name / "images").glob("*.jpg")) for name in FOLDERS}
    with tempfile.TemporaryDirectory() as scratch:
        prepare(Path(scratch) / "ultralytics")
        some = [
            Sample(path.name, path, *decode(path.read_bytes(), None).shape[1::-1], "", ())
            for path in paths["night-60m"][:4]
        ]
        card = {
            "categories": [str(number) for number in range(COCO_CATEGORIES)],
            "imgsz": size,
            "slicing": SlicingPlan().as_card(),
            "training_job": "",
            "dataset_id": "",
        }
        export(weights, Path(scratch) / "model", card, some, some)
        detector = Detector.load(Path(scratch) / "model", 2)
        pictures = {name: [decode(path.read_bytes(), None) for path in found] for name, found in paths.items()}
        pictures["darker"] = [(picture * LIGHT).astype(np.uint8) for picture in pictures["night-60m"]]
        return {
            f"{name}/{part}": rows
            for name, some_pictures in pictures.items()
            for part, rows in profile(detector, some_pictures).items()
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("profiles", type=Path)
    parser.add_argument("--size", type=int, default=320, help="pixels the network sees")
    options = parser.parse_args()
    if not (options.images / "night-60m" / "images").is_dir():
        parser.exit(1, f"{options.images} does not hold night-60m/images\n")
    np.savez(options.profiles, names=np.array(STATISTICS), **measure(options.images, options.weights, options.size))


if __name__ == "__main__":
    main()
