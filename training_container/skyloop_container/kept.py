"""Slices that were cut for an earlier training on this machine: cutting them takes a GPU's time."""

import os
import re
import shutil
import tempfile
import zlib
from pathlib import Path
from threading import Lock

MOST_BYTES = 20 * 10**9
"""Of all slices that are kept, at most, and no more than DISK_SHARE; those of the training at hand are always kept."""

DISK_SHARE = 0.1
"""Of the disk that they are on."""

_FILE = re.compile(r"(?P<name>.+)\.(?P<crc>[0-9a-f]{8})\.[a-z]+")


class KeptSlices:
    """A folder of files by name. Safe to use from several threads of one process; two must not share a folder.

    A file's own name ends with the CRC-32 of its content: one that a crash or a disk has damaged is not taken for good.
    """

    def __init__(self, folder: Path) -> None:
        """Look what is there. What no training finished writing is removed."""
        self._folder = folder
        self._files: dict[str, Path] = {}
        self._used: set[Path] = set()
        self._lock = Lock()
        for path in folder.glob("*/*"):
            if found := _FILE.fullmatch(path.name):
                self._files[found["name"]] = path
            else:
                path.unlink()

    def find(self, name: str) -> Path | None:
        """The file of that name; None where there is none, or it is damaged, which removes it."""
        path = self._files.get(name)
        if path is None:
            return None
        try:
            content = path.read_bytes()
        except OSError:
            content = b""
        if path != self._path(name, content, path.suffix):
            path.unlink(missing_ok=True)
            return None
        os.utime(path)
        return self._use(name, path)

    def add(self, name: str, content: bytes, suffix: str) -> Path:
        """Keep a file. Raises OSError."""
        path = self._path(name, content, suffix)
        path.parent.mkdir(parents=True, exist_ok=True)
        # In one step, and under a name of its own: the same picture may be there twice, and be cut at the same time.
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as part:
            part.write(content)
        Path(part.name).replace(path)
        return self._use(name, path)

    def trim(self) -> None:
        """Remove what was not used for longest until no more than MOST_BYTES and DISK_SHARE are kept.

        Nothing that was found or added since the start is removed.
        """
        most = min(MOST_BYTES, int(shutil.disk_usage(self._folder).total * DISK_SHARE)) if self._files else 0
        states = {path: path.stat() for path in self._files.values() if path.exists()}
        total = sum(state.st_size for state in states.values())
        for path in sorted(states.keys() - self._used, key=lambda path: states[path].st_mtime_ns):
            if total <= most:
                return
            path.unlink()
            total -= states[path].st_size

    def _path(self, name: str, content: bytes, suffix: str) -> Path:
        return self._folder / name[:2] / f"{name}.{zlib.crc32(content):08x}{suffix}"

    def _use(self, name: str, path: Path) -> Path:
        with self._lock:
            self._files[name] = path
            self._used.add(path)
        return path
