"""Average precision of a few images at a time is that of all at once, and memory does not grow with the test set."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from skyloop_container import average_precision
from skyloop_container.average_precision import SIZES
from skyloop_container.detections import Detections, ScoredImage, Truth
from skyloop_container.inference import Detection
from skyloop_container.metrics import score

from training_container.tests.coco import all_at_once

NAMES = ("a", "b", "never there")


def images(count: int, boxes: int = 12, seed: int = 0) -> list[ScoredImage]:
    """Frames of objects of all sizes, most of them found; every ninth has none, every seventh no detection."""
    random = np.random.default_rng(seed)
    made = []
    for number in range(count):
        sides = random.choice([12.0, 20.0, 50.0, 150.0], boxes) * random.uniform(0.8, 1.2, boxes)
        truth = [
            Truth(str(random.choice(NAMES[:2])), *random.uniform(0, 800, 2).tolist(), float(side), float(side))
            for side in sides
        ]
        found = [
            Detection(one.category, 0, float(random.uniform(0.1, 1)), one.left + random.normal(0, 3), *one.box[1:])
            for one in truth
        ]
        found += [replace(one, confidence=one.confidence / 3, top=float(random.uniform(0, 800))) for one in found[::2]]
        found.sort(key=lambda one: -one.confidence)
        made.append(
            ScoredImage(
                str(number),
                1000,
                1000,
                truth if number % 9 else [],
                Detections(found if number % 7 else []),
                f"flight {number % 4}",
            )
        )
    return made


@pytest.mark.parametrize("count", [1, 31, 33, 70])
def test_a_few_images_at_a_time_give_what_all_at_once_do(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(average_precision, "AT_ONCE", 16)
    scored = images(count + 1)[1:]  # the first has neither boxes nor detections
    expected, got = all_at_once(scored, NAMES), score(scored, NAMES, 0.5)
    for number, name in enumerate(NAMES[:2]):
        assert got["per_class"][name]["ap50"] == pytest.approx(expected[0, :, number, 0].mean(), abs=1e-6)
        assert got["per_class"][name]["ap50_95"] == pytest.approx(expected[:, :, number, 0].mean(), abs=1e-6)
    assert got["per_class"][NAMES[2]]["ap50"] is None
    for number, size in enumerate(SIZES, 1):
        of_size = expected[0, :, :2, number].mean(axis=0)
        assert got["by_size"][size]["map50"] == pytest.approx(of_size[of_size >= 0].mean(), abs=1e-6)
        low, high = SIZES[size]
        boxes = [box for image in scored for box in image.truth]
        assert got["by_size"][size]["boxes"] == sum(low <= box.width * box.height < high for box in boxes)


def test_nothing_there_and_nothing_found() -> None:
    nothing = [ScoredImage("1", 10, 10, [], Detections([]))]
    assert score(nothing, NAMES, 0.5)["map50"] is None
    missed = [replace(nothing[0], truth=[Truth("a", 0, 0, 5, 5)])]
    assert score(missed, NAMES, 0.5)["map50"] == score(missed, NAMES, 0.5)["by_size"]["small"]["map50"] == 0


def test_a_flight_is_scored_as_if_it_were_alone() -> None:
    scored = images(60)
    for flight, got in score(scored, NAMES, 0.5)["by_flight"].items():
        alone = score([image for image in scored if image.flight == flight], NAMES, 0.5)
        assert got["map50"] == pytest.approx(alone["map50"], abs=1e-5)
        assert got["boxes"] == sum(one["boxes"] for one in alone["per_class"].values()) > 50


def test_detections_are_what_they_were() -> None:
    found = [Detection("b", 1, 0.9, 1.25, 2.5, 3.125, 4.0), Detection("a", 0, 1 / 3, 1e4 + 0.1, 0.0, 7.0, 8.0)]
    kept = Detections(found)
    assert list(kept) == found == kept[0:2]
    assert kept[-1] == found[1]
    assert kept.confidences.tolist() == [0.9, 1 / 3]
    assert kept.of("b")[0].tolist() == [[1.25, 2.5, 3.125, 4.0]]
    assert [len(one) for one in kept.of("c")] == [0, 0]


def peak(count: int) -> float:
    """Bytes of Python's, at most, while images of 90 detections are scored."""
    scored = images(count, 60)
    score(scored[:20], NAMES[:2], 0.5)  # what is imported and kept for ever
    tracemalloc.start()
    try:
        score(scored, NAMES[:2], 0.5)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_is_for_a_few_images_and_not_for_the_test_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(average_precision, "AT_ONCE", 8)
    assert peak(96) < 1.5 * peak(24)


def test_an_image_is_kept_in_arrays() -> None:
    tracemalloc.start()
    try:
        made = Detections(list(images(2, 2000)[1].detections))
        kept = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert len(made) == 3000
    assert kept < 2 * 50 * len(made)  # the picture that they come from has its own
