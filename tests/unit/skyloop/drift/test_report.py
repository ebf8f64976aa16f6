"""The drift report: a page that stands alone."""

from __future__ import annotations

from html.parser import HTMLParser

import numpy as np
import pytest
from skyloop.drift.detector import detect
from skyloop.drift.report import render

from tests.support.profiles import NAMES, baseline_of, profiles_of


class Page(HTMLParser):
    """Counts tags, collects text, and fails on a tag that is closed twice or not at all."""

    VOID = frozenset({"meta", "rect", "br"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag == "td" or self.open[-1] == tag:
            self.open.remove(tag)

    def handle_data(self, data):
        self.text += data


@pytest.fixture
def page() -> str:
    random = np.random.default_rng(0)
    reference, window = random.normal(0.5, 0.05, (40, len(NAMES))), random.normal(0.9, 0.05, (20, len(NAMES)))
    reference[:, 3] = window[:, 3] = 0.0
    judgment = detect(baseline_of(reference), profiles_of(window), alpha=0.01)
    judgment = judgment.model_copy(update={"not_compared": {"glare<1>": "the baseline does not have it"}})
    return render(judgment, reference, window, title="Drift of <b>e</b>", facts=[("config", "a & b")])


def test_everything_a_person_asks_is_on_it(page):
    text = Page(page).text
    assert "DRIFT" in text
    assert "images are brighter: median brightness" in text
    assert "a & b" in text
    assert "Drift of <b>e</b>" in text  # escaped, so it is text
    assert all(name in text for name in NAMES)


def test_what_was_not_compared_is_on_it_with_the_reason(page):
    assert "glare<1>: the baseline does not have it" in Page(page).text


def test_it_loads_nothing(page):
    for tag, attributes in Page(page).tags:
        assert tag not in {"script", "link", "img", "iframe"}
        assert not {"src", "href"} & set(attributes)


def test_a_histogram_per_statistic_with_bars_inside_their_frames(page):
    found = Page(page)
    assert sum(tag == "svg" for tag, _ in found.tags) == len(NAMES)
    for tag, attributes in found.tags:
        if tag == "rect":
            assert 0 <= float(attributes["x"]) <= 320
            assert 0 <= float(attributes["y"]) <= 110
            assert float(attributes["height"]) > 0
    assert not set(found.open) - {"html"}
