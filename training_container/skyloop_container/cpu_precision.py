"""Which number format and how many threads train a model fastest on this CPU: measured, because no rule of thumb holds.

On two Zen 4 cores bfloat16 on channels-last tensors is fastest at 256 px and a batch of 8. At 160 px and a batch of 4
it takes three times as long as float32, and one thread is faster than two: each layer ends before the second thread
has started (training_container/bench/training.py).
"""

import copy
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch

ROUNDS = 3
PATIENCE_SECONDS = 4.0  # a mode gets no further round after this time


@dataclass(frozen=True)
class CpuMode:
    """How a CPU trains.

    bf16: bfloat16 autocast on channels-last tensors; otherwise float32.
    threads: of torch's operators.
    """

    bf16: bool
    threads: int

    def __str__(self) -> str:
        return f"{'bfloat16, channels-last' if self.bf16 else 'float32'}, {self.threads} threads"


def has_bf16() -> bool:
    """Whether this CPU has instructions for bfloat16: AMX or AVX512-BF16. Other CPUs emulate it, slowly."""
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))


def autotune(model: torch.nn.Module, imgsz: int, batch: int) -> CpuMode:
    """Try a few training steps in every mode that this CPU has, and choose the fastest.

    Args:
        model: on the CPU; the steps are made on copies of it.
        imgsz: side of the images in pixels.
        batch: images per step.
    """
    threads = torch.get_num_threads()
    formats = (False, True) if has_bf16() else (False,)
    modes = [CpuMode(bf16, count) for bf16, count in product(formats, sorted({1, threads}))]
    try:
        return min(modes, key=lambda mode: _step_seconds(model, imgsz, batch, mode))
    finally:
        torch.set_num_threads(threads)


def to_layout(module: torch.nn.Module, layout: torch.memory_format) -> torch.nn.Module:
    """Change a module's memory layout in place, and return it."""
    return module.to(memory_format=layout)  # type: ignore[call-overload,no-any-return]  # torch's stub forgets it


def _step_seconds(model: torch.nn.Module, imgsz: int, batch: int, mode: CpuMode) -> float:
    """Seconds of the fastest forward and backward pass. The first one also warms up, so it is seldom the fastest."""
    torch.set_num_threads(mode.threads)
    layout = torch.channels_last if mode.bf16 else torch.contiguous_format
    trial = to_layout(copy.deepcopy(model), layout).train()
    images = torch.full((batch, 3, imgsz, imgsz), 0.5).contiguous(memory_format=layout)
    seconds: list[float] = []
    while len(seconds) < ROUNDS and sum(seconds) < PATIENCE_SECONDS:
        start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=mode.bf16):
            outputs = trial(images)
        torch.stack([tensor.float().sum() for tensor in _tensors(outputs)]).sum().backward()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def _tensors(outputs: Any) -> Iterator[torch.Tensor]:  # noqa: ANN401
    """Every tensor with a gradient in a model's output, however Ultralytics nests them."""
    if isinstance(outputs, torch.Tensor):
        if outputs.requires_grad:
            yield outputs
    else:
        for value in outputs.values() if isinstance(outputs, dict) else outputs:
            yield from _tensors(value)
