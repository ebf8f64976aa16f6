"""From one labeled picture to the images a detector trains on: upright, cut to size, every image with its boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from PIL import Image

from skyloop.documents import Box, ImageFacts
from skyloop.formats.geometry import Rectangle
from skyloop.formats.groundtruth import LabeledLine, UnusableLine, boxes_on
from skyloop.formats.images import ImageRefused, describe, eight_bit, open_picture
from skyloop.formats.orientation import upright_box, upright_picture, upright_size
from skyloop.formats.slicing import plan_tiles, share_boxes

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
    """The picture's facts and its images: itself where it is upright and no larger than `side`, else upright tiles.

    A picture that need not be changed keeps its bytes. Raises UnusableLine where picture and labels do not fit each
    other, or the picture cannot be decoded.
    """
    try:
        picture = open_picture(body)
        facts = describe(picture, body)
        boxes = upright_boxes(line, facts, categories)
        width, height = upright_size(facts.width, facts.height, facts.orientation)
        tiles = plan_tiles(width, height, side)
        shared = share_boxes([rectangle for _, rectangle in boxes], tiles)
        untouched = len(tiles) == 1 and facts.orientation == 1
        upright = None if untouched else upright_picture(eight_bit(picture), facts.orientation)
        images = []
        for tile, parts in zip(tiles, shared, strict=True):
            images.append(
                TrainingImage(
                    name=facts.image_id[:16] + (f"_{tile.left:.0f}_{tile.top:.0f}" if len(tiles) > 1 else ""),
                    extension=_EXTENSIONS[facts.format],
                    body=body if upright is None else _encoded(upright, tile, facts.format),
                    width=int(tile.width),
                    height=int(tile.height),
                    boxes=tuple(_box(boxes[index][0], part, categories) for index, part in parts),
                )
            )
    except ImageRefused as error:
        raise UnusableLine(f"the picture cannot be used: {error.reason}") from error
    except (OSError, SyntaxError) as error:
        raise UnusableLine(f"the picture cannot be decoded: {error}") from error
    return facts, images


def upright_boxes(line: LabeledLine, facts: ImageFacts, categories: Sequence[str]) -> list[tuple[int, Rectangle]]:
    """(class id, box on the upright picture). Raises UnusableLine.

    Ground Truth's workers draw on the stored pixels. Where `image_size` says that the picture was shown upright (a
    tool that obeyed the tag), the boxes already are.
    """
    stored = (facts.width, facts.height)
    upright = upright_size(*stored, facts.orientation)
    drawn_upright = line.stated_size == upright != stored
    boxes = []
    for labeled in boxes_on(line, *(upright if drawn_upright else stored)):
        if labeled.category not in categories:
            raise UnusableLine(f"{labeled.category!r} is none of the label categories ({', '.join(categories)})")
        box = labeled.box if drawn_upright else upright_box(labeled.box, *stored, facts.orientation)
        boxes.append((categories.index(labeled.category), box))
    return boxes


def _encoded(upright: Image.Image, tile: Rectangle, format_name: str) -> bytes:
    buffer = BytesIO()
    corners = (int(tile.left), int(tile.top), int(tile.right), int(tile.bottom))
    upright.crop(corners).save(buffer, format_name, **_ENCODING[format_name])
    return buffer.getvalue()


def _box(class_id: int, part: Rectangle, categories: Sequence[str]) -> Box:
    return Box(
        category=categories[class_id],
        class_id=class_id,
        left=part.left,
        top=part.top,
        width=part.width,
        height=part.height,
    )
