"""Engines: the same network whatever runs it; the choice among them; what an endpoint does where one is missing."""

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from skyloop_container import engine_choice, engines, serve
from skyloop_container.engine_choice import EngineDiffers, choose, share_alike, verify
from skyloop_container.engines import ENGINES, INT8, ON_GPU, REFERENCE, EngineMissing
from skyloop_container.environment import JobError
from skyloop_container.inference import Detection, Detector

from tests.infra import wiring
from training_container.tests.networks import SIZE, Clock, Fake, exported, unasked


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported(tmp_path_factory.mktemp("untrained"))


@pytest.fixture(params=[name for name in ENGINES if name != INT8])
def usable(request: pytest.FixtureRequest, model: Path) -> str:
    try:
        engines.load(request.param, model, 1)
    except EngineMissing as error:
        pytest.skip(str(error))
    return str(request.param)


@pytest.mark.parametrize("shape", [(1, 3, 64, 64), (2, 3, 32, 96), (5, 3, 128, 64)])
def test_all_engines_compute_the_same(model: Path, usable: str, shape: tuple[int, ...]) -> None:
    """On one core and on all, and from several threads at once."""
    images = np.random.default_rng(1).random(shape, dtype=np.float32)
    expected = engines.load(REFERENCE, model, 1).run(images)
    engine = engines.load(usable, model, threads=1, pictures=2)
    with ThreadPoolExecutor(4) as pool:
        outputs = list(pool.map(lambda alone: engine.run(images, alone), [False, True] * 6))
    for output in outputs:
        for ours, theirs in zip(output, expected, strict=True):
            assert ours.shape == theirs.shape
            assert np.linalg.norm(ours - theirs) <= 0.02 * np.linalg.norm(theirs)


def test_what_an_engine_gave_stays_as_it_was(model: Path, usable: str) -> None:
    engine, random = engines.load(usable, model, 1), np.random.default_rng(2)
    first = engine.run(random.random((1, 3, 64, 64), dtype=np.float32))
    kept = [output.copy() for output in first]
    engine.run(random.random((1, 3, 64, 64), dtype=np.float32))
    assert all(np.array_equal(before, after) for before, after in zip(kept, first, strict=True))


SIGNALED = """
import os, signal, sys
from pathlib import Path
from skyloop_container import engines
caught = []
signal.signal(signal.SIGTERM, lambda number, frame: caught.append(number))
first = engines.load(sys.argv[1], Path(sys.argv[2]), 1)
second = engines.load(sys.argv[1], Path(sys.argv[2]), 1)
del first
del second
os.kill(os.getpid(), signal.SIGTERM)
os._exit(0 if caught else 1)
"""


def test_a_signal_finds_its_stack_when_engines_are_gone(model: Path, usable: str) -> None:
    command = [sys.executable, "-X", "faulthandler", "-c", SIGNALED, usable, str(model)]
    ended = subprocess.run(command, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}, timeout=120)
    assert ended.returncode == 0


ENDING = """
import sys, time
from pathlib import Path
from skyloop_container import engines
class Slow:
    def __del__(self, sleep=time.sleep):
        sleep(2)  # while Python ends, in which a thread of the background that comes back to it is ended too
slow = Slow()
engines.load(sys.argv[1], Path(sys.argv[2]), 1, 4)
"""


def test_a_process_may_end_as_soon_as_an_engine_is_loaded(model: Path, usable: str) -> None:
    command = [sys.executable, "-c", ENDING, usable, str(model)]
    ended = subprocess.run(command, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}, timeout=120)
    assert ended.returncode == 0


