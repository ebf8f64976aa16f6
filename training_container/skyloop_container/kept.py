"""Slices that were cut for an earlier training on this machine: cutting them takes a GPU's time."""

import errno
import fcntl
import os
import re
import shutil
import tempfile
import zlib
from contextlib import suppress
from functools import cache
from pathlib import Path
from threading import RLock

from .environment import JobError

MOST_BYTES = 20 * 10**9
"""Of all slices that are kept, at most, and no more than DISK_SHARE; those of the training at hand are always kept."""

DISK_SHARE = 0.1
"""Of the disk that they are on."""

_FILE = re.compile(r"(?P<name>.+)\.(?P<crc>[0-9a-f]{8})\.[a-z]+")
_PART = "tmp_"
"""What begins so is not written to its end."""

_FULL = (errno.ENOSPC, errno.EDQUOT)


class KeptSlices:
    """A folder of files by name. Safe to use from several threads; what another process uses, this one does not.

    A file's own name ends with the CRC-32 of its content: one that a crash or a disk has damaged is not taken for good.
    What else is in the folder stays there.
    """

    def __init__(self, folder: Path, scratch: Path) -> None:
        """Look what is there. What no training finished writing is removed.

        Args:
            folder: where slices are kept.
            scratch: where they are written if another process uses that folder, or there is no room.
        """
        self._folder, self._scratch = (folder if _own(folder) else scratch), scratch
        self._files: dict[str, Path] = {}
        self._used: set[Path] = set()
        self._lock = RLock()
        for path in self._folder.glob("*/*"):
            if path.is_symlink() or not path.is_file():
                continue
            if path.name.startswith(_PART):
                _remove(path)
            elif found := _FILE.fullmatch(path.name):
                self._files[found["name"]] = path

    def find(self, name: str) -> Path | None:
        """The file of that name; None where there is none, or it is damaged, which removes it."""
        path = self._files.get(name)
        if path is None:
            return None
        try:
            content = path.read_bytes()
        except OSError:
            content = b""
        if not content or path.name != _file_name(name, content, path.suffix):
            _remove(path)
            return None
        with suppress(OSError):
            os.utime(path)
        return self._use(name, path)

    def add(self, name: str, content: bytes, suffix: str) -> Path:
        """Keep a file. Where the disk is full, others that are not used give way to it; else it goes to scratch.

        Raises:
            JobError: it cannot be written there either.
        """
        below = Path(name[:2], _file_name(name, content, suffix))
        while True:
            folder = self._folder
            try:
                path = _write(folder / below, content)
            except OSError as error:
                if error.errno in _FULL and self._give_way():
                    continue
                if folder == self._scratch:
                    raise JobError(f"The slices to train on cannot be written: {error}.") from error
                print(f"slices: not kept, for {error}", flush=True)
                self._folder = self._scratch
            else:
                return self._use(name, path)

    def trim(self) -> None:
        """Remove what was not used for longest until no more than MOST_BYTES and DISK_SHARE are kept.

        Nothing that was found or added since the start is removed.
        """
        if self._folder.is_dir():
            self._remove_oldest(min(MOST_BYTES, int(shutil.disk_usage(self._folder).total * DISK_SHARE)))

    def _give_way(self) -> bool:
        """Remove half of all, if so much is not used; False: nothing could be removed."""
        return self._remove_oldest(None) > 0

    def _remove_oldest(self, most: int | None) -> int:
        """Remove of what is not used the oldest until `most` bytes are kept, by default half; how many were removed."""
        with self._lock:
            states = {}
            for path in self._files.values():
                with suppress(OSError):
                    states[path] = path.stat()
            total = sum(state.st_size for state in states.values())
            most = total // 2 if most is None else most
            removed = 0
            for path in sorted(states.keys() - self._used, key=lambda path: states[path].st_mtime_ns):
                if total <= most:
                    break
                if _remove(path):
                    total -= states[path].st_size
                    removed += states[path].st_size
            return removed

    def _use(self, name: str, path: Path) -> Path:
        with self._lock:
            self._files[name] = path
            self._used.add(path)
        return path


@cache
def _own(folder: Path) -> bool:
    """Take a folder for this process until it ends, for trainings read slices all the time; False: another has it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Of the folder itself: a lock file could not be made on a full disk.
        fcntl.flock(os.open(folder, os.O_RDONLY | os.O_DIRECTORY), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        print(f"slices: not kept, for their folder cannot be had: {error}", flush=True)
        return False
    return True


def _file_name(name: str, content: bytes, suffix: str) -> str:
    return f"{name}.{zlib.crc32(content):08x}{suffix}"


def _write(path: Path, content: bytes) -> Path:
    """In one step, and under a name of its own: the same picture may be there twice, and be cut at the same time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    number, part = tempfile.mkstemp(prefix=_PART, dir=path.parent)
    try:
        with os.fdopen(number, "wb") as file:
            file.write(content)
        return Path(part).replace(path)
    except OSError:
        _remove(Path(part))
        raise


def _remove(path: Path) -> bool:
    """False: it cannot be removed."""
    with suppress(OSError):
        path.unlink(missing_ok=True)
        return True
    return False
