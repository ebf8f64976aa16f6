"""Alerts: what a state machine asks to be announced, and the one document that every subscriber and the archive get."""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime, Field

from skyloop.documents.base import Document, Request

Severity = Literal["info", "warning", "error"]
Event = Literal[
    "labeling-failed",
    "dataset-insufficient",
    "training-failed",
    "evaluation-failed",
    "gate-refused",
    "approval-needed",
    "deployed",
    "deployment-failed",
    "rolled-back",
    "rollback-failed",
    "endpoint-alarm",
    "drift",
    "drift-cleared",
    "images-quarantined",
    "sweep-found",
    "pipeline-failed",
]


class Alert(Document):
    """What happened, why, what was kept, and what to do next."""

    event: Event
    severity: Severity
    stage: str
    subject: str = Field(min_length=1, description="what it is about: a job, an endpoint, a flight")
    what: str
    why: str
    kept: str
    next_step: str
    correlation_id: str = ""
    links: dict[str, str] = Field(default_factory=dict, description="name -> URI of what to look at")
    at: AwareDatetime


class ServiceError(Request):
    """An error as Step Functions reports it: its name, and a cause that is a sentence or a service's JSON."""

    error: str = Field(alias="Error")
    cause: str = Field(default="", alias="Cause")


class PublishAlertRequest(Request):
    """What a state machine wants people to know."""

    event: Event
    severity: Severity
    subject: str = Field(min_length=1)
    what: str
    why: str | ServiceError = Field(description="a sentence, or the error as Step Functions caught it")
    kept: str
    next_step: str
    links: dict[str, str]
    correlation_id: str
    execution: str = Field(description="ARN; linked as `execution` unless the links name another one")
    at: AwareDatetime


class PublishAlertResponse(Document):
    """Under which id SNS took the alert, and the reason in words, for the state machine's own record."""

    message_id: str
    why: str
