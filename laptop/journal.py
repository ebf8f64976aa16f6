"""What the emulator's services keep on disk of their memory, in one database.

`snapshots` has each service's state as of some moment. `requests` has, in order, the writes to tables that came after
the snapshot, so that one item does not cost a table. `executions` and `events` have every execution's record and its
history.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from laptop.database import Database
from laptop.documents import Document

_TABLES = """
CREATE TABLE IF NOT EXISTS snapshots (service TEXT PRIMARY KEY, state TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS requests (number INTEGER PRIMARY KEY, operation TEXT NOT NULL, request TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS executions (arn TEXT PRIMARY KEY, record TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS events (arn TEXT NOT NULL, number INTEGER NOT NULL, event TEXT NOT NULL,
    PRIMARY KEY (arn, number));
"""


@dataclass(frozen=True)
class LoggedRequest:
    """A write to a table, as it was asked for."""

    number: int
    operation: str
    request: Document


class Journal(Database):
    """One home's file. Safe across threads."""

    def __init__(self, file: Path) -> None:
        """Open the file, or begin it. Raises DatabaseBroken, or NotStored where it cannot be written."""
        super().__init__(file, _TABLES)

    def put_snapshots(self, states: Mapping[str, str], covered: int | None = None) -> None:
        """Replace services' snapshots, all or none; forget requests up to the number `covered`. Raises NotStored."""
        with self.transaction() as connection:
            connection.executemany("INSERT OR REPLACE INTO snapshots VALUES (?, ?)", list(states.items()))
            if covered is not None:
                connection.execute("DELETE FROM requests WHERE number <= ?", (covered,))

    def snapshots(self) -> dict[str, str]:
        """Each service's state, as `put_snapshots` got it."""
        return dict(self.rows("SELECT service, state FROM snapshots"))

    def log(self, operation: str, request: Document) -> int:
        """Write a request down before it is done; returns its number. Raises NotStored: then it must not be done."""
        with self.transaction() as connection:
            text = json.dumps(request, ensure_ascii=False)
            cursor = connection.execute("INSERT INTO requests (operation, request) VALUES (?, ?)", (operation, text))
            return int(cursor.lastrowid or 0)

    def requests(self) -> Iterator[LoggedRequest]:
        """The requests that no snapshot covers, in their order."""
        for number, operation, request in self.rows("SELECT number, operation, request FROM requests ORDER BY number"):
            yield LoggedRequest(number, operation, json.loads(request))

    def put_execution(self, arn: str, record: Document, events: Mapping[int, Document]) -> None:
        """Write down an execution's record (without its history) and events of its history. Raises NotStored."""
        with self.transaction() as connection:
            text = json.dumps(record, ensure_ascii=False)
            connection.execute("INSERT OR REPLACE INTO executions VALUES (?, ?)", (arn, text))
            rows = [(arn, number, json.dumps(event, ensure_ascii=False)) for number, event in events.items()]
            connection.executemany("INSERT OR REPLACE INTO events VALUES (?, ?, ?)", rows)

    def forget_events(self, arn: str, after: int) -> None:
        """Forget an execution's events from the number `after` + 1 on: it begins again. Raises NotStored."""
        with self.transaction() as connection:
            connection.execute("DELETE FROM events WHERE arn = ? AND number > ?", (arn, after))

    def executions(self) -> dict[str, Document]:
        """Every execution's record by ARN, its history in `events`, in the order in which they began."""
        records = {
            arn: {**json.loads(record), "events": []}
            for arn, record in self.rows("SELECT arn, record FROM executions ORDER BY rowid")
        }
        for arn, event in self.rows("SELECT arn, event FROM events ORDER BY arn, number"):
            if arn in records:
                records[arn]["events"].append(json.loads(event))
        return records
