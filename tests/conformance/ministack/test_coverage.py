"""What is let through, and what is hooked, is proven: the tests that are named exist."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from laptop import coverage
from laptop.hooks import _SUBJECTS
from laptop.hooks.registry import HOOKS

HERE = Path(__file__).parent


def proofs(value: Any) -> Iterator[str]:
    if isinstance(value, str) and "::" in value:
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from proofs(inner)


def existing() -> set[str]:
    return {
        f"{file.name}::{node.name}"
        for file in HERE.glob("test_*.py")
        for node in ast.parse(file.read_text()).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def test_each_thing_that_is_covered_names_a_test_that_exists() -> None:
    named = set(proofs({name: value for name, value in vars(coverage).items() if name.isupper() and name[0] != "_"}))
    assert len(named) > 30
    assert named - existing() == set()


def test_each_hook_names_a_test_that_exists() -> None:
    for subject in _SUBJECTS:
        importlib.import_module(f"laptop.hooks.{subject}")
    assert len(HOOKS) > 30
    assert {hook.proof for hook in HOOKS} - existing() == set()


def test_nothing_is_both_covered_and_without_effect() -> None:
    for name in coverage.INERT:
        kind, _, member = name.rpartition(".")
        assert member not in coverage.RESOURCES[kind], name


@pytest.mark.parametrize("name", sorted(coverage.INERT))
def test_what_has_no_effect_says_why(name: str) -> None:
    assert len(coverage.INERT[name]) >= 6
