"""An image on its way into the catalogue: facts, entry, quarantine record, and the event for new images."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, BeforeValidator, Field

from skyloop.documents.base import Document

ImageStatus = Literal["PENDING", "LABELING", "LABELED", "QUARANTINED"]


MAX_REASON = 1000


def kept_reason(reason: str) -> str:
    """A reason as an entry keeps it: an item of DynamoDB has room for 400 kB, and a reason may quote what it is about.

    Half a surrogate pair, which JSON can name and UTF-8 cannot, becomes its escape.
    """
    text = reason.encode(errors="backslashreplace").decode()
    return text if len(text) <= MAX_REASON else text[: MAX_REASON - 1] + "…"


Reason = Annotated[str, BeforeValidator(kept_reason)]


class ImageFacts(Document):
    """What a file says about itself. Sizes in stored pixels, before the EXIF orientation is applied."""

    image_id: str = Field(description="SHA-256 of the file's bytes, hex")
    width: int = Field(ge=1)
    height: int = Field(ge=1)
    bytes: int = Field(ge=1)
    format: Literal["JPEG", "PNG"]
    orientation: int = Field(default=1, ge=1, le=8, description="EXIF tag 274; 1 = stored upright")
    captured_at: str | None = Field(default=None, description="ISO 8601; without offset when the camera gave none")
    latitude: float | None = Field(default=None, ge=-90, le=90, description="degrees, WGS 84, north positive")
    longitude: float | None = Field(default=None, ge=-180, le=180, description="degrees, WGS 84, east positive")


class CatalogueItem(Document):
    """One image in the CatalogueTable. A quarantined file that is not an image has only a key and a reason."""

    image_id: str = Field(description="SHA-256 of the content, or quarantine#<SHA-256 of the key>")
    status: ImageStatus
    queue_order: str = Field(description="<0 priority|1|2 alerted>#<ISO time catalogued>#<first 8 of image_id>")
    key: str
    flight: str
    correlation_id: str
    catalogued_at: AwareDatetime
    attempts: int = Field(default=0, ge=0, description="how often this image was requeued")
    unanswered: int = Field(default=0, ge=0, description="of those, after a job that completed without labeling it")
    width: int | None = None
    height: int | None = None
    bytes: int | None = None
    format: str | None = None
    orientation: int | None = None
    captured_at: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    labeling_job: str | None = None
    reason: Reason | None = None
    etag: str | None = Field(default=None, description="of the object under `key` from which the entry was made")
    replaced_at: AwareDatetime | None = Field(
        default=None, description="when its bytes were found under none of its keys; if they are dropped again it waits"
    )
    alerted_at: AwareDatetime | None = Field(default=None, description="when an alert named it as quarantined")
    duplicate_keys: frozenset[str] = Field(
        default=frozenset(), description="where the same content lies too, the first of them"
    )


class QuarantineRecord(Document):
    """Beside every file that could not be used: what it was and why (`quarantine/<original key>.reason.json`)."""

    key: str
    reason: Reason = Field(description="for a person")
    code: str = Field(description="for a program, e.g. not-an-image, truncated, too-many-pixels")
    size: int
    sha256: str | None = None
    correlation_id: str
    at: AwareDatetime


class ImagesCatalogued(Document):
    """Detail of the event `Images Catalogued` (source `skyloop`)."""

    stack: str = Field(description="<project>-<stage>; all stages of an account share its event bus")
    new: int = Field(ge=1)
    correlation_id: str
