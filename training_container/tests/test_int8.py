"""INT8: what a training makes with the real NNCF, what refuses it, and when an evaluation takes it."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from skyloop_container import engine_choice, engines, labels_check, quantize, serve
from skyloop_container.dataset import Sample, read_channel
from skyloop_container.engine_choice import EngineDiffers, choose, verify
from skyloop_container.engines import INT8, REFERENCE, EngineMissing
from skyloop_container.engines.int8 import BIN, XML
from skyloop_container.inference import Detection, Detector, Prediction
from skyloop_container.labels_check import compare_by_labels
from skyloop_container.quantize import add_int8, head_of, inputs_of
from skyloop_container.report import _measured
from skyloop_container.slicing import SlicingPlan

from training_container.tests.networks import SIZE, Clock, Fake, exported, unasked
from training_container.tests.pictures import write_channel

pytestmark = pytest.mark.xdist_group("int8")  # one worker: what is made takes its time


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    return read_channel(write_channel(tmp_path_factory.mktemp("channel") / "train", range(60)), 1)[0]


@pytest.fixture(scope="module")
def floats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model without INT8."""
    return exported(tmp_path_factory.mktemp("floats"), batches=60)


@pytest.fixture(scope="module")
def made(floats: Path, samples: list[Sample], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The same model with INT8, and the line for the log."""
    folder = tmp_path_factory.mktemp("made")
    model = shutil.copytree(floats, folder / "model")
    return model, add_int8(model, card_of(model), samples, samples, folder, lambda: 1e9)


@pytest.fixture
def model(made: tuple[Path, str], tmp_path: Path) -> Path:
    """One to change."""
    return Path(shutil.copytree(made[0], tmp_path / "model"))


def card_of(model: Path) -> dict[str, Any]:
    card: dict[str, Any] = json.loads((model / "model.json").read_text())
    return card


def python(script: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([*environment.pop("first", "").split(), *sys.path])
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(
        command, env=os.environ | {"PYTHONPATH": path} | environment, capture_output=True, text=True, timeout=120
    )


def test_a_training_makes_it_and_says_so(made: tuple[Path, str], floats: Path, samples: list[Sample]) -> None:
    model, line = made
    assert line.startswith(f"int8: {sum((model / name).stat().st_size for name in (XML, BIN)) / 1e6:.1f} MB from ")
    card, before = card_of(model), card_of(floats)
    assert {name: value for name, value in card.items() if name != "int8"} == before
    assert card["int8"]["inputs"] == len(inputs_of(before, samples)) == 60
    assert card["int8"]["versions"].keys() == {"nncf", "openvino"}
    verify(Detector.load(model, 1, engine=INT8), INT8)


def test_it_computes_much_the_same_in_less_space(made: tuple[Path, str], samples: list[Sample]) -> None:
    model, _ = made
    assert (model / BIN).stat().st_size < 0.5 * (model / "model.onnx").stat().st_size
    images = np.concatenate(inputs_of(card_of(model), samples)[:8]).astype(np.float32) / 255
    known, ours = (engines.load(name, model, 1).run(images) for name in (REFERENCE, INT8))
    for one, other in zip(known, ours, strict=True):
        assert one.shape == other.shape
        assert not np.array_equal(one, other)
        assert np.linalg.norm(one - other) <= 0.1 * np.linalg.norm(one)


def test_all_but_the_head_is_quantized(made: tuple[Path, str]) -> None:
    layers = ElementTree.parse(made[0] / XML).getroot().findall("layers/layer")
    quantized = [layer.get("name", "") for layer in layers if layer.get("type") == "FakeQuantize"]
    assert len(quantized) > 60
    assert not [name for name in quantized if name.startswith(("/layers.23/", "detections"))]
    assert head_of(["/layers.9/a", "/layers.23/b", "images", "/layers.23/c/d"]) == [
        "/layers.23/b", "/layers.23/c/d", "detections",
    ]  # fmt: skip


PROBE = """
import json, sys
from pathlib import Path
from skyloop_container.engine_choice import probe, verify
from skyloop_container.inference import Detector
detector = Detector.load(Path(sys.argv[1]), 1, engine="openvino-int8")
verify(detector, "openvino-int8")
print(json.dumps(probe(detector)))
"""


@pytest.mark.parametrize("instructions", ["AVX2", "AVX2_VNNI", "AVX512_CORE", "AVX512_CORE_VNNI"])
def test_other_processors_compute_the_same(made: tuple[Path, str], instructions: str) -> None:
    """oneDNN's own switch keeps OpenVINO from newer instructions. With whole ranges of weights AVX2 overflows."""
    done = python(PROBE, made[0], ONEDNN_MAX_CPU_ISA=instructions)
    assert done.returncode == 0, done.stderr
    known = card_of(made[0])["int8"]["probe"]
    for name, values in json.loads(done.stdout).items():
        assert np.allclose(values, known[name], rtol=1e-4, atol=1e-6)


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def forget(file: Path) -> None:
    card = json.loads(file.read_text())
    del card["int8"]
    file.write_text(json.dumps(card))


@pytest.mark.parametrize(
    ("name", "damage", "why"),
    [
        (BIN, flip, f"{BIN} is not the file that the training wrote"),
        (XML, flip, f"{XML} is not the file that the training wrote"),
        (BIN, Path.unlink, "No such file"),
        ("model.json", forget, "this model has no INT8 network"),
    ],
)
def test_what_the_training_did_not_write_is_refused(
    model: Path,
    name: str,
    damage: Callable[[Path], None],
    why: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    damage(model / name)
    with pytest.raises(EngineMissing, match=why):
        engines.load(INT8, model, 1)
    monkeypatch.setenv("SKYLOOP_ENGINE", INT8)
    assert serve._load(model, 1, 2)[1] == REFERENCE
    said = json.loads(capsys.readouterr().out)
    assert (said["engine_refused"], said["engine"]) == (1, INT8)
    assert why in said["why"]


def test_a_processor_that_computes_something_else_is_refused(model: Path) -> None:
    card = card_of(model)
    card["int8"]["probe"]["pooled"] = [1.002 * value for value in card["int8"]["probe"]["pooled"]]
    (model / "model.json").write_text(json.dumps(card))
    with pytest.raises(EngineDiffers, match=r"its pooled differ by 0\.002"):
        verify(Detector.load(model, 1, engine=INT8), INT8)
    verify(Detector.load(model, 1), REFERENCE)


def test_what_fails_leaves_a_model_without_int8(
    floats: Path, samples: list[Sample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text("import sys\nsys.modules['nncf'] = None\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "site"), *sys.path]))
    before = {path.name: path.read_bytes() for path in floats.iterdir()}
    card = card_of(floats)
    assert "nncf" in (line := add_int8(floats, card, samples, samples, tmp_path, lambda: 1e9))
    assert line.startswith("int8: none, for ModuleNotFoundError")
    assert "there is no time for it" in add_int8(floats, card, samples, samples, tmp_path, lambda: quantize.PACKING / 2)
    monkeypatch.setattr(quantize, "LONGEST", 0.0)
    assert "there is no time for it" in add_int8(floats, card, samples, samples, tmp_path, lambda: 1e9)
    few = samples[: len(samples) // 4]
    assert "labeled boxes of validation pictures are too few" in add_int8(floats, card, samples, few, tmp_path, float)
    assert {path.name: path.read_bytes() for path in floats.iterdir()} == before


REPORTS = """
import sys
from pathlib import Path
from skyloop_container import quantize
try:
    quantize.main(Path(sys.argv[1]), Path(sys.argv[1]))
except FileNotFoundError as error:  # there are no inputs
    assert "inputs.npz" in str(error)
    from nncf.telemetry.wrapper import telemetry
    print(type(telemetry).__name__, sys.modules["openvino_telemetry"], sys.modules["openvino.tools.ovc"])
"""


def test_nothing_is_reported_to_anybody(floats: Path) -> None:
    """NNCF's own stand-in takes what would be reported; under pytest it would in any case, so this runs elsewhere."""
    done = python(REPORTS, floats)
    assert done.stdout.split() == ["MagicMock", "None", "None"], done.stderr


def test_large_pictures_are_seen_as_they_are_served(tmp_path: Path, floats: Path) -> None:
    """Slices and coarse looks, of all pictures."""
    plan = SlicingPlan(side=SIZE, overlap=0.1, whole=True, most=100, coarse=0.2)
    card = card_of(floats) | {"slicing": plan.as_card()}
    frames = read_channel(write_channel(tmp_path / "frames", range(8), tiles=4), 1)[0]
    inputs = inputs_of(card, frames)
    assert len(inputs) >= quantize.INPUTS // 2
    assert len({one.shape for one in inputs}) > 1
    assert {one.shape[:2] for one in inputs} == {(1, 3)}
    assert all(side % 32 == 0 for one in inputs for side in one.shape[2:])


FASTEST = {REFERENCE: 1.0, "openvino-f32": 0.8, INT8: 0.5}


@pytest.mark.parametrize(
    ("seconds", "shift", "refused", "chosen"),
    [
        (FASTEST, 0.0, False, INT8),
        (FASTEST, 0.0, True, "openvino-f32"),  # the labels say that it is worse
        (FASTEST, 5.0, None, "openvino-f32"),  # it finds other boxes: that is seen without labels
        (FASTEST | {INT8: 0.85}, 0.0, None, "openvino-f32"),  # it is not the fastest
        (FASTEST | {"openvino-f32": 1.0, INT8: 0.95}, 0.0, None, REFERENCE),  # not clearly faster
    ],
)
def test_labels_are_asked_of_the_fastest_only(
    seconds: dict[str, float],
    shift: float,
    refused: bool | None,
    chosen: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    clock, asked = Clock(), []

    def load(_: Path, threads: int, engine: str) -> Fake:
        if engine not in seconds:
            raise EngineMissing("it is not there")
        return Fake(clock, seconds[engine], shift if engine == INT8 else 0.0)

    def labels(known: Detector, other: Detector) -> dict[str, Any]:
        asked.append((known.seconds, other.seconds))
        return {"map50": 0.7} | ({"refused": "it is worse"} if refused else {})

    monkeypatch.setattr(engine_choice.Detector, "load", load)
    monkeypatch.setattr(engine_choice, "verify", lambda *_: None)
    pictures = [np.zeros((SIZE, SIZE, 3), np.uint8)] * 2
    choice = choose(tmp_path, pictures, [(SIZE, SIZE)], unasked if refused is None else labels, clock)
    assert choice.name == chosen
    assert asked == ([] if refused is None else [(1.0, 0.5)])
    assert choice.measured[INT8].get("refused", "") == ("it is worse" if refused else "")
    assert choice.measured[INT8]["milliseconds"] == pytest.approx(1000 * seconds[INT8])


class Knowing:
    """A detector that finds what is labeled, but for every so many boxes, which it finds so far to the right."""

    confidence, window = 0.5, None

    def __init__(self, samples: list[Sample], every: int = 1000, shift: float = 0.0) -> None:
        self.samples, self.every, self.shift = iter(samples), every, shift

    def factor(self, *_: int) -> int:
        return 1

    def predict(self, *_: object) -> Prediction:
        found = [
            Detection("square", 0, 0.9, left + (self.shift if number % self.every == 0 else 0.0), top, width, height)
            for number, (_, left, top, width, height) in enumerate(next(self.samples).boxes)
        ]
        return Prediction(found, [])


def test_a_network_that_is_worse_by_the_labels_is_refused(
    samples: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skyloop_container.dataset.available_cores", lambda: 1)  # pictures come in order

    def compared(**other: float) -> dict[str, Any]:
        return compare_by_labels(Knowing(samples), Knowing(samples, **other), samples, ["square"])

    boxes = sum(len(sample.boxes) for sample in samples)
    same = compared()
    assert same == {
        "images": 60, "boxes": boxes,
        "map50": 1.0, "map50_reference": 1.0, "map50_95": 1.0, "map50_95_reference": 1.0,
    }  # fmt: skip
    lost = compared(every=1, shift=30.0)
    assert lost["refused"].startswith("on 60 validation pictures it has map50 0.000 instead of 1.000")
    near = compared(every=1, shift=2.0)  # still right at IoU 0.5
    assert near["map50"] == 1.0
    assert near["refused"].startswith("on 60 validation pictures it has map50_95 0.")
    monkeypatch.setattr(labels_check, "LEAST_BOXES", boxes + 1)
    assert compared()["refused"] == f"{boxes} labeled boxes say too little of it"


def test_the_report_says_what_was_measured() -> None:
    one = {"milliseconds": 18.71, "alike": 0.88, "map50": 0.731, "map50_reference": 0.742, "images": 52}
    said = "18.7 ms a look, 88% alike"
    assert _measured(one) == f"{said}, mAP50 0.731 on 52 validation pictures, where float32 has 0.742"
    assert _measured(one | {"refused": "it is <worse>"}) == f"{said}, it is &lt;worse&gt;"
