"""Ground Truth's manifests: input lines written, output lines read.

Formats: docs.aws.amazon.com/sagemaker/latest/dg/sms-input-data-input-manifest.html and sms-data-output.html
(bounding box, label adjustment and label verification output).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeGuard

from skyloop.documents import JsonObject
from skyloop.formats.geometry import Rectangle
from skyloop.layout import check_name

MAX_LINE_CHARACTERS = 100_000
MAX_CATEGORIES = 50
MAX_ITEMS = 100_000
TASK_TYPE = "groundtruth/object-detection"

MIN_BOX_SIDE = 1.0
"""Pixels. A box that is thinner, once clipped to the picture, is a slip of the mouse and not an object."""


class UnusableLine(ValueError):
    """This line holds nothing to train on; the message says why."""


@dataclass(frozen=True)
class LabeledBox:
    """One annotation: the class by name, the box in pixels of the picture the worker saw."""

    category: str
    box: Rectangle


@dataclass(frozen=True)
class LabeledLine:
    """A picture that was labeled. An empty tuple of boxes is an answer too: none of the classes is on it."""

    source: str
    image_id: str | None
    flight: str | None
    boxes: tuple[LabeledBox, ...]
    stated_size: tuple[int, int] | None
    labeled_at: str


@dataclass(frozen=True)
class UnlabeledLine:
    """A picture that the job returned without an answer: skipped, expired or failed. It is no true negative."""

    source: str
    image_id: str | None
    reason: str


def input_line(source: str, image_id: str, flight: str) -> str:
    """One line of an input manifest (without the line end). Raises ValueError when it is longer than AWS allows."""
    line = json.dumps({"source-ref": source, "image-id": image_id, "flight": flight}, ensure_ascii=False)
    if len(line) > MAX_LINE_CHARACTERS:
        raise ValueError(f"a manifest line may have {MAX_LINE_CHARACTERS} characters, not {len(line)}")
    return line


def label_category_config(categories: Iterable[str]) -> JsonObject:
    """The label category configuration file of a job (`LabelCategoryConfigS3Uri`)."""
    return {"document-version": "2018-11-28", "labels": [{"label": name} for name in categories]}


def categories_of(config: object) -> tuple[str, ...]:
    """The class names of a label category configuration; a name's position is its class id.

    Raises ValueError when it is not such a file, is empty, names a class twice, or has more than Ground Truth's 50.
    """
    labels = config.get("labels") if isinstance(config, dict) else None
    if not isinstance(labels, list) or not all(isinstance(entry, dict) and "label" in entry for entry in labels):
        raise ValueError('label categories look like {"labels": [{"label": "tree"}, …]}')
    names = tuple(str(entry["label"]).strip() for entry in labels)
    if not 1 <= len(names) <= MAX_CATEGORIES or not all(names):
        raise ValueError(f"there must be 1 to {MAX_CATEGORIES} named label categories, not {len(names)}")
    if len(set(names)) < len(names):
        raise ValueError(f"a label category is named twice: {', '.join(names)}")
    return names


def read_line(line: object, attribute: str) -> LabeledLine | UnlabeledLine:
    """Read one object of an output manifest, taking the labels of `attribute` and no other.

    Chained jobs leave several attributes on a line, and only the job says which one counts. The class comes by name
    from the line's own class map, whose ids mean nothing in any other job. Confidence is ignored: with a single worker
    it is 0. Raises UnusableLine.
    """
    if not isinstance(line, dict):
        raise UnusableLine(f"a manifest line is a JSON object, not {type(line).__name__}")
    source = line.get("source-ref")
    if not isinstance(source, str) or not source:
        raise UnusableLine("the line has no source-ref")
    image_id, flight = _name(line, "image-id"), _name(line, "flight")
    metadata = line.get(f"{attribute}-metadata")
    if metadata is None:
        metadata = {}
    if not isinstance(metadata, dict):
        raise UnusableLine(f"{attribute}-metadata is not an object")
    failure = metadata.get("failure-reason")
    if failure:
        return UnlabeledLine(source, image_id, f"Ground Truth: {failure}")
    if line.get(attribute) is None:
        return UnlabeledLine(source, image_id, f"the line has no attribute {attribute}: skipped or expired")
    return LabeledLine(
        source=source,
        image_id=image_id,
        flight=flight,
        boxes=_boxes(line[attribute], metadata, attribute),
        stated_size=_stated_size(line[attribute]),
        labeled_at=_moment(metadata.get("creation-date")),
    )


def image_of(line: object) -> str | None:
    """The image that a line names, whatever else is on it; None where it names none, or two.

    A text is a line that is no JSON, or JSON that is not taken: with a member twice, or nested deeply.
    """
    try:
        if isinstance(line, str):
            line = json.loads(line, object_pairs_hook=_undisputed)
        return _name(line, "image-id") if isinstance(line, dict) else None
    except (ValueError, RecursionError):  # an UnusableLine is a ValueError too
        return None


def _undisputed(members: list[tuple[str, object]]) -> JsonObject:
    """An object without the members that it gives two values."""
    found: JsonObject = {}
    disputed = {name for name, value in members if found.setdefault(name, value) != value}
    return {name: value for name, value in found.items() if name not in disputed}


def boxes_on(line: LabeledLine, width: int, height: int) -> tuple[LabeledBox, ...]:
    """The line's boxes on a picture that really has `width` × `height` pixels: clipped, slips of the mouse left out.

    `image_size` may be missing or wrong in imported manifests, so the decoded size decides. But a box that lies wholly
    outside of the picture, or partly outside where `image_size` is wrong, was drawn on another picture. Raises
    UnusableLine.
    """
    picture = Rectangle(0, 0, width, height)
    wrong_size = line.stated_size is not None and line.stated_size != (width, height)
    kept = []
    for labeled in line.boxes:
        box = labeled.box
        part = box.shared_with(picture)
        if part is None and box.area > 0:
            raise UnusableLine(f"a {labeled.category} box at {_place(box)} lies outside the {width} × {height} picture")
        if wrong_size and (box.left < 0 or box.top < 0 or box.right > width or box.bottom > height):
            stated = " × ".join(str(side) for side in line.stated_size or ())
            raise UnusableLine(
                f"image_size says {stated}, the picture has {width} × {height}, and a {labeled.category} box at"
                f" {_place(box)} reaches outside: these labels belong to another picture"
            )
        if part is not None and part.width >= MIN_BOX_SIDE and part.height >= MIN_BOX_SIDE:
            kept.append(LabeledBox(labeled.category, part))
    return tuple(kept)


def _boxes(value: object, metadata: JsonObject, attribute: str) -> tuple[LabeledBox, ...]:
    kind = metadata.get("type", TASK_TYPE)
    if kind == "groundtruth/label-verification":
        raise UnusableLine(f"{attribute} verifies labels (“{metadata.get('class-name', value)}”) and has none itself")
    if kind != TASK_TYPE:
        raise UnusableLine(f"{attribute} holds {kind} labels, not {TASK_TYPE}")
    if not isinstance(value, dict) or not isinstance(value.get("annotations"), list):
        raise UnusableLine(f"{attribute} has no list of annotations")
    class_map = metadata.get("class-map", {})
    if not isinstance(class_map, dict):
        raise UnusableLine(f"the class-map of {attribute} is not an object")
    return tuple(_box(annotation, class_map, attribute) for annotation in value["annotations"])


def _box(annotation: object, class_map: JsonObject, attribute: str) -> LabeledBox:
    if not isinstance(annotation, dict):
        raise UnusableLine(f"an annotation of {attribute} is not an object")
    left, top, width, height = (_number(annotation, name) for name in ("left", "top", "width", "height"))
    if width < 0 or height < 0:
        raise UnusableLine(f"a box of {attribute} has a negative size: {width} × {height}")
    class_id = annotation.get("class_id")
    if isinstance(class_id, float) and _is_whole(class_id):  # 0.0 is 0; JSON has one kind of number
        class_id = int(class_id)
    # The map's keys are strings and need not begin at 0; the id is a number, in some imported manifests a string.
    name = class_map.get(str(class_id)) if isinstance(class_id, int | str) and not isinstance(class_id, bool) else None
    if not isinstance(name, str) or not name.strip():
        known = ", ".join(f"{key}={value}" for key, value in class_map.items()) or "nothing"
        raise UnusableLine(f"class_id {class_id!r} is not in the line's class-map ({known})")
    return LabeledBox(name.strip(), Rectangle(left, top, width, height))


def _number(annotation: JsonObject, name: str) -> float:
    value = annotation.get(name)
    try:
        number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise UnusableLine(f"the {name} of a box is {str(value)[:40]!r}, not a number")
    return number


def _stated_size(value: object) -> tuple[int, int] | None:
    """`image_size` is a list of one object; imported manifests leave it out, or write the object itself."""
    stated = value.get("image_size") if isinstance(value, dict) else None
    if isinstance(stated, list):
        stated = stated[0] if stated else None
    if not isinstance(stated, dict):
        return None
    width, height = stated.get("width"), stated.get("height")
    whole = [int(side) for side in (width, height) if _is_whole(side)]
    return (whole[0], whole[1]) if len(whole) == 2 else None


def _is_whole(value: object) -> TypeGuard[int | float]:
    """Is this a whole number, written with a point or without?"""
    return (isinstance(value, int) and not isinstance(value, bool)) or (isinstance(value, float) and value.is_integer())


def _moment(value: object) -> str:
    """A creation date as ISO 8601 in UTC, in one fixed form so that text order is time order; "" if it is no date.

    Ground Truth writes UTC without an offset.
    """
    if not isinstance(value, str):
        return ""
    try:
        moment = datetime.fromisoformat(value)
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):  # a year that its offset moves out of the calendar
        return ""
    return moment.isoformat(timespec="microseconds")


def _name(line: JsonObject, field: str) -> str | None:
    """A name that keys of tables and objects are made of. Raises UnusableLine for one that no key can hold."""
    value = line.get(field)
    if not isinstance(value, str) or not value:
        return None
    try:
        check_name(f"its {field}", value)
    except ValueError as error:
        raise UnusableLine(str(error)) from error
    return value


def _place(box: Rectangle) -> str:
    return f"({box.left:g}, {box.top:g}, {box.width:g} × {box.height:g})"
