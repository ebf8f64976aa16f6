"""Selecting images for a labeling job, and giving them back to the queue."""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime, Field

from skyloop.documents.base import Document, Request


class SelectRequest(Request):
    """Are there images to label? `force` takes whatever is pending, without waiting for a batch."""

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


class ReleaseRequest(Request):
    """Give the images of a job back to the queue: those it will not label, or those it has labeled wrongly."""

    job_name: str
    reason: str
    labeled: bool = Field(description="the images it has labeled: set its labels aside; else those it holds")


class ReleaseResponse(Document):
    released: int = Field(ge=0)
