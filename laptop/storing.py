"""What a person reads where the laptop cloud cannot write something down."""

from __future__ import annotations

import shutil
from pathlib import Path

CANNOT_STORE = "The laptop cloud cannot store this"
"""What such a refusal begins with, whichever service answers it."""

_FULL_BYTES = 2**20  # less than this is left by a disk that is full


def is_full(home: Path) -> bool:
    """Whether there is no use in trying to write something down."""
    return shutil.disk_usage(home).free < _FULL_BYTES


_SCARCE_BYTES = 64 * 2**20
"""With less than this the largest picture, or a model, may not find room."""


def shortage(home: Path) -> str | None:
    """What to say where the room on a home's disk is used up, or nearly; None where there is enough."""
    free = shutil.disk_usage(home).free
    if free >= _SCARCE_BYTES:
        return None
    full = "full" if free < _FULL_BYTES else "nearly full"
    return (
        f"The disk of {home} is {full} ({free / 2**20:.0f} MB free): what cannot be stored is refused. "
        "Make room; then everything goes on."
    )


def refusal(home: Path) -> str:
    """A sentence that names the folder and the room that is left."""
    free = shutil.disk_usage(home).free
    room = f"{free / 2**20:.0f} MB"
    if is_full(home):
        return f"{CANNOT_STORE}: the disk of {home} is full ({room} free)."
    return f"{CANNOT_STORE} in {home} ({room} free); {home / 'logs' / 'server.log'} says why."
