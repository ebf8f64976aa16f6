"""Records of the local SageMaker: kind -> name -> record, one JSON file per kind, safe across threads and restarts."""

from __future__ import annotations

import base64
import copy
import json
import os
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from laptop.documents import Document
from laptop.sagemaker.core import errors

Record = Document


class Store:
    """A table of records for each kind, written to `<folder>/<kind>.json` at every change.

    Records are plain JSON objects in the casing of SageMaker's Describe answers, times as epoch seconds (float).
    Reads return copies, so a caller never changes a record except through `update`.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.RLock()
        self._kinds: dict[str, dict[str, Record]] = {}
        folder.mkdir(parents=True, exist_ok=True)
        for file in sorted(folder.glob("*.json")):
            self._kinds[file.stem] = json.loads(file.read_text(encoding="utf-8"))

    @property
    def lock(self) -> threading.RLock:
        """Hold this around a check and the change that depends on it."""
        return self._lock

    def create(self, kind: str, name: str, record: Record) -> Record:
        """Add a record. Raises KeyError when the name is taken: names are decided here, atomically."""
        with self._lock:
            table = self._kinds.setdefault(kind, {})
            if name in table:
                raise KeyError(name)
            table[name] = copy.deepcopy(record)
            self._save(kind)
            return copy.deepcopy(record)

    def get(self, kind: str, name: str) -> Record | None:
        """A copy of one record, or None."""
        with self._lock:
            record = self._kinds.get(kind, {}).get(name)
            return copy.deepcopy(record)

    def update(self, kind: str, name: str, change: Callable[[Record], None] | Record) -> Record:
        """Merge fields into a record, or let a function change it in place; returns a copy. Raises KeyError."""
        with self._lock:
            table = self._kinds.get(kind, {})
            record = copy.deepcopy(table[name])  # a change that raises half-way leaves nothing behind
            if callable(change):
                change(record)
            else:
                record.update(copy.deepcopy(change))
            table[name] = record
            self._save(kind)
            return copy.deepcopy(record)

    def delete(self, kind: str, name: str) -> None:
        """Forget a record. Raises KeyError."""
        with self._lock:
            del self._kinds.get(kind, {})[name]
            self._save(kind)

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

    def _save(self, kind: str) -> None:
        target = self._folder / f"{kind}.json"
        partial = target.with_suffix(".partial")
        partial.write_text(json.dumps(self._kinds[kind], ensure_ascii=False), encoding="utf-8")
        os.replace(partial, target)


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
