"""Which number format and memory layout train a model fastest on this CPU: measured, because no rule of thumb holds.

On a Zen 4 core bfloat16 with channels-last tensors wins at 256 px and a batch of 8, and takes three times as long as
plain float32 at 160 px and a batch of 4 (bench/training.py).
"""

import copy
import time
from collections.abc import Iterator
from typing import Any

import torch

ROUNDS = 3  # the first warms up


def has_bf16() -> bool:
    """Whether this CPU computes in bfloat16 at all: AMX or AVX512-BF16 instructions. Others emulate it, slowly."""
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))


def bf16_pays(model: torch.nn.Module, imgsz: int, batch: int) -> bool:
    """Whether a step in bfloat16 on channels-last tensors costs less CPU time than one in float32.

    Args:
        model: on the CPU; a copy of it makes the steps.
        imgsz: side of the images in pixels.
        batch: images a step.
    """
    return has_bf16() and _step_seconds(model, imgsz, batch, bf16=True) < _step_seconds(model, imgsz, batch, bf16=False)


def _step_seconds(model: torch.nn.Module, imgsz: int, batch: int, *, bf16: bool) -> float:
    """CPU seconds of the cheapest forward and backward pass. CPU time, so that a busy machine misleads less."""
    layout = torch.channels_last if bf16 else torch.contiguous_format
    trial = copy.deepcopy(model).to(memory_format=layout).train()
    images = torch.full((batch, 3, imgsz, imgsz), 0.5).contiguous(memory_format=layout)
    seconds = []
    for _ in range(ROUNDS):
        start = time.process_time()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            outputs = trial(images)
        torch.stack([tensor.float().sum() for tensor in _tensors(outputs)]).sum().backward()
        seconds.append(time.process_time() - start)
    return min(seconds[1:])


def _tensors(outputs: Any) -> Iterator[torch.Tensor]:
    """Every tensor with a gradient in a model's output, however Ultralytics nests them."""
    if isinstance(outputs, torch.Tensor):
        if outputs.requires_grad:
            yield outputs
    else:
        for value in outputs.values() if isinstance(outputs, dict) else outputs:
            yield from _tensors(value)
