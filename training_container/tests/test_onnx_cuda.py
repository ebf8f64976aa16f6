"""ONNX Runtime on a GPU, as far as it can be known without one; and when it is chosen."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from skyloop_container import engine_choice, engines, serve
from skyloop_container.engine_choice import choose
from skyloop_container.engines import ON_GPU, REFERENCE, EngineMissing, onnx_cuda
from skyloop_container.slicing import SlicingPlan

from training_container.tests.networks import SIZE, Clock, Fake, exported, unasked


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported(tmp_path_factory.mktemp("untrained"))


@pytest.mark.parametrize(("seconds", "chosen"), [(0.2, ON_GPU), (0.24, REFERENCE)])
def test_a_gpu_is_measured_with_all_cores_asking(
    seconds: float, chosen: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """They share it: four cores that each wait for four looks of 0.24 s are no faster than four cores that look."""
    clock = Clock()

    def load(_: Path, threads: int, engine: str) -> Fake:
        if engine not in (REFERENCE, ON_GPU):
            raise EngineMissing("it is not there")
        return Fake(clock, seconds if engine == ON_GPU else 1.0)

    monkeypatch.setattr(engine_choice.Detector, "load", load)
    monkeypatch.setattr(engine_choice, "verify", lambda *_: None)
    monkeypatch.setattr(engine_choice, "available_cores", lambda: 4)
    choice = choose(tmp_path, [np.zeros((SIZE, SIZE, 3), np.uint8)] * 2, [(SIZE, SIZE)], unasked, clock)
    assert choice.name == chosen
    assert choice.measured[ON_GPU]["milliseconds"] == pytest.approx(4000 * seconds)


@pytest.mark.parametrize(
    ("sizes", "chosen"),
    [
        ([(SIZE, SIZE), (8 * SIZE, SIZE)], REFERENCE),  # one of the flights has large pictures
        ([(SIZE + n, SIZE) for n in range(5)], REFERENCE),
        ([(SIZE + n, SIZE) for n in range(4)], ON_GPU),
    ],
)
def test_a_gpu_is_for_few_shapes(
    sizes: list[tuple[int, int]], chosen: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    clock = Clock()
    monkeypatch.setattr(engine_choice, "available_cores", lambda: 1)
    monkeypatch.setattr(Fake, "views", lambda _, width, height: SlicingPlan(2 * SIZE).views(width, height, SIZE))
    monkeypatch.setattr(
        engine_choice.Detector, "load", lambda *_, threads, engine: Fake(clock, 0.1 if engine == ON_GPU else 1.0)
    )
    monkeypatch.setattr(engine_choice, "verify", lambda *_: None)
    choice = choose(tmp_path, [np.zeros((SIZE, SIZE, 3), np.uint8)], sizes, unasked, clock)
    assert choice.name == chosen
    assert "plans anew for each shape" in choice.measured[ON_GPU].get("refused", "") or chosen == ON_GPU


class Driver:
    """NVIDIA's, as ctypes finds it."""

    def __init__(self, version: int, devices: int, failure: int = 0) -> None:
        self.version, self.devices, self.failure = version, devices, failure

    def cuInit(self, _: int) -> int:
        return self.failure

    def cuDriverGetVersion(self, number: Any) -> int:
        number._obj.value = self.version
        return 0

    def cuDeviceGetCount(self, number: Any) -> int:
        number._obj.value = self.devices
        return 0


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Any:
    """ONNX Runtime as the image for GPUs has it; its sessions compute on this processor, whatever they say."""

    class Session:
        made = 0
        lacks: tuple[str, ...] = ()

        def __init__(self, file: str, options: object, *, providers: list[Any], enable_fallback: int) -> None:
            assert (providers[0][0], enable_fallback) == (onnx_cuda.PROVIDER, 0)
            self.real = real(file, options, providers=["CPUExecutionProvider"])
            self.inside = threading.Lock()
            self.shapes: set[tuple[int, ...]] = set()
            Session.made += 1

        def get_providers(self) -> list[str]:
            return [one for one in (onnx_cuda.PROVIDER, "CPUExecutionProvider") if one not in self.lacks]

        def get_inputs(self) -> Any:
            return self.real.get_inputs()

        def run(self, _: None, feed: dict[str, np.ndarray]) -> Any:
            assert self.inside.acquire(blocking=False), "two at once in one session"
            self.shapes |= {next(iter(feed.values())).shape}
            assert len(self.shapes) == 1, "it plans anew"
            output = self.real.run(None, feed)
            self.inside.release()
            return output

    onnxruntime = onnx_cuda.onnxruntime
    real = onnxruntime.InferenceSession
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [onnx_cuda.PROVIDER])
    monkeypatch.setattr(onnxruntime, "cuda_version", "13.0")
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: print("Failed to load libcudnn.so.9: it is not there"))
    monkeypatch.setattr(
        onnxruntime,
        "InferenceSession",
        lambda *args, **more: (Session if "enable_fallback" in more else real)(*args, **more),
    )
    monkeypatch.setattr(onnx_cuda.ctypes, "CDLL", lambda _: Driver(13000, 1))
    return Session


