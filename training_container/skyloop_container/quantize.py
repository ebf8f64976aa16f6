"""From model.onnx to an INT8 network beside it, for processors that compute in INT8 faster than in anything else.

NNCF does it, from what the network is shown of some training pictures. What fails here, or has no time, means a model
without INT8 and never a failed training: so it is a process of its own, which may run out of memory or be ended.
Whether it is good enough is for the evaluation to measure; where too little is labeled for that, nothing is made.

The head stays in float32: one range for pixels of boxes and scores from 0 to 1 would leave nothing of the scores. All
weights take half of the range of 8 bits: processors without VNNI add two products in 16 bits, which whole ranges
overflow, and with halves all processors compute the same.
"""

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from .card import read, write
from .coarse import coarse
from .dataset import Sample, spread, with_pictures
from .engine_choice import probe
from .engines import FILE
from .engines.int8 import BIN, XML, digests
from .environment import write_whole
from .fit import PROGRAM
from .inference import Detector
from .labels_check import LEAST_BOXES, labeled_boxes

INPUTS = 64
"""Of the network, to take ranges of numbers from. With 24 and with 136 the scores were the same, but for chance."""
LOOKS = 1.5 * INPUTS  # that NNCF takes, at most, in squares of the network's input
LONGEST = 600.0  # seconds
OUTPUT = "detections"  # what puts the head's boxes and scores together, as `export` names it
PACKING = 30.0  # seconds of a job that are left for what comes after


class _Recorder:
    """An `Engine` that remembers what it is shown, as uint8, and finds nothing."""

    def __init__(self) -> None:
        self.seen: list[np.ndarray] = []

    def run(self, images: np.ndarray, alone: bool = False) -> tuple[np.ndarray, np.ndarray]:
        self.seen += np.split(np.rint(images * 255).astype(np.uint8), len(images))
        return np.zeros((len(images), 4, 0), np.float32), np.zeros((len(images), 0), np.float32)


def add_int8(
    model_dir: Path,
    card: dict[str, Any],
    train: list[Sample],
    validation: list[Sample],
    scratch: Path,
    left: Callable[[], float],
) -> str:
    """Write the INT8 network's files, and say in model.json what they are, as `int8`.

    Args:
        model_dir: holds model.onnx and model.json.
        card: the content of model.json.
        train: training pictures.
        validation: those that the evaluation will have to judge it by.
        scratch: a folder for files that come between.
        left: seconds that the job still has; 0 where it is to end.

    Returns:
        A line for the log: what was made, or why nothing was.
    """
    started = time.monotonic()
    if (boxes := labeled_boxes(validation)) < LEAST_BOXES:
        return f"int8: none, for {boxes} labeled boxes of validation pictures are too few to judge it by"
    try:
        inputs = inputs_of(card, train)
        made = _in_a_process(model_dir, inputs, scratch / "int8", left)
        for name in (XML, BIN):
            shutil.move(scratch / "int8" / name, model_dir / name)
        card = card | {"int8": made | {"inputs": len(inputs), "sha256": digests(model_dir)}}
        write(model_dir, card)
    except Exception as error:  # whatever it is, the model is there
        return f"int8: none, for {error}"
    size = sum((model_dir / name).stat().st_size for name in (XML, BIN)) / 1e6
    return f"int8: {size:.1f} MB from {len(inputs)} inputs in {time.monotonic() - started:.1f} s"


def inputs_of(card: dict[str, Any], train: list[Sample]) -> list[np.ndarray]:
    """What the network is shown of some pictures when it serves, by the slicing plan, close and coarse.

    Args:
        card: the content of model.json.
        train: pictures; evenly spaced ones of them are taken.

    Returns:
        About INPUTS of (1, 3, h, w) uint8 RGB, sides multiples of 32.

    Raises:
        JobError: most of the pictures cannot be read.
    """
    chosen = spread(train, INPUTS)
    of_each = -(-INPUTS // len(chosen))
    model = Detector(card, _Recorder())

    def shown(sample: Sample, image: np.ndarray) -> list[np.ndarray]:
        views = model.views(sample.width, sample.height)
        if model.plan.coarse is not None and len(views) > 1:
            views = [*views, *map(coarse, views)]
        picked = np.random.default_rng(chosen.index(sample)).permutation(len(views))[:of_each]
        size, recorder = (sample.width, sample.height), _Recorder()
        for _ in Detector(model.card, recorder).run(image, [views[one] for one in picked], size):
            pass
        return recorder.seen

    looked, _ = with_pictures("train", chosen, model.window, shown, model.factor)
    return [one for _, seen in looked for one in seen]


def _in_a_process(model_dir: Path, inputs: list[np.ndarray], folder: Path, left: Callable[[], float]) -> dict[str, Any]:
    """Run `main`, and return what it answers. Raises RuntimeError: it failed, or there is no time for it."""
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "inputs.npz", *inputs)
    deadline, log = time.monotonic() + LONGEST, folder / "log.txt"
    with log.open("wb") as said:
        command = [sys.executable, "-m", __spec__.name, str(model_dir), str(folder)]
        process = subprocess.Popen(command, cwd=PROGRAM, stdout=said, stderr=subprocess.STDOUT)
        try:
            while process.poll() is None:
                if left() < PACKING or time.monotonic() > deadline:
                    raise RuntimeError("there is no time for it")
                time.sleep(0.1)
        finally:
            process.kill()
            process.wait()
    if process.returncode:
        last = log.read_text(encoding="utf-8", errors="replace").strip().rpartition("\n")[2]
        raise RuntimeError(last or f"its process ended with {process.returncode}")
    answer: dict[str, Any] = json.loads((folder / "answer.json").read_text(encoding="utf-8"))
    return answer


def main(model_dir: Path, folder: Path) -> None:
    """The process: read inputs.npz in a folder, and write the network's files there, and answer.json.

    Raises:
        ImportError: NNCF or OpenVINO is not installed.
        ValueError: the network computes no numbers.
    """
    # Without this package NNCF has nothing to report with.
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    from .engines.openvino import OpenVinoEngine  # first, for it keeps out what else would report

    import nncf  # isort: skip
    import openvino

    with np.load(folder / "inputs.npz") as stored:
        inputs = list(stored.values())
    model = openvino.Core().read_model(model_dir / FILE)
    quantized = nncf.quantize(
        model,
        nncf.Dataset(inputs, lambda one: np.multiply(one, np.float32(1 / 255), dtype=np.float32)),
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(inputs),
        fast_bias_correction=True,
        ignored_scope=nncf.IgnoredScope(names=head_of([one.get_friendly_name() for one in model.get_ops()])),
        advanced_parameters=nncf.AdvancedQuantizationParameters(overflow_fix=nncf.OverflowFix.ENABLE),
    )
    openvino.save_model(quantized, folder / XML, compress_to_fp16=False)
    known = probe(Detector(read(model_dir), OpenVinoEngine(folder / XML, 1, 1, 1, "f32")))
    if not all(np.isfinite(values).all() for values in known.values()):
        raise ValueError("the quantized network computes no numbers")
    answer = {"probe": known, "versions": {name: version(name) for name in ("nncf", "openvino")}}
    write_whole(folder / "answer.json", json.dumps(answer).encode())


def head_of(names: list[str]) -> list[str]:
    """Which operations of an exported network are its head's: `export` has them named after the last layer's number."""
    layers = [re.match(r"/layers\.(\d+)/", name) for name in names]
    last = max(int(layer[1]) for layer in layers if layer)
    return [name for name, layer in zip(names, layers, strict=True) if (layer and int(layer[1]) == last)] + [OUTPUT]


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
