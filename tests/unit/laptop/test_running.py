"""The record of a laptop cloud."""

from __future__ import annotations

from pathlib import Path

import pytest

from laptop import running
from laptop.running import RecordBroken


def test_a_home_without_a_record(tmp_path: Path) -> None:
    assert running.read(tmp_path) is None


def test_a_record_of_a_stopped_cloud(tmp_path: Path) -> None:
    (tmp_path / "laptop.json").write_text('{"endpoint_url": "http://127.0.0.1:4599", "pid": null}')
    found = running.read(tmp_path)
    assert found is not None
    assert (found.port, found.pid, found.given) == (4599, None, {})


@pytest.mark.parametrize(
    "content", ["", "{", "[1]", "{}", '{"endpoint_url": "http://127.0.0.1:1", "pid": 1, "color": "red"}']
)
def test_a_broken_record_says_what_to_do(tmp_path: Path, content: str) -> None:
    (tmp_path / "laptop.json").write_text(content)
    with pytest.raises(RecordBroken, match="cannot be read") as broken:
        running.read(tmp_path)
    assert "remove the file" in broken.value.next_step
    assert broken.value.next_step in str(broken.value)
