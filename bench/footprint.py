"""Wall clock and peak memory of a command with all the processes below it (Linux).

    python bench/footprint.py make demo

Memory is the sum of the processes' proportional set sizes (PSS, proc_pid_smaps_rollup(5)), so pages that several
processes share count once; sampled once a second.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path


def tree(root: int) -> list[int]:
    """A process and everything below it, by their parents at this moment."""
    children = defaultdict(list)
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:  # it ended while we looked
                continue
            children[parent].append(int(entry.name))
    found = [root]
    for pid in found:
        found += children[pid]
    return found


def pss_bytes(pid: int) -> int:
    """Proportional set size of one process, 0 when it has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)


def main() -> int:
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    start, peak = time.monotonic(), 0
    process = subprocess.Popen(sys.argv[1:])
    while process.poll() is None:
        peak = max(peak, sum(pss_bytes(pid) for pid in tree(process.pid)))
        time.sleep(1)
    seconds = time.monotonic() - start
    print(f"{' '.join(sys.argv[1:])}: {seconds:.0f} s, peak {peak / 1e9:.2f} GB on {os.cpu_count()} cores")
    return process.returncode


if __name__ == "__main__":
    sys.exit(main())
