"""Records of the local SageMaker: kind -> name -> record, written through, safe across threads and restarts."""

from __future__ import annotations

import base64
import copy
import json
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from laptop.database import Database, DatabaseBroken, NotStored, set_aside
from laptop.documents import Document
from laptop.sagemaker.core import errors

log = logging.getLogger(__name__)

Record = Document
Result = TypeVar("Result")

FILE = "records.sqlite"
_TABLES = """
CREATE TABLE IF NOT EXISTS records (id INTEGER PRIMARY KEY, kind TEXT NOT NULL, name TEXT NOT NULL,
    record TEXT NOT NULL, UNIQUE (kind, name));
CREATE TABLE IF NOT EXISTS broken (kind TEXT NOT NULL, name TEXT NOT NULL, record TEXT NOT NULL);
"""
_AGAIN_SECONDS = 1.0


class Store:
    """A table of records for each kind, each written down in `<folder>/records.sqlite` before it changes here.

    Records are plain JSON objects in the casing of SageMaker's Describe answers, times as epoch seconds (float).
    Reads return copies, so a caller never changes a record except through `update`. `found` says, in sentences, what
    could not be read: it is put aside and kept.

    A change that cannot be written down raises laptop.database.NotStored and leaves everything as it was.
    """

    def __init__(self, folder: Path) -> None:
        """Open the folder's records. Raises NotStored where they cannot be written."""
        self.found: list[str] = []
        self._lock = threading.RLock()
        self._kinds: dict[str, dict[str, Record]] = {}
        self._stopping = threading.Event()
        self._insisting = threading.local()
        folder.mkdir(parents=True, exist_ok=True)
        try:
            self._load(folder / FILE)
        except DatabaseBroken as broken:
            aside = set_aside(folder / FILE)
            self.found.append(f"{broken}. It was set aside as {aside.name}: SageMaker begins without its resources.")
            self._load(folder / FILE)

    @property
    def lock(self) -> threading.RLock:
        """Hold this around a check and the change that depends on it."""
        return self._lock

    def stop_waiting(self) -> None:
        """From now on nothing waits for room on the disk: the service is stopping."""
        self._stopping.set()

    def close(self) -> None:
        """Close the file: nothing can be written down afterwards."""
        self.stop_waiting()
        with self._lock:
            self._database.close()

    @contextmanager
    def insisting(self) -> Iterator[None]:
        """In this thread, wait with changes that cannot be written down until they can: for work in the background.

        A request is refused when the disk is full, and its caller tries again. How a job ended is said once.
        """
        self._insisting.on = True
        try:
            yield
        finally:
            self._insisting.on = False

    def create(self, kind: str, name: str, record: Record) -> Record:
        """Add a record. Raises KeyError when the name is taken: names are decided here, atomically."""

        def create() -> Record:
            with self._lock:
                table = self._kinds.setdefault(kind, {})
                if name in table:
                    raise KeyError(name)
                kept = copy.deepcopy(record)
                self._database.write(
                    "INSERT INTO records (kind, name, record) VALUES (?, ?, ?)", (kind, name, _text(kept))
                )
                table[name] = kept
                return copy.deepcopy(kept)

        return self._written(create)

    def get(self, kind: str, name: str) -> Record | None:
        """A copy of one record, or None."""
        with self._lock:
            record = self._kinds.get(kind, {}).get(name)
            return copy.deepcopy(record)

    def update(self, kind: str, name: str, change: Callable[[Record], None] | Record) -> Record:
        """Merge fields into a record, or let a function change it in place; returns a copy. Raises KeyError."""

        def update() -> Record:
            with self._lock:
                table = self._kinds.get(kind, {})
                record = copy.deepcopy(table[name])  # a change that raises half-way leaves nothing behind
                if callable(change):
                    change(record)
                else:
                    record.update(copy.deepcopy(change))
                self._database.write(
                    "UPDATE records SET record = ? WHERE kind = ? AND name = ?", (_text(record), kind, name)
                )
                table[name] = record
                return copy.deepcopy(record)

        return self._written(update)

    def delete(self, kind: str, name: str) -> None:
        """Forget a record. Raises KeyError."""

        def delete() -> None:
            with self._lock:
                table = self._kinds.get(kind, {})
                if name not in table:
                    raise KeyError(name)
                self._database.write("DELETE FROM records WHERE kind = ? AND name = ?", (kind, name))
                del table[name]

        self._written(delete)

    def all(self, kind: str) -> list[Record]:
        """Copies of every record of a kind, oldest first."""
        with self._lock:
            return copy.deepcopy(list(self._kinds.get(kind, {}).values()))

    def find(self, match: Callable[[str, Record], bool]) -> tuple[str, str, Record] | None:
        """The first (kind, name, copy of the record) that matches, over all kinds."""
        with self._lock:
            for kind, table in self._kinds.items():
                for name, record in table.items():
                    if match(kind, record):
                        return kind, name, copy.deepcopy(record)
        return None

    def _load(self, file: Path) -> None:
        self._database = Database(file, _TABLES)
        try:
            rows = self._database.rows("SELECT kind, name, record FROM records ORDER BY id")
        except DatabaseBroken:
            self._database.close()
            raise
        for kind, name, text in rows:
            try:
                self._kinds.setdefault(kind, {})[name] = {**json.loads(text)}
            except (ValueError, TypeError, RecursionError):
                with self._database.transaction() as connection:
                    connection.execute("INSERT INTO broken VALUES (?, ?, ?)", (kind, name, str(text)))
                    connection.execute("DELETE FROM records WHERE kind = ? AND name = ?", (kind, name))
                self.found.append(f"The record of {kind} {name} cannot be read; it is kept in the table broken.")

    def _written(self, change: Callable[[], Result]) -> Result:
        """What a change returns, tried again where this thread insists; the lock is free while it waits."""
        said = False
        while True:
            try:
                return change()
            except NotStored as error:
                if not getattr(self._insisting, "on", False):
                    raise
                if not said:
                    log.error("A record cannot be written down; it is tried again until it can: %s", error)
                    said = True
                if self._stopping.wait(_AGAIN_SECONDS):
                    raise


