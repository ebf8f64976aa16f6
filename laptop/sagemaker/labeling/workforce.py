"""The workforce that answers labeling jobs on this machine, from boxes that were known when the images were dropped.

The boxes of a flight lie beside the jobs as COCO (`ground-truth-jobs/known-boxes/<flight>.json`). Workers see what
people see – one image, the job's categories – and err as people do, by the settings in the home's `workforce.json`,
read anew for every job:

    {"error_rate": 0.0,         share of boxes that a worker misses, 0–1
     "jitter": 0.0,             largest error of each edge of a box, pixels
     "wrong_class_rate": 0.0,   share of boxes that get another category of the job, 0–1
     "unanswered_rate": 0.0,    share of images nobody answers before the task expires, 0–1
     "answer_delay": 0.0,       seconds until the job's answers are in
     "seed": 0}                 the same seed gives the same answers
"""

from __future__ import annotations

import functools
import itertools
import json
import logging
import random
from dataclasses import dataclass, field, fields
from statistics import fmean
from typing import Any

from laptop.sagemaker.core import context, transfer

log = logging.getLogger("skyloop.sagemaker")

_SAME_OBJECT = 0.5  # IoU from which two workers' boxes are taken for the same object


@dataclass(frozen=True)
class Settings:
    """How the workers err; the module's docstring says what each field means."""

    error_rate: float = 0.0
    jitter: float = 0.0
    wrong_class_rate: float = 0.0
    unanswered_rate: float = 0.0
    answer_delay: float = 0.0
    seed: int = 0

    @classmethod
    def load(cls) -> Settings:
        """The settings as they are now. Raises ValueError for a name or a value that makes no sense."""
        given = context.current().settings("workforce")
        known = {item.name for item in fields(cls)}
        if unknown := set(given) - known:
            raise ValueError(f"workforce.json: unknown setting {', '.join(sorted(unknown))}; known: {sorted(known)}")
        settings = cls(**given)
        for name in ("error_rate", "wrong_class_rate", "unanswered_rate"):
            if not 0 <= getattr(settings, name) <= 1:
                raise ValueError(f"workforce.json: {name} must lie between 0 and 1")
        if settings.jitter < 0 or settings.answer_delay < 0:
            raise ValueError("workforce.json: jitter and answer_delay must not be negative")
        return settings


@dataclass(frozen=True)
class Box:
    """A box on the stored pixels of an image: `label` is the category's name, the rest pixels."""

    label: str
    left: float
    top: float
    width: float
    height: float

    def overlap(self, other: Box) -> float:
        """Intersection over union."""
        wide = min(self.left + self.width, other.left + other.width) - max(self.left, other.left)
        high = min(self.top + self.height, other.top + other.height) - max(self.top, other.top)
        shared = max(0.0, wide) * max(0.0, high)
        return shared / (self.width * self.height + other.width * other.height - shared)


_KNOWN_BOXES = "ground-truth-jobs/known-boxes/"


class KnownBoxes:
    """What is known about the images of every flight, looked up by S3 key, else by content, and read once."""

    def __init__(self, bucket: str) -> None:
        self._bucket = bucket
        self._flights: dict[str, _Flight] = {}

    def of(self, key: str, content: str | None = None) -> list[Box] | None:
        """The boxes of the image at `raw-images/<flight>/<path>`; None when nothing is known about it.

        `content` is its SHA-256: an image that comes again under another key (one that a drift detector sent back, say)
        is known by the flight it was told with.
        """
        parts = key.split("/", 2)
        found = self._flight(parts[1]).find(parts[1], parts[2]) if len(parts) == 3 else None
        return self._by_content.get(content) if found is None and content else found

    @functools.cached_property
    def _by_content(self) -> dict[str, list[Box]]:
        pages = context.current().client("s3").get_paginator("list_objects_v2")
        keys = [
            item["Key"]
            for page in pages.paginate(Bucket=self._bucket, Prefix=_KNOWN_BOXES)
            for item in page.get("Contents", [])
        ]
        flights = [self._flight(key.removeprefix(_KNOWN_BOXES).removesuffix(".json")) for key in keys]
        return {content: boxes for flight in flights for content, boxes in flight.by_content.items()}

    def _flight(self, flight: str) -> _Flight:
        if flight not in self._flights:
            self._flights[flight] = self._load(flight)
        return self._flights[flight]

    def _load(self, flight: str) -> _Flight:
        uri = f"s3://{self._bucket}/{_KNOWN_BOXES}{flight}.json"
        try:
            return _Flight.parse(json.loads(transfer.read(context.current().client("s3"), uri)))
        except transfer.TransferError:
            return _Flight()
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            log.warning("Known boxes at %s cannot be read, its images stay unlabeled: %r", uri, error)
            return _Flight()


