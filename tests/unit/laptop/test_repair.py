"""What a kill leaves between the two files of an object is completed; what was damaged stays as it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from laptop.repair import SIDECAR, UNFINISHED, repair


def leave(home: Path, **contents: bytes) -> Path:
    """Write what a kill left of the object `k`: `data` and `record`, and what waits to take their places (`_new`)."""
    file = home / "s3" / "account" / "bucket" / "k"
    file.parent.mkdir(parents=True)
    (home / "state").mkdir()
    for name, content in contents.items():
        kind, _, new = name.partition("_")
        end = (SIDECAR if kind == "record" else "") + (UNFINISHED if new else "")
        file.with_name(f"k{end}").write_bytes(content)
    return file


def record(size: int) -> bytes:
    return json.dumps({"size": size}).encode()


def test_a_record_that_waits_is_of_the_bytes_that_took_their_place(tmp_path: Path) -> None:
    file = leave(tmp_path, data=b"second", record=record(5), record_new=record(6))
    [sentence] = repair(tmp_path)
    assert sentence.startswith("1 objects were written")
    assert file.with_name(f"k{SIDECAR}").read_bytes() == record(6)
    assert sorted(path.name for path in file.parent.iterdir()) == ["k", f"k{SIDECAR}"]


@pytest.mark.parametrize(
    "unfinished",
    [
        {"data_new": b"sec"},
        {"data_new": b"second", "record_new": b'{"si'},
        {"data_new": b"second", "record_new": record(6)},
        {"record_new": b'{"si'},
        {"record_new": b'{"is_delete_marker": true}'},
    ],
)
def test_what_did_not_take_its_place_is_removed(tmp_path: Path, unfinished: dict[str, bytes]) -> None:
    file = leave(tmp_path, data=b"first", record=record(5), **unfinished)
    [sentence] = repair(tmp_path)
    assert sentence.startswith(f"{len(unfinished)} unfinished")
    assert file.read_bytes() == b"first"
    assert file.with_name(f"k{SIDECAR}").read_bytes() == record(5)


def test_bytes_that_were_changed_later_are_not_taken_for_a_new_object(tmp_path: Path) -> None:
    file = leave(tmp_path, record=record(5))
    file.write_bytes(b"fir")
    assert repair(tmp_path) == []
    assert file.with_name(f"k{SIDECAR}").read_bytes() == record(5)
