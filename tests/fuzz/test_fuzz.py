"""The short form of `make fuzz`: some thousands of mutated inputs through every reader, always the same ones."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.fuzz.campaign import FOLDER, run
from tests.fuzz.mutations import mutated
from tests.fuzz.targets import Target, targets


@pytest.mark.parametrize("target", list(targets()))
def test_no_input_is_a_surprise(target: str) -> None:
    result = run(target, seed=1, numbers=range(1000))
    assert result.failures == []
    assert result.inputs == 1000
    assert len(result.verdicts) > 1, "the mutations are all refused, or none is"


def test_inputs_are_the_same_again() -> None:
    corpus = targets()["picture"].corpus
    assert mutated(7, 3, corpus) == mutated(7, 3, corpus)
    assert len({mutated(7, number, corpus) for number in range(100)}) > 90


def hostile() -> dict[str, Target]:
    """Targets with a fault each."""

    def fails(body: bytes) -> str:
        if b"\xff" in body:
            raise KeyError("a surprise")
        return "read"

    def dies(body: bytes) -> str:
        if b"\xff" in body:
            os._exit(3)
        return "read"

    def swells(body: bytes) -> str:
        return str(len(bytearray(4_000_000_000)))

    return {name: Target(read, (bytes(20),)) for name, read in (("fails", fails), ("dies", dies), ("swells", swells))}


@pytest.mark.parametrize(
    ("target", "told"), [("fails", "a surprise"), ("dies", "ends the process (3)"), ("swells", "MemoryError")]
)
def test_what_goes_wrong_is_found(target: str, told: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(target, seed=1, numbers=range(12), load=hostile)
    assert result.inputs == 12
    assert result.failures
    assert all(told in failure for failure in result.failures)
    assert len(list((tmp_path / FOLDER).iterdir())) == len(result.failures)
