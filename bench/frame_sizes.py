"""False alarms of drift by the size of frames: those of the same flights, in sizes that the baseline has and has not.

    python -m bench.frame_sizes PROFILES [--draws 20]

PROFILES is what training_container/bench/frame_sizes.py writes. A draw takes a baseline of REFERENCE frames of one
size, or of all, and a window of WINDOW others of each size and of each shift; the judgment is the drift detector's. A
line for each baseline, a column for each window: judgments that rang.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from skyloop.drift.detector import detect
from skyloop.formats.profile import Baseline, Profile

REFERENCE, WINDOW = 60, 30
BASELINES = ("1", "2", "4", "8")  # slices' sides
ALPHA = 0.01


def load(path: Path) -> tuple[tuple[str, ...], dict[str, list[Profile]]]:
    """The statistics' names, and the profiles of each size and shift."""
    with np.load(path) as arrays:
        names = tuple(arrays["names"].tolist())
        pools = list(dict.fromkeys(key.partition("/")[0] for key in arrays if "/" in key))
        rows = {name: (arrays[f"{name}/statistics"].tolist(), arrays[f"{name}/features"].tolist()) for name in pools}
    return names, {
        name: [Profile(names, tuple(values), tuple(features)) for values, features in zip(*parts, strict=True)]
        for name, parts in rows.items()
    }


def baseline(names: tuple[str, ...], profiles: list[Profile]) -> Baseline:
    """Of reference frames with these profiles."""
    return Baseline(
        profile_names=names,
        profiles=[list(one.values) for one in profiles],
        features=[list(one.features) for one in profiles],
        dataset_id="",
        count=len(profiles),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("profiles", type=Path)
    parser.add_argument("--draws", type=int, default=20)
    options = parser.parse_args()
    names, pools = load(options.profiles)
    random = np.random.default_rng(0)
    table = Table(title=f"judgments that rang, of {options.draws}")
    for heading in ("baseline", *pools):
        table.add_column(heading)
    known = [name for name in BASELINES if name in pools]
    for sizes in [*([one] for one in known), known]:
        rang = dict.fromkeys(pools, 0)
        for _ in range(options.draws):
            for name, pool in pools.items():
                order = {one: random.permutation(len(pools[one])) for one in pools}
                judged = [pools[one][n] for one in sizes for n in order[one][: REFERENCE // len(sizes)]]
                window = [pool[n] for n in order[name][-WINDOW:]]  # none of the baseline's frames
                rang[name] += detect(baseline(names, judged), window, alpha=ALPHA).decision == "DRIFT"
        table.add_row(", ".join(sizes), *map(str, rang.values()))
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
