"""Uploads whose events never came: objects without an entry, or with other bytes than their entry was made of.

docs/decisions/0008-the-sweeps-tour.md says what is looked at when, and what it costs.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from skyloop import layout
from skyloop.aws.objects import STATUSES, KnownObjects
from skyloop.aws.observability import logger
from skyloop.aws.settings import Settings
from skyloop.aws.state import StateTable
from skyloop.aws.storage import ObjectSummary, Storage
from skyloop.intake.uploads import object_created
from skyloop.sweep.failures import Failures
from skyloop.sweep.tour import PAGES, Tour

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import SendMessageBatchRequestEntryTypeDef

QUEUE_BATCH = 10  # messages that a SendMessageBatch takes
BACKLOG_SECONDS = 7200
"""While messages wait, an upload may be among them. One that always fails is dead by then (5 times 12 minutes)."""

NEW_SECONDS = 6 * 3600
"""For so long a folder counts as new after its last image was catalogued: BACKLOG_SECONDS and some sweeps."""

NEW_PAGES = 20
"""Pages of new folders that a sweep looks at beside the tour, at most."""


class Seen(NamedTuple):
    """What was looked at: how many pages, up to which key, and whether that is the end."""

    pages: int
    after: str
    is_last: bool


class ForgottenUploads:
    """One sweep's search. `examined` and `requeued` count objects."""

    def __init__(
        self,
        storage: Storage,
        known: KnownObjects,
        state: StateTable,
        queue: SQSClient,
        settings: Settings,
        failures: Failures,
    ) -> None:
        self.storage = storage
        self.known = known
        self.state = state
        self.queue = queue
        self.settings = settings
        self.failures = failures
        self.examined = 0
        self.requeued = 0
        self._queued: set[str] = set()
        self._settled = 0.0

    def queue_again(self, now: datetime) -> None:
        """Go on with the tour; where that was not the whole bucket, look at the newest folders too.

        Uploads younger than the quiet period are left to their own events; while the queue is busy, those of the last
        hours are left to it.
        """
        self._settled = (
            now.timestamp() - self.settings.labeling_quiet_seconds - (BACKLOG_SECONDS if self._busy() else 0)
        )
        seen_all = False
        with self.failures.kept():
            seen_all = self._go_on(now)
        if not seen_all:
            with self.failures.kept():
                self._look_at_new_folders()

    def _go_on(self, now: datetime) -> bool:
        """Look at what is due of the tour; whether that was the whole bucket.

        The tour is written after each PAGES: whatever ends the function, no more than that is looked at again, and
        nothing is passed that was not looked at.
        """
        kept = self.state.get(layout.SWEEP_TOUR)
        tour = (Tour.model_validate(kept) if kept else Tour(began=now)).starting(now)
        from_the_beginning, due = not tour.after, tour.due(now)
        while due > 0:
            errors = len(self.failures.errors)
            seen = self._look_at(layout.RAW_IMAGES, min(due, PAGES), after=tour.after)
            due -= seen.pages
            moved = tour.moved(
                seen.after, seen.pages, is_last=seen.is_last, failed=len(self.failures.errors) > errors
            ).model_copy(update={"step": tour.step + 1})
            if not self.state.put_if(layout.SWEEP_TOUR, moved.plain(), attribute="step", equals=tour.step or None):
                logger.info("another sweep goes on with the tour")
                return False
            if seen.is_last or moved.failed:
                return seen.is_last and from_the_beginning
            tour = moved
        return False

    def _look_at_new_folders(self) -> None:
        since = datetime.fromtimestamp(self._settled, UTC) - timedelta(seconds=NEW_SECONDS)
        left = NEW_PAGES
        for folder in self.known.newest_folders(since):
            # Everything lies under raw-images/: what was dropped there directly is left to the tour.
            if left > 0 and folder != layout.RAW_IMAGES:
                left -= self._look_at(folder, left).pages

    def _look_at(self, prefix: str, most: int, after: str = "") -> Seen:
        """Look at `most` pages of what is under `prefix` after a key, and queue what is forgotten."""
        pages, is_last = 0, False
        for page in islice(self.storage.pages(prefix, after), most):
            pages, is_last = pages + 1, page.is_last
            after = page.objects[-1].key if page.objects else after
            with self.failures.kept():
                # The listing comes before the catalogue: what is catalogued in between is then known.
                forgotten = self._forgotten(page.objects)
                for first in range(0, len(forgotten), QUEUE_BATCH):
                    with self.failures.kept():
                        self._send(forgotten[first : first + QUEUE_BATCH])
        return Seen(pages, after, is_last)

    def _forgotten(self, objects: Sequence[ObjectSummary]) -> list[ObjectSummary]:
        uploads = [each for each in objects if not layout.is_folder_marker(each.key)]
        self.examined += len(uploads)
        unknown = {
            each.key: each for each in uploads if each.modified <= self._settled and each.key not in self._queued
        }
        # Twice: an image whose status changes between two looks may be in neither of them.
        for status in (*STATUSES, *STATUSES):
            for key, etag in self.known.of(status, sorted(unknown)) if unknown else ():
                # One whose content was replaced without an event is as forgotten as one that nobody knows.
                if key in unknown and etag in (None, unknown[key].etag):
                    del unknown[key]
        return list(unknown.values())

    def _busy(self) -> bool:
        """Does the uploads queue hold messages, waiting or being worked on?"""
        counts = self.queue.get_queue_attributes(
            QueueUrl=self.settings.uploads_queue_url,
            AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"],
        )["Attributes"]
        return any(int(count) for count in counts.values())

    def _send(self, summaries: Sequence[ObjectSummary]) -> None:
        entries: list[SendMessageBatchRequestEntryTypeDef] = [
            {
                "Id": str(number),
                # In ASCII: a key may have characters that SQS refuses, such as U+FFFF.
                "MessageBody": json.dumps(object_created(self.storage.bucket, summary.key, summary.size)),
            }
            for number, summary in enumerate(summaries)
        ]
        answer = self.queue.send_message_batch(QueueUrl=self.settings.uploads_queue_url, Entries=entries)
        refused = answer.get("Failed", [])
        self.requeued += len(summaries) - len(refused)
        self._queued |= {summary.key for summary in summaries}
        if refused:
            raise RuntimeError(f"the uploads queue refused {len(refused)} messages: {refused[0]}")