def _text(record: Record) -> str:
    return json.dumps(record)


def select(
    records: Iterable[Record],
    request: Record,
    *,
    name: str,
    status: str = "",
    default_order: str = "Ascending",
) -> list[Record]:
    """Apply the filters that all of SageMaker's List operations share.

    `NameContains`, `StatusEquals` (against the field `status`), `CreationTimeAfter/Before`,
    `LastModifiedTimeAfter/Before`, then `SortBy` (Name, CreationTime, Status) and `SortOrder`. The order without
    `SortOrder` differs in the API reference: Ascending for jobs and packages, Descending for hosting.
    """
    chosen = []
    for record in records:
        if request.get("NameContains") and request["NameContains"].lower() not in record[name].lower():
            continue
        if status and request.get("StatusEquals") and record.get(status) != request["StatusEquals"]:
            continue
        at = record["CreationTime"]
        changed = record.get("LastModifiedTime", at)
        if not (request.get("CreationTimeAfter", 0) <= at <= request.get("CreationTimeBefore", float("inf"))):
            continue
        if not (
            request.get("LastModifiedTimeAfter", 0) <= changed <= request.get("LastModifiedTimeBefore", float("inf"))
        ):
            continue
        chosen.append(record)
    key = {"Name": name, "Status": status}.get(request.get("SortBy", "")) or "CreationTime"
    descending = request.get("SortOrder", default_order) == "Descending"
    return sorted(chosen, key=lambda record: record[key], reverse=descending)


def page(records: list[Record], request: Record, field: str, default: int = 10) -> Record:
    """Cut one page: `{field: [...], "NextToken"?: str}` by `MaxResults` and `NextToken`.

    Raises ValidationException for a token this service did not give out.
    """
    start = 0
    if token := request.get("NextToken"):
        try:
            mark, _, offset = base64.urlsafe_b64decode(token.encode("ascii")).decode("ascii").partition(":")
            start = int(offset)
        except ValueError as error:
            raise errors.validation("Invalid pagination token given.") from error
        if mark != "offset" or start < 0:
            raise errors.validation("Invalid pagination token given.")
    stop = start + int(request.get("MaxResults", default))
    answer: Record = {field: records[start:stop]}
    if stop < len(records):
        answer["NextToken"] = base64.urlsafe_b64encode(f"offset:{stop}".encode("ascii")).decode("ascii")
    return answer
