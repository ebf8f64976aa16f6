"""Finished labels become label records, and the pictures that they are of are kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence, Set
from concurrent.futures import ThreadPoolExecutor

from botocore.exceptions import BotoCoreError, ClientError

from skyloop import layout
from skyloop.aws.catalogue import PARALLEL_WRITES, Catalogue
from skyloop.aws.errors import is_never_right
from skyloop.aws.observability import logger
from skyloop.aws.storage import ObjectChanged, ObjectMissing, ObjectTooLarge, Storage
from skyloop.dataset.labels import Answers, Box, LabeledImage, Labels
from skyloop.documents import ConvertRequest, ConvertResponse, ImageFacts, parse_json
from skyloop.formats.groundtruth import (
    LabeledLine,
    UnlabeledLine,
    UnusableLine,
    boxes_on,
    categories_of,
    image_of,
    read_line,
)
from skyloop.formats.images import check_image
from skyloop.formats.orientation import upright_box, upright_size
from skyloop.formats.pictures import MAX_BYTES, ImageRefused

_MOST_NESTED = 100  # lists and objects in each other; Ground Truth's labels are five deep
_REFUSED = ".json"
_EXTENSIONS = {"JPEG": "jpg", "PNG": "png"}


class Conversion:
    """Joins the bucket and the catalogue for the parts of an output manifest.

    Everything written is named by its content, so that a repeated batch writes the same again.
    """

    def __init__(self, storage: Storage, catalogue: Catalogue) -> None:
        self.storage = storage
        self.catalogue = catalogue
        self.labels = Labels(storage)

    def convert(self, request: ConvertRequest) -> ConvertResponse:
        """Convert a part. A line that cannot be used is put aside with its reason and never stops the others.

        Images with labels are labeled from now on; what becomes of the others, `settle` says after all parts.
        Raises ObjectMissing when the manifest or the label categories are gone.
        """
        job, attribute = request.job_name, request.label_attribute_name
        parsed = [_parse(line) for line in self._lines(request) if line.strip()]
        categories = categories_of(self.storage.read_json(layout.LABEL_CATEGORIES))
        written: list[LabeledImage] = []
        refused: list[tuple[object, str]] = []
        unlabeled = 0
        for line, wrong in parsed:
            try:
                if wrong:
                    raise UnusableLine(wrong)
                read = read_line(line, attribute)
                if isinstance(read, UnlabeledLine):
                    unlabeled += 1
                else:
                    written.append(self._convert_line(read, job, categories))
            except UnusableLine as error:
                refused.append((line, str(error)))
            except Exception as error:  # whatever a line holds, it is its own affair
                if isinstance(error, ClientError | BotoCoreError) and not is_never_right(error):
                    raise  # the cloud's trouble, not the line's: the batch is tried again
                logger.exception("a line of the manifest could not be converted")
                refused.append((line, f"it could not be read: {type(error).__name__}: {error}"))
        # Before any status: an image that counts as labeled must have its record.
        record_key = self.labels.keep(job, layout.content_hash([line for line, _ in parsed]), written)
        answers = Answers(written)
        for image_id in answers.image_ids:
            self.catalogue.mark_labeled(image_id, job)
        for line, reason in refused:
            key = f"{layout.unusable_labels(job)}{layout.content_hash(line)}{_REFUSED}"
            self.storage.write_json(key, {"job_name": job, "reason": reason, "line": line})
        return ConvertResponse(
            converted=answers.counts.images,
            boxes=answers.counts.boxes,
            put_aside=answers.counts.put_aside,
            quarantined=len(refused),
            unlabeled=unlabeled,
            record_key=record_key,
        )

    def settle(self, job: str) -> Counter[str]:
        """What becomes of images that the job has claimed and not labeled, once all its lines are converted.

        Says how many different lines of the job were put aside, by reason; the same whenever it is asked.

        Not before: a manifest may name a picture twice, in two parts, and one line that can be used is enough. Without
        one, an image is quarantined where a line of it cannot be used, so that workers are not asked again for the same
        answer; one that was not answered, or is on no line, is requeued.
        """
        rest = set(self.catalogue.of_job(job))
        refused = [one.key for one in self.storage.listing(layout.unusable_labels(job)) if one.key.endswith(_REFUSED)]
        with ThreadPoolExecutor(PARALLEL_WRITES) as pool:
            # All of them before the rest: what is quarantined is not requeued any more.
            reasons = Counter(pool.map(lambda key: self._quarantine(key, rest, job), refused))
            list(pool.map(lambda image_id: self.catalogue.requeue_unlabeled(image_id, job), sorted(rest)))
        return reasons

    def _lines(self, request: ConvertRequest) -> Iterator[bytes]:
        return self.storage.lines_of_part(self.storage.key_of(request.manifest_uri), request.part, request.parts)

    def _convert_line(self, line: LabeledLine, job: str, categories: Sequence[str]) -> LabeledImage:
        """Keep the line's picture. Raises UnusableLine."""
        try:
            source_key = self.storage.key_of(line.source)
        except ValueError as error:
            raise UnusableLine(str(error)) from error
        facts = self._keep_as_catalogued(line, source_key) or self._keep_as_read(line, source_key)
        raw = source_key.startswith(layout.RAW_IMAGES)
        width, height = upright_size(facts.width, facts.height, facts.orientation)
        return LabeledImage(
            image_id=facts.image_id,
            key=_kept_key(facts),
            source_key=source_key,
            flight=layout.flight_of(source_key) if raw else line.flight or layout.NO_FLIGHT,
            job_name=job,
            width=width,
            height=height,
            boxes=upright_boxes(line, facts, categories),
            labeled_at=line.labeled_at,
            captured_at=facts.captured_at,
        )

    def _keep_as_catalogued(self, line: LabeledLine, source_key: str) -> ImageFacts | None:
        """Have S3 copy the bytes that intake looked at; the kept copy of an earlier conversion does as well.

        None where neither the key nor the kept copy has them, or intake saw none of them.
        """
        item = self.catalogue.get(line.image_id) if line.image_id is not None else None
        if item is None or item.key != source_key or item.etag is None or item.format is None:
            return None
        facts = ImageFacts.model_validate(item.plain())
        try:
            self.storage.copy(source_key, _kept_key(facts), etag=item.etag)
        except (ObjectMissing, ObjectChanged):
            # The kept copy is for this: labels that were safe once do not go with a raw key.
            return facts if self.storage.has(_kept_key(facts)) else None
        return facts

    def _keep_as_read(self, line: LabeledLine, source_key: str) -> ImageFacts:
        """Look at the bytes, then have S3 copy them. Raises UnusableLine."""
        try:
            stored = self.storage.read(source_key, at_most=MAX_BYTES)
            facts = check_image(stored.body)
            if line.image_id in (None, facts.image_id):
                self.storage.copy(source_key, _kept_key(facts), etag=stored.etag)
                return facts
        except ObjectMissing as error:
            raise UnusableLine(f"{line.source} is gone") from error
        except ObjectTooLarge as error:
            raise UnusableLine(str(error)) from error
        except ImageRefused as error:
            raise UnusableLine(f"the picture cannot be used: {error.reason}") from error
        except ObjectChanged:
            pass
        raise UnusableLine(f"{line.source} was replaced after it was sent for labels")

    def _quarantine(self, key: str, images: Set[str], job: str) -> str:
        """Quarantine the image that a refused line names, if it is one of these; the line's reason."""
        kept = self.storage.read_json(key)
        if not isinstance(kept, dict):
            return "no reason was kept"
        reason = str(kept.get("reason"))
        image_id = image_of(kept.get("line"))
        if image_id is not None and image_id in images:
            self.catalogue.quarantine(image_id, job, f"its labels cannot be used: {reason}")
        return reason


def upright_boxes(line: LabeledLine, facts: ImageFacts, categories: Sequence[str]) -> tuple[Box, ...]:
    """The line's boxes on the upright picture. Raises UnusableLine.

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
        boxes.append(Box(labeled.category, place.left, place.top, place.width, place.height))
    return tuple(boxes)


def _kept_key(facts: ImageFacts) -> str:
    return layout.labeled_image_key(facts.image_id, _EXTENSIONS[facts.format])


def _parse(line: bytes) -> tuple[object, str]:
    """A line of JSON and ""; or, as text, what is none or too deep to be written again, and what is wrong with it."""
    text = line.decode(errors="backslashreplace")
    try:
        document = parse_json(line, once=True)
    except ValueError as error:
        return text, f"a manifest line is a JSON object, and this is none: {error}"
    return (
        (text, f"a JSON object of more than {_MOST_NESTED} levels is no label")
        if _is_deep(document)
        else (document, "")
    )


def _is_deep(document: object) -> bool:
    level = [document]
    for _ in range(_MOST_NESTED):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer if isinstance(outer, list) else ())
        ]
    return bool(level)
