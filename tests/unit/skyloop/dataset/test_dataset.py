"""skyloop.dataset.dataset and checks: what is in a dataset, what it is called, and what is wrong with it."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skyloop.dataset.checks import blocking_findings, check_dataset, notes_of
from skyloop.dataset.dataset import NewestLabels, Tally, dataset_line
from skyloop.dataset.labels import Box, LabeledImage
from skyloop.dataset.splits import SplitPlan, block_names, flight_names, plan_splits
from skyloop.documents import Finding

from tests.support.labeled_images import flights, labeled

CATEGORIES = ("person", "car")


@dataclass
class Dataset:
    """What an assembly makes of labels."""

    dataset_id: str
    test_set_id: str
    plan: SplitPlan
    tally: Tally


def dataset_of(images: list[LabeledImage], categories: tuple[str, ...] = CATEGORIES) -> Dataset:
    newest = NewestLabels(images)
    plan, tally = plan_splits(newest.frames, {}), Tally(categories)
    for image in newest.of(images):
        if image.image_id in plan.splits:
            tally.add(plan.splits[image.image_id], image)
    return Dataset(*newest.content_ids(categories, plan), plan, tally)


def checks_of(dataset: Dataset, at_least: int = 1) -> tuple[Finding, ...]:
    return check_dataset(dataset.tally, dataset.plan, at_least)


def findings(dataset: Dataset, at_least: int = 1) -> dict[str, str]:
    return {finding.name: finding.severity for finding in checks_of(dataset, at_least)}


def test_the_newest_labels_of_an_image_win():
    old = labeled("f", 1, "car", job="old", labeled_at="2026-01-01")
    new = labeled("f", 1, "person", job="new", labeled_at="2026-01-02")
    other = labeled("f", 2)
    for images in ([new, old, other], [old, other, new]):
        assert list(NewestLabels(images).of(images)) == [image for image in images if image is not old]


records = st.lists(
    st.tuples(st.integers(0, 11), st.sampled_from("abcd"), st.integers(0, 6), st.integers(0, 9)),
    min_size=1,
    max_size=40,
)  # picture, flight, day of the labels, number in the file's name


@settings(max_examples=300, deadline=None)
@given(records, st.integers(1, 5))
def test_no_picture_goes_from_one_split_to_another(rows: list[tuple[int, str, int, int]], steps: int):
    """Whatever is labeled again, in whichever flight and order: what was trained on is not tested on later."""
    images = [
        replace(
            labeled(flight, number, job=f"job-{at}", labeled_at=f"2026-01-{day + 1:02d}"), image_id=f"{picture:064x}"
        )
        for at, (picture, flight, day, number) in enumerate(rows)
    ]
    frozen: dict = {}
    had: dict[str, str] = {}
    for step in range(1, steps + 1):
        frames = NewestLabels(images[: -(-len(images) * step // steps)]).frames
        flights = {name: frozen[name] for name in flight_names(frames) if name in frozen}
        known = flights | {name: frozen[name] for name in block_names(frames, flights) if name in frozen}
        plan = plan_splits(frames, known)
        assert not plan.moved & (plan.splits.keys() | plan.guards)
        assert plan.splits.keys() | plan.moved | plan.guards == {frame.image_id for frame in frames}
        frozen |= plan.new
        for image_id, split in plan.splits.items():
            assert had.setdefault(image_id, split) == split


def test_a_picture_that_is_named_in_two_splits_is_in_none_and_counted():
    north, south = [labeled("north", n) for n in range(9)], [labeled("south", n) for n in range(6)]
    west = [labeled("west", n) for n in range(5)]
    frozen = plan_splits(NewestLabels([*north, *south, *west]).frames, {}).new
    assert frozen["north"] != frozen["south"]
    again = replace(north[3], flight="south", labeled_at="2026-11-30", job_name="later")
    for order in ([*north, *south, *west, again], [again, *west, *south, *north]):
        newest = NewestLabels(order)
        plan = plan_splits(newest.frames, frozen)
        assert plan.moved == {north[3].image_id}
        assert north[3].image_id not in plan.splits
        [finding] = [one for one in check_dataset(Tally(CATEGORIES), plan, 1) if one.name == "moved-pictures"]
        assert finding.message.startswith("1 pictures are left out")


def test_a_picture_of_a_flight_with_another_name_stays():
    """Where no other picture of that flight has a split, nothing says that it is in another."""
    north = [labeled("north", n) for n in range(9)]
    others = [labeled(flight, n) for flight in ("south", "west") for n in range(5)]
    frozen = plan_splits(NewestLabels(north + others).frames, {}).new
    renamed = [replace(one, flight="renamed", labeled_at="2026-11-30", job_name="later") for one in north]
    plan = plan_splits(NewestLabels(north + others + renamed).frames, frozen)
    assert not plan.moved
    assert {plan.splits[one.image_id] for one in north} == {frozen["north"]["split"]}


def test_labels_of_the_same_moment_are_ordered_by_their_job():
    images = [labeled("f", 1, job="b"), labeled("f", 1, job="a")]
    assert list(NewestLabels(images).of(images)) == list(NewestLabels(images[::-1]).of(images)) == [images[0]]


def test_a_dataset_is_named_by_its_content():
    images = flights(5, 8)
    first = dataset_of(images)
    shuffled = images.copy()
    random.Random(1).shuffle(shuffled)
    again = dataset_of(shuffled)
    assert (again.dataset_id, again.test_set_id) == (first.dataset_id, first.test_set_id)
    assert first.dataset_id.startswith("ds-")
    assert len(first.dataset_id) == 15

    trained = next(image for image in images if first.plan.splits[image.image_id] == "train")
    other = dataset_of([image if image is not trained else replace(image, boxes=image.boxes[:1]) for image in images])
    assert other.dataset_id != first.dataset_id
    assert other.test_set_id == first.test_set_id
    assert dataset_of(images, ("person", "car", "boat")).dataset_id != first.dataset_id


def test_who_labeled_is_no_part_of_the_content():
    images = flights(5, 8)
    again = [replace(image, job_name="job-2", labeled_at="2026-11-24", boxes=image.boxes[::-1]) for image in images]
    assert dataset_of([*images, *again]).dataset_id == dataset_of(images).dataset_id


def test_counts_and_jobs():
    tally = dataset_of([*flights(4, 5), *flights(3, 5, "car")[10:]]).tally
    assert sum(counts.images for counts in tally.counts.values()) == 20
    for split, classes in tally.class_boxes.items():
        assert sum(classes.values()) == tally.counts[split].boxes
        assert list(classes) == list(CATEGORIES)
    assert sum(tally.sizes) == sum(counts.boxes for counts in tally.counts.values())
    assert sum(sum(splits.values()) for splits in tally.flights.values()) == 20
    assert tally.jobs == {"job-1"}


def test_the_examples_are_two_of_each_split_or_all_there_are():
    images = [labeled(f"flight-{flight}", n, *["car"] * n) for flight in range(6) for n in range(10)]
    shown = dataset_of(images).tally.examples
    assert [split for split, _ in shown] == ["train"] * 2 + ["validation"] * 2 + ["test"] * 2
    assert all(
        len(most.boxes) >= len(other.boxes) for (_, most), (_, other) in zip(shown[::2], shown[1::2], strict=True)
    )
    assert [split for split, _ in dataset_of(flights(3, 1)).tally.examples] == ["train", "validation", "test"]


def test_a_line_of_the_dataset_has_ids_in_the_place_of_names():
    image = labeled("f é", 1, "car", "person")
    assert json.loads(dataset_line(image, CATEGORIES)) == {
        "image": image.key,
        "width": 64,
        "height": 48,
        "flight": "f é",
        "boxes": [[1, 0, 3, 12, 11], [0, 2, 3, 12, 11]],
    }


def test_a_good_dataset_has_no_error():
    assert blocking_findings(checks_of(dataset_of(flights(6, 30)), 20)) == []


@pytest.mark.parametrize(
    ("pictures", "name", "severity"),
    [
        ([], "enough-images", "error"),
        ([], "train-empty", "error"),
        (flights(1, 2), "test-empty", "error"),
        ([labeled(f"f{n}", n) for n in range(9)], "train-without-boxes", "error"),
        ([labeled(f"f{n}", n) for n in range(9)], "test-without-boxes", "error"),
        (flights(3, 5), "few-boxes", "warning"),
        (flights(3, 30, "car"), "class-unused", "warning"),
        (flights(3, 30, *["car"] * 41, "person"), "imbalance", "warning"),
        ([labeled("f", n, *(["car"] if n % 10 == 0 else [])) for n in range(200)], "mostly-empty", "warning"),
        ([labeled("f", n, "car") for n in range(200)], "guard-frames", "ok"),
        (
            [labeled("f", n, "car", source_key=f"raw-images/f/{'x' * n}.jpg") for n in range(60)],
            "unordered-frames",
            "warning",
        ),
    ],
)
def test_findings(pictures, name, severity):
    assert findings(dataset_of(pictures), 20)[name] == severity


def test_a_class_that_is_tested_but_never_trained_or_the_other_way():
    pictures = flights(6, 10, "car")
    whole = dataset_of(pictures)
    tested = {image_id for image_id, split in whole.plan.splits.items() if split == "test"}
    person = labeled("x", 0, "person").boxes
    only_tested = [p if p.image_id not in tested else replace(p, boxes=person) for p in pictures]
    assert findings(dataset_of(only_tested))["class-not-trained"] == "warning"
    only_trained = [p if p.image_id in tested else replace(p, boxes=person + p.boxes) for p in pictures]
    assert findings(dataset_of(only_trained))["class-not-tested"] == "warning"


def test_tiny_boxes():
    tiny = Box("car", 1, 1, 5, 5)
    images = [replace(image, boxes=(tiny, *image.boxes)) for image in flights(3, 10)]
    assert findings(dataset_of(images))["tiny-boxes"] == "warning"


def test_a_category_that_is_gone_forbids_training_and_another_order_does_not():
    assert findings(dataset_of(flights(3, 10), ("person",)))["category-removed"] == "error"
    assert "category-removed" not in findings(dataset_of(flights(3, 10), ("car", "person")))
    assert "category-removed" not in findings(dataset_of(flights(3, 10), ("person", "car", "boat")))


@pytest.mark.parametrize(
    ("train", "validation", "test", "told"),
    [
        ([640] * 9 + [3200], [640], [640], []),
        ([640] * 8 + [3200] * 2, [640], [640], ["validation", "test"]),
        ([640] * 8 + [3200] * 2, [640, 3200], [640], ["test"]),
        ([3200] * 10, [3200], [2560], []),
        ([640] * 10, [3200], [3200], []),
    ],
)
def test_pictures_that_nothing_judges_are_told(
    train: list[int], validation: list[int], test: list[int], told: list[str]
):
    tally = Tally(CATEGORIES)
    for split, sides in (("train", train), ("validation", validation), ("test", test)):
        for number, side in enumerate(sides):
            tally.add(split, replace(labeled(split, number, "car"), width=side, height=side * 3 // 4))
    notes = notes_of(check_dataset(tally, plan_splits([], {}), 1))
    assert [note.partition("with a box in ")[2].partition(",")[0] for note in notes] == told
    assert not told or notes[0].startswith("2 of 10 boxes to train on are on pictures larger than any")
