"""From one labeled picture to the images that a detector trains on: upright, cut to size, each with its boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from io import BytesIO
from typing import Any

from PIL import Image

from skyloop.documents import Box, ImageFacts
from skyloop.formats.geometry import Rectangle
from skyloop.formats.groundtruth import LabeledLine, UnusableLine, boxes_on
from skyloop.formats.images import read_facts
from skyloop.formats.orientation import upright_box, upright_size
from skyloop.formats.pictures import ImageRefused, open_picture
from skyloop.formats.slicing import boxes_on_slices, plan_slices

_EXTENSIONS = {"JPEG": "jpg", "PNG": "png"}
_ENCODING: dict[str, dict[str, Any]] = {
    # Small objects are a few pixels wide: keep their color at full resolution.
    "JPEG": {"quality": 95, "subsampling": 0},
    "PNG": {},
}


@dataclass(frozen=True)
class TrainingImage:
    """A picture file and the boxes on it. `name` is a stem, unique among all images; `extension` is without dot."""

    name: str
    extension: str
    body: bytes
    width: int
    height: int
    boxes: tuple[Box, ...]


def slice_image(
    body: bytes, line: LabeledLine, categories: Sequence[str], side: int
) -> tuple[ImageFacts, list[TrainingImage]]:
    """The picture's facts and its images: itself where it is upright and no larger than `side`, else upright slices.

    `body` is a JPEG or PNG file, `side` the largest side of a slice in pixels. A picture that need not be changed keeps
    its bytes. Raises UnusableLine where picture and labels do not fit each other, or the picture cannot be decoded.
    """
    try:
        picture = open_picture(body)
        facts = read_facts(picture, body)
        boxes = upright_boxes(line, facts, categories)
        slices = plan_slices(*upright_size(facts.width, facts.height, facts.orientation), side)
        unchanged = len(slices) == 1 and facts.orientation == 1
        upright = None if unchanged else picture.decode()
        images = [
            TrainingImage(
                name=facts.image_id[:16] + (f"_{place.left:.0f}_{place.top:.0f}" if len(slices) > 1 else ""),
                extension=_EXTENSIONS[facts.format],
                body=body if upright is None else _encoded(upright, place, facts.format),
                width=int(place.width),
                height=int(place.height),
                boxes=tuple(on_slice),
            )
            for place, on_slice in zip(slices, boxes_on_slices(boxes, slices), strict=True)
        ]
    except ImageRefused as error:
        raise UnusableLine(f"the picture cannot be used: {error.reason}") from error
    return facts, images


def upright_boxes(line: LabeledLine, facts: ImageFacts, categories: Sequence[str]) -> list[Box]:
    """The line's boxes on the upright picture, with class ids. Raises UnusableLine.

    Ground Truth's workers draw on the stored pixels. Where `image_size` says that the picture was shown upright (a tool
    that applied the EXIF orientation), the boxes already are.
    """
    stored = (facts.width, facts.height)
    upright = upright_size(*stored, facts.orientation)
    drawn_upright = line.stated_size == upright != stored
    boxes = []
    for labeled in boxes_on(line, *(upright if drawn_upright else stored)):
        if labeled.category not in categories:
            raise UnusableLine(f"{labeled.category!r} is none of the label categories ({', '.join(categories)})")
        place = labeled.box if drawn_upright else upright_box(labeled.box, *stored, facts.orientation)
        class_id = categories.index(labeled.category)
        boxes.append(Box(category=labeled.category, class_id=class_id, **asdict(place)))
    return boxes


def _encoded(upright: Image.Image, place: Rectangle, format_name: str) -> bytes:
    buffer = BytesIO()
    corners = (int(place.left), int(place.top), int(place.right), int(place.bottom))
    upright.crop(corners).save(buffer, format_name, **_ENCODING[format_name])
    return buffer.getvalue()
