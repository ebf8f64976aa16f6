"""What the cloud keeps on disk of its memory: one SQLite file, in which every write is whole or has not been.

`snapshots` has each service's state as of some moment. `requests` has, in order, the writes to tables that came after
the snapshot, so that one item does not cost a table. `executions` and `events` have every execution's record and its
history.

A commit is in the file system's hands when it returns, so it survives the end of this process, however it ends. It is
not forced to the disk: a power cut may cost the last moments, but never leaves half a write.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from laptop.documents import Document

_TABLES = """
CREATE TABLE IF NOT EXISTS snapshots (service TEXT PRIMARY KEY, state TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS requests (number INTEGER PRIMARY KEY, operation TEXT NOT NULL, request TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS executions (arn TEXT PRIMARY KEY, record TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS events (arn TEXT NOT NULL, number INTEGER NOT NULL, event TEXT NOT NULL,
    PRIMARY KEY (arn, number));
"""


class NotStored(OSError):
    """Something could not be written down: the disk is full, or cannot be written to."""


class JournalBroken(Exception):
    """The file is not a journal; the message names it."""


@dataclass(frozen=True)
class LoggedRequest:
    """A write to a table, as it was asked for."""

    number: int
    operation: str
    request: Document


class Journal:
    """One home's file. Safe across threads."""

    def __init__(self, file: Path) -> None:
        """Open the file, or begin it. Raises JournalBroken, or NotStored where it cannot be written."""
        self._file = file
        self._lock = threading.RLock()
        try:
            self._database = sqlite3.connect(file, isolation_level=None, check_same_thread=False, timeout=30)
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = NORMAL")
            self._database.executescript(_TABLES)
        except sqlite3.OperationalError as error:
            raise NotStored(f"{file}: {error}") from error
        except sqlite3.DatabaseError as error:
            raise JournalBroken(f"{file} cannot be read: {error}") from error

    def close(self) -> None:
        """Close the file; nothing may be written afterwards."""
        with self._lock:
            self._database.close()

    def put_snapshots(self, states: Mapping[str, str], covered: int | None = None) -> None:
        """Replace services' snapshots, all or none; forget requests up to the number `covered`. Raises NotStored."""
        with self._transaction():
            self._database.executemany("INSERT OR REPLACE INTO snapshots VALUES (?, ?)", list(states.items()))
            if covered is not None:
                self._database.execute("DELETE FROM requests WHERE number <= ?", (covered,))

    def snapshots(self) -> dict[str, str]:
        """Each service's state, as `put_snapshots` got it."""
        return dict(self._rows("SELECT service, state FROM snapshots"))

    def log(self, operation: str, request: Document) -> int:
        """Write a request down before it is done; returns its number. Raises NotStored: then it must not be done."""
        with self._transaction():
            text = json.dumps(request, ensure_ascii=False)
            cursor = self._database.execute(
                "INSERT INTO requests (operation, request) VALUES (?, ?)", (operation, text)
            )
            return int(cursor.lastrowid or 0)

    def requests(self) -> Iterator[LoggedRequest]:
        """The requests that no snapshot covers, in their order."""
        for number, operation, request in self._rows("SELECT number, operation, request FROM requests ORDER BY number"):
            yield LoggedRequest(number, operation, json.loads(request))

    def put_execution(self, arn: str, record: Document, events: Mapping[int, Document]) -> None:
        """Write down an execution's record (without its history) and events of its history. Raises NotStored."""
        with self._transaction():
            text = json.dumps(record, ensure_ascii=False)
            self._database.execute("INSERT OR REPLACE INTO executions VALUES (?, ?)", (arn, text))
            rows = [(arn, number, json.dumps(event, ensure_ascii=False)) for number, event in events.items()]
            self._database.executemany("INSERT OR REPLACE INTO events VALUES (?, ?, ?)", rows)

    def forget_events(self, arn: str, after: int) -> None:
        """Forget an execution's events from the number `after` + 1 on: it begins again. Raises NotStored."""
        with self._transaction():
            self._database.execute("DELETE FROM events WHERE arn = ? AND number > ?", (arn, after))

    def executions(self) -> dict[str, Document]:
        """Every execution's record by ARN, its history in `events`, in the order in which they began."""
        records = {
            arn: {**json.loads(record), "events": []}
            for arn, record in self._rows("SELECT arn, record FROM executions ORDER BY rowid")
        }
        for arn, event in self._rows("SELECT arn, event FROM events ORDER BY arn, number"):
            if arn in records:
                records[arn]["events"].append(json.loads(event))
        return records

    def _rows(self, query: str) -> list[tuple[Any, ...]]:
        with self._lock:
            try:
                rows: list[tuple[Any, ...]] = self._database.execute(query).fetchall()
                return rows
            except sqlite3.DatabaseError as error:
                raise JournalBroken(f"{self._file} cannot be read: {error}") from error

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._lock:
            try:
                self._database.execute("BEGIN IMMEDIATE")
                yield
                self._database.execute("COMMIT")
            except sqlite3.Error as error:
                self._roll_back()
                raise NotStored(f"{self._file}: {error}") from error
            except BaseException:
                self._roll_back()
                raise

    def _roll_back(self) -> None:
        if self._database.in_transaction:
            try:
                self._database.execute("ROLLBACK")
            except sqlite3.Error:  # SQLite rolls back by itself for some errors
                return
