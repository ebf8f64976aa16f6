"""Where the time of one prediction goes, and what threads and workers bring: the served detector, without HTTP.

    PYTHONPATH=training_container python -m training_container.bench.inference [--model DIR] [--image 1920x1080 …]

Without --model an untrained YOLO11n is exported first: as fast as a trained one, with fewer boxes to suppress.
The first table has the milliseconds of the processor that each stage of a prediction takes, for a JPEG of each size,
and below them what a client waits for who is alone and gets all cores. The second has images per second for
combinations of threads and workers. With --model, Ultralytics' own predict on the same weights and pixels, which never
cuts a picture and decodes nothing, stands beside the first.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table
from skyloop_container.card import Card
from skyloop_container.dataset import Sample, decode, opened, read_frame
from skyloop_container.engine_choice import choose
from skyloop_container.engines import ENGINES, REFERENCE
from skyloop_container.engines.base import Engine
from skyloop_container.environment import available_cores
from skyloop_container.inference import Detection, Detector
from skyloop_container.predictions import predict_image
from skyloop_container.profile import image_statistics
from skyloop_container.seams import Found
from skyloop_container.slicing import SlicingPlan
from skyloop_container.ultralytics_setup import prepare

SIZES = ("1920x1080", "4000x3000", "8000x6000")  # 2, 12 and 48 megapixels
STAGES = ("decode", "slice", "network", "merge", "profile", "all")


def jpeg(width: int, height: int) -> bytes:
    """A JPEG with some structure, so that it is neither trivial nor pure noise to decode."""
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (height // 16, width // 16, 3), dtype=np.uint8)
    picture = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()


def untrained(folder: Path, imgsz: int, image: bytes, size: tuple[int, int], batches: int = 0) -> Path:
    """Export a network with random weights, as the container would a trained one.

    batches: of noise, to fit its normalization to; with none signals fade from layer to layer.
    """
    import torch
    from skyloop_container.export import export
    from ultralytics.nn.tasks import DetectionModel

    torch.manual_seed(0)
    model = DetectionModel("yolo11n.yaml", nc=1, verbose=False)
    with torch.no_grad():
        for _ in range(batches):
            model.train()(torch.rand(4, 3, imgsz, imgsz))
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


class Stopwatch:
    """Seconds of the processor, by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add what happens inside to a stage. A stage within another counts for both."""
        began = time.process_time()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.process_time() - began


class _Watched:
    """An engine whose time is taken."""

    def __init__(self, engine: Engine, watch: Stopwatch) -> None:
        self._engine, self._watch = engine, watch

    def run(self, images: np.ndarray, alone: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """See `Engine`."""
        with self._watch.stage("network"):
            return self._engine.run(images, alone)


class WatchedDetector(Detector):
    """A detector that says where its time goes."""

    def __init__(self, card: Card | dict[str, Any], engine: Engine) -> None:
        """See `Detector`."""
        self.watch = Stopwatch()
        super().__init__(card, _Watched(engine, self.watch))

    def merged(self, found: list[Found], width: int, height: int, confidence: float | None) -> list[Detection]:
        """See `Detector`."""
        with self.watch.stage("merge"):
            return super().merged(found, width, height, confidence)


def split(model_dir: Path, engine: str, image: bytes, rounds: int) -> dict[str, float]:
    """The stages of one prediction with one thread: the median of the processor's milliseconds.

    Returns:
        decode; slice: cutting, scaling and the boxes of each slice; network; merge; profile; and all of them.
    """
    detector = WatchedDetector.load(model_dir, 1, engine=engine)
    assert isinstance(detector, WatchedDetector)
    seen: list[dict[str, float]] = []
    for _ in range(rounds + 1):  # the first warms it up
        watch = detector.watch
        watch.seconds.clear()
        with watch.stage("all"):
            with watch.stage("decode"):
                frame = read_frame(opened(image), detector.window, detector.factor)
            with watch.stage("predict"):
                detector.predict(frame.pixels, size=frame.size)
            with watch.stage("profile"):
                image_statistics(frame.pixels, detector.plan, detector.size, frame.size)
        taken = dict(watch.seconds)
        seen.append(taken | {"slice": taken["predict"] - taken["network"] - taken["merge"]})
    return {stage: 1000 * float(np.median([one[stage] for one in seen[1:]])) for stage in STAGES}


def milliseconds(action: Callable[[], object], rounds: int) -> float:
    """Median time of an action on the wall's clock, after one that warms up."""
    action()
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        action()
        times.append((time.perf_counter() - started) * 1000)
    return float(np.median(times))


