"""Pictures for the report: the ground with its flight lines, what was found against what is there, contact sheets."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from io import BytesIO

from PIL import Image, ImageDraw

from cli.detect import Detection
from demo.imagery import Box

KNOWN, DETECTED = "#ffffff", "#ffd60a"
ENLARGED = 2
SAME_TREE = 0.5  # intersection over union, as in mAP50


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


def overlap(detection: Detection, box: Box) -> float:
    """Intersection over union of a detection and a known box."""
    width = min(detection.left + detection.width, box[2]) - max(detection.left, box[0])
    height = min(detection.top + detection.height, box[3]) - max(detection.top, box[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / (detection.width * detection.height + (box[2] - box[0]) * (box[3] - box[1]) - shared)


def found(detections: list[Detection], boxes: list[Box]) -> int:
    """How many known boxes were found: each detection, the surest first, takes the best box that is still free."""
    free = list(boxes)
    for detection in sorted(detections, key=lambda item: -item.confidence):
        if free and overlap(detection, best := max(free, key=lambda box: overlap(detection, box))) >= SAME_TREE:
            free.remove(best)
    return len(boxes) - len(free)


def compared(image: Image.Image, detections: list[Detection], boxes: list[Box]) -> Image.Image:
    """Detections in yellow over the known boxes in white, enlarged so that both can be told apart."""
    large = image.resize((image.width * ENLARGED, image.height * ENLARGED), Image.Resampling.LANCZOS)
    pen = ImageDraw.Draw(large)
    for box in boxes:
        pen.rectangle([value * ENLARGED for value in box], outline=KNOWN, width=1)
    for item in detections:
        corners = (item.left, item.top, item.left + item.width, item.top + item.height)
        pen.rectangle([value * ENLARGED for value in corners], outline=DETECTED, width=3)
    return large


def boxed(image: Image.Image, boxes: list[Box], color: str) -> Image.Image:
    """An image with boxes of one color."""
    picture = image.copy()
    pen = ImageDraw.Draw(picture)
    for box in boxes:
        pen.rectangle(box, outline=color, width=2)
    return picture


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
        pen.rectangle(
            (*pen.textbbox((x, y), caption, font_size=16)[:2], *pen.textbbox((x, y), caption, font_size=16)[2:]),
            fill=color,
        )
        pen.text((x, y), caption, fill="black", font_size=16)
    return picture


def sheet(images: list[Image.Image], columns: int, gap: int = 6) -> Image.Image:
    """Images of one size side by side."""
    width, height = images[0].size
    rows = -(-len(images) // columns)
    size = (columns * (width + gap) - gap, rows * (height + gap) - gap)
    made = Image.new("RGB", size, "white")
    for number, image in enumerate(images):
        made.paste(image, ((number % columns) * (width + gap), (number // columns) * (height + gap)))
    return made
