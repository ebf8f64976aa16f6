"""Continuing from a champion, side by side: Ultralytics' own learning rate, and the container's for a short run.

    PYTHONPATH=training_container python -m training_container.bench.warm_start [--epochs 2 8] [--seeds 3]

A champion is trained from scratch on four synthetic flights. Then trainings of few epochs start from it with a fifth
flight added, by the container's own program. One row per training: validation mAP50 after each of its epochs.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.support.flights import CATEGORIES, write_flight

CONTAINER = Path(__file__).parents[1]
FRAMES, SIZE, BATCH, CHAMPION_EPOCHS = 12, 128, 4, 12
KNOWN, ADDED, VALIDATION = (0, 1, 2, 3), 20, 100  # flights, by the seed that draws them
# With "whole", a run of one epoch already has the whole learning rate, and so has every other run.
PROGRAM = """
import runpy, sys
from skyloop_container import train
if "whole" in sys.argv:
    train.WHOLE_RATE_EPOCHS = 1
sys.argv[1:] = ["train"]
runpy.run_module("skyloop_container", run_name="__main__")
"""


def write_channel(folder: Path, seeds: tuple[int, ...]) -> None:
    """Flights as a training job gets them: pictures, and a line of labels for each."""
    lines = []
    for seed in seeds:
        flight = write_flight(folder / str(seed), FRAMES, seed=seed)
        coco = json.loads(flight.annotations.read_text())
        boxes: dict[int, list[list[float]]] = {image["id"]: [] for image in coco["images"]}
        for item in coco["annotations"]:
            boxes[item["image_id"]].append([item["category_id"] - 1, *item["bbox"]])
        lines += [
            {
                "image": f"{seed}/{image['file_name']}",
                "width": SIZE,
                "height": SIZE,
                "flight": str(seed),
                "boxes": boxes[image["id"]],
            }
            for image in coco["images"]
        ]
        flight.annotations.unlink()
    (folder / "labels.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def train(base: Path, flights: tuple[int, ...], champion: Path | None, whole: bool, **values: int) -> list[float]:
    """Run a training job over `base`; validation mAP50 after each epoch."""
    write_channel(base / "input" / "data" / "train", flights)
    write_channel(base / "input" / "data" / "validation", (VALIDATION,))
    if champion:
        channel = base / "input" / "data" / "model"
        channel.mkdir()
        with tarfile.open(channel / "model.tar.gz", "w:gz") as tar:
            for path in champion.iterdir():
                tar.add(path, path.name)
    hyperparameters = {"weights": "scratch", "categories": list(CATEGORIES), "imgsz": SIZE, "batch": BATCH, **values}
    (base / "input" / "config").mkdir()
    text = json.dumps(
        {name: value if isinstance(value, str) else json.dumps(value) for name, value in hyperparameters.items()}
    )
    (base / "input" / "config" / "hyperparameters.json").write_text(text)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *(["whole"] if whole else [])],
        cwd=CONTAINER,
        env={**os.environ, "SAGEMAKER_BASE_DIR": str(base), "TMPDIR": str(base.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    return [float(value) for value in re.findall(r" map50=([0-9.]+)", done.stdout)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, nargs="+", default=[2, 8])
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    table = Table(title=f"From a champion, with a fifth flight; {SIZE} px, batch {BATCH}")
    for column in ("epochs", "learning rate", "seed", "mAP50 after each epoch"):
        table.add_column(column)
    console = Console()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        course = train(root / "champion", KNOWN, None, False, epochs=CHAMPION_EPOCHS)
        console.print(f"the champion's last epoch: mAP50 {course[-1]:.3f}")
        for epochs in options.epochs:
            for name in ("Ultralytics'", "the container's"):
                for seed in range(options.seeds):
                    base = root / "run"
                    course = train(
                        base, (*KNOWN, ADDED), root / "champion" / "model", name == "Ultralytics'",
                        epochs=epochs, seed=seed,
                    )  # fmt: skip
                    table.add_row(str(epochs), name, str(seed), " ".join(f"{value:.2f}" for value in course))
                    shutil.rmtree(base)
    console.print(table)


if __name__ == "__main__":
    main()
