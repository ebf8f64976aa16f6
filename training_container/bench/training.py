"""One training step, side by side: number formats, memory layouts, threads, optimizers, frozen layers.

    PYTHONPATH=training_container OMP_WAIT_POLICY=PASSIVE python -m training_container.bench.training

Times are per image and step (forward, backward, optimizer), of wall clock and of CPU; the variants take turns, and the
least and the median of all rounds are given, so that a busy machine disturbs all alike. Synthetic images, 15 boxes
each: this measures speed only.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from skyloop_container.environment import available_cores
from skyloop_container.ultralytics_setup import prepare

BOXES = 15  # per image


@dataclass(frozen=True)
class Variant:
    """How a step is made. threads 0: all cores."""

    name: str
    bf16: bool = False
    channels_last: bool = False
    threads: int = 0
    optimizer: str = "AdamW"
    freeze: int = 0


def variants() -> list[Variant]:
    """What Ultralytics does by itself on a CPU, what the container tries, and one change at a time.

    The container tries "all cores, fp32" and "bf16, channels-last", each also with one thread.
    """
    both = Variant("bf16, channels-last", bf16=True, channels_last=True)
    return [
        Variant("Ultralytics' own: cores - 1, fp32", threads=max(available_cores() - 1, 1)),
        Variant("all cores, fp32"),
        Variant("bf16", bf16=True),
        Variant("channels-last", channels_last=True),
        both,
        replace(both, name="… with SGD", optimizer="SGD"),
        replace(both, name="… with freeze=10", freeze=10),
    ]


def make_step(variant: Variant, batch: int, size: int) -> Callable[[], tuple[float, float]]:
    """A function that makes one step and returns seconds of wall clock and of CPU."""
    from ultralytics.cfg import get_cfg
    from ultralytics.nn.tasks import DetectionModel

    torch.manual_seed(0)
    model = DetectionModel("yolo11n.yaml", nc=1, verbose=False)
    model.args = get_cfg()
    model.train()
    images = torch.rand(batch, 3, size, size)
    if variant.channels_last:
        model, images = (x.to(memory_format=torch.channels_last) for x in (model, images))
    for name, parameter in model.named_parameters():
        if ".dfl" in name or any(name.startswith(f"model.{layer}.") for layer in range(variant.freeze)):
            parameter.requires_grad = False
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = getattr(torch.optim, variant.optimizer)(parameters, lr=1e-3)
    data = {
        "img": images,
        "cls": torch.zeros(batch * BOXES, 1),
        "bboxes": torch.rand(batch * BOXES, 4) * 0.1 + 0.3,
        "batch_idx": torch.arange(batch).repeat_interleave(BOXES).float(),
    }

    def step() -> tuple[float, float]:
        torch.set_num_threads(variant.threads or available_cores())
        wall, cpu = time.perf_counter(), time.process_time()
        with torch.autocast("cpu", torch.bfloat16, enabled=variant.bf16):
            loss, _ = model(data)
        loss.sum().backward()
        torch.nn.utils.clip_grad_norm_(parameters, 10.0)
        optimizer.step()
        optimizer.zero_grad()
        return time.perf_counter() - wall, time.process_time() - cpu

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=256, help="side of the images in pixels")
    parser.add_argument("--batch", type=int, default=8, help="images per step")
    parser.add_argument("--rounds", type=int, default=5, help="measured steps per variant, after one that warms up")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        prepare(Path(scratch))
        chosen = variants()
        steps = [make_step(variant, options.batch, options.size) for variant in chosen]
        times = np.array([[step() for step in steps] for _ in range(options.rounds + 1)])[1:]
    times *= 1000 / options.batch
    table = Table(title=f"YOLO11n, {options.size} px, batch {options.batch}, {available_cores()} cores; ms per image")
    for name in ("step", "wall, least", "wall, median", "CPU, least", "CPU, median"):
        table.add_column(name, justify="left" if name == "step" else "right")
    for number, variant in enumerate(chosen):
        wall, cpu = times[:, number, 0], times[:, number, 1]
        cells = (wall.min(), np.median(wall), cpu.min(), np.median(cpu))
        table.add_row(variant.name, *(f"{cell:.1f}" for cell in cells))
    Console().print(table)


if __name__ == "__main__":
    main()
