"""Labels given with a drop: the COCO file that has them, joined with the dropped images and divided by flight."""

from __future__ import annotations

import hashlib
import unicodedata
from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path, PurePosixPath

from skyloop.formats.coco import (
    CocoAnnotation,
    CocoCategory,
    CocoFile,
    CocoImage,
    CocoRefused,
    Identifier,
    boxes_of_entries,
    joined_boxes,
    read_coco,
)
from skyloop.formats.geometry import Rectangle

from cli.errors import CliError
from cli.flights import Drop, Image

SAME_OBJECT_IOU = 0.5
"""Two boxes of one category that share this much are probably of one object; COCO's evaluation takes them for it."""


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
    """A COCO file joined with a drop: one file per flight, what found no counterpart, and what is there several times.

    `boxes` counts what is kept, of each picture once, `images_without_entry` images of whose content there is no entry.
    `joined` are the file names of pictures that have several
    entries, the first of each; `same_boxes` counts boxes that such entries share, which are kept once, and
    `overlapping_boxes` those that are not the same, but probably of the same object.
    """

    by_flight: dict[str, CocoFile]
    boxes: int
    images_without_entry: int
    entries_without_image: list[str]
    joined: list[str]
    same_boxes: int
    overlapping_boxes: int


def join_labels(coco: CocoFile, drop: Drop) -> JoinedLabels:
    """Find each entry's image in the drop: by path under the dropped folder, else by a file name that occurs once.

    In the files by flight, `file_name` is relative to the flight, as in `ground-truth-jobs/known-boxes/<flight>.json`.
    Each has every category of the file, so that one file's class list stays one. An entry without boxes says that its
    image has no objects: it is kept.

    Entries of one picture are joined: of one file, or of files of the same bytes, which the pipeline takes for one
    picture. Raises CliError where they state different sizes, so that their boxes do not lie on the same pixels.
    """
    found, missing = _images_of_entries(coco, drop)
    contents = {image.key: _content_hash(image) for image in found.values()}
    pictures: dict[str, list[CocoImage]] = defaultdict(list)
    for entry in coco.images:
        if (image := found.get(entry.id)) is not None:
            pictures[contents[image.key] or image.key].append(entry)
    boxes_of = boxes_of_entries(coco, coco.category_names)
    images: dict[str, list[CocoImage]] = defaultdict(list)
    annotations: dict[str, list[CocoAnnotation]] = defaultdict(list)
    kept = overlapping = 0
    for entries in pictures.values():
        width, height = _stated_size(coco, entries)
        boxes = joined_boxes([boxes_of[entry.id] for entry in entries])
        kept += len(boxes)
        overlapping += _overlapping([boxes_of[entry.id] for entry in entries])
        for image in dict.fromkeys(found[entry.id] for entry in entries):
            number = len(images[image.flight])
            images[image.flight].append(
                CocoImage(id=number, file_name=image.name, width=width, height=height, sha256=contents[image.key])
            )
            annotations[image.flight] += [box.model_copy(update={"id": None, "image_id": number}) for box in boxes]
    categories = [CocoCategory(id=index, name=name) for index, name in enumerate(coco.category_names)]
    return JoinedLabels(
        by_flight={
            flight: CocoFile(images=of_flight, annotations=annotations[flight], categories=categories)
            for flight, of_flight in images.items()
        },
        boxes=kept,
        images_without_entry=_without_entry(drop, contents),
        entries_without_image=missing,
        joined=[entries[0].file_name for entries in pictures.values() if len(entries) > 1],
        same_boxes=sum(len(boxes_of[entry.id]) for entries in pictures.values() for entry in entries) - kept,
        overlapping_boxes=overlapping,
    )


def _without_entry(drop: Drop, contents: Mapping[str, str | None]) -> int:
    """How many images no entry is of. One with the bytes of an image that has an entry is the same picture."""
    known = set(contents.values()) - {None}
    # Few files are of one size: most need not be read for this.
    sizes = {_size(image) for image in drop.images if image.key in contents}
    left = [image for image in drop.images if image.key not in contents]
    return sum(_size(image) not in sizes or _content_hash(image) not in known for image in left)


def _stated_size(coco: CocoFile, entries: Sequence[CocoImage]) -> tuple[int | None, int | None]:
    """The size that entries of one picture state. Raises CliError where they state two."""
    sized = [entry for entry in entries if entry.width and entry.height]
    for entry in sized:
        if (entry.width, entry.height) != (sized[0].width, sized[0].height):
            said = (
                f"images.{coco.images.index(one)} ({one.file_name}, {one.width} × {one.height})"
                for one in (sized[0], entry)
            )
            raise CliError(
                f"Two entries are of one picture and state different sizes: {' and '.join(said)}.",
                "Correct the sizes, or leave one of the entries out: their boxes do not lie on the same pixels.",
            )
    return (sized[0].width, sized[0].height) if sized else (None, None)


def _overlapping(entries: Sequence[Sequence[CocoAnnotation]]) -> int:
    """How many boxes share SAME_OBJECT_IOU, but not all, with a box of their category in an entry before."""
    count = 0
    before: dict[Identifier, list[tuple[float, Rectangle]]] = defaultdict(list)
    for boxes in entries:
        fresh = [(box.category_id, Rectangle(*box.bbox)) for box in boxes]
        for category, place in fresh:
            # Boxes that share half of both are less than a width apart, and there may be thousands.
            first = bisect_left(before[category], place.left - place.width, key=itemgetter(0))
            last = bisect_right(before[category], place.left + place.width, key=itemgetter(0))
            near = [other for _, other in before[category][first:last]]
            count += place not in near and any(place.iou(other) >= SAME_OBJECT_IOU for other in near)
        for category, place in fresh:
            insort(before[category], (place.left, place), key=itemgetter(0))
    return count


def _images_of_entries(coco: CocoFile, drop: Drop) -> tuple[dict[Identifier, Image], list[str]]:
    """The image of each entry, by the entry's id, and the file names that no image or several have."""
    by_path, by_comparable_path, by_key, by_name = (defaultdict[str, list[Image]](list) for _ in range(4))
    for image in drop.images:
        place = image.path.relative_to(drop.root).as_posix()
        by_path[place].append(image)
        by_comparable_path[_comparable(place)].append(image)
        by_key[_comparable(f"{image.flight}/{image.name}")].append(image)
        by_name[_comparable(image.path.name)].append(image)
    found: dict[Identifier, Image] = {}
    missing: list[str] = []
    for entry in coco.images:
        path = PurePosixPath(entry.file_name.replace("\\", "/"))
        # First the name unchanged: on most systems a file's name may contain a backslash.
        names = (entry.file_name, path.as_posix())
        tries = [(by_path, name) for name in names]
        tries += [(lookup, _comparable(name)) for lookup in (by_comparable_path, by_key) for name in names]
        tries.append((by_name, _comparable(path.name)))
        same = next((lookup[name] for lookup, name in tries if name in lookup), [])
        if len(same) == 1:
            found[entry.id] = same[0]
        else:
            missing.append(entry.file_name)
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


def _size(image: Image) -> int | None:
    try:
        return image.path.stat().st_size
    except OSError:
        return None
