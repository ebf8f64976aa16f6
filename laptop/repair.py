"""Puts right what a killed server, or a full disk, may have left half done in a home's files; says what it found."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

SIDECAR = ".meta.json"
# What MiniStack computes anew from an object's bytes when its record does not say it.
_OF_THE_BYTES = ("size", "etag", "checksums")


def repair(home: Path) -> list[str]:
    """Remove unfinished files and unpacked functions, and mend the records of objects; returns sentences.

    An object is its bytes and a record beside them, which is written second: where the bytes are newer, the process
    ended between the two, and what the record says of the bytes is that of the object before.
    """
    shutil.rmtree(home / "tmp", ignore_errors=True)
    unfinished = [*_files(home / "s3", "*.tmp"), *_files(home / "state", "*.tmp"), *_files(home / "state", "*.partial")]
    for file in unfinished:
        file.unlink(missing_ok=True)
    mended = sum(_mend(sidecar) for sidecar in _files(home / "s3", f"*{SIDECAR}"))
    found = []
    if unfinished:
        found.append(f"{len(unfinished)} unfinished files were removed; what they belonged to was never acknowledged.")
    if mended:
        found.append(f"{mended} objects were written but not yet acknowledged when the cloud ended; they are complete.")
    return found


def _files(folder: Path, pattern: str) -> list[Path]:
    return [path for path in folder.rglob(pattern) if path.is_file()]


def _mend(sidecar: Path) -> bool:
    data = sidecar.with_name(sidecar.name.removesuffix(SIDECAR))
    try:
        if data.stat().st_mtime_ns <= sidecar.stat().st_mtime_ns:
            return False
        record = json.loads(sidecar.read_text(encoding="utf-8"))
    except FileNotFoundError:  # a delete marker has no bytes
        return False
    except ValueError:
        record = {}
    if record.get("is_delete_marker"):
        return False
    kept = {name: value for name, value in record.items() if name not in _OF_THE_BYTES}
    sidecar.write_text(json.dumps(kept), encoding="utf-8")
    return True
