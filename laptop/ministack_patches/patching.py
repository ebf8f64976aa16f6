"""How a patch of MiniStack is written down: what it replaces, why, and which conformance test proves it.

Written for MiniStack 1.5.33. The names that are patched are private to it, so the version is pinned and checked at
start, a name that has gone is an error, and a test checks that the proof named by each patch exists.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

MINISTACK_VERSION = "1.5.33"

Replacement = Callable[..., Any]
Original = Callable[..., Any]


@dataclass(frozen=True)
class Patch:
    """``replacement(original, *arguments)`` takes the place of ``module.name``."""

    module: str
    name: str
    because: str
    proof: str
    replacement: Replacement


PATCHES: list[Patch] = []


def patch(target: str, *, because: str, proof: str) -> Callable[[Replacement], Replacement]:
    """Declare that a function replaces ``target`` (``services.module:name``, below the package ``ministack``).

    ``because`` says what MiniStack 1.5.33 gets wrong; ``proof`` is the conformance test, ``file::function`` below
    ``tests/conformance/ministack``. Where two patches have one target, the one that is declared later is called first.
    """

    def declare(replacement: Replacement) -> Replacement:
        module, name = target.split(":")
        PATCHES.append(Patch(f"ministack.{module}", name, because, proof, replacement))
        return replacement

    return declare


def apply() -> None:
    """Put every declared patch in place. Raises RuntimeError for another MiniStack or a name that has gone."""
    installed = importlib.metadata.version("ministack")
    if installed != MINISTACK_VERSION:
        raise RuntimeError(f"the patches are written for MiniStack {MINISTACK_VERSION}, but {installed} is installed")
    for declared in PATCHES:
        owner: Any = importlib.import_module(declared.module)
        *path, attribute = declared.name.split(".")
        for part in path:
            owner = getattr(owner, part)
        original = getattr(owner, attribute, None)
        if original is None:
            raise RuntimeError(
                f"MiniStack {installed} has no {declared.module}.{declared.name}; it is patched because "
                f"{declared.because}"
            )
        setattr(owner, attribute, _bind(declared.replacement, original))


def _bind(replacement: Replacement, original: Original) -> Replacement:
    @functools.wraps(replacement)
    def replaced(*arguments: Any, **named: Any) -> Any:
        return replacement(original, *arguments, **named)

    return replaced