@dataclass
class _Flight:
    """A COCO file, indexed by path, by bare file name, and by the content that `skyloop drop` notes (`sha256`)."""

    by_path: dict[str, list[Box]] = field(default_factory=dict)
    by_name: dict[str, list[str]] = field(default_factory=dict)
    by_content: dict[str, list[Box]] = field(default_factory=dict)

    @classmethod
    def parse(cls, coco: dict[str, Any]) -> _Flight:
        flight = cls()
        names = {item["id"]: item["name"] for item in coco["categories"]}
        paths = {}
        for image in coco["images"]:
            path = image["file_name"].replace("\\", "/").removeprefix("./").lstrip("/")
            paths[image["id"]] = path
            flight.by_path[path] = []
            flight.by_name.setdefault(path.rpartition("/")[2], []).append(path)
            if content := image.get("sha256"):
                flight.by_content[content] = flight.by_path[path]
        for item in coco["annotations"]:
            left, top, width, height = (float(number) for number in item["bbox"])
            if width > 0 and height > 0 and not item.get("iscrowd"):
                box = Box(names[item["category_id"]], left, top, width, height)
                flight.by_path[paths[item["image_id"]]].append(box)
        return flight

    def find(self, flight: str, path: str) -> list[Box] | None:
        """By the path in the flight, else with the folders above it, else by a file name that only one image has."""
        for candidate in (path, f"{flight}/{path}", f"raw-images/{flight}/{path}"):
            if candidate in self.by_path:
                return self.by_path[candidate]
        same_name = self.by_name.get(path.rpartition("/")[2], [])
        # A bare name may stand for a nested image; a path that differs is another image of the same name.
        if len(same_name) == 1 and ("/" not in same_name[0] or "/" not in path):
            return self.by_path[same_name[0]]
        return None


def answer(
    known: list[Box], worker: int, source: str, size: tuple[int, int], categories: list[str], settings: Settings
) -> list[Box]:
    """What one worker draws on one image: whole pixels inside the image, only categories of the job.

    `size` is (width, height) in pixels. Seeded by the settings' seed, the image and the worker.
    """
    chance = random.Random(f"{settings.seed}|{source}|{worker}")
    drawn = []
    for box in known:
        missed, confused = chance.random() < settings.error_rate, chance.random() < settings.wrong_class_rate
        shifts = [chance.uniform(-settings.jitter, settings.jitter) for _ in range(4)]
        other = chance.choice([name for name in categories if name != box.label] or [box.label])
        if missed or box.label not in categories:
            continue
        left, top = box.left + shifts[0], box.top + shifts[1]
        right, bottom = box.left + box.width + shifts[2], box.top + box.height + shifts[3]
        if clipped := _clip(other if confused else box.label, left, top, right, bottom, size):
            drawn.append(clipped)
    return drawn


def is_answered(source: str, settings: Settings) -> bool:
    """Whether anybody answers an image before its task expires."""
    return random.Random(f"{settings.seed}|{source}|expires").random() >= settings.unanswered_rate


def consolidate(answers: list[list[Box]]) -> list[tuple[Box, float]]:
    """Several workers' boxes as one answer: (box, confidence).

    Boxes of the same category that overlap by half belong together, at most one of each worker; what more than half of
    the workers drew stays, as the mean of their edges. The confidence is the share of workers times how well their
    boxes agree (mean IoU of pairs), so between 0 and 1; with one worker there is nothing to agree with and it is 0.
    """
    groups: list[list[tuple[int, Box]]] = []
    for worker, boxes in enumerate(answers):
        for box in boxes:
            fitting = [
                group
                for group in groups
                if group[0][1].label == box.label
                and all(other != worker for other, _ in group)
                and group[0][1].overlap(box) >= _SAME_OBJECT
            ]
            if fitting:
                max(fitting, key=lambda group: group[0][1].overlap(box)).append((worker, box))
            else:
                groups.append([(worker, box)])
    agreed = []
    for group in groups:
        boxes = [box for _, box in group]
        if len(boxes) * 2 <= len(answers):
            continue
        pairs = [one.overlap(two) for one, two in itertools.combinations(boxes, 2)]
        confidence = round(fmean(pairs) * len(boxes) / len(answers), 2) if pairs else 0.0
        left, top = round(fmean(box.left for box in boxes)), round(fmean(box.top for box in boxes))
        right = round(fmean(box.left + box.width for box in boxes))
        bottom = round(fmean(box.top + box.height for box in boxes))
        agreed.append((Box(boxes[0].label, left, top, right - left, bottom - top), confidence))
    return agreed


def _clip(label: str, left: float, top: float, right: float, bottom: float, size: tuple[int, int]) -> Box | None:
    """Whole pixels inside the image, at least one each way; None for a box that lies outside."""
    x1, y1 = max(0, round(left)), max(0, round(top))
    x2, y2 = min(size[0], round(right)), min(size[1], round(bottom))
    if x1 >= size[0] or y1 >= size[1] or x2 <= 0 or y2 <= 0:
        return None
    x1, y1 = min(x1, size[0] - 1), min(y1, size[1] - 1)
    return Box(label, x1, y1, max(1, x2 - x1), max(1, y2 - y1))
