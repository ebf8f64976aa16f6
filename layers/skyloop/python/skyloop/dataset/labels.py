"""Labels as they are kept: one line of JSON for each picture, in a record for each batch and an index for each job.

A line of `labeled-data/<job>/records/*.jsonl` and of `labeled-data/<job>/index.jsonl.gz`:

    {"image_id": "3b0f…", "key": "labeled-data/images/3b0f….jpg", "source_key": "raw-images/north/1.jpg",
     "flight": "north", "width": 5472, "height": 3648, "boxes": [["car", 101, 20, 33, 18], …],
     "labeled_at": "2026-11-23T12:00:00.000000+00:00", "captured_at": "2026-11-20T09:30:12"}

Boxes lie on the upright picture of `width` x `height` pixels: category, left, top, width, height. Categories are names:
their ids are a dataset's affair.
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
from skyloop.documents import json_line

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


class Labels:
    """The labels of all jobs, in the bucket."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage

    def keep(self, job_name: str, part: str, images: Iterable[LabeledImage]) -> str:
        """Keep a batch; `part` names it by its content. Returns the record's key."""
        key = f"{layout.label_records(job_name)}{part}{_RECORD}"
        self.storage.write(key, b"".join(image.line() for image in images), content_type="application/jsonl")
        return key

    def index(self, job_name: str) -> None:
        """Put all records of a job, whose batches are all converted, into one object, which later datasets read."""
        lines = {image.image_id: image.line() for image in self._recorded(job_name)}
        body = gzip.compress(b"".join(lines[image_id] for image_id in sorted(lines)), mtime=0)
        self.storage.write(layout.label_index_key(job_name), body, content_type="application/gzip")

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
