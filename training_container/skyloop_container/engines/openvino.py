"""OpenVINO on the CPU. It reads model.onnx, so that a model has one file for all engines but INT8.

What an INT8 network leaves in float32 is computed so: in bfloat16 it took longer, and what comes of it would depend on
the processor.
"""

import sys
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

# What OpenVINO brings to convert models, and to report that it did, is not needed to run one: without it the import
# takes half the time and nothing can ever be reported.
sys.modules.setdefault("openvino.tools.ovc", None)  # type: ignore[arg-type]

import openvino  # noqa: E402

# OpenVINO learns numpy's types when it is first asked for one. Two threads that ask first wait for each other for ever:
# one for the interpreter's lock, the other, which has that, for what the first one learns.
openvino.Tensor(np.zeros(1, dtype=np.float32)).get_element_type().to_dtype()

Outputs = tuple[np.ndarray, np.ndarray]


def has_bf16() -> bool:
    """Whether this processor computes in bfloat16. OpenVINO computes in float32 on others, whatever it is told."""
    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


class OpenVinoEngine:
    """An `Engine` around compiled models of OpenVINO."""

    def __init__(self, file: Path, threads: int, together: int, pictures: int, precision: str) -> None:
        """Load a model.

        Args:
            file: model.onnx, or an INT8 network in OpenVINO's format.
            threads: for one of several pictures.
            together: for one that is alone.
            pictures: that are run at once.
            precision: f32 or bf16.

        Raises:
            RuntimeError: the file is missing or damaged.
        """

        def compile_each() -> tuple[openvino.Core, openvino.Model, _Compiled]:
            core = openvino.Core()
            model = core.read_model(file)
            return core, model, _Compiled(core, model, precision, threads, pictures)

        def compile_together() -> None:
            self._together = _Compiled(core, model, precision, together, 1)

        # OpenVINO gives the thread that loads a model another stack for signals, and the one before back when the model
        # goes: of two models the second may give back the first one's, which is gone, and the next signal ends the
        # process. So models are loaded in threads of their own, which have none.
        with ThreadPoolExecutor(1) as pool:
            core, model, self._each = pool.submit(compile_each).result()
        self._together = self._each
        if together != threads:
            # Meanwhile, so that the first answer does not wait for it; but the process does, for one that ends while a
            # model is compiled aborts.
            threading.Thread(target=compile_together, name="compile").start()

    def run(self, images: np.ndarray, alone: bool = False) -> Outputs:
        """See `Engine`."""
        return (self._together if alone else self._each).run(images)


class _Compiled:
    """A model for so many pictures at once, each with so many threads of OpenVINO's own."""

    def __init__(self, core: openvino.Core, model: openvino.Model, precision: str, threads: int, streams: int) -> None:
        self._model = core.compile_model(
            model,
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": precision,
                "INFERENCE_NUM_THREADS": threads * streams,
                "NUM_STREAMS": streams,
                # Which cores are free is for the system to know: other threads decode meanwhile.
                "ENABLE_CPU_PINNING": False,
            },
        )
        self._idle: deque[openvino.InferRequest] = deque()  # each runs one picture at a time

    def run(self, images: np.ndarray) -> Outputs:
        try:
            request = self._idle.pop()
        except IndexError:
            request = self._model.create_infer_request()
        output, pooled = request.infer([np.ascontiguousarray(images)], share_inputs=True).values()
        self._idle.append(request)
        return output, pooled
