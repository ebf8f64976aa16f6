"""Which number format and how many threads train a model fastest on this CPU: measured, because no rule of thumb holds.

On two Zen 4 cores bfloat16 on channels-last tensors is fastest at 256 px and a batch of 8. At 160 px and a batch of 4
it takes three times as long as float32, and one thread is faster than two: each layer ends before the second thread
has started (training_container/bench/training.py). Two threads that wait for each other burn twice the CPU, and on a
shared machine an epoch of theirs may take three times as long: more are taken only where they are clearly faster.
"""

import copy
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

ROUNDS = 3
"""Steps of two modes that are compared, in turns, so that what else the machine does slows both; the fastest counts."""
ENOUGH_ROUNDS = 2
"""Where the difference is PLAIN. After one, it may be what else the machine does."""
PATIENCE_SECONDS = 4.0  # a comparison gets no further round after this time
PLAIN = 1.5
"""Times the margin, either way."""

MORE_THREADS = 1.3
"""Times as fast as one thread must all of them be to be taken."""
OTHER_FORMAT = 1.1
"""Times as fast as float32 must bfloat16 be to be taken."""


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
    """Try a few training steps, and choose the number format, then the number of threads.

    The plainer mode, float32 or one thread, stays unless the other one is faster by its margin.

    Args:
        model: on the CPU; the steps are made on copies of it.
        imgsz: side of the images in pixels.
        batch: images per step.
    """
    threads = torch.get_num_threads()
    mode = CpuMode(bf16=False, threads=1)
    try:
        step = _stepper(model, imgsz, batch, mode)
        if has_bf16():
            other = CpuMode(bf16=True, threads=1)
            if _clearly_faster(challenger := _stepper(model, imgsz, batch, other), step, OTHER_FORMAT):
                mode, step = other, challenger
        more = CpuMode(mode.bf16, threads)
        if threads > 1 and _clearly_faster(_stepper(model, imgsz, batch, more), step, MORE_THREADS):
            mode = more
        return mode
    finally:
        torch.set_num_threads(threads)


def to_layout(module: torch.nn.Module, layout: torch.memory_format) -> torch.nn.Module:
    """Change a module's memory layout in place, and return it."""
    return module.to(memory_format=layout)  # type: ignore[call-overload,no-any-return]  # torch's stub forgets it


def _clearly_faster(challenger: Callable[[], None], holder: Callable[[], None], margin: float) -> bool:
    """Whether the fastest step of the one is `margin` times as fast as that of the other."""
    best = [float("inf")] * 2
    began = time.perf_counter()
    for done in range(1, ROUNDS + 1):
        for number, step in enumerate((holder, challenger)):
            started = time.perf_counter()
            step()
            best[number] = min(best[number], time.perf_counter() - started)
        times = best[0] / best[1]
        plain = done >= ENOUGH_ROUNDS and not margin / PLAIN < times < PLAIN * margin
        if plain or time.perf_counter() - began > PATIENCE_SECONDS:
            break
    return times >= margin


def _stepper(model: torch.nn.Module, imgsz: int, batch: int, mode: CpuMode) -> Callable[[], None]:
    """A forward and backward pass in a mode, on a copy of the model. The first one also warms up."""
    layout = torch.channels_last if mode.bf16 else torch.contiguous_format
    trial = to_layout(copy.deepcopy(model), layout).train()
    images = torch.full((batch, 3, imgsz, imgsz), 0.5).contiguous(memory_format=layout)

    def step() -> None:
        torch.set_num_threads(mode.threads)
        with torch.autocast("cpu", torch.bfloat16, enabled=mode.bf16):
            outputs = trial(images)
        torch.stack([tensor.float().sum() for tensor in _tensors(outputs)]).sum().backward()

    return step


def _tensors(outputs: Any) -> Iterator[torch.Tensor]:  # noqa: ANN401
    """Every tensor with a gradient in a model's output, however Ultralytics nests them."""
    if isinstance(outputs, torch.Tensor):
        if outputs.requires_grad:
            yield outputs
    else:
        for value in outputs.values() if isinstance(outputs, dict) else outputs:
            yield from _tensors(value)
