"""An uploaded object becomes a catalogue entry, or a quarantined file with its reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from skyloop import layout
from skyloop.aws.catalogue import Catalogue
from skyloop.aws.storage import MAX_COPY_BYTES, ObjectMissing, ObjectTooLarge, Storage, StoredObject
from skyloop.documents import CatalogueItem, ImageFacts, QuarantineRecord
from skyloop.formats.images import check_image
from skyloop.formats.pictures import MAX_BYTES, ImageRefused, too_large
from skyloop.intake.uploads import Upload

Outcome = Literal["new", "known", "duplicate", "quarantined", "missing", "ignored"]


@dataclass(frozen=True)
class IntakeResult:
    """What became of one upload."""

    outcome: Outcome
    key: str
    correlation_id: str | None = None
    reason: str | None = None


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Intake:
    """Joins the bucket and the catalogue. `clock` gives the time written into new entries."""

    def __init__(self, storage: Storage, catalogue: Catalogue, clock: Callable[[], datetime] = _utc_now) -> None:
        self.storage = storage
        self.catalogue = catalogue
        self.clock = clock

    def put_aside(self, body: str, reason: str) -> str:
        """Keep a message that names no upload, with the reason; returns the key. It will never name one."""
        key = f"{layout.UNUSABLE_MESSAGES}{layout.content_hash(body)}.json"
        self.storage.write_json(key, {"reason": reason, "message": body})
        return key

    def take(self, upload: Upload) -> IntakeResult:
        """Catalogue one upload. Taking it again, or at the same time elsewhere, changes nothing."""
        key = upload.key
        if (
            upload.bucket != self.storage.bucket
            or not key.startswith(layout.RAW_IMAGES)
            or layout.is_folder_marker(key)
        ):
            return IntakeResult("ignored", key, reason="not an image of this stack")
        unsafe = layout.unsafe_segments(key)
        if unsafe:
            refusal = ImageRefused("unsafe-key", f"its key has the path segment {unsafe[0]!r}; rename the file")
            return self._quarantine(key, refusal, size=0)
        try:
            stored = self.storage.read(key, at_most=MAX_BYTES)
        except ObjectMissing:
            return IntakeResult("missing", key, reason="it was deleted before it could be read")
        except ObjectTooLarge as error:
            return self._quarantine(key, too_large(error.size), size=error.size)
        try:
            facts = check_image(stored.body)
        except ImageRefused as refusal:
            return self._quarantine(key, refusal, size=len(stored.body), stored=stored)
        return self._enter(stored, facts)

    def _enter(self, stored: StoredObject, facts: ImageFacts) -> IntakeResult:
        now, correlation_id = self.clock(), _correlation_id(stored.key, stored.metadata)
        priority = stored.metadata.get(layout.PRIORITY_METADATA) == layout.DRIFT_PRIORITY
        item = CatalogueItem(
            **facts.plain(),
            status="PENDING",
            queue_order=layout.queue_order(priority, now, facts.image_id),
            key=stored.key,
            flight=layout.flight_of(stored.key),
            correlation_id=correlation_id,
            catalogued_at=now,
            etag=stored.etag,
        )
        # A good file under the key of a refused one replaces it.
        self.catalogue.delete(layout.quarantine_id(stored.key))
        if self.catalogue.add(item) or self.catalogue.take_up(item):
            return IntakeResult("new", stored.key, correlation_id)
        if self.catalogue.add_duplicate_key(facts.image_id, stored.key, stored.etag):
            return IntakeResult(
                "duplicate", stored.key, correlation_id, reason="this picture is catalogued under another key"
            )
        self.catalogue.note_etag(facts.image_id, stored.key, stored.etag)
        return IntakeResult("known", stored.key, correlation_id)

    def _quarantine(
        self, key: str, refusal: ImageRefused, *, size: int, stored: StoredObject | None = None
    ) -> IntakeResult:
        """Keep a copy, the reason beside it and a catalogue entry, in this order: an entry means that all is there."""
        now, correlation_id = self.clock(), _correlation_id(key, stored.metadata if stored else {})
        if size <= MAX_COPY_BYTES:  # a larger file cannot be copied at once: the reason refers to it where it is
            try:
                self.storage.copy(key, layout.quarantine_key(key))
            except ObjectMissing:
                return IntakeResult("missing", key, reason="it was deleted before it could be quarantined")
        image_id = layout.quarantine_id(key)
        record = QuarantineRecord(
            key=key, reason=refusal.reason, code=refusal.code, size=size, correlation_id=correlation_id, at=now
        )
        self.storage.write_json(layout.reason_key(key), record.plain())
        item = CatalogueItem(
            image_id=image_id,
            status="QUARANTINED",
            queue_order=layout.queue_order(False, now, image_id),
            key=key,
            flight=layout.flight_of(key),
            correlation_id=correlation_id,
            catalogued_at=now,
            bytes=size,
            reason=refusal.reason,
            etag=stored.etag if stored else None,
        )
        first_time = self.catalogue.add_refused(item)
        return IntakeResult("quarantined" if first_time else "known", key, correlation_id, reason=refusal.reason)


def _correlation_id(key: str, metadata: dict[str, str]) -> str:
    """The upload's own, if its metadata has one; else the flight."""
    return layout.correlation_id_of(metadata.get(layout.CORRELATION_METADATA) or layout.flight_of(key))
