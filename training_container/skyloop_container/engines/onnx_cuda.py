"""ONNX Runtime on an NVIDIA GPU, in float32; convolutions and products in TF32 where the GPU has it.

Where it cannot use the GPU, ONNX Runtime says so in its log and computes on the CPU. Here that is a missing engine.
"""

import contextlib
import ctypes
import io
import threading
from collections import OrderedDict
from pathlib import Path

import numpy as np
import onnxruntime

from .base import SHAPES, EngineMissing
from .onnx import own_errors, settings

PROVIDER = "CUDAExecutionProvider"

OPTIONS = {
    "cudnn_conv_algo_search": "HEURISTIC",
    "arena_extend_strategy": "kSameAsRequested",  # or each session takes twice the memory that it needs
}


class OnnxCudaEngine:
    """An `Engine` around sessions of ONNX Runtime on the machine's first GPU.

    A session plans its convolutions for the last shape of input alone, and anew when another comes. So each shape has
    its own. In one session several batches at once have ended in an illegal access to the GPU's memory (ONNX Runtime
    1.31.1), after which the process computes nothing any more. So they take turns.
    """

    def __init__(self, file: Path) -> None:
        """Load a model.

        Args:
            file: model.onnx.

        Raises:
            EngineMissing: there is no GPU, or this ONNX Runtime cannot use it.
            RuntimeError: the file is missing or damaged.
        """
        if reason := why_not():
            raise EngineMissing(reason)
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            onnxruntime.preload_dlls()  # CUDA and cuDNN as pip installs them
        self._file = file
        self._lock = threading.Lock()
        self._ready: OrderedDict[tuple[int, ...], _Session] = OrderedDict()
        self._spare: _Session | None = _Session(file)
        if PROVIDER not in self._spare.providers:
            line = next(iter(said.getvalue().splitlines()), "its libraries cannot be loaded")
            raise EngineMissing(f"ONNX Runtime cannot use the GPU: {line}")

    def run(self, images: np.ndarray, alone: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """See `Engine`."""
        return self._session(images.shape).run(images)

    def _session(self, shape: tuple[int, ...]) -> "_Session":
        with self._lock:
            if shape not in self._ready:
                if len(self._ready) == SHAPES:
                    self._ready.popitem(last=False)
                self._ready[shape] = self._spare or _Session(self._file)
                self._spare = None
            self._ready.move_to_end(shape)
            return self._ready[shape]


class _Session:
    def __init__(self, file: Path) -> None:
        with own_errors():
            # Otherwise it goes on with the CPU, and stays there, when the GPU fails.
            self._session = onnxruntime.InferenceSession(
                str(file), settings(threads=1), providers=[(PROVIDER, OPTIONS)], enable_fallback=0
            )
        self.providers: list[str] = self._session.get_providers()
        self._input = self._session.get_inputs()[0].name
        self._turn = threading.Lock()

    def run(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with self._turn, own_errors():
            output, pooled = self._session.run(None, {self._input: images})
        return output, pooled


def why_not() -> str:
    """Why nothing here can compute on a GPU; empty where nothing is known against it."""
    if PROVIDER not in onnxruntime.get_available_providers():
        return "this ONNX Runtime is built for processors alone: build the serving image with CUDA=1"
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "this machine has no NVIDIA driver"
    version, devices = ctypes.c_int(), ctypes.c_int()
    driver.cuDriverGetVersion(ctypes.byref(version))  # 12020 is 12.2
    needed = int(onnxruntime.cuda_version.partition(".")[0])
    if version.value // 1000 < needed:
        known = f"{version.value // 1000}.{version.value % 1000 // 10}"
        return f"this machine's NVIDIA driver knows CUDA {known}, and ONNX Runtime needs {needed}"
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(devices)) or not devices.value:
        return "the NVIDIA driver finds no GPU"
    return ""
