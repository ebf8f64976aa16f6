"""Selecting images for a labeling job, and requeueing them."""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime, Field

from skyloop.documents.base import Document, Request


class SelectRequest(Request):
    """Are there images to label? `force` takes all that are pending, without waiting for a full batch."""

    now: AwareDatetime
    force: bool = False


class SelectWait(Document):
    """Enough images wait, but uploads are still arriving: ask again in `wait_seconds`."""

    decision: Literal["wait"] = "wait"
    wait_seconds: int = Field(ge=1)
    reason: str


class SelectIdle(Document):
    """Nothing to label now."""

    decision: Literal["idle"] = "idle"
    reason: str


class SelectLabel(Document):
    """A batch was claimed and its input manifest written: the arguments of CreateLabelingJob."""

    decision: Literal["label"] = "label"
    job_name: str
    input_manifest_uri: str
    output_uri: str
    label_category_config_uri: str
    ui_template_uri: str
    label_attribute_name: str
    image_count: int = Field(ge=1)
    correlation_id: str
    task_title: str = Field(max_length=128)
    task_description: str = Field(max_length=255)


class RequeueRequest(Request):
    """Requeue the images of a job: those that it will not label, or those that it has labeled wrongly."""

    job_name: str
    reason: str
    labeled: bool = Field(description="true: exclude its labels and requeue their images; false: requeue the rest")


class RequeueResponse(Document):
    """How many images were requeued."""

    requeued: int = Field(ge=0)
