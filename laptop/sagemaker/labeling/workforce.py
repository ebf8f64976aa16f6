"""The workforce that answers labeling jobs on this machine, from boxes that are known (see `known_boxes`).

Workers see what people see – one image, the job's categories – and err as people do, by the settings in the home's
`workforce.json`, which is read again for every job:

    {"error_rate": 0.0,         share of boxes that a worker misses, 0–1
     "jitter": 0.0,             largest error of each edge of a box, pixels
     "wrong_class_rate": 0.0,   share of boxes that get another category of the job, 0–1
     "unanswered_rate": 0.0,    share of images that get no answer before the task expires, 0–1
     "answer_delay": 0.0,       seconds until the job's answers are in
     "seed": 0}                 the same seed gives the same answers
"""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass, fields
from statistics import fmean

from laptop.documents import Document
from laptop.skyloop_plugin import LabeledBox, Rectangle

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
    def read(cls, given: Document) -> Settings:
        """The settings in a document. Raises ValueError for a name or a value that makes no sense."""
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


def answer(
    known: list[LabeledBox], worker: int, source: str, size: tuple[int, int], categories: list[str], settings: Settings
) -> list[LabeledBox]:
    """What one worker draws on one image: whole pixels inside the image, only categories of the job.

    `size` is (width, height) in pixels. Seeded by the settings' seed, the image and the worker.
    """
    chance = random.Random(f"{settings.seed}|{source}|{worker}")
    drawn = []
    for item in known:
        missed, confused = chance.random() < settings.error_rate, chance.random() < settings.wrong_class_rate
        shifts = [chance.uniform(-settings.jitter, settings.jitter) for _ in range(4)]
        other = chance.choice([name for name in categories if name != item.category] or [item.category])
        if missed or item.category not in categories:
            continue
        left, top = item.box.left + shifts[0], item.box.top + shifts[1]
        right, bottom = item.box.right + shifts[2], item.box.bottom + shifts[3]
        if box := _whole_pixels(left, top, right, bottom, size):
            drawn.append(LabeledBox(other if confused else item.category, box))
    return drawn


def is_answered(source: str, settings: Settings) -> bool:
    """Whether an image gets an answer before its task expires."""
    return random.Random(f"{settings.seed}|{source}|expires").random() >= settings.unanswered_rate


def consolidate(answers: list[list[LabeledBox]]) -> list[tuple[LabeledBox, float]]:
    """Several workers' boxes as one answer: (box, confidence).

    Boxes of the same category that overlap by half belong together, at most one of each worker; what more than half of
    the workers drew stays, as the mean of their edges. The confidence is the share of workers times how well their
    boxes agree (mean IoU of pairs), so between 0 and 1; with one worker there is nothing to agree with and it is 0.
    """
    groups: list[list[tuple[int, LabeledBox]]] = []
    for worker, boxes in enumerate(answers):
        for drawn in boxes:
            fitting = [
                group
                for group in groups
                if group[0][1].category == drawn.category
                and all(other != worker for other, _ in group)
                and group[0][1].box.iou(drawn.box) >= _SAME_OBJECT
            ]
            if fitting:
                max(fitting, key=lambda group: group[0][1].box.iou(drawn.box)).append((worker, drawn))
            else:
                groups.append([(worker, drawn)])
    agreed = []
    for group in groups:
        rectangles = [drawn.box for _, drawn in group]
        if len(rectangles) * 2 <= len(answers):
            continue
        overlaps = [first.iou(second) for first, second in itertools.combinations(rectangles, 2)]
        confidence = round(fmean(overlaps) * len(rectangles) / len(answers), 2) if overlaps else 0.0
        left, top = round(fmean(box.left for box in rectangles)), round(fmean(box.top for box in rectangles))
        right, bottom = round(fmean(box.right for box in rectangles)), round(fmean(box.bottom for box in rectangles))
        mean = Rectangle(left, top, right - left, bottom - top)
        agreed.append((LabeledBox(group[0][1].category, mean), confidence))
    return agreed


def _whole_pixels(left: float, top: float, right: float, bottom: float, size: tuple[int, int]) -> Rectangle | None:
    """Whole pixels inside the image, at least one each way; None for a box that lies outside."""
    x1, y1 = max(0, round(left)), max(0, round(top))
    x2, y2 = min(size[0], round(right)), min(size[1], round(bottom))
    if x1 >= size[0] or y1 >= size[1] or x2 <= 0 or y2 <= 0:
        return None
    x1, y1 = min(x1, size[0] - 1), min(y1, size[1] - 1)
    return Rectangle(x1, y1, max(1, x2 - x1), max(1, y2 - y1))
