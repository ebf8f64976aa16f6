"""Pascal VOC annotations: one XML file per picture, `object/bndbox` with corners in pixels.

http://host.robots.ox.ac.uk/pascal/VOC/voc2012/devkit_doc.pdf. Coordinates are taken as they stand: VOC's own count
from 1, most tools that write the format count from 0, and a file does not say which.
"""

from __future__ import annotations

import math
from xml.etree import ElementTree

from skyloop.formats.geometry import Rectangle
from skyloop.formats.groundtruth import LabeledBox


def read_voc(body: bytes) -> tuple[LabeledBox, ...]:
    """The objects of a picture, in the file's order.

    Raises ValueError, with the number of the object (from 0), when it is not XML or an object lacks a name or a corner.
    """
    try:
        annotation = ElementTree.fromstring(body)
    except ElementTree.ParseError as error:
        raise ValueError(f"not a Pascal VOC file: {error}") from error
    return tuple(_labeled_box(number, item) for number, item in enumerate(annotation.iterfind("object")))


def _labeled_box(number: int, item: ElementTree.Element) -> LabeledBox:
    name = (item.findtext("name") or "").strip()
    if not name:
        raise ValueError(f"object {number} has no name")
    left, top, right, bottom = (_coordinate(number, item, corner) for corner in ("xmin", "ymin", "xmax", "ymax"))
    if right < left or bottom < top:
        raise ValueError(f"object {number} ends before it begins: ({left:g}, {top:g}) to ({right:g}, {bottom:g})")
    return LabeledBox(name, Rectangle(left, top, right - left, bottom - top))


def _coordinate(number: int, item: ElementTree.Element, corner: str) -> float:
    text = item.findtext(f"bndbox/{corner}")
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"object {number}: {corner} is {text!r}, not a number")
    return value
