"""What is fuzzed: every reader of something that comes from outside. It says what it made of the bytes, or raises."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from typing import Any

import numpy as np
from PIL import ExifTags, Image
from skyloop.documents import parse_json
from skyloop.formats.capture import Problem, parse_capture
from skyloop.formats.coco import CocoRefused, read_coco
from skyloop.formats.evaluation import Evaluation, EvaluationUnreadable
from skyloop.formats.groundtruth import LabeledLine, UnusableLine, boxes_on, read_line
from skyloop.formats.pictures import READABLE, ImageRefused, open_picture
from skyloop.intake.uploads import uploads_in
from skyloop.smoke.comparison import read_golden_predictions

from tests.support.files import REPOSITORY


@dataclass(frozen=True)
class Target:
    """A reader and files that it reads well. `read` returns a word for the statistics."""

    read: Callable[[bytes], str]
    corpus: tuple[bytes, ...]


def picture(body: bytes) -> str:
    """Open and decode, for a model and for people."""
    try:
        opened = open_picture(body, READABLE)
        opened.decode()
        if opened.has_counts:
            open_picture(body, READABLE).show()
    except ImageRefused as refused:
        return refused.code
    return "image"


def manifest_line(body: bytes) -> str:
    """A line of Ground Truth's output manifest."""
    try:
        line = read_line(parse_json(body), "boxes")
        if isinstance(line, LabeledLine):
            boxes_on(line, 640, 512)
    except UnusableLine:
        return "unusable"
    except ValueError:
        return "not JSON"
    return type(line).__name__


def coco(body: bytes) -> str:
    """A label file."""
    try:
        read_coco(body)
    except CocoRefused:
        return "refused"
    return "read"


def capture(body: bytes) -> str:
    """A file of captured requests."""
    records = list(parse_capture(body.split(b"\n")))
    return "problems" if any(isinstance(record, Problem) for record in records) else "read"


def message(body: bytes) -> str:
    """A message of the uploads queue."""
    try:
        return f"{min(len(uploads_in(body.decode('utf-8', 'replace'))), 2)} uploads"
    except ValueError:
        return "refused"


def evaluation(body: bytes) -> str:
    """What an evaluation job wrote."""
    try:
        Evaluation.parse(body)
        read_golden_predictions(body)
    except EvaluationUnreadable:
        return "unreadable"
    except ValueError:
        return "no golden predictions"
    return "read"


@cache
def targets() -> dict[str, Target]:
    """All of them, by name."""
    manifests = sorted((REPOSITORY / "tests/documents").glob("*.manifest"))
    lines = [line for path in manifests for line in path.read_bytes().split(b"\n")]
    return {
        "picture": Target(picture, pictures()),
        "manifest line": Target(manifest_line, tuple(line for line in lines if line.strip())),
        "coco": Target(coco, (_coco(),)),
        "capture": Target(capture, ((REPOSITORY / "tests/documents/capture.jsonl").read_bytes(),)),
        "message": Target(message, tuple(_messages())),
        "evaluation": Target(evaluation, ((REPOSITORY / "tests/documents/evaluation.json").read_bytes(),)),
    }


@cache
def pictures() -> tuple[bytes, ...]:
    """Small files of every format and mode that is read."""
    random = np.random.default_rng(0)
    image = Image.fromarray(random.integers(0, 256, (48, 64, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation.value] = 6
    exif[ExifTags.Base.DateTime.value] = "2026:01:02 03:04:05"
    exif.get_ifd(ExifTags.IFD.GPSInfo).update({1: "N", 2: (47.0, 30.0, 36.0), 3: "E", 4: (8.0, 15.0, 0.0)})
    wide = Image.fromarray((np.arange(48 * 64).reshape(48, 64) * 21).astype(np.uint16))
    made: list[tuple[Image.Image, str, dict[str, Any]]] = [
        (image, "JPEG", {"exif": exif}),
        (image, "JPEG", {"progressive": True}),
        (image.convert("L"), "JPEG", {}),
        (image.convert("CMYK"), "JPEG", {}),
        (image, "PNG", {"exif": exif}),
        (image.convert("P"), "PNG", {}),
        (image.convert("RGBA"), "PNG", {}),
        (wide, "PNG", {}),
        (image, "TIFF", {"compression": "tiff_lzw"}),
        (wide, "TIFF", {}),
        (image, "WEBP", {"exif": exif}),
        (image, "BMP", {}),
    ]
    bodies = []
    for picture_made, kind, options in made:
        buffer = BytesIO()
        picture_made.save(buffer, kind, **options)
        bodies.append(buffer.getvalue())
    return tuple(bodies)


def _coco() -> bytes:
    document = {
        "images": [{"id": number, "file_name": f"f/{number}.jpg", "width": 64, "height": 48} for number in range(3)],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "iscrowd": 0, "area": 12}],
        "categories": [{"id": 1, "name": "tree", "supercategory": "plant"}],
    }
    return json.dumps(document).encode()


def _messages() -> list[bytes]:
    folder = REPOSITORY / "tests/events"
    return [(folder / f"{name}.json").read_bytes() for name in ("s3_object_created", "s3_notification")]
