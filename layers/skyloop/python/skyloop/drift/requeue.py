"""Drifted images return to the head of the labeling queue: from captured requests to raw-images/."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from skyloop.aws.catalogue import Catalogue
from skyloop.aws.storage import ObjectMissing, Storage
from skyloop.documents import ScoredRequest
from skyloop.drift.window import captured
from skyloop.formats.capture import CaptureRecord, CaptureUnreadable
from skyloop.formats.pictures import media_type
from skyloop.layout import CORRELATION_METADATA, DRIFT_PRIORITY, PRIORITY_METADATA, RAW_IMAGES

MAX_IMAGES = 100  # images that one episode of drift puts in front of people
LEAST_SHARE = 0.25  # of the window, where fewer images than that are unusual each by itself

_SUFFIXES = {"image/jpeg": ".jpg", "image/png": ".png"}


@dataclass(frozen=True)
class RequeueResult:
    """`new` were written now, `known` lay there already, of `lost` neither body nor source could be found."""

    new: int
    known: int
    lost: int


def most_unusual(requests: Iterable[ScoredRequest], limit: int) -> list[ScoredRequest]:
    """Those to label first: the unusual ones, at least a quarter of all, at most `limit`; the most unusual first."""
    ranked = sorted(requests, key=lambda request: (-request.score, request.event_id))
    unusual = sum(request.score > 1 for request in ranked)
    return ranked[: min(limit, max(unusual, math.ceil(len(ranked) * LEAST_SHARE)))]


def requeue_images(
    storage: Storage, catalogue: Catalogue, requests: list[ScoredRequest], *, prefix: str, correlation_id: str
) -> RequeueResult:
    """Write the requests' images under `prefix` with metadata that puts them first. Repeating it writes nothing new."""
    sources: dict[str, dict[str, ScoredRequest]] = {}
    for request in requests:
        sources.setdefault(request.capture_key, {})[request.event_id] = request
    results = Counter(
        _put(storage, body, prefix, correlation_id)
        for capture_key, wanted in sources.items()
        for body in _bodies(storage, catalogue, capture_key, wanted)
    )
    return RequeueResult(results["new"], results["known"], results["lost"])


def _put(storage: Storage, body: bytes | None, prefix: str, correlation_id: str) -> Literal["new", "known", "lost"]:
    content_type = media_type(body) if body else None
    if body is None or content_type is None:
        return "lost"
    key = f"{prefix}{hashlib.sha256(body).hexdigest()[:16]}{_SUFFIXES[content_type]}"
    if storage.has(key):
        return "known"
    metadata = {PRIORITY_METADATA: DRIFT_PRIORITY, CORRELATION_METADATA: correlation_id}
    storage.write(key, body, content_type=content_type, metadata=metadata)
    return "new"


def _bodies(
    storage: Storage, catalogue: Catalogue, capture_key: str, wanted: dict[str, ScoredRequest]
) -> Iterator[bytes | None]:
    """The body of every wanted request of one capture file, None where it cannot be found; one in memory at a time."""
    left = dict(wanted)
    try:
        for record in captured(storage, capture_key):
            if isinstance(record, CaptureRecord) and record.event_id in left:
                yield _body(storage, catalogue, record, left.pop(record.event_id).inference_id)
    except ObjectMissing:
        pass  # the lifecycle rule has deleted it
    for request in left.values():
        yield _body(storage, catalogue, None, request.inference_id)


def _body(
    storage: Storage, catalogue: Catalogue, record: CaptureRecord | None, inference_id: str | None
) -> bytes | None:
    """The image as it was sent; where inputs are not captured, as the caller's InferenceId names it."""
    if record and record.input:
        try:
            return record.input.body()
        except CaptureUnreadable:
            pass
    key = _named_key(storage, catalogue, inference_id) if inference_id else None
    stored = storage.read_if_there(key) if key else None
    return stored.body if stored else None


def _named_key(storage: Storage, catalogue: Catalogue, inference_id: str) -> str | None:
    """The raw image an InferenceId means: an S3 URI or key under raw-images/, or an image id of the catalogue."""
    if inference_id.startswith("s3://"):
        try:
            inference_id = storage.key_of(inference_id)
        except ValueError:
            return None
    if inference_id.startswith(RAW_IMAGES):
        return inference_id
    if len(inference_id) == 64 and all(character in "0123456789abcdef" for character in inference_id):
        item = catalogue.get(inference_id)
        return item.key if item else None
    return None
