from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cli.errors import CliError
from cli.flights import plan_drop
from cli.labels import find_labels, join_labels, read_labels

Picture = Callable[..., Path]
CATEGORIES = [{"id": 7, "name": "tree"}, {"id": 3, "name": "car"}]


def document(*files: str, **changes: Any) -> dict[str, Any]:
    images = [{"id": index, "file_name": name, "width": 32, "height": 24} for index, name in enumerate(files)]
    boxes = [{"id": i, "image_id": i, "category_id": 3, "bbox": [1, 2, 3, 4]} for i in range(len(files))]
    return {"images": images, "annotations": boxes, "categories": CATEGORIES, **changes}


def written(path: Path, content: Any) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "cannot be read as JSON"),
        ([], "not a COCO detection file"),
        ({"images": []}, "annotations: Field required"),
        (document("a.jpg", categories=[]), "categories"),
        (document("a.jpg", annotations=[{"image_id": 0, "category_id": 3, "bbox": [1, 2, 3]}]), "bbox"),
        (document("a.jpg", annotations=[{"image_id": 0, "category_id": 3, "bbox": [1, 2, -3, 4]}]), "bbox"),
        (document("a.jpg", annotations=[{"image_id": 0, "category_id": 3, "bbox": [1, 2, "x", 4]}]), "bbox"),
        (document("a.jpg", annotations=[{"image_id": 9, "category_id": 3, "bbox": [1, 2, 3, 4]}]), "image 9"),
        (document("a.jpg", annotations=[{"image_id": 0, "category_id": 9, "bbox": [1, 2, 3, 4]}]), "category 9"),
        (document("a.jpg", images=[{"id": 0, "file_name": "a.jpg"}] * 2), "an id twice"),
        (document("../a.jpg"), "leaves the folder"),
        (document("/etc/a.jpg"), "leaves the folder"),
        (document("x\\..\\..\\a.jpg"), "leaves the folder"),
        (document("a.jpg", categories=[{"id": i, "name": f"c{i}"} for i in range(51)]), "takes 50"),
        (
            '{"images":[],"annotations":[{"image_id":0,"category_id":3,"bbox":[NaN,2,3,4]}],"categories":[{"id":3,"name":"a"}]}',
            "bbox",
        ),
    ],
)
def test_what_is_wrong_is_said_clearly(tmp_path: Path, content: Any, says: str) -> None:
    with pytest.raises(CliError) as refused:
        read_labels(written(tmp_path / "annotations.json", content))
    assert says in refused.value.what
    assert refused.value.next_step


def test_entries_find_their_images(tmp_path: Path, picture: Picture) -> None:
    root = tmp_path / "farm"
    for name in ("east/1.jpg", "east/2.jpg", "west/1.jpg", "west/only.jpg"):
        picture(root / name)
    drop = plan_drop(root)
    file = read_labels(
        written(root / "annotations.json", document("east/1.jpg", "./west/1.jpg", "elsewhere/only.jpg", "1.jpg"))
    )
    labels = join_labels(file, drop)
    assert [image.file_name for image in labels.by_flight["farm-east"].images] == ["1.jpg"]
    assert [image.file_name for image in labels.by_flight["farm-west"].images] == ["1.jpg", "only.jpg"]
    assert labels.entries_without_image == ["1.jpg"]  # two images are called so: guessing would mislabel one
    assert labels.images_without_entry == 1
    assert labels.boxes == 3


def test_a_backslash_divides_folders_or_is_part_of_a_name(tmp_path: Path, picture: Picture) -> None:
    for number, name in enumerate(("a\\b.jpg", "c/d.jpg")):
        picture(tmp_path / "f" / name, number)
    labels = read_labels(written(tmp_path / "annotations.json", document("a\\b.jpg", "c\\d.jpg")))
    assert join_labels(labels, plan_drop(tmp_path / "f")).entries_without_image == []


def test_a_name_may_be_composed_or_not(tmp_path: Path, picture: Picture) -> None:
    picture(tmp_path / "f" / "e\u0301t\u00e9.jpg")
    file = read_labels(written(tmp_path / "labels.json", document("\u00e9te\u0301.jpg")))
    labels = join_labels(file, plan_drop(tmp_path / "f"))
    assert labels.by_flight["f"].images[0].file_name == "e\u0301t\u00e9.jpg"


def test_boxes_keep_their_category_by_name(tmp_path: Path, picture: Picture) -> None:
    picture(tmp_path / "f" / "1.jpg")
    file = read_labels(written(tmp_path / "labels.json", document("1.jpg")))
    flight = join_labels(file, plan_drop(tmp_path / "f")).by_flight["f"]
    names = {item.id: item.name for item in flight.categories}
    assert [names[box.category_id] for box in flight.annotations] == ["car"]
    assert flight.annotations[0].bbox == (1, 2, 3, 4)


def test_an_entry_without_boxes_says_the_image_is_empty(tmp_path: Path, picture: Picture) -> None:
    picture(tmp_path / "f" / "1.jpg")
    file = read_labels(written(tmp_path / "labels.json", document("1.jpg", annotations=[])))
    flight = join_labels(file, plan_drop(tmp_path / "f")).by_flight["f"]
    assert len(flight.images) == 1
    assert flight.annotations == []


def test_the_real_shape_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps({**document("a.jpg"), "info": {}, "licenses": []}).encode())
    assert read_labels(path).category_names == ["tree", "car"]


@pytest.mark.parametrize(("dropped", "found"), [("flight", True), ("flight/images", True), ("flight/other", False)])
def test_annotations_beside_the_images_are_found(tmp_path: Path, picture: Picture, dropped: str, found: bool) -> None:
    picture(tmp_path / "flight" / "images" / "1.jpg")
    picture(tmp_path / "flight" / "other" / "1.jpg")
    file = written(tmp_path / "flight" / "annotations.json", document())
    assert (find_labels(tmp_path / dropped) == file) is found
