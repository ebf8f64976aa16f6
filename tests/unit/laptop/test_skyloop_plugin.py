"""What the laptop cloud knows of Skyloop, and that it knows it in one place."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from laptop import skyloop_plugin
from laptop.skyloop_plugin import KnownFlight, LabeledBox, Rectangle, flight_and_path, image_folder

LAPTOP = Path(skyloop_plugin.__file__).parent
OF_SKYLOOP = re.compile(r"^\s*(from|import) skyloop\b|training_container|raw-images|ground-truth-jobs", re.MULTILINE)


def test_no_other_module_names_what_is_skyloops() -> None:
    naming = {file.name for file in LAPTOP.rglob("*.py") if OF_SKYLOOP.search(file.read_text(encoding="utf-8"))}
    assert naming == {"skyloop_plugin.py"}


def test_the_image_is_found_in_every_registry() -> None:
    folder = image_folder("team/skyloop-training")
    assert folder == image_folder("team/skyloop-serving")
    assert folder is not None
    assert (folder / "Dockerfile").is_file()
    assert image_folder("team/another") is None


@pytest.mark.parametrize(
    ("key", "place"),
    [
        ("raw-images/north/a.jpg", ("north", "a.jpg")),
        ("raw-images/north/day 1/a.jpg", ("north", "day 1/a.jpg")),
        ("raw-images/a.jpg", None),
        ("labeled-data/north/a.jpg", None),
    ],
)
def test_a_key_names_flight_and_path(key: str, place: tuple[str, str] | None) -> None:
    assert flight_and_path(key) == place


def coco(*images: dict[str, Any]) -> bytes:
    """A COCO file in which each image has one car, as wide as the image's number."""
    document = {
        "categories": [{"id": 7, "name": "car"}],
        "images": [{"id": number, **image} for number, image in enumerate(images, 1)],
        "annotations": [
            {"image_id": number, "category_id": 7, "bbox": [0, 0, number, 5]} for number in range(1, len(images) + 1)
        ],
    }
    return json.dumps(document).encode()


def car(width: float) -> list[LabeledBox]:
    return [LabeledBox("car", Rectangle(0, 0, width, 5))]


def test_known_boxes_are_found_by_path_and_by_content() -> None:
    flight = KnownFlight.parse(coco({"file_name": "a.jpg"}, {"file_name": "./day\\b.jpg", "sha256": "beef"}))
    assert flight.find("north", "a.jpg") == car(1)
    assert flight.find("north", "day/b.jpg") == flight.by_content["beef"] == car(2)
    assert flight.find("north", "c.jpg") is None


def test_other_bytes_under_a_path_do_not_get_the_boxes_of_the_first() -> None:
    flight = KnownFlight.parse(coco({"file_name": "a.jpg", "sha256": "beef"}, {"file_name": "old.jpg"}))
    assert flight.find("north", "a.jpg", "beef") == flight.find("north", "a.jpg") == car(1)
    assert flight.find("north", "a.jpg", "cafe") is None
    assert flight.find("north", "old.jpg", "cafe") == car(2), "an entry that names no content answers for the path"


def test_each_content_under_a_path_has_its_own_boxes() -> None:
    flight = KnownFlight.parse(coco({"file_name": "a.jpg", "sha256": "beef"}, {"file_name": "a.jpg", "sha256": "cafe"}))
    assert flight.find("north", "a.jpg", "beef") == car(1)
    assert flight.find("north", "day/a.jpg", "cafe") == car(2)


def test_a_bare_name_stands_for_a_nested_image_only_where_it_is_the_only_one() -> None:
    flight = KnownFlight.parse(coco({"file_name": "a.jpg"}, {"file_name": "x/b.jpg"}, {"file_name": "y/b.jpg"}))
    assert flight.find("north", "day/a.jpg") == car(1)
    assert flight.find("north", "b.jpg") is None


def test_crowds_and_boxes_without_area_are_left_out() -> None:
    document = json.loads(coco({"file_name": "a.jpg"}))
    document["annotations"] += [
        {"image_id": 1, "category_id": 7, "bbox": [0, 0, 9, 9], "iscrowd": 1},
        {"image_id": 1, "category_id": 7, "bbox": [0, 0, 9, 0]},
    ]
    assert KnownFlight.parse(json.dumps(document).encode()).find("north", "a.jpg") == car(1)
