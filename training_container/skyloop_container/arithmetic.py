"""Which arithmetic trains a model fastest on this CPU: measured, because no rule of thumb holds.

On two Zen 4 cores bfloat16 on channels-last tensors wins at 256 px and a batch of 8, and takes three times as long as
float32 at 160 px and a batch of 4, where moreover one thread beats two: the layers are over before the second thread
has woken (training_container/bench/training.py).
"""

import copy
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch

ROUNDS = 3
PATIENCE_SECONDS = 4.0  # a variant gets no further round after this time


@dataclass(frozen=True)
class Arithmetic:
    """bf16: bfloat16 autocast on channels-last tensors, else float32. threads: of torch's operators."""

    bf16: bool
    threads: int

    def __str__(self) -> str:
        return f"{'bfloat16, channels-last' if self.bf16 else 'float32'}, {self.threads} threads"


def has_bf16() -> bool:
    """Whether this CPU computes in bfloat16 at all: AMX or AVX512-BF16 instructions. Others emulate it, slowly."""
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))


def fastest(model: torch.nn.Module, imgsz: int, batch: int) -> Arithmetic:
    """The arithmetic whose steps take the least time, by trial of a few steps each.

    Args:
        model: on the CPU; copies of it make the steps.
        imgsz: side of the images in pixels.
        batch: images a step.
    """
    threads = torch.get_num_threads()
    formats = (False, True) if has_bf16() else (False,)
    variants = [Arithmetic(bf16, count) for bf16, count in product(formats, sorted({1, threads}))]
    try:
        return min(variants, key=lambda variant: _step_seconds(model, imgsz, batch, variant))
    finally:
        torch.set_num_threads(threads)


def _step_seconds(model: torch.nn.Module, imgsz: int, batch: int, variant: Arithmetic) -> float:
    """Seconds of the fastest forward and backward pass; the first one warms up too, so it seldom is."""
    torch.set_num_threads(variant.threads)
    layout = torch.channels_last if variant.bf16 else torch.contiguous_format
    trial = copy.deepcopy(model).to(memory_format=layout).train()
    images = torch.full((batch, 3, imgsz, imgsz), 0.5).contiguous(memory_format=layout)
    seconds: list[float] = []
    while len(seconds) < ROUNDS and sum(seconds) < PATIENCE_SECONDS:
        start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=variant.bf16):
            outputs = trial(images)
        torch.stack([tensor.float().sum() for tensor in _tensors(outputs)]).sum().backward()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def _tensors(outputs: Any) -> Iterator[torch.Tensor]:
    """Every tensor with a gradient in a model's output, however Ultralytics nests them."""
    if isinstance(outputs, torch.Tensor):
        if outputs.requires_grad:
            yield outputs
    else:
        for value in outputs.values() if isinstance(outputs, dict) else outputs:
            yield from _tensors(value)
