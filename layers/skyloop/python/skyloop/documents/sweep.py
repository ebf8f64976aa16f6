"""What the sweep is asked and what it found."""

from __future__ import annotations

from pydantic import AwareDatetime, Field

from skyloop.documents.base import Document, Request


class SweepRequest(Request):
    now: AwareDatetime


class SweepResponse(Document):
    requeued: int = Field(ge=0)
    released: int = Field(ge=0)
    examined: int = Field(ge=0)
    quarantined: int = Field(ge=0, description="refused files that an alert told of, for the first time")
