"""Rules for S3 keys: what lies where, and what a key a user chose may and may not do to us."""

from __future__ import annotations

import hashlib
import re
from urllib.parse import unquote_plus

RAW_IMAGES = "raw-images/"
QUARANTINE = "quarantine/"
LABELING_JOBS = "ground-truth-jobs/"
LABELED_DATA = "labeled-data/"
PROCESSED_DATA = "processed-data/"
LABEL_CATEGORIES = LABELING_JOBS + "label-categories.json"

NO_FLIGHT = "unsorted"
"""The flight of images dropped directly under raw-images/."""

MAX_KEY_BYTES = 1024  # S3's limit, in UTF-8
REASON_SUFFIX = ".reason.json"

# What SageMaker takes as a tag value, less the characters that are not ASCII (models/tag: [\p{L}\p{Z}\p{N}_.:/=+\-@]*).
_NOT_IN_CORRELATION_ID = re.compile(r"[^A-Za-z0-9_.:/=+@-]")
MAX_CORRELATION_ID = 128


def notification_key(encoded: str) -> str:
    """The real key of a classic S3 notification, which is form-encoded (`a+b` means `a b`, `%2B` means `+`).

    EventBridge events carry the key raw: decoding those would turn `a+b.jpg` into `a b.jpg`.
    """
    return unquote_plus(encoded)


def is_folder_marker(key: str) -> bool:
    """Consoles create empty objects whose key ends with `/` to show a folder: nobody's image."""
    return key.endswith("/")


def unsafe_segments(key: str) -> list[str]:
    """The path segments `.` and `..` of a key.

    S3 takes them literally, but HTTP clients resolve them on the way, so such an object cannot be read reliably; and
    whatever copies it into a file tree might write outside that tree.
    """
    return [segment for segment in key.split("/") if segment in {".", ".."}]


def flight_of(key: str) -> str:
    """The flight of a raw image: the first non-empty path segment after `raw-images/`, or `unsorted` without one.

    Raises ValueError for keys outside `raw-images/`.
    """
    if not key.startswith(RAW_IMAGES):
        raise ValueError(f"{key!r} is not under {RAW_IMAGES}")
    segments = [segment for segment in key.removeprefix(RAW_IMAGES).split("/") if segment]
    return segments[0] if len(segments) > 1 else NO_FLIGHT


def set_aside_key(job_name: str) -> str:
    """Where it is written that a labeling job's labels no longer count."""
    return f"{LABELED_DATA}{job_name}/set-aside.json"


def quarantine_key(key: str) -> str:
    """Where the copy of a refused file goes: `quarantine/<key>`.

    Segments `.` and `..` are percent-encoded, so that the copy can be read back; where the result, or its reason
    record beside it, would be longer than S3 allows, the key's hash stands in for it.
    """
    safe = "/".join(segment.replace(".", "%2E") if segment in {".", ".."} else segment for segment in key.split("/"))
    target = QUARANTINE + safe
    if len((target + REASON_SUFFIX).encode()) > MAX_KEY_BYTES:
        return QUARANTINE + key_hash(key)
    return target


def reason_key(key: str) -> str:
    """Where the QuarantineRecord of a refused file goes."""
    return quarantine_key(key) + REASON_SUFFIX


def key_hash(key: str) -> str:
    """SHA-256 of the key's UTF-8, hex."""
    return hashlib.sha256(key.encode()).hexdigest()


def quarantine_id(key: str) -> str:
    """The catalogue id of a refused file, which has no content worth hashing."""
    return f"quarantine#{key_hash(key)}"


def correlation_id_of(text: str) -> str:
    """`text` as a correlation id: ASCII that every service takes as a tag value, at most 128 characters.

    What has to be replaced or cut is told apart by a hash, so two flights never share an id by accident.
    """
    cleaned = _NOT_IN_CORRELATION_ID.sub("-", text)
    if cleaned == text and 0 < len(text) <= MAX_CORRELATION_ID:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return f"{cleaned[: MAX_CORRELATION_ID - 9]}-{digest}".lstrip("-")
