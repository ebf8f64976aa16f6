"""The benches are run by hand: that they can be imported is seen here, and of two that need no data that they run."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BENCHES = sorted(
    path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
    for folder in ("bench", "training_container/bench")
    for path in (ROOT / folder).glob("*.py")
)


@pytest.mark.parametrize("bench", BENCHES)
def test_a_bench_can_be_imported(bench: str) -> None:
    assert importlib.import_module(bench).__doc__


@pytest.mark.parametrize(
    ("bench", "options", "rows"),
    [
        ("inference", ["--rounds", "1"], ("decode", "network", "merge", "a client alone")),
        ("serving", ["--answers", "4"], ("skyloop, onnxruntime", "skyloop, openvino-f32")),
    ],
)
def test_a_bench_gives_its_table(bench: str, options: list[str], rows: tuple[str, ...]) -> None:
    command = [
        sys.executable,
        "-m",
        f"training_container.bench.{bench}",
        "--size",
        "64",
        "--image",
        "160x128",
        *options,
    ]
    path = os.pathsep.join(map(str, (ROOT, ROOT / "training_container", ROOT / "layers/skyloop/python")))
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert all(row in done.stdout for row in rows), done.stdout
