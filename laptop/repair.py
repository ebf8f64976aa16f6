"""Puts right what a killed server, or a full disk, may have left half done in a home's files; says what it found."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

SIDECAR = ".meta.json"
"""What follows an object's file in the name of its record's file."""
UNFINISHED = ".tmp"
"""What follows a file's name until it is whole."""


def repair(home: Path) -> list[str]:
    """Remove unfinished files and unpacked functions, and complete what was written; returns sentences.

    An object is its bytes and a record beside them. Both are written whole before the bytes and then the record take
    their places: a record that still waits, while no bytes do, belongs to the bytes that are there.
    """
    shutil.rmtree(home / "tmp", ignore_errors=True)
    completed = sum(_complete(record) for record in _files(home / "s3", f"*{SIDECAR}{UNFINISHED}"))
    unfinished = [
        *_files(home / "s3", f"*{UNFINISHED}"),
        *_files(home / "state", f"*{UNFINISHED}"),
        *_files(home / "state", "*.partial"),
    ]
    for file in unfinished:
        file.unlink(missing_ok=True)
    found = []
    if unfinished:
        found.append(f"{len(unfinished)} unfinished files were removed; what they belonged to was never acknowledged.")
    if completed:
        found.append(f"{completed} objects were written but not acknowledged when the cloud ended; they are complete.")
    return found


def _files(folder: Path, pattern: str) -> list[Path]:
    return [path for path in folder.rglob(pattern) if path.is_file()]


def _complete(waiting: Path) -> bool:
    """Put a record that waits beside its bytes, if they are there."""
    sidecar = waiting.with_name(waiting.name.removesuffix(UNFINISHED))
    data = sidecar.with_name(sidecar.name.removesuffix(SIDECAR))
    if data.with_name(f"{data.name}{UNFINISHED}").exists():
        return False
    try:
        if json.loads(waiting.read_bytes())["size"] != data.stat().st_size:
            return False
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return False
    waiting.replace(sidecar)
    return True
