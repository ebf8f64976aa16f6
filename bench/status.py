"""What `skyloop status` costs where it depends on the number of images: calls and read units.

    python -m bench.status [IMAGES …]        default 1000 10000 100000 1000000

The command's own code counts the images by status and lists the quarantined ones in an account that answers in pages as
DynamoDB does (bench.paged_account). `all` counts without a limit, as it was before. All else that it shows is a fixed
number of calls, each for as many rows as `--limit` says. A call that reads a megabyte takes some 100 ms on AWS.
"""

from __future__ import annotations

import argparse
import os
import platform
from types import SimpleNamespace
from typing import Any

from rich.console import Console
from rich.table import Table
from skyloop.aws.catalogue import Catalogue

from bench.paged_account import Account
from cli import snapshot


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=int, nargs="*", default=[1000, 10_000, 100_000, 1_000_000])
    table = Table(title=f"Counting images for `skyloop status`, on {platform.machine()}, {os.cpu_count()} cores")
    for column in ("images", "counted", "calls", "MB read", "read units", "calls for all", "read units for all"):
        table.add_column(column, justify="right")
    for count in parser.parse_args().images:
        account = Account(count)
        catalogue = Catalogue(account.clients["dynamodb"], "catalogue")
        cloud: Any = SimpleNamespace(catalogue=catalogue)
        images = snapshot.count_images(cloud)
        snapshot.quarantined(cloud, 10)
        row = [f"{images['LABELED']:,}", f"{account.calls.total()}", f"{account.units * 8 / 1024:.1f}"]
        units = account.units
        account.calls.clear()
        account.units = 0
        pages = (
            account.clients["dynamodb"].get_paginator("query").paginate(**catalogue._query("LABELED"), Select="COUNT")
        )
        assert sum(page["Count"] for page in pages) >= images["LABELED"]
        table.add_row(f"{count:,}", *row, f"{units:.0f}", f"{account.calls.total()}", f"{account.units:,.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()
