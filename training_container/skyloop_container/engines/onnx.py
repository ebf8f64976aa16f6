"""ONNX Runtime on the CPU, in float32."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state

_ERRORS = tuple(
    value
    for value in vars(onnxruntime_pybind11_state).values()
    if isinstance(value, type) and issubclass(value, Exception)
)


class OnnxEngine:
    """An `Engine` around ONNX Runtime sessions."""

    def __init__(self, file: Path, threads: int, together: int) -> None:
        """Load a model.

        Args:
            file: model.onnx.
            threads: for one of several pictures.
            together: for one that is alone.

        Raises:
            RuntimeError: the file is missing or damaged.
        """
        self._session = _session(file, threads)
        self._together = _session(file, together) if together != threads else self._session
        self._input = self._session.get_inputs()[0].name

    def run(self, images: np.ndarray, alone: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """See `Engine`."""
        with own_errors():
            output, pooled = (self._together if alone else self._session).run(None, {self._input: images})
        return output, pooled


def _session(file: Path, threads: int) -> onnxruntime.InferenceSession:
    with own_errors():
        return onnxruntime.InferenceSession(str(file), settings(threads), providers=["CPUExecutionProvider"])


def settings(threads: int) -> onnxruntime.SessionOptions:
    """Of a session that computes with so many threads on the CPU."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Threads that spin between requests take the cores from the next request's decoding.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


@contextmanager
def own_errors() -> Iterator[None]:
    """ONNX Runtime's exceptions have no base of their own: here each is a RuntimeError."""
    try:
        yield
    except _ERRORS as error:
        raise RuntimeError(str(error)) from error
