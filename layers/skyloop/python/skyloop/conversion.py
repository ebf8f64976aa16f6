"""Step 3 of the loop, first half: finished labels become pictures and label files that Ultralytics can train on."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from skyloop import keys
from skyloop.catalogue import Catalogue
from skyloop.documents import ConvertAnswer, ConvertRequest, LabeledImage
from skyloop.geometry import Rectangle
from skyloop.groundtruth import LabeledLine, UnlabeledLine, UnusableLine, categories_of, read_line
from skyloop.images import MAX_BYTES
from skyloop.pieces import Piece, cut
from skyloop.storage import ObjectMissing, ObjectTooLarge, Storage
from skyloop.yolo import write_labels

MAX_UNANSWERED = 3
"""Labeling jobs that may give an image back without labels, before it is put aside: every job costs somebody's time."""

CONTENT_TYPES = {"jpg": "image/jpeg", "png": "image/png"}


def give_back(catalogue: Catalogue, image_id: str, job_name: str) -> None:
    """A completed job has no labels for this image: queue it again, or put it aside when that happened too often."""
    item = catalogue.get(image_id)
    if item is not None and item.unanswered + 1 >= MAX_UNANSWERED:
        catalogue.give_up(image_id, job_name, f"{MAX_UNANSWERED} labeling jobs gave it back without labels")
    else:
        catalogue.unanswered(image_id, job_name)


class Conversion:
    """Joins the bucket and the catalogue for one batch of output manifest lines.

    Everything written is named by its content, so that a repeated batch writes the same again.
    """

    def __init__(self, storage: Storage, catalogue: Catalogue, tile_size: int) -> None:
        self.storage = storage
        self.catalogue = catalogue
        self.tile_size = tile_size

    def convert(self, request: ConvertRequest) -> ConvertAnswer:
        """Convert a batch. A line that cannot be used is put aside with its reason and never stops the others."""
        job, attribute = request.batch.job_name, request.batch.label_attribute_name
        categories = categories_of(self.storage.read_json(keys.LABEL_CATEGORIES))
        written: list[LabeledImage] = []
        refused: list[tuple[Any, str]] = []
        unlabeled: list[UnlabeledLine] = []
        for line in request.items:
            try:
                read = read_line(line, attribute)
                if isinstance(read, UnlabeledLine):
                    unlabeled.append(read)
                else:
                    written += self._convert_line(read, job, categories)
            except UnusableLine as error:
                refused.append((line, str(error)))
        # Before any status: an image that counts as labeled must have its record.
        record_key = f"{keys.LABELED_DATA}{job}/records/{_hash12(request.items)}.json"
        self.storage.write_json(record_key, [image.plain() for image in written])
        converted = {image.image_id for image in written}
        for image_id in sorted(converted):
            self.catalogue.label(image_id, job)
        for line, reason in refused:
            self._put_aside(line, reason, job)
        for line in unlabeled:
            if line.image_id is not None:
                give_back(self.catalogue, line.image_id, job)
        return ConvertAnswer(
            converted=len(converted),
            boxes=sum(len(image.boxes) for image in written),
            quarantined=len(refused),
            unlabeled=len(unlabeled),
            record_key=record_key,
        )

    def _convert_line(self, line: LabeledLine, job: str, categories: tuple[str, ...]) -> list[LabeledImage]:
        """Write one image, or its tiles. Raises UnusableLine."""
        key, body = self._source(line)
        facts, pieces = cut(body, line, categories, self.tile_size)
        flight = keys.flight_of(key) if key.startswith(keys.RAW_IMAGES) else line.flight or keys.NO_FLIGHT
        return [
            LabeledImage(
                name=piece.name,
                image_id=facts.image_id,
                source_key=key,
                flight=flight,
                job_name=job,
                image_key=self._write_picture(piece, job),
                label_key=self._write_labels(piece, job),
                width=piece.width,
                height=piece.height,
                boxes=piece.boxes,
                labeled_at=line.labeled_at,
                captured_at=facts.captured_at,
            )
            for piece in pieces
        ]

    def _source(self, line: LabeledLine) -> tuple[str, bytes]:
        """The key and bytes of the line's picture. Raises UnusableLine."""
        try:
            key = self.storage.key_of(line.source)
            body = self.storage.read(key, at_most=MAX_BYTES).body
        except ObjectMissing as error:
            raise UnusableLine(f"{line.source} is gone") from error
        except (ObjectTooLarge, ValueError) as error:
            raise UnusableLine(str(error)) from error
        if line.image_id is not None and hashlib.sha256(body).hexdigest() != line.image_id:
            raise UnusableLine(f"{line.source} was replaced after it was sent for labels")
        return key, body

    def _write_picture(self, piece: Piece, job: str) -> str:
        key = f"{keys.LABELED_DATA}{job}/images/{piece.name}.{piece.extension}"
        self.storage.write(key, piece.body, content_type=CONTENT_TYPES[piece.extension])
        return key

    def _write_labels(self, piece: Piece, job: str) -> str:
        key = f"{keys.LABELED_DATA}{job}/labels/{piece.name}.txt"
        boxes = [(box.class_id, Rectangle(box.left, box.top, box.width, box.height)) for box in piece.boxes]
        self.storage.write(key, write_labels(boxes, piece.width, piece.height).encode(), content_type="text/plain")
        return key

    def _put_aside(self, line: Any, reason: str, job: str) -> None:
        """Keep the line with its reason; an image that it names is not sent to workers again for the same answer."""
        key = f"{keys.QUARANTINE}labels/{job}/{_hash12(line)}.json"
        self.storage.write_json(key, {"job_name": job, "reason": reason, "line": line})
        image_id = line.get("image-id") if isinstance(line, dict) else None
        if isinstance(image_id, str) and image_id:
            self.catalogue.give_up(image_id, job, f"its labels cannot be used: {reason}")


def _hash12(document: Any) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True, ensure_ascii=False).encode()).hexdigest()[:12]
