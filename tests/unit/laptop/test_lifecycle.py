"""What `up` and `down` write themselves."""

from __future__ import annotations

import os
from pathlib import Path

from laptop import lifecycle
from laptop.running import FILE, Running


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_what_is_written_is_closed_to_other_users(tmp_path: Path) -> None:
    """Whatever the user's mask; folders above the home, too, which Python leaves open (`mkdir(mode, parents=True)`)."""
    home = tmp_path / "above" / "home"
    before = os.umask(0)
    try:
        with lifecycle._locked(home):
            lifecycle._write(home, Running("http://127.0.0.1:1", None))
            lifecycle._change_settings(home / "sagemaker.json", {"concurrent_jobs": 2})
    finally:
        os.umask(before)
    assert {path.name: mode(path) for path in (home.parent, home)} == {"above": 0o700, "home": 0o700}
    files = {path.name: mode(path) for path in home.iterdir()}
    assert files == dict.fromkeys(("lifecycle.lock", FILE, "sagemaker.json"), 0o600)


def test_a_folder_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir(mode=0o755)
    before = mode(tmp_path / "shared")
    with lifecycle._locked(tmp_path / "shared" / "home"):
        assert mode(tmp_path / "shared") == before