def unlabeled(_: Detector, __: Detector) -> dict[str, Any]:
    """What labels say of INT8 where there are none, for `choose`."""
    return {"refused": "nothing is labeled here"}


def throughput(
    model_dir: Path, image: bytes, threads: int, workers: int, answers: int, engine: str = REFERENCE
) -> float:
    """Images per second with so many workers, each with its threads."""
    detector = Detector.load(model_dir, threads, workers, engine)
    predict_image(detector, opened(image), None)
    with ThreadPoolExecutor(workers) as pool:
        started = time.perf_counter()
        list(pool.map(lambda _: predict_image(detector, opened(image), None), range(answers)))
        return answers / (time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, help="folder with model.onnx, model.json and model.pt")
    parser.add_argument("--size", type=int, default=640, help="input side of the untrained model")
    parser.add_argument("--image", nargs="+", default=SIZES, help="WIDTHxHEIGHT of JPEGs")
    parser.add_argument("--engine", choices=ENGINES, help="default: as the evaluation would choose")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    sizes = [tuple(map(int, size.split("x"))) for size in options.image]
    images, cores, console = [jpeg(*size) for size in sizes], available_cores(), Console(width=120)
    with tempfile.TemporaryDirectory() as scratch:
        prepare(Path(scratch) / "settings")
        cv2.setNumThreads(1)  # as serve does
        model_dir = options.model or untrained(Path(scratch), options.size, images[0], sizes[0])
        engine = options.engine or choose(model_dir, [decode(images[0], None)], sizes[:1], unlabeled).name
        table = Table(title=f"One prediction with {engine}: milliseconds")
        for name in ("stage", *options.image):
            table.add_column(name, justify="left" if name == "stage" else "right")
        times = [split(model_dir, engine, image, options.rounds) for image in images]
        for stage in STAGES:
            table.add_row(stage, *(f"{one[stage]:.1f}" for one in times), end_section=stage == STAGES[-1])
        together = Detector.load(model_dir, 1, cores, engine)
        waits = [
            milliseconds(lambda i=image: predict_image(together, opened(i), None), options.rounds) for image in images
        ]
        table.add_row(f"a client alone, {cores} cores", *(f"{wait:.1f}" for wait in waits))
        if options.model:
            from ultralytics import YOLO

            theirs, size = YOLO(options.model / "model.pt"), together.size
            pixels = [cv2.cvtColor(decode(image, None), cv2.COLOR_RGB2BGR) for image in images]
            waits = [
                milliseconds(lambda p=one: theirs.predict(p, imgsz=size, verbose=False), options.rounds)
                for one in pixels
            ]
            table.add_row("Ultralytics predict, uncut, decoded", *(f"{wait:.1f}" for wait in waits))
        console.print(table)
        table = Table(title=f"Images per second, {options.image[0]}")
        for name in ("threads", "workers", "images/s"):
            table.add_column(name, justify="right")
        for threads, workers in sorted({(1, 1), (1, cores), (cores, 1), (cores, cores)}):
            rate = throughput(model_dir, images[0], threads, workers, options.rounds * 2, engine)
            table.add_row(str(threads), str(workers), f"{rate:.1f}")
        console.print(table)


if __name__ == "__main__":
    main()
