"""A versioned dataset: of every image its newest labels, split without leaks, named by its content."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from skyloop.aws.storage import s3_uri
from skyloop.dataset.splits import Frame, SplitPlan
from skyloop.documents import SPLITS, LabeledImage, Split, SplitCounts
from skyloop.layout import LABELED_DATA, content_hash


@dataclass(frozen=True)
class Dataset:
    """Pictures (images or slices) by split, in name order; a box's class id is a position in `categories`."""

    categories: tuple[str, ...]
    pictures: Mapping[Split, tuple[LabeledImage, ...]]
    plan: SplitPlan

    @cached_property
    def dataset_id(self) -> str:
        """`ds-<hash>` of what is trained on: the same labels in the same splits are the same dataset."""
        content = {split: [_content(picture) for picture in self.pictures[split]] for split in SPLITS}
        return f"ds-{content_hash([self.categories, content])}"

    @cached_property
    def test_set_id(self) -> str:
        """`test-<hash>` of the test split: two evaluations with the same id are comparable."""
        return f"test-{content_hash([self.categories, [_content(picture) for picture in self.pictures['test']]])}"

    @cached_property
    def counts(self) -> dict[Split, SplitCounts]:
        """Pictures and boxes in each split."""
        return {
            split: SplitCounts(images=len(pictures), boxes=sum(len(picture.boxes) for picture in pictures))
            for split, pictures in self.pictures.items()
        }

    @cached_property
    def class_boxes(self) -> dict[Split, dict[str, int]]:
        """Boxes of every category, zeros included, in each split."""
        answer: dict[Split, dict[str, int]] = {}
        for split, pictures in self.pictures.items():
            found = Counter(box.category for picture in pictures for box in picture.boxes)
            answer[split] = {category: found[category] for category in self.categories}
        return answer

    @cached_property
    def labeling_jobs(self) -> tuple[str, ...]:
        """The jobs whose labels are in it."""
        return tuple(sorted({picture.job_name for pictures in self.pictures.values() for picture in pictures}))


def newest_labels(pictures: Iterable[LabeledImage]) -> list[LabeledImage]:
    """Of every image, the pictures of its newest labeling job: all slices of that job, none of an older one."""
    winners: dict[str, tuple[str, str]] = {}
    pictures = list(pictures)
    for picture in pictures:
        label = (picture.labeled_at, picture.job_name)
        winners[picture.image_id] = max(label, winners.get(picture.image_id, label))
    # A batch that was converted twice has left two records of the same pictures.
    kept = {
        picture.name: picture
        for picture in pictures
        if (picture.labeled_at, picture.job_name) == winners[picture.image_id]
    }
    return [kept[name] for name in sorted(kept)]


def frames_of(pictures: Iterable[LabeledImage]) -> list[Frame]:
    """The images behind the pictures, as splits see them: the slices of one image are one frame."""
    frames = {
        picture.image_id: Frame(picture.image_id, picture.flight, picture.source_key, picture.captured_at)
        for picture in pictures
    }
    return list(frames.values())


def build_dataset(pictures: Iterable[LabeledImage], plan: SplitPlan, categories: Sequence[str]) -> Dataset:
    """Sort pictures into the plan's splits; guard frames are left out."""
    sorted_in: dict[Split, list[LabeledImage]] = {split: [] for split in SPLITS}
    for picture in pictures:
        split = plan.splits.get(picture.image_id)
        if split is not None:
            sorted_in[split].append(picture)
    in_order = {split: tuple(sorted(members, key=lambda p: p.name)) for split, members in sorted_in.items()}
    return Dataset(tuple(categories), in_order, plan)


def dataset_manifest(bucket: str, pictures: Iterable[LabeledImage]) -> list[object]:
    """A SageMaker ManifestFile: a prefix, then every picture and its label file relative to it.

    docs.aws.amazon.com/sagemaker/latest/APIReference/API_S3DataSource.html
    """
    lines: list[object] = [{"prefix": s3_uri(bucket, LABELED_DATA)}]
    for picture in pictures:
        lines += [picture.image_key.removeprefix(LABELED_DATA), picture.label_key.removeprefix(LABELED_DATA)]
    return lines


def _content(picture: LabeledImage) -> list[object]:
    boxes = [[box.class_id, box.left, box.top, box.width, box.height] for box in picture.boxes]
    return [picture.name, picture.width, picture.height, sorted(boxes)]
