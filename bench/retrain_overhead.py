"""Orchestration overhead of a retrain: wall clock of the execution minus the jobs' own time.

    python -m bench.retrain_overhead [--json]

A job's own time is from start to end of training or processing. The laptop cloud is one of its own, with role policies
enforced. There are two retrains; the first is a cold start. Prints a row per retrain, then where the overhead of the
last one went, state by state.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.loop.driver import Loop, overhead
from tests.support.flights import write_flight

FRAMES = 12
PARAMETERS = {
    "Epochs": 1,
    "ImageSize": 64,
    "BatchSize": 4,
    "LabelingQuietSeconds": 0,
    "MinMap50": 0,
    "MinTrainImages": 1,
    "MaxMap50Drop": 1,
    "LabelingBatchSize": 3 * FRAMES,
    "SweepRate": "rate(1 hour)",
    "DriftRate": "rate(1 hour)",
}


def state_seconds(loop: Loop, execution: str) -> list[tuple[str, float]]:
    """Seconds an execution spent in each state, in the order it entered them."""
    machine = loop.cloud.outputs["RetrainStateMachineArn"]
    pages = loop.cloud.client("stepfunctions").get_paginator("get_execution_history")
    arn = machine.replace(":stateMachine:", ":execution:") + f":{execution}"
    events = [event for page in pages.paginate(executionArn=arn) for event in page["events"]]
    entered = [
        (event["stateEnteredEventDetails"]["name"], event["timestamp"])
        for event in events
        if "stateEnteredEventDetails" in event
    ]
    ends = [moment for _, moment in entered[1:]] + [events[-1]["timestamp"]]
    return [(name, (end - start).total_seconds()) for (name, start), end in zip(entered, ends, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON too")
    arguments = parser.parse_args()
    console = Console()
    title = f"two retrains on {platform.machine()}, {os.cpu_count()} cores"
    table = Table("retrain", "wall s", "jobs' own s", "orchestration s", title=title)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        loop = Loop(Path(folder) / "home")
        loop.up(**PARAMETERS)
        try:
            for version in (1, 2):
                flights = [
                    write_flight(Path(folder) / f"line-{version}{number}", FRAMES, seed=10 * version + number)
                    for number in range(3)
                ]
                for flight in flights:
                    loop.command("drop", flight.folder, "--labels", flight.annotations)

                def finished(count: int = version) -> bool:
                    return len(loop.executions("Retrain", "SUCCEEDED")) == count

                loop.wait(f"retrain {version}", finished)
                name = loop.executions("Retrain")[0].name
                wall, jobs, rest = overhead(loop, name)
                rows.append({"wall": wall, "jobs": jobs, "orchestration": rest})
                table.add_row(f"{version}", f"{wall:.1f}", f"{jobs:.1f}", f"{rest:.1f}")
                loop.wait("the deployment", lambda: not loop.executions("Deploy", "RUNNING"))
            states = Table("state", "s", title="the last retrain, state by state")
            for state, seconds in state_seconds(loop, name):
                states.add_row(state, f"{seconds:.2f}")
        finally:
            loop.command("down")
    console.print(table, states)
    if arguments.json:
        print(json.dumps(rows))


if __name__ == "__main__":
    main()
