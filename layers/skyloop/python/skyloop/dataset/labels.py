"""Labels as they are kept: one line of JSON for each picture, in a record for each batch and an index for each job.

A line of `labeled-data/<job>/records/*.jsonl` and of `labeled-data/<job>/index.jsonl.gz`:

    {"image_id": "3b0f…", "key": "labeled-data/images/3b0f….jpg", "source_key": "raw-images/north/1.jpg",
     "flight": "north", "width": 5472, "height": 3648, "boxes": [["car", 101, 20, 33, 18], …],
     "labeled_at": "2026-11-23T12:00:00.000000+00:00", "captured_at": "2026-11-20T09:30:12"}

Boxes lie on the upright picture of `width` x `height` pixels: category, left, top, width, height. Categories are names:
their ids are a dataset's affair.

Records keep every answer that can be used. Where a manifest has several of one picture, the index has the newest; the
others are put aside with the reason (`layout.superseded_labels_key`), a line `{"reason": …, "line": {…}}` each.
"""

from __future__ import annotations

import gzip
import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from typing import NamedTuple, TypeVar

from skyloop import layout
from skyloop.aws.storage import Storage
from skyloop.documents import JsonObject, LabelCounts, json_line

T = TypeVar("T")

DIGITS = 2
"""Decimals of a pixel that are kept."""

PARALLEL_READS = 16
_RECORD = ".jsonl"


class Box(NamedTuple):
    """One labeled object, in pixels of the upright picture; the origin is the top left corner."""

    category: str
    left: float
    top: float
    width: float
    height: float

    def place(self) -> list[float]:
        """Left, top, width and height to DIGITS."""
        return [round(value, DIGITS) for value in self[1:]]


@dataclass(frozen=True, slots=True)
class LabeledImage:
    """A whole picture and its labels.

    key: of the copy that is kept. source_key: where it was dropped. labeled_at: ISO 8601; orders two labels of one
    picture. captured_at: ISO 8601, where the camera wrote it.
    """

    image_id: str
    key: str
    source_key: str
    flight: str
    job_name: str
    width: int
    height: int
    boxes: tuple[Box, ...]
    labeled_at: str
    captured_at: str | None = None

    def line(self) -> bytes:
        """As it is kept, with the line end."""
        return json_line(
            {
                "image_id": self.image_id,
                "key": self.key,
                "source_key": self.source_key,
                "flight": self.flight,
                "width": self.width,
                "height": self.height,
                "boxes": [[box.category, *box.place()] for box in self.boxes],
                "labeled_at": self.labeled_at,
                "captured_at": self.captured_at,
            }
        )

    @classmethod
    def of(cls, line: bytes, job_name: str) -> LabeledImage:
        """The inverse of `line`. What was written here is not checked again: a retrain reads millions of lines."""
        plain = json.loads(line)
        boxes = tuple(Box._make(box) for box in plain.pop("boxes"))
        return cls(job_name=job_name, boxes=boxes, **plain)


class _Answer(NamedTuple):
    labeled_at: str
    boxes: int
    line: bytes


class Answers:
    """The answers of one labeling job: of several to one picture the newest counts, and the others are put aside.

    A manifest may name a picture twice, or its bytes under two keys. Of answers of one time, or of none, the first
    counts, as it does in a dataset; the same line again is no other answer. Lines are kept, not images: a job may have
    millions of boxes.
    """

    def __init__(self, images: Iterable[LabeledImage]) -> None:
        self._kept: dict[str, _Answer] = {}
        self._put_aside: dict[bytes, str] = {}
        for image in images:
            answer = _Answer(image.labeled_at, len(image.boxes), image.line())
            known = self._kept.setdefault(image.image_id, answer)
            if known.labeled_at < answer.labeled_at:
                self._kept[image.image_id] = answer
                self._put_aside[known.line] = image.image_id
            elif known.line != answer.line:
                self._put_aside[answer.line] = image.image_id

    @property
    def image_ids(self) -> list[str]:
        """The pictures that were answered, each once, sorted."""
        return sorted(self._kept)

    @property
    def counts(self) -> LabelCounts:
        """How many pictures and boxes count, and how many answers do not."""
        boxes = sum(answer.boxes for answer in self._kept.values())
        return LabelCounts(images=len(self._kept), boxes=boxes, put_aside=len(self._put_aside))

    def lines(self) -> bytes:
        """The answers that count, a line each, sorted by picture."""
        return b"".join(self._kept[image_id].line for image_id in self.image_ids)

    def lines_put_aside(self) -> bytes:
        """The answers that do not count, a line each with the reason, sorted by picture."""
        return b"".join(
            json_line({"reason": _why_aside(plain, self._kept[image_id]), "line": plain})
            for line, image_id in sorted(self._put_aside.items(), key=lambda item: item[::-1])
            for plain in [json.loads(line)]
        )


