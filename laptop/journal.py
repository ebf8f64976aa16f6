"""What the emulator's services keep on disk of their memory, in one database.

`snapshots` has each service's state as of some moment. `requests` has, in order, the writes to tables that came after
the snapshot, so that one item does not cost a table. `executions` and `events` have every execution's record and its
history; `deliveries` what is on its way to queues and functions. `clock` says in one row when snapshots were last
replaced.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterator, Mapping
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
CREATE TABLE IF NOT EXISTS deliveries (number INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL,
    content TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS clock (number INTEGER PRIMARY KEY, seconds REAL NOT NULL);
CREATE TABLE IF NOT EXISTS broken (source TEXT NOT NULL, name TEXT NOT NULL, content TEXT NOT NULL);
"""


@dataclass(frozen=True)
class LoggedRequest:
    """A write to a table, as it was asked for."""

    number: int
    operation: str
    request: Document


@dataclass(frozen=True)
class Delivery:
    """Something that was acknowledged and is yet to be done."""

    number: int
    kind: str
    content: Document


class Journal(Database):
    """One home's file. Safe across threads."""

    def __init__(self, file: Path) -> None:
        """Open the file, or begin it. Raises DatabaseBroken, or NotStored where it cannot be read now, or written."""
        super().__init__(file, _TABLES)
        # Numbers never come again, also where a snapshot has emptied the table: it covers requests up to a number.
        self._last: int
        ((self._last,),) = self.rows("SELECT coalesce(max(number), 0) FROM requests")
        tables = ("snapshots", "requests", "executions", "deliveries", "clock")
        self.was_empty = not any(self.rows(f"SELECT 1 FROM {table} LIMIT 1") for table in tables)
        """Whether nothing was in it when it was opened."""
        self.found: list[str] = []
        """What could not be read, in sentences."""

    def put_aside(self, table: str, column: str, name: object, content: object, lost: str) -> None:
        """Take a row that cannot be used out of its table; it is kept in the table `broken`. Raises NotStored.

        `lost` begins the sentence that says so.
        """
        with self.transaction() as connection:
            connection.execute("INSERT INTO broken VALUES (?, ?, ?)", (table, str(name), str(content)))
            connection.execute(f"DELETE FROM {table} WHERE {column} = ?", (name,))
        self.found.append(f"{lost}; it is kept in the table broken of {FILE}, and the cloud begins without it.")

    def put_snapshots(
        self, states: Mapping[str, str], covered: int | None = None, delivered: Collection[int] = ()
    ) -> None:
        """Replace services' snapshots, all or none. Raises NotStored.

        Forget requests up to the number `covered`, and the deliveries `delivered`, which are in these snapshots.
        """
        with self.transaction() as connection:
            connection.executemany("INSERT OR REPLACE INTO snapshots VALUES (?, ?)", list(states.items()))
            connection.execute("INSERT OR REPLACE INTO clock VALUES (1, ?)", (time.time(),))
            if covered is not None:
                connection.execute("DELETE FROM requests WHERE number <= ?", (covered,))
            connection.executemany("DELETE FROM deliveries WHERE number = ?", [(number,) for number in delivered])

    def snapshots(self) -> dict[str, str]:
        """Each service's state, as `put_snapshots` got it."""
        return {service: str(state) for service, state in self.rows("SELECT service, state FROM snapshots")}

    def last_written(self) -> float | None:
        """When `put_snapshots` was last called, in seconds since 1970; None where it never was."""
        return next((float(seconds) for (seconds,) in self.rows("SELECT seconds FROM clock")), None)

    def log(self, operation: str, request: Document) -> int:
        """Write a request down before it is done; returns its number. Raises NotStored: then it must not be done."""
        with self.transaction() as connection:
            self._last += 1
            connection.execute("INSERT INTO requests VALUES (?, ?, ?)", (self._last, operation, json.dumps(request)))
            return self._last

    def requests(self) -> Iterator[LoggedRequest]:
        """The requests that no snapshot covers, in their order."""
        for number, operation, text in self.rows("SELECT number, operation, request FROM requests ORDER BY number"):
            if (request := _document(text)) is not None:
                yield LoggedRequest(number, operation, request)
            else:
                lost = f"The write to a table number {number} ({operation}) cannot be read"
                self.put_aside("requests", "number", number, text, lost)

    def put_delivery(self, kind: str, content: str) -> int:
        """Write down what is to be done (a JSON object); returns its number. Raises NotStored."""
        with self.transaction() as connection:
            written = connection.execute("INSERT INTO deliveries (kind, content) VALUES (?, ?)", (kind, content))
            assert written.lastrowid is not None
            return written.lastrowid

    def deliveries(self) -> Iterator[Delivery]:
        """What was not done, in the order in which it was written down."""
        for number, kind, text in self.rows("SELECT number, kind, content FROM deliveries ORDER BY number"):
            if (content := _document(text)) is not None:
                yield Delivery(number, kind, content)
            else:
                lost = f"The delivery number {number} ({kind}) cannot be read"
                self.put_aside("deliveries", "number", number, text, lost)

    def put_execution(self, arn: str, record: Document, events: Mapping[int, Document]) -> None:
        """Write down an execution's record (without its history) and events of its history. Raises NotStored."""
        with self.transaction() as connection:
            text = json.dumps(record)
            connection.execute("INSERT OR REPLACE INTO executions VALUES (?, ?)", (arn, text))
            rows = [(arn, number, json.dumps(event)) for number, event in events.items()]
            connection.executemany("INSERT OR REPLACE INTO events VALUES (?, ?, ?)", rows)

    def keep_events(self, arn: str, count: int) -> None:
        """Forget all but the first `count` of an execution's events: it begins again. Raises NotStored."""
        with self.transaction() as connection:
            connection.execute("DELETE FROM events WHERE arn = ? AND number >= ?", (arn, count))

    def executions(self) -> dict[str, Document]:
        """Every execution's record by ARN, its history in `events`, in the order in which they began."""
        records: dict[str, Document] = {}
        for arn, text in self.rows("SELECT arn, record FROM executions ORDER BY rowid"):
            record = _document(text)
            if record is not None and record.get("executionArn") == arn:
                records[arn] = {**record, "events": []}
            else:
                with self.transaction() as connection:  # an execution that takes its name has a history of its own
                    moved = "INSERT INTO broken SELECT 'events', arn || ' ' || number, event FROM events WHERE arn = ?"
                    connection.execute(moved, (arn,))
                    connection.execute("DELETE FROM events WHERE arn = ?", (arn,))
                self.put_aside("executions", "arn", arn, text, f"The record of the execution {arn} cannot be read")
        gaps = set()
        for arn, row, number, text in self.rows("SELECT arn, rowid, number, event FROM events ORDER BY arn, number"):
            if arn not in records:
                continue
            if (event := _document(text)) is not None:
                records[arn]["events"].append(event)
            else:
                gaps.add(arn)
                lost = f"Event {number + 1} of the execution {arn} cannot be read"
                self.put_aside("events", "rowid", row, text, lost)
        for arn in gaps:  # the next event is written after the last one that is left
            events = records[arn]["events"]
            with self.transaction() as connection:
                connection.execute("DELETE FROM events WHERE arn = ?", (arn,))
                rows = [(arn, number, json.dumps(event)) for number, event in enumerate(events)]
                connection.executemany("INSERT INTO events VALUES (?, ?, ?)", rows)
        return records


def _document(text: str) -> Document | None:
    """A row's JSON object; None where it holds none."""
    try:
        document = json.loads(text)
    except (ValueError, TypeError, RecursionError):
        return None
    return document if isinstance(document, dict) else None
