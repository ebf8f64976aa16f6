"""COCO's object detection format: a file read and checked, and the known boxes of a flight in the same form.

https://cocodataset.org/#format-data (object detection): `images`, `annotations` with `bbox` [left, top, width, height]
in pixels, `categories`. Everything else in a file is ignored.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError

from skyloop.documents import parse_json
from skyloop.formats.groundtruth import MAX_CATEGORIES

SHOWN_MISTAKES = 5


def _refuse_bool(value: object) -> object:
    if isinstance(value, bool):  # which Python, and so pydantic, takes for the number 1 or 0
        raise ValueError("true and false are neither a number nor a name")
    return value


_NOT_BOOL = BeforeValidator(_refuse_bool)
Identifier = Annotated[int | str, _NOT_BOOL]
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=256)]
Coordinate = Annotated[float, _NOT_BOOL, Field(allow_inf_nan=False)]
Length = Annotated[float, _NOT_BOOL, Field(ge=0, allow_inf_nan=False)]
# Tools that never opened the pictures write 0, which says as little as no size does.
Size = Annotated[Annotated[int, _NOT_BOOL, Field(ge=0)] | None, AfterValidator(lambda size: size or None)]


class CocoRefused(ValueError):
    """This COCO file cannot be used. `problem` says why and `remedy` what to do.

    `place` is the entry it is about, such as `annotations.3`, or "" for the whole file; `problem` is what follows that
    name, or the file's, in a sentence.
    """

    def __init__(self, problem: str, remedy: str, *, place: str = "") -> None:
        super().__init__(f"{place or 'the file'} {problem}")
        self.place = place
        self.problem = problem
        self.remedy = remedy


class _Entry(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class CocoImage(_Entry):
    """One entry of `images`: sizes in pixels and the SHA-256 of the file's content (hex), each if known."""

    id: Identifier
    file_name: Annotated[str, StringConstraints(min_length=1)]
    width: Size = None
    height: Size = None
    sha256: str | None = None


class CocoAnnotation(_Entry):
    """One entry of `annotations`; `bbox` is [left, top, width, height] in pixels."""

    id: Identifier | None = None
    image_id: Identifier
    category_id: Identifier
    bbox: tuple[Coordinate, Coordinate, Length, Length]
    iscrowd: int = 0


class CocoCategory(_Entry):
    """One entry of `categories`."""

    id: Identifier
    name: Name


class CocoFile(_Entry):
    """A COCO detection file. An image without annotations is an image without objects, which is an answer too."""

    images: list[CocoImage]
    annotations: list[CocoAnnotation]
    categories: Annotated[list[CocoCategory], Field(min_length=1)]

    @property
    def category_names(self) -> list[str]:
        """Names in the file's order, each once."""
        return list(dict.fromkeys(category.name for category in self.categories))

    def body(self) -> bytes:
        """The file as JSON, without what is not known."""
        return json.dumps(self.model_dump(exclude_none=True), ensure_ascii=False).encode()


def read_coco(body: bytes) -> CocoFile:
    """Read and check a file. Raises CocoRefused, which names the first mistakes and where they are."""
    try:
        document = parse_json(body.decode("utf-8-sig"), once=True)
    except ValueError as error:
        raise CocoRefused(f"cannot be read as JSON: {error}", "Give a COCO detection file.") from error
    try:
        coco = CocoFile.model_validate(document)
    except ValidationError as error:
        shown = [
            f"{'.'.join(map(str, item['loc'])) or 'the file'}: {item['msg']}"
            for item in error.errors()[:SHOWN_MISTAKES]
        ]
        more = error.error_count() - len(shown)
        raise CocoRefused(
            f"is not a COCO detection file: {'; '.join(shown)}{f' (and {more} more)' if more else ''}",
            "Correct it: images[id, file_name], annotations[image_id, category_id, bbox], categories[id, name].",
        ) from error
    _check_ids(coco)
    _check_references(coco)
    _check_file_names(coco)
    return coco


def _check_ids(coco: CocoFile) -> None:
    images = {image.id for image in coco.images}
    categories = {category.id for category in coco.categories}
    if len(images) < len(coco.images) or len(categories) < len(coco.categories):
        raise CocoRefused("uses an id twice in images or categories.", "Give every image and category its own id.")
    if len(coco.category_names) > MAX_CATEGORIES:
        raise CocoRefused(
            f"has {len(coco.category_names)} categories; Ground Truth takes {MAX_CATEGORIES} per job.",
            "Merge or drop categories.",
        )


