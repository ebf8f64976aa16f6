"""COCO annotations given with a drop: read, checked, and divided by flight.

Format: https://cocodataset.org/#format-data (object detection): `images`, `annotations` with `bbox` [left, top, width,
height] in pixels, `categories`. Everything else in the file is ignored.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections import defaultdict
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from cli.errors import CliError
from cli.flights import Drop, Image

MAX_CATEGORIES = 50  # Ground Truth: label categories of one bounding box job

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=256)]
Coordinate = Annotated[float, Field(allow_inf_nan=False)]
Size = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class CocoImage(BaseModel):
    """One entry of `images`; sizes in pixels where given."""

    model_config = ConfigDict(extra="ignore")
    id: int | str
    file_name: Annotated[str, StringConstraints(min_length=1)]
    width: int | None = Field(default=None, ge=1)
    height: int | None = Field(default=None, ge=1)


class CocoAnnotation(BaseModel):
    """One entry of `annotations`; `bbox` is [left, top, width, height] in pixels."""

    model_config = ConfigDict(extra="ignore")
    id: int | str | None = None
    image_id: int | str
    category_id: int | str
    bbox: tuple[Coordinate, Coordinate, Size, Size]
    iscrowd: int = 0


class CocoCategory(BaseModel):
    """One entry of `categories`."""

    model_config = ConfigDict(extra="ignore")
    id: int | str
    name: Name


class CocoFile(BaseModel):
    """A COCO detection file."""

    model_config = ConfigDict(extra="ignore")
    images: list[CocoImage]
    annotations: list[CocoAnnotation]
    categories: Annotated[list[CocoCategory], Field(min_length=1)]

    @property
    def category_names(self) -> list[str]:
        """Names in the file's order, each once."""
        return list(dict.fromkeys(category.name for category in self.categories))


def find(path: Path) -> Path | None:
    """`annotations.json` beside the images: in the dropped folder, or above its `images` folder."""
    folder = path if path.is_dir() else path.parent
    places = [folder, folder.resolve().parent] if folder.resolve().name.lower() == "images" else [folder]
    for place in places:
        if (place / "annotations.json").is_file():
            return place / "annotations.json"
    return None


def read(path: Path) -> CocoFile:
    """A checked COCO file. CliError names the first mistakes, where they are and what was expected."""
    try:
        document: Any = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise CliError(f"There is no {path}.", "Pass --labels FILE with a COCO file, or leave it out.") from None
    except (ValueError, OSError) as error:
        raise CliError(
            f"{path} cannot be read as JSON: {error}", "Give a COCO detection file with --labels."
        ) from error
    try:
        coco = CocoFile.model_validate(document)
    except ValidationError as error:
        shown = [f"{'.'.join(map(str, item['loc'])) or 'the file'}: {item['msg']}" for item in error.errors()[:5]]
        more = f" (and {error.error_count() - 5} more)" if error.error_count() > 5 else ""
        raise CliError(
            f"{path} is not a COCO detection file: {'; '.join(shown)}{more}",
            "Correct it: images[id, file_name], annotations[image_id, category_id, bbox], categories[id, name].",
        ) from error
    _check_references(path, coco)
    return coco


def _check_references(path: Path, coco: CocoFile) -> None:
    images = {image.id for image in coco.images}
    categories = {category.id for category in coco.categories}
    if len(images) < len(coco.images) or len(categories) < len(coco.categories):
        raise CliError(f"{path} uses an id twice in images or categories.", "Give every image and category its own id.")
    if len(coco.category_names) > MAX_CATEGORIES:
        raise CliError(
            f"{path} has {len(coco.category_names)} categories; Ground Truth takes {MAX_CATEGORIES} a job.",
            "Merge or drop categories.",
        )
    for number, annotation in enumerate(coco.annotations):
        if annotation.image_id not in images:
            raise CliError(
                f"{path}: annotations.{number} is of image {annotation.image_id!r}, which images does not have.",
                "Correct image_id, or add the image.",
            )
        if annotation.category_id not in categories:
            raise CliError(
                f"{path}: annotations.{number} has category {annotation.category_id!r}, which is not in categories.",
                "Correct category_id, or add the category.",
            )
    for image in coco.images:
        parts = PurePosixPath(image.file_name.replace("\\", "/"))
        if parts.is_absolute() or ".." in parts.parts:
            raise CliError(
                f"{path}: the file_name {image.file_name!r} leaves the folder.", "Name files relative to the drop."
            )


