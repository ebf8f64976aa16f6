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


def refusal(home: Path) -> str:
    """A sentence that names the folder and the room that is left."""
    free = shutil.disk_usage(home).free
    room = f"{free / 2**20:.0f} MB"
    if is_full(home):
        return f"{CANNOT_STORE}: the disk of {home} is full ({room} free)."
    return f"{CANNOT_STORE} in {home} ({room} free); {home / 'logs' / 'server.log'} says why."
