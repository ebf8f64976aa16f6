"""A versioned dataset: of every picture its newest labels, split without leaks, named by its content.

It may hold a million pictures, so nothing here keeps all labels in memory: they are read twice, once to find the newest
of each picture, and once to count and write what lies in which split.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from skyloop.dataset.labels import LabeledImage
from skyloop.dataset.splits import Frame, SplitPlan, frame_position
from skyloop.documents import SPLITS, Split, SplitCounts, json_line
from skyloop.layout import content_hash

SIZE_EDGES = (0, 8, 16, 32, 64, 128, 256, 512)
"""Pixels, root of a box's area. COCO calls 32 and less small, 96 and more large."""

_DIGEST_RANGE = 1 << 256


@dataclass(frozen=True, slots=True)
class _Newest:
    """What is remembered of a picture: where its first labels place it, its newest labels, and what these say."""

    frame: Frame
    first_at: str
    first_job: str
    labeled_at: str
    job_name: str
    digest: bytes


class NewestLabels:
    """Of every picture the newest labels, by their time; of labels of the same time, those of the last job by name.

    Splits go by the first ones: a picture that is labeled again in another flight does not go with that.
    """

    def __init__(self, images: Iterable[LabeledImage]) -> None:
        self._newest: dict[str, _Newest] = {}
        names: dict[str, str] = {}  # one string for each flight and job, not one for each picture
        for image in images:
            flight = names.setdefault(image.flight, image.flight)
            job_name = names.setdefault(image.job_name, image.job_name)
            frame = Frame(image.image_id, flight, frame_position(image.image_id, image.source_key, image.captured_at))
            when, known = (image.labeled_at, job_name), self._newest.get(image.image_id)
            if known is None:
                self._newest[image.image_id] = _Newest(frame, *when, *when, _digest(image))
                continue
            if when < (known.first_at, known.first_job):
                known = replace(known, frame=_also(frame, known.frame), first_at=when[0], first_job=when[1])
            elif frame.place != known.frame.place:
                known = replace(known, frame=_also(known.frame, frame))
            if when > (known.labeled_at, known.job_name):
                known = replace(known, labeled_at=when[0], job_name=when[1], digest=_digest(image))
            self._newest[image.image_id] = known

    @property
    def frames(self) -> list[Frame]:
        """The pictures, as splits see them."""
        return [newest.frame for newest in self._newest.values()]

    def of(self, images: Iterable[LabeledImage]) -> Iterator[LabeledImage]:
        """Those of the labels that are the newest of their pictures, in the order in which they were looked at before.

        A batch that was converted twice may have left two records; the first counts. What another job has added since
        the first look is left out.
        """
        given: set[str] = set()
        for image in images:
            newest = self._newest.get(image.image_id)
            if newest is None or image.image_id in given:
                continue
            if (newest.labeled_at, newest.job_name) == (image.labeled_at, image.job_name):
                given.add(image.image_id)
                yield image

    def content_ids(self, categories: Sequence[str], plan: SplitPlan) -> tuple[str, str]:
        """(dataset id, test set id): the same labels in the same splits are the same dataset.

        `ds-<hash>` of all that is trained and judged on, `test-<hash>` of the test split: two evaluations with the same
        test set id are comparable. The digests of a split's pictures are added, so that no order has a meaning.
        """
        sums = dict.fromkeys(SPLITS, 0)
        for image_id, newest in self._newest.items():
            split = plan.splits.get(image_id)
            if split is not None:
                sums[split] = (sums[split] + int.from_bytes(newest.digest)) % _DIGEST_RANGE
        return f"ds-{content_hash([*categories, *sums.values()])}", f"test-{content_hash([*categories, sums['test']])}"


class Tally:
    """What a dataset holds, counted while it is written.

    class_boxes: boxes of every category in each split, zeros included. unknown: boxes by name of what is no category
    (any more). sizes: boxes by the last of SIZE_EDGES that their side reaches. on_sides: boxes of each split by the
    longer side of their picture, in pixels. flights: pictures of each flight by split. jobs: whose labels are in it.
    empty: pictures without a box.
    """

    def __init__(self, categories: Sequence[str]) -> None:
        self.categories = tuple(categories)
        self.class_boxes = {split: Counter(dict.fromkeys(categories, 0)) for split in SPLITS}
        self.unknown: Counter[str] = Counter()
        self.sizes = [0] * len(SIZE_EDGES)
        self.on_sides: dict[Split, Counter[int]] = {split: Counter() for split in SPLITS}
        self.flights: dict[str, Counter[Split]] = defaultdict(Counter)
        self.jobs: set[str] = set()
        self.empty = 0
        self._images: Counter[Split] = Counter()
        self._boxes: Counter[Split] = Counter()
        self._shown: dict[tuple[Split, str], tuple[tuple[int, str], LabeledImage]] = {}

    def add(self, split: Split, image: LabeledImage) -> None:
        """Count a picture of a split."""
        self._images[split] += 1
        self._boxes[split] += len(image.boxes)
        self.flights[image.flight][split] += 1
        self.jobs.add(image.job_name)
        self.empty += not image.boxes
        if image.boxes:
            self.on_sides[split][max(image.width, image.height)] += len(image.boxes)
        for box in image.boxes:
            known = box.category in self.class_boxes[split]
            (self.class_boxes[split] if known else self.unknown)[box.category] += 1
            self.sizes[bisect_right(SIZE_EDGES, (box.width * box.height) ** 0.5) - 1] += 1
        self._offer(split, "most", (len(image.boxes), image.image_id), image)
        self._offer(split, "any", (0, hashlib.sha256(image.image_id.encode()).hexdigest()), image)

    def _offer(self, split: Split, place: str, rank: tuple[int, str], image: LabeledImage) -> None:
        shown = self._shown.get((split, place))
        if shown is None or rank > shown[0]:
            self._shown[split, place] = (rank, image)

    @property
    def counts(self) -> dict[Split, SplitCounts]:
        """Pictures and boxes in each split."""
        return {split: SplitCounts(images=self._images[split], boxes=self._boxes[split]) for split in SPLITS}

    @property
    def examples(self) -> list[tuple[Split, LabeledImage]]:
        """Of each split the picture with most boxes, and one that chance has chosen."""
        examples: list[tuple[Split, LabeledImage]] = []
        for split in SPLITS:
            for place in ("most", "any"):
                if (shown := self._shown.get((split, place))) and (split, shown[1]) not in examples:
                    examples.append((split, shown[1]))
        return examples


def dataset_line(image: LabeledImage, categories: Sequence[str]) -> bytes:
    """A picture and its boxes as the training image reads them: skyloop_container.dataset.Line. With the line end."""
    return json_line(
        {
            "image": image.key,
            "width": image.width,
            "height": image.height,
            "flight": image.flight,
            "boxes": [[categories.index(box.category), *box.place()] for box in image.boxes],
        }
    )


def _also(frame: Frame, other: Frame) -> Frame:
    """The frame, with the places of the other among its others."""
    places = {*frame.others, other.place, *other.others} - {frame.place}
    return replace(frame, others=tuple(sorted(places)))


def _digest(image: LabeledImage) -> bytes:
    content = [image.image_id, image.width, image.height, sorted([box.category, *box.place()] for box in image.boxes)]
    return hashlib.sha256(json.dumps(content).encode()).digest()
