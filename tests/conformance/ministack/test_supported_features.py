"""What is let through, and what is patched, is proven: the tests that are named exist."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from laptop import supported_features
from laptop.ministack_patches import installation

HERE = Path(__file__).parent


def proofs(value: Any) -> Iterator[str]:
    if isinstance(value, str) and "::" in value:
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from proofs(inner)


def existing() -> set[str]:
    return {
        f"{file.relative_to(HERE).as_posix()}::{node.name}"
        for file in HERE.rglob("test_*.py")
        for node in ast.parse(file.read_text()).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def test_each_thing_that_is_covered_names_a_test_that_exists() -> None:
    named = set(
        proofs({name: value for name, value in vars(supported_features).items() if name.isupper() and name[0] != "_"})
    )
    assert len(named) > 30
    assert named - existing() == set()


def test_each_patch_names_a_test_that_exists() -> None:
    patches = installation.patching.PATCHES
    assert len(patches) > 30
    assert {patch.proof for patch in patches} - existing() == set()


def test_nothing_is_both_covered_and_without_effect() -> None:
    for name in supported_features.INERT:
        kind, _, member = name.rpartition(".")
        assert member not in supported_features.RESOURCES[kind], name


@pytest.mark.parametrize("name", sorted(supported_features.INERT))
def test_what_has_no_effect_says_why(name: str) -> None:
    assert len(supported_features.INERT[name]) >= 6
