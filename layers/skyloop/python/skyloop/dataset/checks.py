"""What is wrong, or looks wrong, with a dataset: findings with severities, for the person who drops the images."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from skyloop.dataset.dataset import SIZE_EDGES, Tally
from skyloop.dataset.splits import SplitPlan
from skyloop.documents import SPLITS, Finding, LabelCounts, Split
from skyloop.layout import LABEL_CATEGORIES, superseded_labels_key, unusable_labels

FEW_BOXES = 20
"""With fewer training boxes of a class a detector hardly learns it."""

IMBALANCE = 20
"""The most frequent class may have this many times the boxes of the rarest."""

TINY_SIDE = 8
"""Pixels (root of the area), one of SIZE_EDGES: a smaller box spans one cell of YOLO11's finest grid."""

TINY_SHARE = 0.2
EMPTY_SHARE = 0.8

LARGER = 1.5
"""Times the longer side of a picture: on one that is so much larger, a detector does not do as on this one."""

LARGER_SHARE = 0.1
"""Of the boxes to train on: more of them on pictures of a size that nothing is judged on are worth a word."""

_UNUSABLE = "labels-unusable"
_NOT_JUDGED = "picture-size-not-judged"
_LONGEST = 300
"""Characters of a reason; the line that is put aside has all of it."""


def check_dataset(
    tally: Tally,
    plan: SplitPlan,
    min_train_images: int,
    labeling_job: str | None = None,
    labels: LabelCounts | None = None,
    unusable: Mapping[str, int] = MappingProxyType({}),
) -> tuple[Finding, ...]:
    """All findings, errors first. An `error` forbids training: there is nothing to learn from, or nothing to test on.

    `labeling_job` is the job whose completion started the assembly: without a label of its own, nothing is new.
    `labels` is what it gave, `unusable` how many of its lines were put aside, by reason.
    """
    findings = [
        *_sizes(tally, min_train_images),
        *_news(tally, labeling_job),
        *_answers(labeling_job, labels),
        *_unusable(labeling_job, unusable),
        *_classes(tally),
        *_boxes(tally),
        *_picture_sizes(tally),
        *_splits(plan),
    ]
    order = {"error": 0, "warning": 1, "ok": 2}
    return tuple(sorted(findings, key=lambda finding: order[finding.severity]))


def notes_of(checks: tuple[Finding, ...]) -> tuple[str, ...]:
    """What people are told with whatever becomes of the dataset, since nothing else tells it."""
    return tuple(finding.message for finding in checks if finding.name in (_UNUSABLE, _NOT_JUDGED))


def blocking_findings(checks: tuple[Finding, ...]) -> list[Finding]:
    """The findings that forbid training."""
    return [finding for finding in checks if finding.severity == "error"]


def _sizes(tally: Tally, min_train_images: int) -> list[Finding]:
    findings = []
    train = tally.counts["train"].images
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
        counts = tally.counts[split]
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


def _news(tally: Tally, labeling_job: str | None) -> list[Finding]:
    if labeling_job is None or labeling_job in tally.jobs:
        return []
    message = (
        f"labeling job {labeling_job} brought no label that can be used: look under {unusable_labels(labeling_job)}"
    )
    return [Finding(name="nothing-new", severity="error", message=message)]


def _answers(labeling_job: str | None, labels: LabelCounts | None) -> list[Finding]:
    if labeling_job is None or labels is None or not labels.put_aside:
        return []
    message = (
        f"labeling job {labeling_job} answered pictures more than once: {labels.put_aside} answers do not count,"
        f" because another one of the same picture does; they are in {superseded_labels_key(labeling_job)}"
    )
    return [_warning("answered-more-than-once", message)]


def _unusable(labeling_job: str | None, reasons: Mapping[str, int]) -> list[Finding]:
    if labeling_job is None or not reasons:
        return []
    commonest, count = min(reasons.items(), key=lambda entry: (-entry[1], entry[0]))
    lines = sum(reasons.values())
    of_them = "" if len(reasons) == 1 else f" ({count} of them)"
    message = (
        f"labeling job {labeling_job} has {lines} {'line' if lines == 1 else 'lines'} that cannot be used, put aside"
        f" in {unusable_labels(labeling_job)}: {commonest[:_LONGEST]}{of_them}"
    )
    return [_warning(_UNUSABLE, message)]


def _classes(tally: Tally) -> list[Finding]:
    findings = []
    boxes = tally.class_boxes
    for name in tally.categories:
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
    for name, count in sorted(tally.unknown.items()):
        message = f"{count} boxes are labeled {name}, which is no category in {LABEL_CATEGORIES}: put it in again"
        findings.append(Finding(name="category-removed", severity="error", message=message))
    return findings


def _boxes(tally: Tally) -> list[Finding]:
    findings = []
    boxes, tiny = sum(tally.sizes), sum(tally.sizes[: SIZE_EDGES.index(TINY_SIDE)])
    if tiny > TINY_SHARE * boxes:
        findings.append(_warning("tiny-boxes", f"{tiny} of {boxes} boxes are smaller than {TINY_SIDE} pixels"))
    pictures = sum(counts.images for counts in tally.counts.values())
    if tally.empty > EMPTY_SHARE * pictures:
        findings.append(_warning("mostly-empty", f"{tally.empty} of {pictures} pictures show nothing"))
    return findings


def _picture_sizes(tally: Tally) -> list[Finding]:
    findings = []
    train = tally.on_sides["train"]
    judges: dict[Split, str] = {"validation": "how to look at pictures is not decided", "test": "nothing is judged"}
    for split, missing in judges.items():
        longest = max(tally.on_sides[split], default=0)
        larger = sum(boxes for side, boxes in train.items() if side > LARGER * longest)
        if longest and larger > LARGER_SHARE * train.total():
            message = (
                f"{larger} of {train.total()} boxes to train on are on pictures larger than any with a box in {split},"
                f" of {longest} pixels: {missing} on such; `skyloop drop` more flights of them"
            )
            findings.append(_warning(_NOT_JUDGED, message))
    return findings


def _splits(plan: SplitPlan) -> list[Finding]:
    findings = []
    if plan.guards:
        message = f"{len(plan.guards)} frames are left out, because they border on frames of another split"
        findings.append(Finding(name="guard-frames", severity="ok", message=message))
    if plan.moved:
        message = f"{len(plan.moved)} pictures are left out: labels name each in flights of different splits"
        findings.append(_warning("moved-pictures", message))
    for flight in plan.unordered:
        findings.append(
            _warning(
                "unordered-frames",
                f"flight {flight} is so large that it had to be split, and neither file names nor capture times say"
                " which of its frames are neighbors: scores may be too good",
            )
        )
    return findings


def _warning(name: str, message: str) -> Finding:
    return Finding(name=name, severity="warning", message=message)
