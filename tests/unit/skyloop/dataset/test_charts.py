"""The charts of reports, and the order of their rows."""

from __future__ import annotations

import re

import pytest
from skyloop.dataset.charts import histogram, stacked_bars
from skyloop.dataset.report import natural_order


def texts(svg: str) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg)


def test_every_column_is_named_by_its_edges():
    shown = histogram([3, 2, 2], (0, 8, 16), "pixels")
    assert texts(shown) == ["3", "0–8", "2", "8–16", "2", "≥ 16"]


def test_a_histogram_of_nothing_still_has_its_axis():
    assert texts(histogram([0, 0], (0, 8), "pixels")) == ["0–8", "≥ 8"]


def test_a_long_name_keeps_its_end_and_its_place():
    name = "2026-01-10-yellowstone-north-block-b-line-019"
    label, total = texts(stacked_bars({name: {"train": 3, "test": 4}}))
    assert name.endswith(label.removeprefix("…"))
    assert len(label) < len(name)
    assert total == "7"


def test_names_are_text():
    assert "<b>" not in stacked_bars({"<b>": {"train": 1}})


@pytest.mark.parametrize(
    "names",
    [
        ["line-2", "line-10", "line-20a", "line-20b"],
        ["2026-03-09", "2026-03-10-b", "field"],
        ["", "7", "a", "a1", "a1-2", "a1-11", "b"],
    ],
)
def test_flights_are_sorted_as_a_person_would(names):
    assert natural_order(reversed(names)) == names
