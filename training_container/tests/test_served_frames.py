"""What a client gets of whole frames is what the evaluation measured, and the gate judges that.

The network is a stub that finds what is painted, as long as it is large enough: a part where an edge has cut it, twice
where two slices show it. All else is real: channel, slices, seams, evaluation, gate, and an endpoint on HTTP.
"""

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import uvicorn
from skyloop.documents.gate import Thresholds
from skyloop.formats.evaluation import Evaluation
from skyloop.gate.rules import apply_rules
from skyloop_container import evaluate, slicing
from skyloop_container.connections import BoundedProtocol
from skyloop_container.dataset import Sample, read_channel
from skyloop_container.detections import Detections, ScoredImage
from skyloop_container.engine_choice import Choice
from skyloop_container.environment import Environment
from skyloop_container.inference import Detection, Detector
from skyloop_container.predictions import truth_of
from skyloop_container.serve import create_app
from skyloop_container.slicing import SlicingPlan

from training_container.tests.coco import all_at_once

SIDE = 64
PLAN = SlicingPlan(SIDE, 0.25)
NAMES = ["square", "disc"]
COLORS = {0: (1.0, 0.2), 1: (0.2, 1.0)}
"""Red and green of each category, as shares of how bright an object is."""


class Painted:
    """Finds areas of the two colors, as sure as they are bright; none whose longer side is less than 6 pixels."""

    def run(self, images: np.ndarray, alone: bool = False) -> tuple[np.ndarray, np.ndarray]:
        heads = [self._head((image * 255).astype(np.uint8)) for image in images]
        most = max(head.shape[1] for head in heads)
        padded = [np.pad(head, ((0, 0), (0, most - head.shape[1]))) for head in heads]
        return np.array(padded, dtype=np.float32), images.mean(axis=(2, 3))[:, :2]

    def _head(self, image: np.ndarray) -> np.ndarray:
        rows = []
        for category in COLORS:
            area = (image[category] > 60) & (image[category] > 1.5 * image[1 - category].astype(float))
            _, _, found, _ = cv2.connectedComponentsWithStats(area.astype(np.uint8))
            for left, top, width, height, _ in found[1:]:
                if max(width, height) >= 6:
                    sure = image[category][top : top + height, left : left + width].mean() / 255
                    place = (left + width / 2, top + height / 2, width, height)
                    rows.append((*place, *(sure if one == category else 0.0 for one in COLORS)))
        return np.array(rows, dtype=np.float32).reshape(-1, 6).T


