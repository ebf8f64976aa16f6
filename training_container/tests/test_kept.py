"""Slices that are kept for the next training, whatever lies beside them and however little room there is."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from skyloop_container import kept as kept_slices
from skyloop_container.environment import JobError
from skyloop_container.kept import KeptSlices

from training_container.tests.jobs import CONTAINER


def names(folder: Path) -> list[str]:
    return sorted(path.name.split(".")[0] for path in folder.rglob("*") if path.is_file())


def test_what_was_not_used_for_longest_gives_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "kept"
    for number in range(6):
        path = KeptSlices(folder, tmp_path / "scratch").add(f"slice {number}", bytes(1000), ".png")
        os.utime(path, (number, number))
    (folder / "sl" / "tmp_unfinished").touch()
    monkeypatch.setattr(kept_slices, "MOST_BYTES", 3500)
    store = KeptSlices(folder, tmp_path / "scratch")
    assert store.find("slice 0")
    assert store.find("slice 9") is None
    store.trim()
    assert names(folder) == ["slice 0", "slice 4", "slice 5"]
    store = KeptSlices(folder, tmp_path / "scratch")
    monkeypatch.setattr(kept_slices, "DISK_SHARE", 0)
    store.add("slice 7", bytes(1000), ".png")
    store.trim()
    assert names(folder) == ["slice 7"]


def test_what_else_is_there_stays_and_is_no_slice(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    kept = KeptSlices(folder, tmp_path / "scratch").add("aa", b"whole", ".png")
    (folder / "lost+found" / "#1").mkdir(parents=True)
    (folder / "lost+found" / "#2").touch()
    (folder / "aa" / "ab.00000000.png").mkdir()  # the CRC of nothing
    (folder / "aa" / "ac.00000000.png").touch()
    (folder / "aa" / "ad.00000000.png").symlink_to("nowhere")
    (folder / "ba").touch()
    store = KeptSlices(folder, tmp_path / "scratch")
    assert store.find("aa") == kept
    assert [store.find(name) for name in ("ab", "ac", "ad")] == [None] * 3
    store.trim()
    assert (folder / "lost+found" / "#1").is_dir()
    assert (folder / "lost+found" / "#2").is_file()
    assert store.add("ba1", b"where a file is", ".png").is_relative_to(tmp_path / "scratch")


class Disk:
    """Of so many bytes, below a folder: what is more is not written."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path, size: int) -> None:
        self._folder, self._size, self._fdopen = folder, size, os.fdopen
        monkeypatch.setattr(os, "fdopen", self.fdopen)

    def fdopen(self, number: int, mode: str) -> object:
        file = self._fdopen(number, mode)
        path = Path(os.readlink(f"/proc/self/fd/{number}"))
        used = sum(one.stat().st_size for one in self._folder.rglob("*") if one.is_file())
        if path.is_relative_to(self._folder) and used + 1000 > self._size:
            file.close()
            raise OSError(errno.ENOSPC, "No space left on device")
        return file


def test_old_slices_give_way_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, scratch = tmp_path / "kept", tmp_path / "scratch"
    for number in range(8):
        path = KeptSlices(folder, scratch).add(f"old {number}", bytes(1000), ".png")
        os.utime(path, (number, number))
    Disk(monkeypatch, folder, 8000)
    store = KeptSlices(folder, scratch)
    assert store.find("old 0")
    store.add("new 0", bytes(1000), ".png")
    assert names(folder) == ["new 0", "old 0", "old 5", "old 6", "old 7"]
    for number in range(1, 20):
        store.add(f"new {number}", bytes(1000), ".png")
    assert names(folder) == sorted([*(f"new {number}" for number in range(7)), "old 0"])  # and no part of another
    assert names(scratch) == sorted(f"new {number}" for number in range(7, 20))
    store.trim()
    Disk(monkeypatch, tmp_path, 0)
    with pytest.raises(JobError, match=r"cannot be written: .*No space left"):
        store.add("more", bytes(1000), ".png")


def test_what_another_training_uses_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    program = (
        "import sys, pathlib\nfrom skyloop_container.kept import KeptSlices\n"
        "folder = pathlib.Path(sys.argv[1])\nstore = KeptSlices(folder, folder)\n"
        "store.add('theirs', b'1', '.png')\n(folder / 'th' / 'tmp_part').touch()\nprint(flush=True)\ninput()"
    )
    command, pipe = [sys.executable, "-c", program, str(folder)], subprocess.PIPE
    with subprocess.Popen(command, cwd=CONTAINER, stdin=pipe, stdout=pipe, text=True) as other:
        assert other.stdout
        other.stdout.readline()
        store = KeptSlices(folder, tmp_path / "scratch")
        path = store.add("ours", b"2", ".png")
        store.trim()
        other.communicate("\n")
    assert other.returncode == 0
    assert path.is_relative_to(tmp_path / "scratch")
    assert names(folder) == ["theirs", "tmp_part"]
