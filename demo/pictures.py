"""Pictures for the report: the ground with its flight lines, detections over known boxes, contact sheets."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

from PIL import Image, ImageDraw
from skyloop.documents import Detection
from skyloop.formats.detections import match_detections

KNOWN, DETECTED = "#ffffff", "#ffd60a"
ENLARGED = 2


@dataclass(frozen=True)
class Picture:
    """One picture of the report."""

    act: str
    caption: str
    image: Image.Image

    def data_uri(self, quality: int = 82) -> str:
        """The picture as a data: URI, so that the page needs no other file."""
        buffer = BytesIO()
        self.image.convert("RGB").save(buffer, "JPEG", quality=quality)
        return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def trees_found(detections: Sequence[Detection], known: Sequence[Detection]) -> int:
    """How many known boxes were found, by the rule of mAP50: one detection each, IoU of at least 0.5."""
    return len(match_detections(known, detections).pairs)


def compared(image: Image.Image, detections: Sequence[Detection], known: Sequence[Detection]) -> Image.Image:
    """Detections in yellow over the known boxes in white, enlarged so that the two are easy to tell apart."""
    large = image.resize((image.width * ENLARGED, image.height * ENLARGED), Image.Resampling.LANCZOS)
    pen = ImageDraw.Draw(large)
    for boxes, color, width in ((known, KNOWN, 1), (detections, DETECTED, 3)):
        for box in boxes:
            pen.rectangle([value * ENLARGED for value in _corners(box)], outline=color, width=width)
    return large


def boxed(image: Image.Image, boxes: Sequence[Detection], color: str) -> Image.Image:
    """An image with boxes of one color."""
    picture = image.copy()
    pen = ImageDraw.Draw(picture)
    for box in boxes:
        pen.rectangle(_corners(box), outline=color, width=2)
    return picture


def _corners(box: Detection) -> tuple[float, float, float, float]:
    return (box.left, box.top, box.left + box.width, box.top + box.height)


def flight_map(image: Image.Image, lines: dict[int, tuple[str, str]], height: int, wide: int = 640) -> Image.Image:
    """An orthophoto with its flight lines tinted: `lines` maps a line's number to a color and a caption."""
    picture = image.convert("RGBA")
    veil = Image.new("RGBA", picture.size)
    pen = ImageDraw.Draw(veil)
    for number, (color, _) in lines.items():
        top = (number - 1) * height
        red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
        pen.rectangle((0, top, picture.width, top + height - 1), fill=(red, green, blue, 40), outline=color, width=6)
    picture = Image.alpha_composite(picture, veil).convert("RGB")
    picture.thumbnail((wide, wide * 2))
    scale = picture.height / image.height
    pen = ImageDraw.Draw(picture)
    for number, (color, caption) in lines.items():
        x, y = 8, (number - 1) * height * scale + 6
        pen.rectangle(pen.textbbox((x, y), caption, font_size=16), fill=color)
        pen.text((x, y), caption, fill="black", font_size=16)
    return picture


def contact_sheet(images: list[Image.Image], columns: int, gap: int = 6) -> Image.Image:
    """Images of one size side by side, in rows."""
    width, height = images[0].size
    rows = -(-len(images) // columns)
    size = (columns * (width + gap) - gap, rows * (height + gap) - gap)
    sheet = Image.new("RGB", size, "white")
    for number, image in enumerate(images):
        sheet.paste(image, ((number % columns) * (width + gap), (number // columns) * (height + gap)))
    return sheet
