"""What runs the exported network: one module for each engine, all behind `base.Engine`."""

from pathlib import Path

from .base import Engine

FILE = "model.onnx"
REFERENCE = "onnxruntime"  # what every machine has, and what others are measured against
ENGINES = (REFERENCE, "openvino-f32", "openvino-bf16")


class EngineMissing(Exception):
    """This machine cannot run an engine. The text says why."""


def load(name: str, model_dir: Path, threads: int, pictures: int = 1) -> Engine:
    """Load a model into an engine.

    Args:
        name: one of `ENGINES`.
        model_dir: holds model.onnx.
        threads: for each of several pictures.
        pictures: that may be run at once. One that is alone gets the threads of all.

    Raises:
        EngineMissing: it is not installed, the processor lacks what it computes with, or it cannot run this model.
        RuntimeError, OSError: the file is missing or damaged, as the reference says.
    """
    if name not in ENGINES:
        raise EngineMissing(f"there is no engine {name!r}; it must be one of {', '.join(ENGINES)}")
    file, together = model_dir / FILE, threads * pictures
    if name == REFERENCE:  # one is imported where it is used: that takes time
        from .onnx import OnnxEngine

        return OnnxEngine(file, threads, together)
    precision = name.removeprefix("openvino-")
    try:
        from .openvino import OpenVinoEngine, has_bf16

        if precision == "bf16" and not has_bf16():
            raise EngineMissing("this processor has no instructions for bfloat16")
        return OpenVinoEngine(file, threads, together, pictures, precision)
    except (ImportError, RuntimeError, OSError) as error:  # a damaged model fails with the reference too
        raise EngineMissing(f"OpenVINO cannot run it: {error}") from error
