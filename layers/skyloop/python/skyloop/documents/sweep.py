"""The sweep's request and response."""

from __future__ import annotations

from pydantic import AwareDatetime, Field

from skyloop.documents.base import Document, Request


class SweepRequest(Request):
    """What sweep.asl asks."""

    now: AwareDatetime


class SweepResponse(Document):
    """What was found and what was done about it."""

    uploads_requeued: int = Field(ge=0, description="uploads without an entry, put in the uploads queue again")
    images_requeued: int = Field(ge=0, description="images of dead labeling jobs, back in the labeling queue")
    uploads_examined: int = Field(ge=0, description="objects under raw-images/ that were looked at")
    files_alerted: int = Field(ge=0, description="quarantined files that an alert named for the first time")