def _check_references(coco: CocoFile) -> None:
    images = {image.id for image in coco.images}
    categories = {category.id for category in coco.categories}
    for number, annotation in enumerate(coco.annotations):
        place = f"annotations.{number}"
        if annotation.image_id not in images:
            raise CocoRefused(
                f"is of image {annotation.image_id!r}, which images does not have.",
                "Correct image_id, or add the image.",
                place=place,
            )
        if annotation.category_id not in categories:
            raise CocoRefused(
                f"has category {annotation.category_id!r}, which is not in categories.",
                "Correct category_id, or add the category.",
                place=place,
            )


def _check_file_names(coco: CocoFile) -> None:
    for number, image in enumerate(coco.images):
        path = PurePosixPath(image.file_name.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts:
            raise CocoRefused(
                f"has the file_name {image.file_name!r}, which leaves the folder.",
                "Name files relative to the drop.",
                place=f"images.{number}",
            )


def boxes_of_entries(coco: CocoFile, names: Sequence[str]) -> dict[Identifier, list[CocoAnnotation]]:
    """The annotations of each entry of `images`, by its id; their `category_id` is the category's place in `names`."""
    class_ids = {category.id: names.index(category.name) for category in coco.categories}
    boxes: dict[Identifier, list[CocoAnnotation]] = {image.id: [] for image in coco.images}
    for item in coco.annotations:
        boxes[item.image_id].append(item.model_copy(update={"category_id": class_ids[item.category_id]}))
    return boxes


def joined_boxes(entries: Sequence[Sequence[CocoAnnotation]]) -> list[CocoAnnotation]:
    """The boxes of several entries of one image: all of them, but one that an entry before has too only once.

    So it is where people have shared out the classes or the objects of an image, and where one of two files that were
    merged has the image without boxes. The same box has the same category and the same four numbers.
    """
    joined: list[CocoAnnotation] = []
    seen: set[tuple[object, ...]] = set()
    for boxes in entries:
        fresh = [box for box in boxes if _content(box) not in seen]
        seen.update(map(_content, fresh))
        joined += fresh
    return joined


def _content(box: CocoAnnotation) -> tuple[object, ...]:
    return box.category_id, box.bbox, box.iscrowd


def merge_coco(stored: CocoFile | None, fresh: CocoFile) -> CocoFile:
    """Two files about the same folder as one: an image named in `fresh` takes all its boxes from there.

    Another content under the same name is another image, and keeps its own. An entry that names no content gives way
    to one that does: it would stand for any. Several entries of one image in one file are joined (`joined_boxes`).

    Categories are joined by name. Images are sorted by file name and ids count from 0, so that merging the same again
    gives an equal file.
    """
    parts = [fresh] if stored is None else [stored, fresh]
    names = list(dict.fromkeys(category.name for part in parts for category in part.categories))
    by_file: dict[str, dict[str, tuple[CocoImage, list[CocoAnnotation]]]] = defaultdict(dict)
    for part in parts:
        boxes = boxes_of_entries(part, names)
        entries: dict[tuple[str, str], list[CocoImage]] = defaultdict(list)
        for image in part.images:
            entries[image.file_name, image.sha256 or ""].append(image)
        for (name, content), same in entries.items():
            by_file[name][content] = same[0], joined_boxes([boxes[image.id] for image in same])
    kept = [
        entry
        for _, contents in sorted(by_file.items())
        for content, entry in sorted(contents.items())
        if content or len(contents) == 1
    ]
    images: list[CocoImage] = []
    annotations: list[CocoAnnotation] = []
    for number, (image, of_image) in enumerate(kept):
        images.append(image.model_copy(update={"id": number}))
        first = len(annotations)
        annotations += [
            box.model_copy(update={"id": first + offset, "image_id": number}) for offset, box in enumerate(of_image)
        ]
    categories = [CocoCategory(id=index, name=name) for index, name in enumerate(names)]
    return CocoFile(images=images, annotations=annotations, categories=categories)
