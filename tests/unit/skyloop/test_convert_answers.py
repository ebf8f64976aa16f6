"""functions/convert_labels: several answers for one picture."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
from skyloop.dataset.labels import Labels
from skyloop.layout import label_index_key, superseded_labels_key

from tests.support.account import BUCKET
from tests.support.labeled_lines import JOB, labeled
from tests.support.pictures import encoded, picture

OLD = {"creation-date": "2026-11-01T00:00:00.000000"}
NEW = {"creation-date": "2026-11-20T00:00:00.000000"}


def index(storage) -> list[dict[str, Any]]:
    return [json.loads(line) for line in gzip.decompress(storage.read(label_index_key(JOB)).body).splitlines()]


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("newest_first", [True, False])
def test_of_two_answers_the_newer_counts_and_the_other_is_put_aside(
    storage, dropped, convert, parts, seed, newest_first
):
    """Whatever the order of lines in a part, and of the records, which are listed by the hash of their content."""
    line = dropped("raw-images/f/1.jpg", encoded(picture(seed=seed)))
    old, new = labeled(line, (0, 1, seed, 5, 5), (0, 9, 9, 5, 5), **OLD), labeled(line, (0, 30, 10, 20, 20), **NEW)
    lines = [new, old] if newest_first else [old, new]
    answers = [convert(*lines)] if parts == 1 else [convert(one) for one in lines]
    assert [answer["put_aside"] for answer in answers] == ([1] if parts == 1 else [0, 0])
    if parts == 1:
        assert (answers[0]["converted"], answers[0]["boxes"]) == (1, 1)
    counts = Labels(storage).index(JOB)
    assert counts.plain() == {"images": 1, "boxes": 1, "put_aside": 1}
    assert [one["boxes"] for one in index(storage)] == [[["car", 30, 10, 20, 20]]]
    (aside,) = [json.loads(one) for one in storage.read(superseded_labels_key(JOB)).body.splitlines()]
    assert aside["line"]["boxes"] == [["car", 1, seed, 5, 5], ["car", 9, 9, 5, 5]]
    assert "2026-11-01" in aside["reason"]
    assert "2026-11-20" in aside["reason"]


def test_the_same_bytes_under_two_keys_are_one_picture_and_the_same_line_twice_is_one_answer(storage, dropped, convert):
    body = encoded(picture())
    line = labeled(dropped("raw-images/f/1.jpg", body), (0, 1, 1, 5, 5), **NEW)
    storage.write("raw-images/g/copy.jpg", body)
    copy = labeled({"source-ref": f"s3://{BUCKET}/raw-images/g/copy.jpg"}, (0, 9, 9, 5, 5), **OLD)
    convert(copy, line)
    convert(line, line)
    assert Labels(storage).index(JOB).plain() == {"images": 1, "boxes": 1, "put_aside": 1}
    assert index(storage)[0]["source_key"] == "raw-images/f/1.jpg"


@pytest.mark.parametrize("dates", [{"creation-date": None}, NEW])
def test_where_no_time_decides_that_is_said_and_an_index_made_again_is_the_same(storage, dropped, convert, dates):
    line = dropped("raw-images/f/1.jpg", encoded(picture()))
    for left in (1, 9):
        convert(labeled(line, (0, left, 1, 5, 5), **dates))
    assert Labels(storage).index(JOB).put_aside == 1
    first, aside = storage.read(label_index_key(JOB)).body, storage.read(superseded_labels_key(JOB)).body
    assert "nothing says which is right" in json.loads(aside)["reason"]
    assert Labels(storage).index(JOB).put_aside == 1
    assert (storage.read(label_index_key(JOB)).body, storage.read(superseded_labels_key(JOB)).body) == (first, aside)


@pytest.mark.parametrize("other", ["unanswered", "unusable"])
@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("good_first", [True, False])
def test_one_line_that_can_be_used_is_enough(storage, catalogue, dropped, convert, settle, other, parts, good_first):
    """Its image is in the dataset; it must not be sent to workers again because of another line."""
    line = dropped("raw-images/f/1.jpg", encoded(picture()))
    good = labeled(line, (0, 1, 1, 5, 5))
    bad = line if other == "unanswered" else labeled(line, (0, 500, 1, 5, 5))
    lines = [good, bad] if good_first else [bad, good]
    for batch in [lines] if parts == 1 else [[one] for one in lines]:
        convert(*batch)
    settle()
    assert catalogue.get(line["image-id"]).status == "LABELED"
    assert catalogue.get(line["image-id"]).unanswered == 0
    assert Labels(storage).index(JOB).images == 1
