"""The local SageMaker's records: names given once, changes written through, lists cut into pages."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from laptop.database import Database, NotStored
from laptop.sagemaker.core import errors
from laptop.sagemaker.core.store import FILE, Store, page, select


def test_records_survive_and_are_copies(tmp_path: Path) -> None:
    store = Store(tmp_path)
    given = {"Name": "a", "Tags": []}
    store.create("model", "a", given)
    given["Tags"].append("mine alone")
    read = store.get("model", "a")
    read["Tags"].append("mine alone")
    store.update("model", "a", lambda record: record["Tags"].append("kept"))
    again = Store(tmp_path)
    assert again.get("model", "a") == {"Name": "a", "Tags": ["kept"]}
    again.delete("model", "a")
    assert Store(tmp_path).all("model") == []


def test_of_many_that_want_a_name_one_gets_it(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def take(number: int) -> bool:
        try:
            store.create("model", "a", {"by": number})
        except KeyError:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(take, range(64))) == 1


def test_no_change_is_lost_between_threads(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.create("group", "g", {"last": 0})

    def count(_: int) -> None:
        store.update("group", "g", lambda record: record.update(last=record["last"] + 1))

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(count, range(200)))
    assert Store(tmp_path).get("group", "g") == {"last": 200}


def test_a_change_that_raises_leaves_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.create("model", "a", {"n": 1})

    def change(record: dict[str, int]) -> None:
        record["n"] = 2
        raise ValueError("half-way")

    with pytest.raises(ValueError, match="half-way"):
        store.update("model", "a", change)
    assert store.get("model", "a") == {"n": 1}


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """While this is set, nothing can be written."""
    full, write = threading.Event(), Database.write

    def refuse(self: Database, statement: str, parameters: Sequence[Any]) -> None:
        if full.is_set():
            raise NotStored("No space left on device")
        write(self, statement, parameters)

    monkeypatch.setattr(Database, "write", refuse)
    return full


@pytest.mark.parametrize(
    "change",
    [
        lambda store: store.create("model", "b", {"n": 2}),
        lambda store: store.update("model", "a", {"n": 2}),
        lambda store: store.delete("model", "a"),
    ],
)
def test_what_is_not_stored_has_not_happened(
    tmp_path: Path, full_disk: threading.Event, change: Callable[[Store], Any]
) -> None:
    store = Store(tmp_path)
    store.create("model", "a", {"n": 1})
    full_disk.set()
    with pytest.raises(NotStored):
        change(store)
    assert store.all("model") == Store(tmp_path).all("model") == [{"n": 1}]
    full_disk.clear()
    change(store)
    assert store.all("model") == Store(tmp_path).all("model") != [{"n": 1}]


def test_work_in_the_background_waits_for_room_and_holds_nobody_up(tmp_path: Path, full_disk: threading.Event) -> None:
    store = Store(tmp_path)
    store.create("job", "a", {"status": "InProgress"})
    tried = threading.Event()

    def end(record: dict[str, str]) -> None:
        record["status"] = "Completed"
        tried.set()

    def work() -> None:
        with store.insisting():
            store.update("job", "a", end)

    full_disk.set()
    with ThreadPoolExecutor(1) as pool:
        ended = pool.submit(work)
        assert tried.wait(60)
        assert store.get("job", "a") == {"status": "InProgress"}
        full_disk.clear()
        ended.result(60)
    assert Store(tmp_path).get("job", "a") == {"status": "Completed"}


def test_a_store_that_is_closed_waits_for_no_room(tmp_path: Path, full_disk: threading.Event) -> None:
    store = Store(tmp_path)
    full_disk.set()
    store.close()
    with store.insisting(), pytest.raises(NotStored):
        store.create("job", "a", {})


def test_a_file_that_cannot_be_read_is_set_aside_and_said(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"no database at all " * 300)
    store = Store(tmp_path)
    assert len(store.found) == 1
    assert f"{FILE}.broken-" in store.found[0]
    assert [path.read_bytes()[:11] for path in tmp_path.glob("*.broken-*")] == [b"no database"]
    store.create("model", "a", {})
    assert Store(tmp_path).found == []


def test_a_record_that_cannot_be_read_costs_no_other(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for name in "abc":
        store.create("model", name, {"Name": name})
    store.close()
    with closing(sqlite3.connect(tmp_path / FILE)) as database, database:
        database.execute("""UPDATE records SET record = '{"Name' WHERE name = 'b'""")
    again = Store(tmp_path)
    assert [record["Name"] for record in again.all("model")] == ["a", "c"]
    assert "model b cannot be read" in again.found[0]
    again.create("model", "b", {"Name": "b"})
    assert Store(tmp_path).found == []


RECORDS = [
    {"Name": f"job-{n}", "Status": "Completed" if n % 2 else "Failed", "CreationTime": float(n)} for n in range(7)
]


def test_lists_filter_sort_and_page() -> None:
    def names(**request: object) -> list[str]:
        return [record["Name"] for record in select(RECORDS, request, name="Name", status="Status")]

    assert names() == [f"job-{n}" for n in range(7)]
    assert names(SortOrder="Descending", StatusEquals="Completed") == ["job-5", "job-3", "job-1"]
    assert names(NameContains="JOB-3") == ["job-3"]
    assert names(CreationTimeAfter=2.0, CreationTimeBefore=4.0) == ["job-2", "job-3", "job-4"]
    assert names(SortBy="Status")[0] == "job-1"
    token, seen = None, []
    while True:
        answer = page(RECORDS, {"MaxResults": 3, **({"NextToken": token} if token else {})}, "Items")
        seen += answer["Items"]
        token = answer.get("NextToken")
        if token is None:
            break
    assert seen == RECORDS


@pytest.mark.parametrize("token", ["?", "b2Zmc2V0", "ü", "LTE="])
def test_tokens_of_others_are_refused(token: str) -> None:
    with pytest.raises(errors.ServiceError, match="Invalid pagination token"):
        page(RECORDS, {"NextToken": token}, "Items")
