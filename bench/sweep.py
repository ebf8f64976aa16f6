"""What the sweep costs: calls, seconds of the processor, memory and money, from a thousand uploads to a million.

    python -m bench.sweep [UPLOADS …]        default 1000 10000 100000 1000000

The function's own code sweeps an account that answers in pages as AWS does (bench.paged_account), every fifteen
minutes until a tour of the bucket is over; one upload in ten thousand was forgotten, and each of those must have been
found. The table has the most that one sweep took. Waiting for S3 and DynamoDB is not in it: a page of objects
takes some 100 ms there, and a query some 10.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

from rich.console import Console
from rich.table import Table
from skyloop.aws.settings import Settings
from skyloop.documents import SweepRequest
from skyloop.sweep.sweep import Sweep

from bench.paged_account import FORGOTTEN, Account

SWEEPS_A_DAY = 96
# USD, us-east-1, 2026: S3 LIST for 1000, DynamoDB on demand for a million units of reading and of writing.
LIST_PRICE, READ_PRICE, WRITE_PRICE = 0.005 / 1000, 0.125 / 1e6, 0.625 / 1e6


def tour(count: int) -> None:
    """In a process of its own: what is printed is the table's row."""
    account = Account(count)
    clients: Any = account.clients
    settings: Any = Settings.model_construct(
        labeling_quiet_seconds=120, uploads_queue_url="https://queue", data_bucket="bucket",
        catalogue_table="catalogue", state_table="state",
    )  # fmt: skip
    sweep = Sweep(
        settings,
        s3=clients["s3"],
        dynamodb=clients["dynamodb"],
        queue=clients["sqs"],
        sagemaker=clients["sagemaker"],
        sns=clients["sns"],
    )
    now, found, sweeps, seconds, units, dollars = datetime.now(UTC), 0, 0, 0.0, 0.0, 0.0
    most: Counter[str] = Counter()
    is_over = False
    while not is_over:
        account.calls.clear()
        account.units = 0.0
        started = time.process_time()
        found += sweep.sweep(SweepRequest(now=now)).uploads_requeued
        seconds = max(seconds, time.process_time() - started)
        calls = account.calls
        cost = calls["ListObjectsV2"] * LIST_PRICE + account.units * READ_PRICE + calls["PutItem"] * WRITE_PRICE
        most, units, dollars, sweeps = most | calls, max(units, account.units), dollars + cost, sweeps + 1
        now += timedelta(minutes=15)
        [state] = account.state.values()
        is_over = state["after"]["S"] == ""
    wanted = len(range(FORGOTTEN // 2, count, FORGOTTEN))
    assert found == wanted, f"{found} of {wanted} forgotten uploads were found"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    other = most.total() - most["ListObjectsV2"] - most["Query"]
    daily = dollars / sweeps * SWEEPS_A_DAY
    hours = sweeps * 24 / SWEEPS_A_DAY
    print(most["ListObjectsV2"], most["Query"], other, f"{units:.0f} {seconds:.1f} {peak:.0f} {hours:.2f} {daily:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("uploads", type=int, nargs="*", default=[1000, 10_000, 100_000, 1_000_000])
    table = Table(title=f"A sweep at most, on {platform.machine()}, {os.cpu_count()} cores")
    for column in ("uploads", "LIST", "Query", "other calls", "read units", "s of the processor", "MB at most"):
        table.add_column(column, justify="right")
    table.add_column("hours until all is seen", justify="right")
    table.add_column("USD a day", justify="right")
    for count in parser.parse_args().uploads:
        command = [sys.executable, "-c", f"from bench.sweep import tour; tour({count})"]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        table.add_row(f"{count:,}", *done.stdout.splitlines()[-1].split())
    Console().print(table)


if __name__ == "__main__":
    main()
