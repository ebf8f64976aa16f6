"""Runs mutated inputs through a target in a process of its own, which may neither hang nor swell.

    python -m tests.fuzz.campaign [--seed N] [--inputs N | --seconds S] [--target NAME …]

The same seed gives the same inputs. A failure is told with its target, seed and number, and kept as a file.
"""

from __future__ import annotations

import argparse
import collections
import multiprocessing
import os
import resource
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.fuzz.mutations import mutated
from tests.fuzz.targets import Target, targets

HANG_SECONDS = 5.0
MEMORY = 2_000_000_000  # bytes beyond what the process has at its start: twice what the largest picture may take
FOLDER = Path(".cache") / "fuzz"


@dataclass
class Result:
    """Of one target: how often it said what, its slowest input in seconds, and what went wrong."""

    verdicts: collections.Counter[str] = field(default_factory=collections.Counter)
    slowest: float = 0.0
    failures: list[str] = field(default_factory=list)

    @property
    def inputs(self) -> int:
        """How many were tried."""
        return sum(self.verdicts.values()) + len(self.failures)


Load = Callable[[], dict[str, Target]]
"""Makes the targets, in each process anew."""


def run(target: str, seed: int, numbers: range, seconds: float = float("inf"), load: Load = targets) -> Result:
    """Try inputs of a target, until the time is over. A process that ends or hangs is replaced after its input."""
    result, at, end = Result(), numbers.start, time.monotonic() + seconds
    while at < numbers.stop and time.monotonic() < end:
        context = multiprocessing.get_context("spawn")
        current = context.Value("q", at)
        receiver, sender = context.Pipe(duplex=False)
        worker = context.Process(target=_work, args=(load, target, seed, range(at, numbers.stop), current, sender, end))
        worker.start()
        sender.close()
        at = _watch(worker, receiver, current, result, load, target, seed)
    return result


def _watch(worker: Any, receiver: Any, current: Any, result: Result, load: Load, target: str, seed: int) -> int:
    """Take a worker's reports until it ends; returns the number to go on with."""
    seen, since = -1, time.monotonic()
    while True:
        if receiver.poll(0.5):
            try:
                report = receiver.recv()
            except EOFError:
                break
            if report is None:
                worker.join()
                return sys.maxsize
            verdicts, slowest, failures = report
            result.verdicts.update(verdicts)
            result.slowest = max(result.slowest, slowest)
            result.failures += failures
        number = current.value
        if number != seen:
            seen, since = number, time.monotonic()
        elif time.monotonic() - since > 6 * HANG_SECONDS:
            worker.kill()
            break
    worker.join()
    number = current.value
    how = "hangs" if worker.exitcode == -9 else f"ends the process ({worker.exitcode})"
    result.failures.append(_keep(load, target, seed, number, how))
    return int(number) + 1


def _work(load: Load, target: str, seed: int, numbers: range, current: Any, sender: Any, end: float) -> None:
    chosen = load()[target]
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    resource.setrlimit(resource.RLIMIT_DATA, (used + MEMORY, resource.RLIM_INFINITY))
    verdicts: collections.Counter[str] = collections.Counter()
    slowest, failures, told = 0.0, [], time.monotonic()
    for number in numbers:
        current.value = number
        body = mutated(seed, number, chosen.corpus)
        began = time.process_time()  # what else the machine does is no fault of a reader; _watch sees who waits
        try:
            verdicts[chosen.read(body)] += 1
        except Exception:
            failures.append(_keep(load, target, seed, number, traceback.format_exc(limit=-3)))
        took, now = time.process_time() - began, time.monotonic()
        slowest = max(slowest, took)
        if took > HANG_SECONDS:
            failures.append(_keep(load, target, seed, number, f"takes {took:.1f} s"))
        if now - told > 0.5 or now > end or number == numbers.stop - 1:
            sender.send((verdicts, slowest, failures))
            verdicts, failures, told = collections.Counter(), [], now
        if now > end:
            break
    sender.send(None)


def _keep(load: Load, target: str, seed: int, number: int, why: str) -> str:
    FOLDER.mkdir(parents=True, exist_ok=True)
    file = FOLDER / f"{target.replace(' ', '-')}-{seed}-{number}"
    file.write_bytes(mutated(seed, number, load()[target].corpus))
    return f"{target}, seed {seed}, input {number} ({file}): {why}"


def main(load: Load = targets) -> None:
    """Fuzz for some time and say what came of it; the process ends with 1 where something was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"))
    parser.add_argument("--inputs", type=int, default=sys.maxsize, help="of each target")
    parser.add_argument("--seconds", type=float, default=60.0, help="in all, shared by the targets")
    parser.add_argument("--target", action="append", choices=list(load()), help="only this one; may be repeated")
    arguments = parser.parse_args()
    names = arguments.target or list(load())
    console = Console()
    console.print(f"seed {arguments.seed}, {arguments.seconds:.0f} s")
    table = Table("target", "inputs", "what it said", "slowest s", "failures", title=f"seed {arguments.seed}")
    failures = []
    for name in names:
        with console.status(f"{name} …"):
            result = run(name, arguments.seed, range(arguments.inputs), arguments.seconds / len(names), load)
        failures += result.failures
        said = ", ".join(f"{count:,} {verdict}" for verdict, count in result.verdicts.most_common(6))
        table.add_row(name, f"{result.inputs:,}", said, f"{result.slowest:.2f}", str(len(result.failures)))
    console.print(table)
    for failure in failures[:20]:
        console.print(failure, markup=False)
    raise SystemExit(1 if failures else 0)


if __name__ == "__main__":
    main()
