"""Where the time of one prediction goes, and what threads and workers bring: the served detector, without HTTP.

    PYTHONPATH=training_container python -m training_container.bench.inference [--model DIR] [--image 1280x960]

Without --model an untrained YOLO11n is exported first: as fast as a trained one, with fewer boxes to suppress.
There are two tables: the stages of one prediction (ms), and images per second for combinations of threads and workers.
With --model the first table has Ultralytics' own predict on the same weights beside it.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table
from skyloop_container.dataset import Sample, decode
from skyloop_container.engines import REFERENCE
from skyloop_container.environment import available_cores
from skyloop_container.inference import Detector, letterbox, select_boxes
from skyloop_container.predictions import predict_image
from skyloop_container.profile import image_statistics
from skyloop_container.slicing import SlicingPlan
from skyloop_container.ultralytics_setup import prepare


def jpeg(width: int, height: int) -> bytes:
    """A JPEG with some structure, so that it is neither trivial nor pure noise to decode."""
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (height // 16, width // 16, 3), dtype=np.uint8)
    picture = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()


def untrained(folder: Path, imgsz: int, image: bytes, size: tuple[int, int]) -> Path:
    """Export a network with random weights, as the container would a trained one."""
    import torch
    from skyloop_container.export import export
    from ultralytics.nn.tasks import DetectionModel

    torch.manual_seed(0)
    model = DetectionModel("yolo11n.yaml", nc=1, verbose=False)
    model.args = {}
    model.task = "detect"
    weights = folder / "untrained.pt"
    torch.save({"model": model, "train_args": {}, "version": "bench"}, weights)
    path = folder / "image.jpg"
    path.write_bytes(image)
    card = {
        "categories": ["object"],
        "imgsz": imgsz,
        "training_job": "bench",
        "dataset_id": "bench",
        "base": {},
        "slicing": SlicingPlan().as_card(),
    }
    samples = [Sample(path.name, path, *size, "", ())]
    export(weights, folder / "model", card, samples * 2, samples)
    return folder / "model"


def milliseconds(action: Callable[[], object], rounds: int) -> tuple[float, float]:
    """Least and median time of an action, after one that warms up."""
    action()
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        action()
        times.append((time.perf_counter() - started) * 1000)
    return min(times), float(np.median(times))


def stages(model_dir: Path, image: bytes, threads: int) -> dict[str, Callable[[], object]]:
    """The parts of one prediction, each as a function to time."""
    detector = Detector.load(model_dir, threads)
    pixels = decode(image, None)
    (view,) = detector.views(*pixels.shape[1::-1], SlicingPlan())
    ((_, _, output, _),) = detector.run(pixels, [view])
    padded = letterbox(pixels, view.scale)[0].shape[:2]
    blob = np.random.default_rng(0).random((1, 3, *padded), dtype=np.float32)
    return {
        "decode": lambda: decode(image, None),
        "letterbox": lambda: letterbox(pixels, view.scale),
        "network": lambda: detector.engine.run(blob),
        "boxes": lambda: select_boxes(output, detector.confidence),
        "profile": lambda: image_statistics(pixels),
        "prediction": lambda: predict_image(detector, image, None),
    }


def throughput(
    model_dir: Path, image: bytes, threads: int, workers: int, answers: int, engine: str = REFERENCE
) -> float:
    """Images per second with so many workers, each with its threads."""
    detector = Detector.load(model_dir, threads, workers, engine)
    predict_image(detector, image, None)
    with ThreadPoolExecutor(workers) as pool:
        started = time.perf_counter()
        list(pool.map(lambda _: predict_image(detector, image, None), range(answers)))
        return answers / (time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, help="folder with model.onnx, model.json and model.pt")
    parser.add_argument("--size", type=int, default=640, help="input side of the untrained model")
    parser.add_argument("--image", default="1280x960", help="WIDTHxHEIGHT of the JPEG")
    parser.add_argument("--rounds", type=int, default=30)
    options = parser.parse_args()
    width, height = map(int, options.image.split("x"))
    image, cores, console = jpeg(width, height), available_cores(), Console()
    with tempfile.TemporaryDirectory() as scratch:
        prepare(Path(scratch) / "settings")
        cv2.setNumThreads(1)  # as serve does
        model_dir = options.model or untrained(Path(scratch), options.size, image, (width, height))
        ways = {f"{threads} thread(s)": stages(model_dir, image, threads) for threads in sorted({1, cores})}
        if options.model:
            from ultralytics import YOLO

            theirs, pixels = YOLO(options.model / "model.pt"), cv2.cvtColor(decode(image, None), cv2.COLOR_RGB2BGR)
            size = Detector.load(options.model, 1).size
            ways["Ultralytics predict"] = {"prediction": lambda: theirs.predict(pixels, imgsz=size, verbose=False)}
        table = Table(title=f"One prediction for a {options.image} JPEG; ms, least / median of {options.rounds}")
        for name in ("stage", *ways):
            table.add_column(name, justify="left" if name == "stage" else "right")
        for stage in next(iter(ways.values())):
            timed = [milliseconds(way[stage], options.rounds) if stage in way else None for way in ways.values()]
            table.add_row(stage, *("–" if t is None else f"{t[0]:.1f} / {t[1]:.1f}" for t in timed))
        console.print(table)
        table = Table(title="Images per second")
        for name in ("threads", "workers", "images/s"):
            table.add_column(name, justify="right")
        for threads, workers in sorted({(1, 1), (1, cores), (cores, 1), (cores, cores)}):
            rate = throughput(model_dir, image, threads, workers, options.rounds * 2)
            table.add_row(str(threads), str(workers), f"{rate:.1f}")
        console.print(table)


if __name__ == "__main__":
    main()
