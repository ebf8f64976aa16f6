"""Is what a client gets of the endpoint what the evaluation measured? mAP50 of whole frames, both ways.

    python -m training_container.bench.served_frames MODEL CHANNEL [CHANNEL …]

MODEL is a folder with model.json and model.onnx, a CHANNEL a folder of whole frames with labels (see the container's
README). The endpoint is the container's `serve` in a process of its own, asked over HTTP as a client asks; its answers
are scored by pycocotools, which must be installed beside (`pip install pycocotools`). The other number is that of
`evaluate` over the same channel.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from skyloop_container.dataset import Sample, read_channel

from training_container.bench.endpoint import HOST, environment, free_port

CONFIDENCE = "confidence=0.001"  # nearly every box: average precision needs the whole curve


@contextlib.contextmanager
def served(model: Path) -> Iterator[int]:
    """The port of an endpoint for a model."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [sys.executable, "-m", "skyloop_container", "serve"], env=environment(model, Path(folder), port)
        )
        try:
            while process.poll() is None:
                with contextlib.suppress(OSError):
                    if ask(port, "GET", "/ping")[0] == 200:
                        break
                time.sleep(0.1)
            yield port
        finally:
            process.terminate()
            process.wait()


def ask(port: int, method: str, path: str, body: bytes = b"") -> tuple[int, Any]:
    """Status and JSON of an answer."""
    connection = http.client.HTTPConnection(HOST, port, timeout=120)
    connection.request(method, path, body, {"X-Amzn-SageMaker-Custom-Attributes": CONFIDENCE})
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


def scored_by_pycocotools(port: int, samples: list[Sample], categories: int) -> float:
    """mAP50 of what the endpoint answers."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth, found = [], []
    for number, sample in enumerate(samples, 1):
        for category, *box in sample.boxes:
            annotation = {"image_id": number, "category_id": category, "bbox": box, "area": box[2] * box[3]}
            truth.append(annotation | {"id": len(truth) + 1, "iscrowd": 0})
        status, answer = ask(port, "POST", "/invocations", sample.path.read_bytes())
        if status != 200:
            sys.exit(f"{sample.name}: HTTP {status}: {answer}")
        found += [
            {
                "image_id": number,
                "category_id": one["category_id"],
                "bbox": [one[side] for side in ("left", "top", "width", "height")],
                "score": one["confidence"],
            }
            for one in answer["detections"]
        ]
    dataset = COCO()
    dataset.dataset = {
        "images": [{"id": number, "width": s.width, "height": s.height} for number, s in enumerate(samples, 1)],
        "categories": [{"id": number, "name": str(number)} for number in range(categories)],
        "annotations": truth,
    }
    with contextlib.redirect_stdout(io.StringIO()):
        dataset.createIndex()
        evaluation = COCOeval(dataset, dataset.loadRes(found), "bbox")
        evaluation.params.maxDets = [1, 100, 100_000]
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][0, :, :, 0, -1]
    return float(np.mean([row.mean() for row in precision.T if (row >= 0).all()]))


def evaluated(model: Path, channel: Path, categories: list[str]) -> dict[str, Any]:
    """The evaluation.json of a model over a channel."""
    with tempfile.TemporaryDirectory() as folder:
        inputs = Path(folder) / "processing" / "input"
        shutil.copytree(model, inputs / "candidate")
        for name in ("test", "reference"):
            shutil.copytree(channel, inputs / name)
        environment = {**os.environ, "SAGEMAKER_BASE_DIR": folder, "SKYLOOP_CATEGORIES": json.dumps(categories)}
        command = [sys.executable, "-m", "skyloop_container", "evaluate"]
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
        document: dict[str, Any] = json.loads((Path(folder) / "processing/output/evaluation.json").read_text())
        return document


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("channels", type=Path, nargs="+")
    options = parser.parse_args()
    card = json.loads((options.model / "model.json").read_text())
    table = Table(title=f"mAP50 of whole frames; {card['slicing']}, network {card['imgsz']} px")
    for column in ("frames", "size", "boxes", "evaluation", "client", "difference", "without slices"):
        table.add_column(column, justify="right")
    with served(options.model) as port:
        for channel in options.channels:
            samples, _ = read_channel(channel, len(card["categories"]))
            client = scored_by_pycocotools(port, samples, len(card["categories"]))
            evaluation = evaluated(options.model, channel, card["categories"])
            judged = evaluation["candidate"]["map50"]
            table.add_row(
                str(len(samples)),
                f"{samples[0].width} x {samples[0].height}",
                str(sum(len(sample.boxes) for sample in samples)),
                f"{judged:.4f}",
                f"{client:.4f}",
                f"{client - judged:+.4f}",
                f"{evaluation['slicing']['map50_without']:.4f}",
            )
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
