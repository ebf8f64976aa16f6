"""Files that the cloud keeps its memory in: SQLite, in which every write is whole or has not been.

A commit is in the file system's hands when it returns, so it survives the end of this process, however it ends. It is
not forced to the disk: a power cut may cost the last moments, but never leaves half a write.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class NotStored(OSError):
    """Something could not be written down: the disk is full, or cannot be written to."""


class DatabaseBroken(Exception):
    """The file is damaged, or no database; the message names it."""


class Database:
    """One file. Safe across threads."""

    def __init__(self, file: Path, tables: str) -> None:
        """Open the file, or begin it with these tables (SQL).

        Raises DatabaseBroken, or NotStored where it cannot be written.
        """
        self._file = file
        self._lock = threading.RLock()
        try:
            self._connection = sqlite3.connect(file, isolation_level=None, check_same_thread=False, timeout=30)
            # Bytes that are no text make a row that its reader cannot use, not a file that is damaged.
            self._connection.text_factory = lambda content: content.decode(errors="backslashreplace")
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = NORMAL")
            self._connection.executescript(tables)
        except sqlite3.OperationalError as error:
            raise NotStored(f"{file}: {error}") from error
        except sqlite3.DatabaseError as error:
            self._connection.close()
            raise DatabaseBroken(f"{file} cannot be read: {error}") from error

    def close(self) -> None:
        """Close the file; nothing may be written afterwards."""
        with self._lock:
            self._connection.close()

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What a query finds. Raises DatabaseBroken, or NotStored where it cannot be read at the moment."""
        with self._lock:
            try:
                found: list[tuple[Any, ...]] = self._connection.execute(query).fetchall()
                return found
            except sqlite3.OperationalError as error:  # of the machine, not of the file
                raise NotStored(f"{self._file}: {error}") from error
            except sqlite3.DatabaseError as error:
                raise DatabaseBroken(f"{self._file} cannot be read: {error}") from error

    def write(self, statement: str, parameters: Sequence[Any]) -> None:
        """One change. Raises NotStored: then nothing has changed."""
        with self.transaction() as connection:
            connection.execute(statement, parameters)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Changes that belong together: all or none. Raises NotStored."""
        with self._lock:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                yield self._connection
                self._connection.execute("COMMIT")
            except sqlite3.Error as error:
                self._roll_back()
                raise NotStored(f"{self._file}: {error}") from error
            except BaseException:
                self._roll_back()
                raise

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            try:
                self._connection.execute("ROLLBACK")
            except sqlite3.Error:  # SQLite rolls back by itself for some errors
                return


def set_aside(file: Path) -> Path:
    """Rename a closed file that cannot be read, for who wants to look into it; returns where it is now."""
    for end in ("-wal", "-shm"):
        file.with_name(f"{file.name}{end}").unlink(missing_ok=True)
    return file.replace(file.with_name(f"{file.name}.broken-{time.strftime('%Y%m%dT%H%M%S')}"))