@pytest.fixture(autouse=True)
def _small_views(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slices are looked at one by one, so that small frames have many seams."""
    monkeypatch.setattr(slicing, "WINDOW", 1)


def detector(plan: SlicingPlan) -> Detector:
    card = {"categories": NAMES, "imgsz": SIDE, "confidence_default": 0.4, "slicing": plan.as_card()}
    card |= {"features": {"mean": [0.0, 0.0], "components": [[1.0, 0.0]]}}
    return Detector(card | {"training_job": "job", "dataset_id": "ds", "versions": {}}, Painted())


def write_frames(folder: Path, sides: int, count: int) -> None:
    """Frames of so many slice sides, full of objects: some on seams, some unlabeled, some hardly to be seen."""
    folder.mkdir(parents=True)
    lines, size = [], SIDE * sides
    for number in range(count):
        random = np.random.default_rng([sides, number])
        image, boxes = np.full((size, size, 3), 40, dtype=np.uint8), []
        for place in np.ndindex(size // 20, size // 20):
            top, left = (np.array(place) * 20 + random.integers(1, 5, 2)).tolist()
            width, height, category, bright = (
                *random.integers(9, 15, 2).tolist(),
                int(random.integers(2)),
                random.random(),
            )
            if random.random() < 0.3 or max(left + width, top + height) > size:
                continue
            red, green = (int(share * (40 + 215 * bright)) for share in COLORS[category])
            image[top : top + height, left : left + width] = (40, green, red)  # OpenCV's order
            if random.random() < 0.85 - 0.5 * (bright < 0.3):
                boxes.append([category, *(np.array([left, top, width, height]) + random.normal(0, 1.5, 4)).tolist()])
        boxes = [
            [c, max(x, 0), max(y, 0), min(w, size - max(x, 0)), min(h, size - max(y, 0))] for c, x, y, w, h in boxes
        ]
        cv2.imwrite(str(folder / f"{number}.png"), image)
        lines.append(
            {"image": f"{number}.png", "width": size, "height": size, "flight": f"{number % 3}", "boxes": boxes}
        )
    (folder / "labels.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def judged(base: Path, monkeypatch: pytest.MonkeyPatch, **models: Detector) -> dict[str, Any]:
    """The evaluation of the channel `test` by models that are there already."""
    for model in models:
        (base / "processing" / "input" / model).mkdir(exist_ok=True)
        (base / "processing" / "input" / model / "model.tar.gz").touch()
    monkeypatch.setenv("SKYLOOP_CATEGORIES", json.dumps(NAMES))
    monkeypatch.setenv("SKYLOOP_TRAINING_JOB", "job")
    monkeypatch.setenv("SKYLOOP_TEST_SET_ID", "test-1")
    monkeypatch.setattr(evaluate, "_model", lambda _, name: name)
    monkeypatch.setattr(evaluate, "choose", lambda *_: Choice("onnxruntime", {}))
    monkeypatch.setattr(evaluate, "_load", lambda name, _: models[name])
    monkeypatch.setattr(evaluate, "read", lambda name: models[name])
    evaluate.run(Environment(base))
    document: dict[str, Any] = json.loads((base / "processing" / "output" / "evaluation.json").read_text())
    return document


def channels(base: Path, sides: int, count: int) -> list[Sample]:
    inputs = base / "processing" / "input"
    write_frames(inputs / "test", sides, count)
    write_frames(inputs / "reference", 1, 2)
    return read_channel(inputs / "test", len(NAMES))[0]


@contextmanager
def served(model: Detector) -> Iterator[int]:
    """The port of the container's endpoint around a model."""
    app = create_app(model, 1, 2**30, 60.0)
    server = uvicorn.Server(uvicorn.Config(app, http=BoundedProtocol, log_level="warning"))
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(20)
    assert not thread.is_alive()


def answered(port: int, samples: list[Sample]) -> list[ScoredImage]:
    """What a client gets for each frame, beside its labels."""
    images = []
    for sample in samples:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        attributes = {"X-Amzn-SageMaker-Custom-Attributes": "confidence=0.001"}
        connection.request("POST", "/invocations", sample.path.read_bytes(), attributes)
        answer = connection.getresponse()
        assert answer.status == 200
        found = [Detection(**one) for one in json.loads(answer.read())["detections"]]
        images.append(ScoredImage(sample.name, sample.width, sample.height, truth_of(sample, NAMES), Detections(found)))
    return images


def on_seams(samples: list[Sample]) -> int:
    """How many labeled objects an edge of a slice cuts."""
    count = 0
    for sample in samples:
        views = [view for view in PLAN.views(sample.width, sample.height, SIDE) if not view.larger_than]
        edges = {view.right for view in views if view.right < sample.width} | {view.left for view in views if view.left}
        count += sum(any(left < edge < left + width for edge in edges) for _, left, _, width, _ in sample.boxes)
    return count


@pytest.mark.parametrize(("sides", "count"), [(1, 24), (2, 12), (4, 4), (8, 2)])
def test_a_client_gets_what_was_evaluated(
    sides: int, count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = channels(tmp_path, sides, count)
    evaluation = judged(tmp_path, monkeypatch, candidate=detector(PLAN))["candidate"]
    with served(detector(PLAN)) as port:
        images = answered(port, samples)
    precision = all_at_once(images, NAMES)[0, :, :, 0]
    assert precision.mean() == pytest.approx(evaluation["map50"], abs=0.005)
    assert 0.4 < evaluation["map50"] < 0.95  # neither nothing nor everything: curves are compared
    assert sides == 1 or on_seams(samples) > 10
    boxes = sum(one["boxes"] for one in evaluation["per_class"].values())
    assert sum(len(image.detections) for image in images) < 1.6 * boxes  # what two slices show is answered once


def test_slices_that_one_window_holds_are_slices_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A frame of two sides is looked at once, at twice the scale: that is what slicing gains."""
    monkeypatch.setattr(slicing, "WINDOW", 3)
    ((sample, *_), model) = channels(tmp_path, 2, 12), detector(PLAN)
    assert len([view for view in model.views(sample.width, sample.height) if not view.larger_than]) == 1
    evaluation = judged(tmp_path, monkeypatch, candidate=detector(SlicingPlan(SIDE, 0.25, whole=False)))
    assert evaluation["slicing"]["map50_without"] < evaluation["candidate"]["map50"] - 0.01


@pytest.mark.parametrize(("sides", "count", "decision"), [(1, 24, "approve"), (4, 6, "refuse")])
def test_the_gate_refuses_what_is_good_on_slices_and_blind_on_frames(
    sides: int, count: int, decision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One network: the candidate sees a whole frame shrunk to its input, the champion sees it in slices."""
    channels(tmp_path, sides, count)
    judged(tmp_path, monkeypatch, candidate=detector(SlicingPlan()), champion=detector(PLAN))
    evaluation = Evaluation.parse((tmp_path / "processing" / "output" / "evaluation.json").read_bytes())
    thresholds = Thresholds(min_map50=0.4, min_class_ap50=0.2, min_class_boxes=5, max_map50_drop=0.01)
    verdict = apply_rules(evaluation, thresholds, training_job="job", test_set_id="test-1", categories=NAMES)
    assert verdict.decision == decision, verdict.reasons
    failed = {rule.name for rule in verdict.rules if rule.passed is False}
    assert failed == (
        set() if decision == "approve" else {"map50-floor", "class-ap50-floor", "not-worse-than-champion"}
    )