def test_a_picture_that_is_alone_gets_all_cores(model: Path) -> None:
    class Asked:
        def __init__(self) -> None:
            self.alone: list[bool] = []

        def run(self, images: np.ndarray, alone: bool = False) -> tuple[np.ndarray, np.ndarray]:
            self.alone.append(alone)
            return np.zeros((len(images), 5, 1), np.float32), np.zeros((len(images), 2), np.float32)

    card = json.loads((model / "model.json").read_text()) | {"features": {"mean": [0, 0], "components": []}}
    engine, image = Asked(), np.zeros((SIZE, SIZE, 3), np.uint8)
    detector = Detector(card, engine)
    detector.predict(image)
    with detector.picture():
        detector.predict(image)
        with detector.picture():
            detector.predict(image)
        detector.predict(image)
    assert engine.alone == [False, True, False, True]


def test_an_engine_that_computes_something_else_is_found(model: Path, tmp_path: Path) -> None:
    shutil.copytree(model, tmp_path, dirs_exist_ok=True)
    card = json.loads((model / "model.json").read_text())
    verify(Detector.load(tmp_path, 1), REFERENCE)
    card["probe"]["pooled"][0] += 1.0
    (tmp_path / "model.json").write_text(json.dumps(card))
    with pytest.raises(EngineDiffers, match="its pooled differ by"):
        verify(Detector.load(tmp_path, 1), REFERENCE)
    del card["probe"]  # a model from before there were engines
    (tmp_path / "model.json").write_text(json.dumps(card))
    verify(Detector.load(tmp_path, 1), REFERENCE)


