"""What runs the exported network: one module for each engine, all behind `base.Engine`."""

from pathlib import Path

from .base import Engine, EngineMissing

FILE = "model.onnx"
REFERENCE = "onnxruntime"  # what every machine has, and what others are measured against
INT8 = "openvino-int8"  # the one whose network is another than model.onnx
ON_GPU = "onnxruntime-cuda"
ENGINES = (REFERENCE, "openvino-f32", "openvino-bf16", INT8, ON_GPU)

__all__ = ["ENGINES", "FILE", "INT8", "ON_GPU", "REFERENCE", "Engine", "EngineMissing", "load"]


def load(name: str, model_dir: Path, threads: int, pictures: int = 1) -> Engine:
    """Load a model into an engine.

    Args:
        name: one of `ENGINES`.
        model_dir: holds model.onnx; for INT8 also model.json and what `quantize` made.
        threads: for each of several pictures.
        pictures: that may be run at once. One that is alone gets the threads of all.

    Raises:
        EngineMissing: it is not installed, the machine lacks what it computes with, it cannot run this model, or the
            model has no INT8 network that is as the training wrote it.
        RuntimeError: the file is missing or damaged, as the reference says.
    """
    if name not in ENGINES:
        raise EngineMissing(f"there is no engine {name!r}; it must be one of {', '.join(ENGINES)}")
    file, together = model_dir / FILE, threads * pictures
    if name == REFERENCE:  # one is imported where it is used: that takes time
        from .onnx import OnnxEngine

        return OnnxEngine(file, threads, together)
    try:
        if name == ON_GPU:
            from .onnx_cuda import OnnxCudaEngine

            return OnnxCudaEngine(file)
        if name == INT8:
            from .int8 import intact

            file = intact(model_dir)
        from .openvino import OpenVinoEngine, has_bf16

        precision = name.removeprefix("openvino-")
        if precision == "bf16" and not has_bf16():
            raise EngineMissing("this processor has no instructions for bfloat16")
        return OpenVinoEngine(file, threads, together, pictures, "f32" if name == INT8 else precision)
    except (ImportError, RuntimeError, OSError) as error:  # a damaged model fails with the reference too
        raise EngineMissing(f"{name} cannot run it: {error}") from error