def _why_aside(plain: JsonObject, kept: _Answer) -> str:
    ours, theirs = (time or "an unknown time" for time in (plain["labeled_at"], kept.labeled_at))
    doubt = "; nothing says which is right, and the first counts" if ours == theirs else ""
    return f"the job answered this picture more than once: this answer is of {ours}, what counts of {theirs}{doubt}"


class Labels:
    """The labels of all jobs, in the bucket."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage

    def keep(self, job_name: str, part: str, images: Iterable[LabeledImage]) -> str:
        """Keep a batch; `part` names it by its content. Returns the record's key."""
        key = f"{layout.label_records(job_name)}{part}{_RECORD}"
        self.storage.write(key, b"".join(image.line() for image in images), content_type="application/jsonl")
        return key

    def index(self, job_name: str) -> LabelCounts:
        """Put the labels of a job, whose batches are all converted, into one object, which later datasets read.

        Of each picture it has one answer; what was put aside for it is kept with the reason.
        """
        answers = Answers(self._recorded(job_name))
        if aside := answers.lines_put_aside():
            self.storage.write(layout.superseded_labels_key(job_name), aside, content_type="application/jsonl")
        body = gzip.compress(answers.lines(), mtime=0)
        self.storage.write(layout.label_index_key(job_name), body, content_type="application/gzip")
        return answers.counts

    def jobs(self) -> list[str]:
        """The jobs whose labels are not excluded, sorted by name."""
        folders = [one for one in self.storage.folders(layout.LABELED_DATA) if one != layout.LABELED_IMAGES]
        jobs = sorted(folder.removeprefix(layout.LABELED_DATA).rstrip("/") for folder in folders)
        excluded = _ahead(lambda job: self.storage.read_json_if_there(layout.exclusion_key(job)), jobs)
        return [job for job, note in zip(jobs, excluded, strict=True) if note is None]

    def of_jobs(self, jobs: Sequence[str]) -> Iterator[LabeledImage]:
        """Every label of these jobs, in their order, a few jobs in memory at a time.

        Of a job without an index, the records: one that still converts has no index yet.
        """
        indexes = _ahead(lambda job: self.storage.read_if_there(layout.label_index_key(job)), jobs)
        for job, index in zip(jobs, indexes, strict=True):
            if index is None:
                yield from self._recorded(job)
            else:
                with gzip.open(BytesIO(index.body)) as lines:
                    for line in lines:
                        yield LabeledImage.of(line, job)

    def _recorded(self, job: str) -> Iterator[LabeledImage]:
        # Records of version 0.1.0 are *.json, of slices; they are not read.
        keys = [one.key for one in self.storage.listing(layout.label_records(job)) if one.key.endswith(_RECORD)]
        for body in _ahead(lambda key: self.storage.read(key).body, keys):
            for line in body.splitlines():
                yield LabeledImage.of(line, job)


def _ahead(read: Callable[[str], T], names: Iterable[str]) -> Iterator[T]:
    """What is read of each name, in order; the next ones are read meanwhile, but no more than PARALLEL_READS."""
    with ThreadPoolExecutor(PARALLEL_READS) as pool:
        waiting: deque[Future[T]] = deque()
        for name in names:
            waiting.append(pool.submit(read, name))
            if len(waiting) > PARALLEL_READS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
