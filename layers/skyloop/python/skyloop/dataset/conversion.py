"""Finished labels become pictures and label files that Ultralytics can train on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from botocore.exceptions import BotoCoreError, ClientError

from skyloop import layout
from skyloop.aws.catalogue import Catalogue
from skyloop.aws.observability import logger
from skyloop.aws.storage import ObjectMissing, ObjectTooLarge, Storage
from skyloop.dataset.slices import TrainingImage, slice_image
from skyloop.documents import ConvertRequest, ConvertResponse, LabeledImage, parse_json
from skyloop.formats.groundtruth import LabeledLine, UnlabeledLine, UnusableLine, categories_of, read_line
from skyloop.formats.pictures import MAX_BYTES
from skyloop.formats.yolo import write_labels

CONTENT_TYPES = {"jpg": "image/jpeg", "png": "image/png"}


class Conversion:
    """Joins the bucket and the catalogue for one part of an output manifest.

    Everything written is named by its content, so that a repeated batch writes the same again.
    """

    def __init__(self, storage: Storage, catalogue: Catalogue, slice_size: int) -> None:
        self.storage = storage
        self.catalogue = catalogue
        self.slice_size = slice_size

    def convert(self, request: ConvertRequest) -> ConvertResponse:
        """Convert a part. A line that cannot be used is quarantined with its reason and never stops the others.

        Raises ObjectMissing when the manifest or the label categories are gone.
        """
        job, attribute = request.job_name, request.label_attribute_name
        lines = [_parse(line) for line in self._lines(request) if line.strip()]
        categories = categories_of(self.storage.read_json(layout.LABEL_CATEGORIES))
        written: list[LabeledImage] = []
        refused: list[tuple[object, str]] = []
        unlabeled: list[UnlabeledLine] = []
        for line in lines:
            try:
                read = read_line(line, attribute)
                if isinstance(read, UnlabeledLine):
                    unlabeled.append(read)
                else:
                    written += self._convert_line(read, job, categories)
            except UnusableLine as error:
                refused.append((line, str(error)))
            except (ClientError, BotoCoreError):
                raise  # the cloud's trouble, not the line's: the batch is tried again
            except Exception as error:  # whatever a line holds, it is its own affair
                logger.exception("a line of the manifest could not be converted")
                refused.append((line, f"it could not be read: {type(error).__name__}: {error}"))
        # Before any status: an image that counts as labeled must have its record.
        record_key = f"{layout.label_records(job)}{layout.content_hash(lines)}.json"
        self.storage.write_json(record_key, [image.plain() for image in written])
        converted = {image.image_id for image in written}
        for image_id in sorted(converted):
            self.catalogue.mark_labeled(image_id, job)
        for line, reason in refused:
            self._quarantine(line, reason, job)
        for line in unlabeled:
            if line.image_id is not None:
                self.catalogue.requeue_unlabeled(line.image_id, job)
        return ConvertResponse(
            converted=len(converted),
            boxes=sum(len(image.boxes) for image in written),
            quarantined=len(refused),
            unlabeled=len(unlabeled),
            record_key=record_key,
        )

    def _lines(self, request: ConvertRequest) -> Iterator[bytes]:
        return self.storage.lines_of_part(self.storage.key_of(request.manifest_uri), request.part, request.parts)

    def _convert_line(self, line: LabeledLine, job: str, categories: tuple[str, ...]) -> list[LabeledImage]:
        """Write one image, or its slices. Raises UnusableLine."""
        key, body = self._source(line)
        facts, images = slice_image(body, line, categories, self.slice_size)
        flight = layout.flight_of(key) if key.startswith(layout.RAW_IMAGES) else line.flight or layout.NO_FLIGHT
        return [
            LabeledImage(
                name=image.name,
                image_id=facts.image_id,
                source_key=key,
                flight=flight,
                job_name=job,
                image_key=self._write_picture(image, job),
                label_key=self._write_labels(image, job),
                width=image.width,
                height=image.height,
                boxes=image.boxes,
                labeled_at=line.labeled_at,
                captured_at=facts.captured_at,
            )
            for image in images
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

    def _write_picture(self, image: TrainingImage, job: str) -> str:
        key = f"{layout.LABELED_DATA}{job}/images/{image.name}.{image.extension}"
        self.storage.write(key, image.body, content_type=CONTENT_TYPES[image.extension])
        return key

    def _write_labels(self, image: TrainingImage, job: str) -> str:
        key = f"{layout.LABELED_DATA}{job}/labels/{image.name}.txt"
        text = write_labels(image.boxes, image.width, image.height)
        self.storage.write(key, text.encode(), content_type="text/plain")
        return key

    def _quarantine(self, line: object, reason: str, job: str) -> None:
        """Keep the line with its reason; the image that it names is not sent to workers again for the same answer."""
        key = f"{layout.UNUSABLE_LABELS}{job}/{layout.content_hash(line)}.json"
        self.storage.write_json(key, {"job_name": job, "reason": reason, "line": line})
        image_id = line.get("image-id") if isinstance(line, dict) else None
        if isinstance(image_id, str) and image_id:
            self.catalogue.quarantine(image_id, job, f"its labels cannot be used: {reason}")


def _parse(line: bytes) -> object:
    """A line of JSON; one that is none stays text, and no reader of labels takes that."""
    try:
        return parse_json(line)
    except ValueError:
        return line.decode(errors="backslashreplace")
