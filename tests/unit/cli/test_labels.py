from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from skyloop.formats.coco import CocoAnnotation, merge_coco
from skyloop.formats.geometry import Rectangle

from cli.errors import CliError
from cli.flights import Drop, plan_drop
from cli.labels import _overlapping, find_labels, join_labels, read_labels

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
    for number, name in enumerate(("east/1.jpg", "east/2.jpg", "west/1.jpg", "west/only.jpg")):
        picture(root / name, 50 * number)  # neighbors would be one picture, as JPEG
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


def test_a_copy_of_an_image_with_an_entry_needs_none(tmp_path: Path, picture: Picture) -> None:
    """The pipeline takes both for one picture, so the workforce knows what is on it."""
    root = tmp_path / "f"
    for name, shade in (("a.jpg", 1), ("copy.jpg", 1), ("other/copy.jpg", 1), ("else.jpg", 200)):
        picture(root / name, shade)
    (root / "padded.jpg").write_bytes((root / "a.jpg").read_bytes()[:-1] + b"x")  # as long, and another file
    labels = join_labels(read_labels(written(tmp_path / "labels.json", document("a.jpg"))), plan_drop(root))
    assert labels.images_without_entry == 2


def test_a_backslash_divides_folders_or_is_part_of_a_name(tmp_path: Path, picture: Picture) -> None:
    for number, name in enumerate(("a\\b.jpg", "c/d.jpg")):
        picture(tmp_path / "f" / name, number)
    labels = read_labels(written(tmp_path / "annotations.json", document("a\\b.jpg", "c\\d.jpg")))
    assert join_labels(labels, plan_drop(tmp_path / "f")).entries_without_image == []


def test_a_path_that_several_images_have_stands_for_none(tmp_path: Path, picture: Picture) -> None:
    """Two forms of é, and a folder that is called as another one's flight: the last one found got the boxes."""
    root = tmp_path / "f"
    for number, name in enumerate(("\u00e9.jpg", "e\u0301.jpg", "east/1.jpg", "x/f-east/1.jpg", "f-east/2.jpg")):
        picture(root / name, number)
    found = read_labels(written(tmp_path / "labels.json", document("\u00e9.jpg", "f-east/2.jpg", "f-east/1.jpg")))
    labels = join_labels(found, plan_drop(root))
    assert labels.entries_without_image == []
    assert {flight: [image.file_name for image in file.images] for flight, file in labels.by_flight.items()} == {
        "f": ["\u00e9.jpg"],
        "f-f-east": ["2.jpg"],
        "f-east": ["1.jpg"],
    }
    picture(root / "f-east" / "1.jpg", 5)
    assert [image.file_name for image in join_labels(found, plan_drop(root)).by_flight["f-f-east"].images] == [
        "2.jpg",
        "1.jpg",
    ]


def two_entries(second: str, *boxes: tuple[int, list[int]], **size: int) -> dict[str, Any]:
    """One picture that is named twice; the first entry has a car, the second these boxes."""
    images = [{"id": 1, "file_name": "a/1.jpg", "width": 32, "height": 24}, {"id": 2, "file_name": second, **size}]
    annotations = [{"id": 1, "image_id": 1, "category_id": 3, "bbox": [1, 1, 10, 10]}]
    annotations += [{"id": 2, "image_id": 2, "category_id": category, "bbox": box} for category, box in boxes]
    return {"images": images, "annotations": annotations, "categories": CATEGORIES}


SAME_PICTURE = ("a/1.jpg", "1.jpg", "./a/1.jpg", "a//1.jpg", "a\\1.jpg", "f-a/1.jpg", "copy/1 (1).jpg")


def drop_with_a_copy(root: Path, picture: Picture) -> Drop:
    """The picture, another one, and a copy of the first in a flight of its own."""
    for seed, name in ((0, "a/1.jpg"), (1, "a/2.jpg"), (0, "copy/1 (1).jpg")):
        picture(root / name, seed)
    return plan_drop(root)


@pytest.mark.parametrize("second", SAME_PICTURE)
@pytest.mark.parametrize(
    ("boxes", "kept", "same", "overlapping"),
    [
        ([(3, [20, 10, 10, 10])], [("car", 1), ("car", 20)], 0, 0),
        ([(7, [1, 1, 10, 10])], [("car", 1), ("tree", 1)], 0, 0),
        ([(3, [1, 1, 10, 10])], [("car", 1)], 1, 0),
        ([(3, [3, 1, 10, 10]), (3, [1, 1, 10, 10])], [("car", 1), ("car", 3)], 1, 1),
        ([], [("car", 1)], 0, 0),
    ],
    ids=["others", "another category", "the same", "almost the same", "none"],
)
def test_entries_of_one_picture_are_joined_and_counted_as_they_are_kept(
    tmp_path: Path,
    picture: Picture,
    second: str,
    boxes: list[tuple[int, list[int]]],
    kept: list[tuple[str, int]],
    same: int,
    overlapping: int,
) -> None:
    drop = drop_with_a_copy(tmp_path / "f", picture)
    file = read_labels(written(tmp_path / "labels.json", two_entries(second, *boxes)))
    labels = join_labels(file, drop)
    assert (labels.boxes, labels.same_boxes, labels.overlapping_boxes) == (len(kept), same, overlapping)
    assert labels.joined == ["a/1.jpg"]
    assert labels.entries_without_image == []
    for flight in {"f-a", "f-copy"} if "copy" in second else {"f-a"}:
        stored = merge_coco(None, labels.by_flight[flight])
        names = {item.id: item.name for item in stored.categories}
        assert sorted((names[box.category_id], box.bbox[0]) for box in stored.annotations) == kept
        assert len(stored.images) == 1


def test_entries_of_one_picture_that_lie_on_other_pixels_are_refused(tmp_path: Path, picture: Picture) -> None:
    drop = drop_with_a_copy(tmp_path / "f", picture)
    file = read_labels(written(tmp_path / "labels.json", two_entries("1.jpg", width=64, height=48)))
    with pytest.raises(CliError, match=r"images\.0 \(a/1\.jpg, 32 × 24\) and images\.1 \(1\.jpg, 64 × 48\)"):
        join_labels(file, drop)


@given(st.lists(st.tuples(*[st.integers(0, 40)] * 2, *[st.integers(1, 30)] * 2), max_size=40), st.data())
def test_boxes_of_one_object_are_counted_however_they_lie(boxes: list[tuple[int, int, int, int]], data: Any) -> None:
    """The count is that of all pairs, which a large file has too many of."""
    cut = data.draw(st.integers(0, len(boxes)))
    entries = [
        [CocoAnnotation(image_id=0, category_id=0, bbox=box) for box in part] for part in (boxes[:cut], boxes[cut:])
    ]
    first = [Rectangle(*box) for box in boxes[:cut]]
    wanted = sum(
        place not in first and any(place.iou(other) >= 0.5 for other in first)
        for place in (Rectangle(*box) for box in boxes[cut:])
    )
    assert _overlapping(entries) == wanted


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
