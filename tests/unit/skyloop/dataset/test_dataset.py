"""skyloop.dataset.dataset and checks: what is in a dataset, what it is called, and what is wrong with it."""

from __future__ import annotations

import random

import pytest
from skyloop.dataset.checks import blocking_findings, check_dataset
from skyloop.dataset.dataset import Dataset, build_dataset, dataset_manifest, frames_of, newest_labels
from skyloop.dataset.splits import plan_splits
from skyloop.documents import LabeledImage

from tests.support.labeled_images import flights, labeled

CATEGORIES = ("person", "car")


def dataset_of(pictures: list[LabeledImage], categories: tuple[str, ...] = CATEGORIES) -> Dataset:
    return build_dataset(pictures, plan_splits(frames_of(pictures), {}), categories)


def findings(dataset: Dataset, at_least: int = 1) -> dict[str, str]:
    return {finding.name: finding.severity for finding in check_dataset(dataset, at_least)}


def test_the_newest_labels_of_an_image_win_with_all_their_slices():
    old = [labeled("f", 1, "car", name=f"x_{left}_0", job="old", labeled_at="2026-01-01") for left in (0, 9, 18)]
    new = [labeled("f", 1, "person", name=f"x_{left}_0", job="new", labeled_at="2026-01-02") for left in (0, 18)]
    other = labeled("f", 2)
    kept = newest_labels([*new, *old, other, *new])
    assert sorted(kept, key=lambda p: p.name) == sorted([*new, other], key=lambda p: p.name)


def test_labels_of_the_same_moment_are_ordered_by_their_job():
    pictures = [labeled("f", 1, job="b"), labeled("f", 1, job="a")]
    assert newest_labels(pictures) == newest_labels(pictures[::-1]) == [pictures[0]]


def test_a_dataset_is_named_by_its_content():
    pictures = flights(5, 8)
    first = dataset_of(pictures)
    shuffled = pictures.copy()
    random.Random(1).shuffle(shuffled)
    again = dataset_of(shuffled)
    assert (again.dataset_id, again.test_set_id) == (first.dataset_id, first.test_set_id)
    assert first.dataset_id.startswith("ds-")
    assert len(first.dataset_id) == 15

    trained = first.pictures["train"][0]
    relabeled = [p if p is not trained else p.model_copy(update={"boxes": p.boxes[:1]}) for p in pictures]
    other = dataset_of(relabeled)
    assert other.dataset_id != first.dataset_id
    assert other.test_set_id == first.test_set_id
    assert dataset_of(pictures, ("person", "car", "boat")).dataset_id != first.dataset_id


def test_counts_and_jobs():
    dataset = dataset_of([*flights(4, 5), *flights(3, 5, "car")[10:]])
    total = sum(counts.images for counts in dataset.counts.values())
    assert total == sum(len(pictures) for pictures in dataset.pictures.values())
    for split, classes in dataset.class_boxes.items():
        assert sum(classes.values()) == dataset.counts[split].boxes
        assert list(classes) == list(CATEGORIES)
    assert dataset.labeling_jobs == ("job-1",)


def test_a_manifest_file_pairs_pictures_and_labels():
    first, second = labeled("f", 1), labeled("f", 2)
    assert dataset_manifest("bucket", [first, second]) == [
        {"prefix": "s3://bucket/labeled-data/"},
        f"job-1/images/{first.name}.jpg",
        f"job-1/labels/{first.name}.txt",
        f"job-1/images/{second.name}.jpg",
        f"job-1/labels/{second.name}.txt",
    ]


def test_slices_of_one_image_stay_together():
    slices = [
        labeled(f"flight-{flight}", number, "car", name=f"{flight}-{number}_{left}_0")
        for flight in range(4)
        for number in range(6)
        for left in (0, 200, 400)
    ]
    dataset = dataset_of(slices)
    for pictures in dataset.pictures.values():
        assert len(pictures) == 3 * len({picture.image_id for picture in pictures})


def test_a_good_dataset_has_no_error():
    assert blocking_findings(check_dataset(dataset_of(flights(6, 30)), 20)) == []


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
    tested = {picture.image_id for picture in whole.pictures["test"]}
    person = labeled("x", 0, "person").boxes
    only_tested = [p if p.image_id not in tested else p.model_copy(update={"boxes": person}) for p in pictures]
    assert findings(dataset_of(only_tested))["class-not-trained"] == "warning"
    only_trained = [p if p.image_id in tested else p.model_copy(update={"boxes": person + p.boxes}) for p in pictures]
    assert findings(dataset_of(only_trained))["class-not-tested"] == "warning"


def test_tiny_boxes():
    tiny = labeled("x", 0, "car").boxes[0].model_copy(update={"width": 5.0, "height": 5.0})
    pictures = [p.model_copy(update={"boxes": (tiny, *p.boxes)}) for p in flights(3, 10)]
    assert findings(dataset_of(pictures))["tiny-boxes"] == "warning"


def test_reordered_categories_forbid_training():
    assert findings(dataset_of(flights(3, 10), ("car", "person")))["categories-reordered"] == "error"
    assert findings(dataset_of(flights(3, 10), ("person",)))["categories-reordered"] == "error"
    assert "categories-reordered" not in findings(dataset_of(flights(3, 10), ("person", "car", "boat")))


def test_a_leak_is_seen_in_the_result():
    pictures = flights(3, 10)
    whole = dataset_of(pictures)
    leaky = Dataset(CATEGORIES, {**whole.pictures, "test": whole.pictures["train"][:1]}, whole.plan)
    assert findings(leaky)["no-duplicates"] == "error"
    assert findings(whole)["no-duplicates"] == "ok"
