"""What is wrong, or looks wrong, with a dataset: findings with severities, for the person who drops the images."""

from __future__ import annotations

from collections import defaultdict

from skyloop.dataset.dataset import Dataset
from skyloop.documents import SPLITS, Finding, LabeledImage, Split
from skyloop.layout import LABEL_CATEGORIES, UNUSABLE_LABELS

FEW_BOXES = 20
"""With fewer training boxes of a class a detector hardly learns it."""

IMBALANCE = 20
"""The most frequent class may have this many times the boxes of the rarest."""

TINY_SIDE = 8
"""Pixels (root of the area): a smaller box spans one cell of YOLO11's finest grid, whose stride is 8."""

TINY_SHARE = 0.2
EMPTY_SHARE = 0.8


def check_dataset(dataset: Dataset, min_train_images: int, labeling_job: str | None = None) -> tuple[Finding, ...]:
    """All findings, errors first. An `error` forbids training: there is nothing to learn from, or nothing to test on.

    `labeling_job` is the job whose completion started the assembly: without a label of its own, nothing is new.
    """
    findings = [
        *_sizes(dataset, min_train_images),
        *_news(dataset, labeling_job),
        *_classes(dataset),
        *_leaks(dataset),
        *_boxes(dataset),
        *_splits(dataset),
    ]
    order = {"error": 0, "warning": 1, "ok": 2}
    return tuple(sorted(findings, key=lambda finding: order[finding.severity]))


def blocking_findings(checks: tuple[Finding, ...]) -> list[Finding]:
    """The findings that forbid training."""
    return [finding for finding in checks if finding.severity == "error"]


def _sizes(dataset: Dataset, min_train_images: int) -> list[Finding]:
    findings = []
    train = len({picture.image_id for picture in dataset.pictures["train"]})
    enough = train >= min_train_images
    findings.append(
        Finding(
            name="enough-images",
            severity="ok" if enough else "error",
            message=f"{train} images to train on; at least {min_train_images} are required"
            + ("" if enough else ": `skyloop drop` more"),
        )
    )
    for split in SPLITS:
        counts = dataset.counts[split]
        if not counts.images:
            findings.append(
                Finding(
                    name=f"{split}-empty",
                    severity="error",
                    message=f"no image is left for {split}: `skyloop drop` another flight",
                )
            )
        elif not counts.boxes:
            findings.append(
                Finding(name=f"{split}-without-boxes", severity="error", message=f"no box on any {split} image")
            )
    return findings


def _news(dataset: Dataset, labeling_job: str | None) -> list[Finding]:
    if labeling_job is None or labeling_job in dataset.labeling_jobs:
        return []
    message = f"labeling job {labeling_job} brought no label that can be used: look under {UNUSABLE_LABELS}"
    return [Finding(name="nothing-new", severity="error", message=message)]


def _classes(dataset: Dataset) -> list[Finding]:
    findings = []
    boxes = dataset.class_boxes
    for name in dataset.categories:
        train, test = boxes["train"][name], boxes["test"][name]
        if test and not train:
            findings.append(_warning("class-not-trained", f"{name} is tested ({test} boxes) but never trained"))
        elif train and not test:
            findings.append(_warning("class-not-tested", f"{name} is trained ({train} boxes) but never tested"))
        if 0 < train < FEW_BOXES:
            findings.append(_warning("few-boxes", f"{name} has {train} boxes to train on; {FEW_BOXES} is little"))
        if not any(boxes[split][name] for split in SPLITS):
            findings.append(_warning("class-unused", f"{name} is a label category without a single box"))
    trained = {name: count for name, count in boxes["train"].items() if count}
    if trained and max(trained.values()) > IMBALANCE * min(trained.values()):
        most, least = max(trained, key=lambda n: trained[n]), min(trained, key=lambda n: trained[n])
        findings.append(
            _warning("imbalance", f"{most} has {trained[most]} boxes to train on, {least} only {trained[least]}")
        )
    wrong = sorted(
        {
            box.category
            for picture in _all(dataset)
            for box in picture.boxes
            if dataset.categories[box.class_id : box.class_id + 1] != (box.category,)
        }
    )
    if wrong:
        message = f"{LABEL_CATEGORIES} was reordered: {', '.join(wrong)} had another position when labels were written"
        findings.append(Finding(name="categories-reordered", severity="error", message=message))
    return findings


def _leaks(dataset: Dataset) -> list[Finding]:
    """The plan allows no leak; this looks at the result, not at the plan."""
    where: dict[str, set[Split]] = defaultdict(set)
    for split, pictures in dataset.pictures.items():
        for picture in pictures:
            where[picture.image_id].add(split)
    shared = sum(len(splits) > 1 for splits in where.values())
    message = f"{shared} images lie in more than one split" if shared else "no image lies in two splits"
    return [Finding(name="no-duplicates", severity="error" if shared else "ok", message=message)]


def _boxes(dataset: Dataset) -> list[Finding]:
    findings = []
    pictures = list(_all(dataset))
    sides = [(box.width * box.height) ** 0.5 for picture in pictures for box in picture.boxes]
    tiny = sum(side < TINY_SIDE for side in sides)
    if sides and tiny > TINY_SHARE * len(sides):
        findings.append(_warning("tiny-boxes", f"{tiny} of {len(sides)} boxes are smaller than {TINY_SIDE} pixels"))
    empty = sum(not picture.boxes for picture in pictures)
    if pictures and empty > EMPTY_SHARE * len(pictures):
        findings.append(_warning("mostly-empty", f"{empty} of {len(pictures)} pictures show nothing"))
    return findings


def _splits(dataset: Dataset) -> list[Finding]:
    findings = []
    plan = dataset.plan
    if plan.guards:
        message = f"{len(plan.guards)} frames are left out, because they border on frames of another split"
        findings.append(Finding(name="guard-frames", severity="ok", message=message))
    for flight in plan.unordered:
        findings.append(
            _warning(
                "unordered-frames",
                f"flight {flight} is so large that it had to be split, and neither file names nor capture times say"
                " which of its frames are neighbors: scores may be too good",
            )
        )
    return findings


def _all(dataset: Dataset) -> list[LabeledImage]:
    return [picture for split in SPLITS for picture in dataset.pictures[split]]


def _warning(name: str, message: str) -> Finding:
    return Finding(name=name, severity="warning", message=message)
