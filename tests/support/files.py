"""Files that tests read: stored events and documents, and real data where this machine has it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


def stored_event(name: str) -> dict[str, Any]:
    """`tests/events/<name>.json`."""
    return json.loads((REPOSITORY / "tests" / "events" / f"{name}.json").read_text())


def stored_lines(name: str) -> list[Any]:
    """The lines of `tests/documents/<name>.manifest`, parsed."""
    text = (REPOSITORY / "tests" / "documents" / f"{name}.manifest").read_text()
    return [json.loads(line) for line in text.splitlines()]


def shared_folder() -> Path:
    """Real data for development, by `SKYLOOP_SHARED` or beside the repository; skips the test where there is none."""
    folder = Path(os.environ.get("SKYLOOP_SHARED", REPOSITORY.parent / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip("no shared data folder on this machine")
    return folder
