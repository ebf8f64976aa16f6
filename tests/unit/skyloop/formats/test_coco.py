from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from skyloop.formats.coco import CocoFile, CocoRefused, merge_coco, read_coco

CATEGORIES = [{"id": 7, "name": "tree"}, {"id": 3, "name": "car"}]


def document(*files: str, **changes: Any) -> dict[str, Any]:
    images = [{"id": index, "file_name": name, "width": 32, "height": 24} for index, name in enumerate(files)]
    boxes = [{"id": i, "image_id": i, "category_id": 3, "bbox": [1, 2, 3, 4]} for i in range(len(files))]
    return {"images": images, "annotations": boxes, "categories": CATEGORIES, **changes}


def coco(*files: str, **changes: Any) -> CocoFile:
    return read_coco(json.dumps(document(*files, **changes)).encode())


@pytest.mark.parametrize(
    ("changes", "place", "problem"),
    [
        ({"annotations": [{"image_id": 0, "category_id": 3, "bbox": [1, 2, -3, 4]}]}, "", "annotations.0.bbox.2"),
        ({"annotations": [{"image_id": 9, "category_id": 3, "bbox": [1, 2, 3, 4]}]}, "annotations.0", "image 9"),
        ({"annotations": [{"image_id": 0, "category_id": 9, "bbox": [1, 2, 3, 4]}]}, "annotations.0", "category 9"),
        ({"annotations": [{"image_id": True, "category_id": 3, "bbox": [1, 2, 3, 4]}]}, "", "annotations.0.image_id"),
        ({"annotations": [{"image_id": 0, "category_id": 3, "bbox": [1, 2, 3, True]}]}, "", "annotations.0.bbox.3"),
        ({"images": [{"id": 0, "file_name": "../a.jpg"}]}, "images.0", "leaves the folder"),
        ({"images": [{"id": 0, "file_name": "a.jpg"}] * 2}, "", "uses an id twice"),
        ({"categories": CATEGORIES + [{"id": 100 + i, "name": f"c{i}"} for i in range(49)]}, "", "takes 50"),
    ],
)
def test_a_mistake_has_a_place_and_a_remedy(changes: dict[str, Any], place: str, problem: str) -> None:
    with pytest.raises(CocoRefused) as refused:
        coco("a.jpg", **changes)
    assert refused.value.place == place
    assert problem in refused.value.problem
    assert refused.value.remedy
    assert place in str(refused.value)


def test_only_the_first_mistakes_are_listed() -> None:
    wrong = [{"image_id": 0, "category_id": 3, "bbox": "x"}] * 7
    with pytest.raises(CocoRefused, match=r"and 2 more") as refused:
        coco("a.jpg", annotations=wrong)
    assert "annotations.4.bbox" in str(refused.value)
    assert "annotations.5.bbox" not in str(refused.value)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"not json"])
def test_what_is_not_json_is_refused(body: bytes) -> None:
    with pytest.raises(CocoRefused, match="cannot be read as JSON"):
        read_coco(body)


def test_a_member_that_is_there_twice_is_refused() -> None:
    twice = json.dumps(document("a.jpg")).replace('"bbox": [1, 2, 3, 4]', '"bbox": [1, 2, 3, 4], "bbox": [9, 9, 3, 4]')
    with pytest.raises(CocoRefused, match="has the member 'bbox' twice"):
        read_coco(twice.encode())


def test_a_file_is_read_back_as_it_was_written() -> None:
    file = coco("a.jpg", "b/é.jpg", info={}, licenses=[])
    assert read_coco(file.body()) == file
    assert json.loads(file.body())["images"][0] == {"id": 0, "file_name": "a.jpg", "width": 32, "height": 24}


names = st.lists(st.sampled_from(["a.jpg", "b.jpg", "c.jpg", "d/e.jpg"]), unique=True)


@given(names, names)
def test_merging_again_changes_nothing(first: list[str], second: list[str]) -> None:
    stored = merge_coco(None, coco(*first))
    both = merge_coco(stored, coco(*second))
    assert merge_coco(both, coco(*second)) == both
    assert merge_coco(both, coco(*first)) == both
    assert {image.file_name for image in both.images} == {*first, *second}
    assert len(both.annotations) == len({*first, *second})


def test_merging_maps_categories_by_name_and_takes_the_newer_boxes() -> None:
    stored = merge_coco(None, coco("a.jpg", "b.jpg"))
    newer = coco("a.jpg", categories=[{"id": 3, "name": "boat"}, {"id": 1, "name": "car"}])
    merged = merge_coco(stored, newer)
    label = {item.id: item.name for item in merged.categories}
    image = {item.id: item.file_name for item in merged.images}
    told = {(image[box.image_id], label[box.category_id]) for box in merged.annotations}
    assert told == {("a.jpg", "boat"), ("b.jpg", "car")}


def test_several_entries_of_one_image_are_joined_and_a_file_that_is_merged_again_stays() -> None:
    boxes = [
        {"image_id": image, "category_id": category, "bbox": [left, 0, 4, 4]}
        for image, category, left in ((0, 3, 0), (0, 3, 0), (1, 3, 0), (1, 7, 0), (1, 3, 9))
    ]
    merged = merge_coco(None, coco("a.jpg", "a.jpg", "b.jpg", annotations=boxes))
    assert [image.file_name for image in merged.images] == ["a.jpg", "b.jpg"]
    # What one entry has twice stays, as it does in a file without a second entry.
    assert [(box.image_id, box.category_id, box.bbox[0]) for box in merged.annotations] == [
        *((0, 1, 0), (0, 1, 0)),
        *((0, 0, 0), (0, 1, 9)),
    ]
    assert merge_coco(merged, merged) == merged


def test_merging_keeps_the_boxes_of_each_content_and_drops_those_of_none() -> None:
    def one(sha256: str | None, box: int) -> CocoFile:
        boxes = [{"image_id": 0, "category_id": 3, "bbox": [0, 0, box, 1]}]
        return coco("a.jpg", images=[{"id": 0, "file_name": "a.jpg", "sha256": sha256}], annotations=boxes)

    def told(file: CocoFile) -> dict[str | None, float]:
        contents = {image.id: image.sha256 for image in file.images}
        return {contents[box.image_id]: box.bbox[2] for box in file.annotations}

    stored = merge_coco(None, one(None, 1))
    assert told(stored) == {None: 1}
    stored = merge_coco(stored, one("beef", 2))
    assert told(stored) == {"beef": 2}
    stored = merge_coco(stored, one("cafe", 3))
    assert told(stored) == {"beef": 2, "cafe": 3}
    stored = merge_coco(stored, one("beef", 4))
    assert told(stored) == {"beef": 4, "cafe": 3}
    assert told(merge_coco(stored, one(None, 5))) == told(stored)


@pytest.mark.parametrize("size", [0, 0.0, None])
def test_a_size_of_nothing_is_not_known(size: float | None) -> None:
    image = {"id": 0, "file_name": "a.jpg", "width": size, "height": size}
    read = coco("a.jpg", images=[image]).images[0]
    assert (read.width, read.height) == (None, None)


@pytest.mark.parametrize("size", [-1, False, 0.5])
def test_what_is_no_size_is_refused(size: float) -> None:
    with pytest.raises(CocoRefused, match=r"images\.0\.height"):
        coco("a.jpg", images=[{"id": 0, "file_name": "a.jpg", "width": 5, "height": size}])
