"""The benches are run by hand; that they still find what they measure is seen here."""

import importlib
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
