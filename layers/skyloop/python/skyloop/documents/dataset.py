"""From finished labels to a versioned dataset: conversion, assembly."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import AwareDatetime, Field

from skyloop.documents.base import Document, Request

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


class ConvertRequest(Request):
    """One of the equal parts of an output manifest's bytes; the lines that begin in it are meant."""

    job_name: str
    label_attribute_name: str
    correlation_id: str
    manifest_uri: str
    part: int = Field(ge=0, description="counted from 0")
    parts: int = Field(ge=1)


class ConvertResponse(Document):
    """What became of a batch of manifest lines."""

    converted: int = Field(ge=0, description="images that have labels now")
    boxes: int = Field(ge=0, description="on them: of each image the newest answer of this batch")
    put_aside: int = Field(ge=0, description="answers for which there is a newer one in this batch")
    quarantined: int = Field(ge=0, description="manifest lines that could not be used")
    unlabeled: int = Field(ge=0, description="manifest lines without an answer")
    record_key: str


class LabelCounts(Document):
    """What a labeling job gave, once all its lines are converted."""

    images: int = Field(ge=0, description="pictures with an answer that counts")
    boxes: int = Field(ge=0, description="on them")
    put_aside: int = Field(ge=0, description="answers that do not count, because another one of the same picture does")


class AssembleRequest(Request):
    """What retrain.asl asks when a labeling job's lines are converted."""

    labeling_job_name: str
    correlation_id: str
    now: AwareDatetime


class SplitCounts(Document):
    """How much one split holds."""

    images: int = Field(ge=0)
    boxes: int = Field(ge=0)


class AssembleResponse(Document):
    """With decision `insufficient` the reason says what is missing, and the dataset must not be trained on."""

    decision: Literal["train", "insufficient"]
    reason: str
    notes: tuple[str, ...] = Field(
        description="what alerts say besides: how many lines of labels were put aside, and why"
    )
    labels: LabelCounts = Field(description="of the labeling job whose completion started this")
    dataset_id: str
    dataset_uri: str
    train_manifest_uri: str
    validation_manifest_uri: str
    test_manifest_uri: str
    report_uri: str
    categories: tuple[str, ...]
    counts: dict[Split, SplitCounts]
    test_set_id: str


class Finding(Document):
    """One finding about a dataset. `error` means: do not train on it."""

    name: str
    severity: Literal["ok", "warning", "error"]
    message: str


class DatasetDocument(Document):
    """`processed-data/<dataset>/dataset.json`: an immutable dataset, complete enough to be audited."""

    dataset_id: str
    created_at: datetime
    labeling_job: str = Field(description="the job whose labels completed it")
    labeling_jobs: tuple[str, ...]
    correlation_id: str
    categories: tuple[str, ...]
    counts: dict[Split, SplitCounts]
    class_boxes: dict[Split, dict[str, int]]
    groups: dict[str, Split] = Field(description="which flight or block of frames lies in which split")
    guard_images: int = Field(ge=0, description="frames left out because they border on another split")
    moved_images: int = Field(0, ge=0, description="pictures left out because labels name them in different splits")
    test_set_id: str
    checks: tuple[Finding, ...]
