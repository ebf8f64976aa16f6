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

FILE = "cloud.sqlite"
_TABLES = """
CREATE TABLE IF NOT EXISTS snapshots (service TEXT PRIMARY KEY, state TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS requests (number INTEGER PRIMARY KEY, operation TEXT NOT NULL, request TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS executions (arn TEXT PRIMARY KEY, record TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS events (arn TEXT NOT NULL, number INTEGER NOT NULL, event TEXT NOT NULL,
    PRIMARY KEY (arn, number));
CREATE TABLE IF NOT EXISTS broken (source TEXT NOT NULL, name TEXT NOT NULL, content TEXT NOT NULL);
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
        self.found: list[str] = []
        """What could not be read, in sentences."""

    def put_aside(self, table: str, column: str, name: object, content: str) -> None:
        """Take a row that cannot be read out of its table; it is kept in the table `broken`. Raises NotStored."""
        with self.transaction() as connection:
            connection.execute("INSERT INTO broken VALUES (?, ?, ?)", (table, str(name), content))
            connection.execute(f"DELETE FROM {table} WHERE {column} = ?", (name,))
        self.found.append(
            f"The row {name} of the table {table} in {FILE} cannot be read; it is kept in the table broken, and the "
            "cloud begins without it."
        )

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
            text = json.dumps(request)
            cursor = connection.execute("INSERT INTO requests (operation, request) VALUES (?, ?)", (operation, text))
            return int(cursor.lastrowid or 0)

    def requests(self) -> Iterator[LoggedRequest]:
        """The requests that no snapshot covers, in their order."""
        rows = list(self.rows("SELECT number, operation, request FROM requests ORDER BY number"))
        for number, operation, request in rows:
            try:
                yield LoggedRequest(number, operation, json.loads(request))
            except ValueError:
                self.put_aside("requests", "number", number, request)

    def put_execution(self, arn: str, record: Document, events: Mapping[int, Document]) -> None:
        """Write down an execution's record (without its history) and events of its history. Raises NotStored."""
        with self.transaction() as connection:
            text = json.dumps(record)
            connection.execute("INSERT OR REPLACE INTO executions VALUES (?, ?)", (arn, text))
            rows = [(arn, number, json.dumps(event)) for number, event in events.items()]
            connection.executemany("INSERT OR REPLACE INTO events VALUES (?, ?, ?)", rows)

    def forget_events(self, arn: str, after: int) -> None:
        """Forget an execution's events from the number `after` + 1 on: it begins again. Raises NotStored."""
        with self.transaction() as connection:
            connection.execute("DELETE FROM events WHERE arn = ? AND number > ?", (arn, after))

    def executions(self) -> dict[str, Document]:
        """Every execution's record by ARN, its history in `events`, in the order in which they began."""
        records: dict[str, Document] = {}
        for arn, record in list(self.rows("SELECT arn, record FROM executions ORDER BY rowid")):
            try:
                records[arn] = {**json.loads(record), "events": []}
            except (ValueError, TypeError):
                self.put_aside("executions", "arn", arn, record)
        for arn, row, event in list(self.rows("SELECT arn, rowid, event FROM events ORDER BY arn, number")):
            if arn not in records:
                continue
            try:
                records[arn]["events"].append(json.loads(event))
            except ValueError:
                self.put_aside("events", "rowid", row, event)
        return records
