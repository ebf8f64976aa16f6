"""Files that tests read: stored events and documents, and real data where this machine has it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


def repository_files(*patterns: str) -> list[str]:
    """Paths of all files that git tracks, or that are new and not ignored, with slashes and relative to the root."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns]
    listed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout.splitlines()
    return [path for path in listed if (REPOSITORY / path).exists()]


def stored_event(name: str) -> Any:
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
