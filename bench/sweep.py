"""What the sweep costs: seconds of the processor, memory and pages, from a thousand uploads to a million.

    python -m bench.sweep [UPLOADS …]        default 1000 10000 100000

The function's own code, over a listing and a catalogue that are made up as they are read. One upload in ten thousand
was forgotten. Reading from S3 and DynamoDB itself is not in it: a page of a thousand objects takes some 100 ms there,
and so does a megabyte of entries.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from skyloop import layout
from skyloop.aws.settings import Settings
from skyloop.aws.storage import ObjectSummary
from skyloop.sweep import Sweep

FORGOTTEN = 10_000  # one in so many
PAGE = 1000
FLIGHT_FRAMES = 500


def upload(number: int) -> tuple[str, str]:
    """Key and ETag of an upload."""
    flight = f"flight-{number // FLIGHT_FRAMES:06d}"
    return f"{layout.RAW_IMAGES}{flight}/DJI_{number % FLIGHT_FRAMES:04d}.JPG", f'"{number:032x}"'


class MadeUp:
    """A bucket, a catalogue and a queue of so many uploads."""

    bucket = "bucket"

    def __init__(self, count: int) -> None:
        self.count = count
        self.pages = 0

    def listing(self, _: str) -> Iterator[ObjectSummary]:
        """Every upload."""
        for number in range(self.count):
            self.pages += number % PAGE == 0
            key, etag = upload(number)
            yield ObjectSummary(key, 8_000_000, 0.0, etag)

    def known_objects(self, status: str) -> Iterator[tuple[str, str | None]]:
        """All but the forgotten are labeled."""
        for number in range(self.count) if status == "LABELED" else ():
            if number % FORGOTTEN != FORGOTTEN // 2:
                yield upload(number)

    def get_queue_attributes(self, **_: object) -> dict[str, Any]:
        """An empty queue."""
        return {"Attributes": {}}

    def send_message_batch(self, **_: object) -> dict[str, Any]:
        """Everything is taken."""
        return {"Successful": []}


def sweep(count: int) -> None:
    """In a process of its own: what is printed is the table's row."""
    made_up: Any = MadeUp(count)
    settings: Any = Settings.model_construct(labeling_quiet_seconds=60, uploads_queue_url="queue")
    machine = Sweep(made_up, made_up, made_up, settings, queue=made_up, sagemaker=made_up, sns=made_up)
    started = time.process_time()
    examined, requeued = machine._uploads(datetime.now(UTC))
    seconds = time.process_time() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(examined, requeued, f"{seconds:.1f}", f"{peak:.0f}", made_up.pages)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("uploads", type=int, nargs="*", default=[1000, 10_000, 100_000])
    table = Table(title="A sweep of uploads")
    for column in ("uploads", "queued again", "seconds of the processor", "MB at most", "pages of S3"):
        table.add_column(column, justify="right")
    for count in parser.parse_args().uploads:
        command = [sys.executable, "-c", f"from bench.sweep import sweep; sweep({count})"]
        examined, *row = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        table.add_row(f"{int(examined):,}", *row)
    Console().print(table)


if __name__ == "__main__":
    main()
