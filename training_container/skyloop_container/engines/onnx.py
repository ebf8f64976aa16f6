"""ONNX Runtime on the CPU."""

from pathlib import Path

import numpy as np
import onnxruntime

FILE = "model.onnx"


class OnnxEngine:
    """An `Engine` around an ONNX Runtime session."""

    def __init__(self, model_dir: Path, threads: int) -> None:
        """Load model.onnx.

        Args:
            model_dir: holds model.onnx.
            threads: for one image.

        Raises:
            RuntimeError, OSError: the file is missing or damaged.
        """
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Threads that spin between requests take the cores from the next request's decoding.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        path = str(model_dir / FILE)
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name

    def run(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `Engine`."""
        output, pooled = self._session.run(None, {self._input: images})
        return output, pooled