@pytest.mark.parametrize(
    ("f32", "bf16", "chosen"),
    [
        ((0.8, 0.0), (0.5, 0.0), "openvino-bf16"),
        ((0.8, 0.0), None, "openvino-f32"),
        ((0.95, 0.0), (1.2, 0.0), REFERENCE),  # not clearly faster
        ((0.8, 0.0), (0.5, 5.0), "openvino-f32"),  # the fastest finds other boxes
        (None, None, REFERENCE),
    ],
)
def test_the_fastest_is_chosen_that_finds_the_same(
    f32: Any, bf16: Any, chosen: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    clock, made = Clock(), {REFERENCE: (1.0, 0.0), "openvino-f32": f32, "openvino-bf16": bf16, INT8: None, ON_GPU: None}

    def load(_: Path, threads: int, engine: str) -> Fake:
        assert threads == 1
        if made[engine] is None:
            raise EngineMissing("it is not there")
        return Fake(clock, *made[engine])

    monkeypatch.setattr(engine_choice.Detector, "load", load)
    monkeypatch.setattr(engine_choice, "verify", lambda *_: None)
    choice = choose(tmp_path, [np.zeros((SIZE, SIZE, 3), np.uint8)] * 2, [(SIZE, SIZE)], unasked, clock)
    assert choice.name == chosen
    assert list(choice.measured) == list(ENGINES)
    for name, known in made.items():
        told = choice.measured[name]
        assert told == ({"refused": "it is not there"} if known is None else told)
        assert known is None or told["milliseconds"] == pytest.approx(1000 * known[0])
        assert known is None or told["alike"] == (0.0 if known[1] else 1.0)


def test_without_a_detection_nothing_speaks_for_another_engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    clock = Clock()
    monkeypatch.setattr(Fake, "boxes", 0)
    monkeypatch.setattr(
        engine_choice.Detector, "load", lambda *_, threads, engine: Fake(clock, 1.0 if engine == REFERENCE else 0.1)
    )
    monkeypatch.setattr(engine_choice, "verify", lambda *_: None)
    assert choose(tmp_path, [np.zeros((SIZE, SIZE, 3), np.uint8)], [(SIZE, SIZE)], unasked, clock).name == REFERENCE
    assert choose(tmp_path, [], [], unasked, clock).name == REFERENCE


@pytest.mark.parametrize("fails", ["has_bf16", "OpenVinoEngine"])
def test_an_engine_that_fails_here_is_one_that_is_missing(
    fails: str, model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no plugin for this processor")

    monkeypatch.setattr(f"skyloop_container.engines.openvino.{fails}", fail)
    if fails != "has_bf16":
        monkeypatch.setattr("skyloop_container.engines.openvino.has_bf16", lambda: True)
    monkeypatch.setenv("SKYLOOP_ENGINE", "openvino-bf16")
    assert serve._load(model, 1, 2)[1] == REFERENCE
    assert "no plugin" in json.loads(capsys.readouterr().out)["why"]


def test_an_engine_that_fails_at_work_differs(model: Path) -> None:
    class Failing:
        def run(self, images: np.ndarray, alone: bool = False) -> tuple[np.ndarray, np.ndarray]:
            raise RuntimeError("out of memory")

    with pytest.raises(EngineDiffers, match="it fails: out of memory"):
        verify(Detector(json.loads((model / "model.json").read_text()), Failing()), REFERENCE)


def test_detections_are_alike_by_place_category_and_confidence() -> None:
    box = Detection("a", 0, 0.8, 10.0, 10.0, 40.0, 40.0)
    other = Detection("b", 1, 0.8, 10.0, 10.0, 40.0, 40.0)
    unsure = Detection("a", 0, 0.6, 10.0, 10.0, 40.0, 40.0)
    near = Detection("a", 0, 0.7, 12.0, 10.0, 40.0, 40.0)
    assert share_alike([[box]], [[near]]) == 1.0
    assert share_alike([[box]], [[other]]) == share_alike([[box]], [[unsure]]) == 0.0
    assert share_alike([[box], []], [[near, other], []]) == 0.5
    assert share_alike([[box, near]], [[box]]) == 0.5  # one counterpart each
    assert share_alike([[]], [[]]) == 1.0


def test_the_template_knows_the_engines() -> None:
    assert wiring.template()["Parameters"]["InferenceEngine"]["AllowedValues"] == ["measured", *ENGINES]


def test_an_endpoint_without_its_engine_says_so_and_serves(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SKYLOOP_ENGINE", "tomorrow's")
    detector, engine = serve._load(model, 1, 2)
    assert engine == REFERENCE
    assert detector.categories == ["object"]
    said = json.loads(capsys.readouterr().out)
    assert (said["engine_refused"], said["engine"]) == (1, "tomorrow's")
    assert "there is no engine" in said["why"]


def test_a_model_that_nothing_computes_as_exported_does_not_serve(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(model, tmp_path, dirs_exist_ok=True)
    card = json.loads((model / "model.json").read_text())
    card["probe"]["detections"] = [0.0] * 4
    (tmp_path / "model.json").write_text(json.dumps(card))
    monkeypatch.delenv("SKYLOOP_ENGINE", raising=False)
    with pytest.raises(JobError, match="cannot be served: its detections differ"):
        serve._load(tmp_path, 1, 2)
    assert capsys.readouterr().out == ""


def test_a_damaged_model_is_no_fault_of_an_engine(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing serves with another engine: the alarm that says so would send its reader to the instance type."""
    shutil.copytree(model, tmp_path, dirs_exist_ok=True)
    network = (model / "model.onnx").read_bytes()
    (tmp_path / "model.onnx").write_bytes(network[: len(network) // 2])
    monkeypatch.setenv("SKYLOOP_ENGINE", "openvino-f32")
    with pytest.raises(JobError, match="cannot be loaded"):
        serve._load(tmp_path, 1, 2)
    assert capsys.readouterr().out == ""


def test_a_time_in_milliseconds_may_have_decimals(monkeypatch: pytest.MonkeyPatch) -> None:
    """CloudFormation lets a number be 1500.5, and a container that does not would fail a whole deployment."""
    assert serve._milliseconds("SKYLOOP_SLOW_MS", 2000) == 2000
    monkeypatch.setenv("SKYLOOP_SLOW_MS", "1500.5")
    assert serve._milliseconds("SKYLOOP_SLOW_MS", 2000) == 1500.5
    for value in ("0", "-1", "soon", "nan", "inf"):
        monkeypatch.setenv("SKYLOOP_SLOW_MS", value)
        with pytest.raises(JobError, match=f"above 0, not '{value}'"):
            serve._milliseconds("SKYLOOP_SLOW_MS", 2000)
