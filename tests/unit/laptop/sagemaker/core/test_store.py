"""The local SageMaker's records: names given once, changes written through, lists cut into pages."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from laptop.sagemaker.core import errors
from laptop.sagemaker.core.store import Store, page, select


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
    assert json.loads((tmp_path / "group.json").read_text())["g"]["last"] == 200


def test_a_change_that_raises_leaves_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.create("model", "a", {"n": 1})

    def change(record: dict[str, int]) -> None:
        record["n"] = 2
        raise ValueError("half-way")

    with pytest.raises(ValueError, match="half-way"):
        store.update("model", "a", change)
    assert store.get("model", "a") == {"n": 1}


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