def test_on_a_gpu_each_shape_has_its_session_and_batches_take_turns(model: Path, gpu: Any) -> None:
    random, engine = np.random.default_rng(4), engines.load(ON_GPU, model, 1)
    blobs = [random.random((n, 3, 64, side), dtype=np.float32) for n, side in ((1, 64), (2, 64), (1, 96), (1, 32))] * 6
    with ThreadPoolExecutor(8) as pool:
        outputs = list(pool.map(engine.run, blobs))
    assert gpu.made == 4
    for ours, theirs in zip(outputs[4:], outputs, strict=False):
        assert all(np.allclose(one, other) for one, other in zip(ours, theirs, strict=True))


def test_the_shape_that_was_asked_for_longest_ago_makes_room(model: Path, gpu: Any) -> None:
    engine = engines.load(ON_GPU, model, 1)

    def ask(side: int) -> int:
        engine.run(np.zeros((1, 3, 32, side), np.float32))
        return int(gpu.made)

    assert [ask(32 * n) for n in (1, 2, 3, 4, 1, 5)] == [1, 2, 3, 4, 4, 5]
    assert [ask(32 * n) for n in (1, 3, 4, 5, 2)] == [5, 5, 5, 5, 6]


@pytest.mark.parametrize(
    ("driver", "why"),
    [
        (None, "has no NVIDIA driver"),
        (Driver(12020, 1), "knows CUDA 12.2, and ONNX Runtime needs 13"),
        (Driver(13000, 0), "finds no GPU"),
        (Driver(13010, 1, failure=100), "finds no GPU"),
    ],
)
def test_without_a_usable_gpu_the_engine_is_missing(
    driver: Driver | None, why: str, model: Path, gpu: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find(_: str) -> Driver:
        if driver is None:
            raise OSError("libcuda.so.1: cannot open shared object file")
        return driver

    monkeypatch.setattr(onnx_cuda.ctypes, "CDLL", find)
    with pytest.raises(EngineMissing, match=why):
        engines.load(ON_GPU, model, 1)
    assert gpu.made == 0


def test_an_onnx_runtime_that_falls_back_to_the_processor_is_no_engine(
    model: Path, gpu: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gpu, "lacks", (onnx_cuda.PROVIDER,))
    monkeypatch.setenv("SKYLOOP_ENGINE", ON_GPU)
    assert serve._load(model, 1, 2)[1] == REFERENCE
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["why"] == "ONNX Runtime cannot use the GPU: Failed to load libcudnn.so.9: it is not there"


def test_the_image_for_processors_says_what_is_missing(model: Path) -> None:
    with pytest.raises(EngineMissing, match="build the serving image with CUDA=1"):
        engines.load(ON_GPU, model, 1)
