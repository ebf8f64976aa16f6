"""Labels given with a drop: the COCO file that has them, joined with the dropped images and divided by flight."""

from __future__ import annotations

import hashlib
import unicodedata
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from skyloop.formats.coco import (
    CocoAnnotation,
    CocoCategory,
    CocoFile,
    CocoImage,
    CocoRefused,
    Identifier,
    read_coco,
)

from cli.errors import CliError
from cli.flights import Drop, Image


def find_labels(path: Path) -> Path | None:
    """`annotations.json` beside the images: in the dropped folder, or above its `images` folder."""
    folder = path if path.is_dir() else path.parent
    places = [folder, folder.resolve().parent] if folder.resolve().name.lower() == "images" else [folder]
    for place in places:
        if (place / "annotations.json").is_file():
            return place / "annotations.json"
    return None


def read_labels(path: Path) -> CocoFile:
    """The COCO file that --labels names. Raises CliError when it is missing, unreadable, or not a COCO file."""
    try:
        body = path.read_bytes()
    except FileNotFoundError:
        raise CliError(f"There is no {path}.", "Pass --labels FILE with a COCO file, or leave it out.") from None
    except OSError as error:
        raise CliError(f"{path} cannot be read: {error}", "Give a COCO detection file with --labels.") from error
    try:
        return read_coco(body)
    except CocoRefused as error:
        raise refused_labels(str(path), error) from error


def refused_labels(name: str, error: CocoRefused) -> CliError:
    """What a person reads when the COCO file `name` cannot be used."""
    what = f"{name}: {error}" if error.place else f"{name} {error.problem}"
    return CliError(what, error.remedy)


@dataclass(frozen=True)
class JoinedLabels:
    """A COCO file joined with a drop: one file per flight, and what found no counterpart."""

    by_flight: dict[str, CocoFile]
    boxes: int
    images_without_entry: int
    entries_without_image: list[str]


def join_labels(coco: CocoFile, drop: Drop) -> JoinedLabels:
    """Find each entry's image in the drop: by path under the dropped folder, else by a file name that occurs once.

    In the files by flight, `file_name` is relative to the flight, as in `ground-truth-jobs/known-boxes/<flight>.json`.
    Each has every category of the file, so that one file's class list stays one. An entry without boxes says that its
    image has no objects: it is kept.
    """
    found, missing = _images_of_entries(coco, drop)
    entries: dict[str, list[CocoImage]] = defaultdict(list)
    for entry in coco.images:
        if (image := found.get(entry.id)) is not None:
            sized = entry.width and entry.height
            entries[image.flight].append(
                CocoImage(
                    id=entry.id,
                    file_name=image.name,
                    width=entry.width if sized else None,
                    height=entry.height if sized else None,
                    sha256=_content_hash(image),
                )
            )
    class_ids = {category.id: coco.category_names.index(category.name) for category in coco.categories}
    annotations: dict[str, list[CocoAnnotation]] = defaultdict(list)
    for number, annotation in enumerate(coco.annotations):
        if (image := found.get(annotation.image_id)) is not None:
            own_id = annotation.id if annotation.id is not None else number
            changes = {"id": own_id, "category_id": class_ids[annotation.category_id]}
            annotations[image.flight].append(annotation.model_copy(update=changes))
    categories = [CocoCategory(id=index, name=name) for index, name in enumerate(coco.category_names)]
    described = {image.key for image in found.values()}
    return JoinedLabels(
        by_flight={
            flight: CocoFile(images=images, annotations=annotations[flight], categories=categories)
            for flight, images in entries.items()
        },
        boxes=sum(len(items) for items in annotations.values()),
        images_without_entry=sum(image.key not in described for image in drop.images),
        entries_without_image=missing,
    )


def _images_of_entries(coco: CocoFile, drop: Drop) -> tuple[dict[Identifier, Image], list[str]]:
    """The image of each entry, by the entry's id, and the file names that no image or several have."""
    by_path: dict[str, Image] = {}
    by_name: dict[str, list[Image]] = defaultdict(list)
    for image in drop.images:
        by_path[_comparable(image.path.relative_to(drop.root).as_posix())] = image
        by_path[_comparable(f"{image.flight}/{image.name}")] = image
        by_name[_comparable(image.path.name)].append(image)
    found: dict[Identifier, Image] = {}
    missing: list[str] = []
    for entry in coco.images:
        path = _comparable(entry.file_name.replace("\\", "/").removeprefix("./"))
        # First the name unchanged: on most systems a file's name may contain a backslash.
        match = by_path.get(_comparable(entry.file_name)) or by_path.get(path)
        if match is None and len(same_name := by_name.get(PurePosixPath(path).name, [])) == 1:
            match = same_name[0]
        if match is None:
            missing.append(entry.file_name)
        else:
            found[entry.id] = match
    return found, missing


def _comparable(name: str) -> str:
    """A name as people compare it: some file systems store é as two characters, some tools write it as one."""
    return unicodedata.normalize("NFC", name)


def _content_hash(image: Image) -> str | None:
    """The image's SHA-256, by which its boxes are found when the same image is uploaded under another key."""
    try:
        with image.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:  # the upload reports it
        return None