class Match(BaseModel):
    """A COCO file laid over a drop: one COCO document a flight, and what matched nothing."""

    by_flight: dict[str, dict[str, Any]]
    boxes: int
    images_without_entry: int
    entries_without_image: list[str]


def _same_name(name: str) -> str:
    """Names as people compare them: some file systems take é apart, some tools write it whole."""
    return unicodedata.normalize("NFC", name)


def _index(drop: Drop) -> tuple[dict[str, Image], dict[str, list[Image]]]:
    by_path: dict[str, Image] = {}
    by_name: dict[str, list[Image]] = defaultdict(list)
    for image in drop.images:
        by_path[_same_name(image.path.relative_to(drop.root).as_posix())] = image
        by_path[_same_name(f"{image.flight}/{image.name}")] = image
        by_name[_same_name(image.path.name)].append(image)
    return by_path, by_name


def _content(image: Image) -> dict[str, str]:
    """The image's hash, by which its boxes are found when the same image comes again under another key."""
    try:
        with image.path.open("rb") as file:
            return {"sha256": hashlib.file_digest(file, "sha256").hexdigest()}
    except OSError:  # told of when it is uploaded
        return {}


def match(coco: CocoFile, drop: Drop) -> Match:
    """Find each entry's image in the drop – by path under the dropped folder, else by a file name that occurs once.

    The documents' `file_name` is relative to the flight, as `ground-truth-jobs/known-boxes/<flight>.json` has it, and
    keeps every category of the file, so that one file's class list stays one. An entry without boxes says that its
    image is empty: it is kept.
    """
    by_path, by_name = _index(drop)
    names = {category.id: category.name for category in coco.categories}
    found: dict[int | str, Image] = {}
    missing: list[str] = []
    for entry in coco.images:
        name = _same_name(entry.file_name.replace("\\", "/").removeprefix("./"))
        # As it is first: on most systems a file's name may hold a backslash.
        image = by_path.get(_same_name(entry.file_name)) or by_path.get(name)
        if image is None and len(same := by_name.get(PurePosixPath(name).name, [])) == 1:
            image = same[0]
        if image is None:
            missing.append(entry.file_name)
        else:
            found[entry.id] = image
    sizes = {entry.id: (entry.width, entry.height) for entry in coco.images}
    documents: dict[str, dict[str, Any]] = {}
    for entry_id, image in found.items():
        document = documents.setdefault(
            image.flight,
            {
                "images": [],
                "annotations": [],
                "categories": [{"id": index, "name": name} for index, name in enumerate(coco.category_names)],
            },
        )
        width, height = sizes[entry_id]
        size = {"width": width, "height": height} if width and height else {}
        document["images"].append({"id": entry_id, "file_name": image.name, **size, **_content(image)})
    boxes = 0
    for number, annotation in enumerate(coco.annotations):
        image = found.get(annotation.image_id)
        if image is None:
            continue
        boxes += 1
        documents[image.flight]["annotations"].append(
            {
                "id": annotation.id if annotation.id is not None else number,
                "image_id": annotation.image_id,
                "category_id": coco.category_names.index(names[annotation.category_id]),
                "bbox": list(annotation.bbox),
                "iscrowd": annotation.iscrowd,
            }
        )
    described = {image.key for image in found.values()}
    return Match(
        by_flight=documents,
        boxes=boxes,
        images_without_entry=sum(image.key not in described for image in drop.images),
        entries_without_image=missing,
    )
