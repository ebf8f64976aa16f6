from __future__ import annotations

import json
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from skyloop.layout import LABEL_CATEGORIES

from cli import categories
from cli.cloud import Cloud
from cli.errors import CliError


def stored(cloud: Cloud) -> list[str]:
    return categories.read_categories(cloud)[0]


def test_order_is_kept_and_names_are_appended(invoke, cloud: Cloud) -> None:
    assert invoke("categories", "add", "tree", "car").exit_code == 0
    assert invoke("categories", "add", "boat", "tree").exit_code == 0
    assert stored(cloud) == ["tree", "car", "boat"]
    listed = json.loads(invoke("categories", "list", "--json").stdout)
    assert listed == [
        {"class_id": 0, "name": "tree"},
        {"class_id": 1, "name": "car"},
        {"class_id": 2, "name": "boat"},
    ]


@pytest.mark.parametrize("name", ["Tree", " tree ", "TREE", "", "a\tb"])
def test_near_duplicates_and_bad_names(name: str) -> None:
    if name.strip() == "tree":
        assert categories.append_categories(["tree"], [name]) == ["tree"]
        return
    with pytest.raises(CliError):
        categories.append_categories(["tree"], [name])


@given(st.lists(st.sampled_from("abcdef")), st.lists(st.sampled_from("abcdefgh")))
def test_an_index_never_changes(first: list[str], second: list[str]) -> None:
    before = categories.append_categories([], first)
    after = categories.append_categories(before, second)
    assert after[: len(before)] == before
    assert sorted(set(after)) == sorted(after)


def test_a_write_that_lost_the_race_is_done_again_on_what_won(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    s3 = cloud.client("s3")
    real = categories.read_categories
    looks: list[int] = []

    def read_then_lose(cloud: Cloud) -> tuple[list[str], str | None]:
        answer = real(cloud)
        looks.append(1)
        if len(looks) == 1:  # somebody else writes between our look and our write
            s3.put_object(Bucket="skyloop-data", Key=LABEL_CATEGORIES, Body=categories.category_document(["other"]))
        return answer

    monkeypatch.setattr(categories, "read_categories", read_then_lose)
    names, added = categories.add_categories(cloud, ["mine"])
    assert names == ["other", "mine"]
    assert added == ["mine"]
    assert len(looks) == 2


def test_more_than_ground_truth_takes() -> None:
    with pytest.raises(CliError, match="takes 50"):
        categories.append_categories([], [f"c{number}" for number in range(51)])


def test_a_broken_configuration_is_named(invoke, cloud: Cloud) -> None:
    cloud.client("s3").put_object(Bucket="skyloop-data", Key=LABEL_CATEGORIES, Body=b"[]")
    result = invoke("categories", "list")
    assert result.exit_code == 1
    assert "not a label category configuration" in result.stderr


def test_threads_share_one_client(cloud: Cloud) -> None:
    made: set[int] = set()
    threads = [threading.Thread(target=lambda: made.add(id(cloud.client("s3")))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
