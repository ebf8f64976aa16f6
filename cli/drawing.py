"""Draw detections on their image, for people who look at it: what is detected stays visible."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import median

from PIL import Image, ImageDraw, ImageFont
from skyloop.documents import Detection

PALETTE = ("#ffd60a", "#ff375f", "#32d7ff", "#30d158", "#bf5af2", "#ff9f0a", "#66d4cf", "#ac8e68")
SMALLEST_TEXT = 10  # pixels: smaller letters cannot be read
WIDEST_CAPTION = 1.5  # widths of its box, where captions are drawn as they fit


@dataclass(frozen=True)
class _Area:
    """Pixels from a left and top edge to a right and bottom one."""

    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: _Area) -> bool:
        return (
            self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom
        )


def draw_detections(image: Image.Image, detections: Sequence[Detection], captions: bool | None = None) -> Image.Image:
    """A copy with boxes, a color a category.

    Outlines lie around the boxes; lines and letters are by the median box's size, and no larger than the
    image does. `captions`: a category and confidence at each box, at none, or (None) where it is not much wider than
    its box and hides neither another box nor another caption. A legend is in the emptiest corner if any is left out.
    """
    picture = image.copy()
    pen = ImageDraw.Draw(picture)
    longest = max(picture.size)
    side = median((item.width * item.height) ** 0.5 for item in detections) if detections else 0.0
    line = max(1, round(min(side / 12, longest / 400)))
    font = _font(max(SMALLEST_TEXT, round(min(side / 3, longest / 60))))
    boxes = [_outline(item, line) for item in detections]
    # Who is surest comes first, for the place of a caption, and is drawn last.
    order = sorted(range(len(boxes)), key=lambda number: -detections[number].confidence)
    shown: dict[int, _Area] = {}
    if captions is not False:
        for number in order:
            area = _caption_area(pen, _caption(detections[number]), boxes[number], line, font, picture.width)
            if captions or _fits(area, number, boxes, list(shown.values())):
                shown[number] = area
    if len(shown) < len(boxes):
        _draw_legend(pen, picture.size, detections, boxes)
    for number in reversed(order):
        box, color = boxes[number], _color(detections[number])
        pen.rectangle((box.left, box.top, box.right, box.bottom), outline=color, width=line)
        if number in shown:
            _write(pen, _caption(detections[number]), shown[number], line, font, color)
    return picture


def _color(item: Detection) -> str:
    return PALETTE[(item.category_id or 0) % len(PALETTE)]


def _caption(item: Detection) -> str:
    return f"{item.category} {item.confidence:.2f}"


def _outline(item: Detection, line: int) -> _Area:
    """Around the box and not in it: an outline can be as wide as what is detected."""
    reach = line - 1  # Pillow draws the pixels at the right and lower edge too
    return _Area(item.left - line, item.top - line, item.left + item.width + reach, item.top + item.height + reach)


def _caption_area(
    pen: ImageDraw.ImageDraw,
    text: str,
    box: _Area,
    line: int,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    width: int,
) -> _Area:
    """Above the box, or where the image ends there in it; not beyond the image's right edge."""
    left, top, right, bottom = pen.textbbox((0, 0), text, font=font)
    wide, high = right - left + 2 * line, bottom - top + 2 * line
    x = max(min(box.left, width - wide), 0)
    y = box.top - high if box.top >= high else max(box.top, 0)
    return _Area(x, y, x + wide, y + high)


def _fits(area: _Area, number: int, boxes: Sequence[_Area], taken: Sequence[_Area]) -> bool:
    box = boxes[number]
    if area.right - area.left > WIDEST_CAPTION * (box.right - box.left):
        return False
    others = (other for index, other in enumerate(boxes) if index != number)
    return not any(map(area.meets, others)) and not any(map(area.meets, taken))


def _draw_legend(
    pen: ImageDraw.ImageDraw, size: tuple[int, int], detections: Sequence[Detection], boxes: Sequence[_Area]
) -> None:
    """Each category with its color and how often it is there, the most frequent first, as many as there is room for."""
    width, height = size
    font = _font(max(SMALLEST_TEXT, round(max(size) / 80)))
    gap = max(1, round(max(size) / 400))
    counts = Counter((item.category, _color(item)) for item in detections).most_common()
    sizes = [pen.textbbox((0, 0), f"{name} {count}", font=font) for (name, _), count in counts]
    row = max(bottom for *_, bottom in sizes) + gap
    wide, high = max(right for _, _, right, _ in sizes) + 2 * gap, row * min(len(counts), max(height // row, 1))
    corners = [_Area(x, y, x + wide, y + high) for y in (0, height - high) for x in (0, width - wide)]
    place = min(corners, key=lambda corner: sum(corner.meets(box) for box in boxes))
    for number, ((name, color), count) in enumerate(counts[: round(high / row)]):
        y = place.top + number * row
        _write(pen, f"{name} {count}", _Area(place.left, y, place.right, y + row), gap, font, color)


def _write(
    pen: ImageDraw.ImageDraw,
    text: str,
    area: _Area,
    margin: int,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    color: str,
) -> None:
    left, top, *_ = pen.textbbox((0, 0), text, font=font)
    pen.rectangle((area.left, area.top, area.right, area.bottom), fill=color)
    pen.text((area.left + margin - left, area.top + margin - top), text, fill="black", font=font)


@lru_cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
