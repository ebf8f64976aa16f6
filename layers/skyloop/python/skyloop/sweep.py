"""The sweep: find uploads and labeling jobs whose events never came, and send the alert of quarantined files, once.

Work that an event should have started is not lost, only late.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, get_args

from botocore.exceptions import ClientError

from skyloop import layout
from skyloop.aws.catalogue import COPY, Catalogue
from skyloop.aws.observability import logger
from skyloop.aws.settings import Settings
from skyloop.aws.state import StateTable
from skyloop.aws.storage import ObjectSummary, Storage
from skyloop.documents import ImageStatus, SweepRequest, SweepResponse
from skyloop.intake.quarantine_alert import alert_quarantined
from skyloop.intake.uploads import object_created

if TYPE_CHECKING:
    from mypy_boto3_sagemaker import SageMakerClient
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import SendMessageBatchRequestEntryTypeDef

QUEUE_BATCH = 10  # messages that a SendMessageBatch takes
BACKLOG_SECONDS = 7200
"""While messages wait, an upload may be among them. One that always fails is dead by then (5 times 12 minutes)."""

# What DescribeLabelingJob answers for a name that it does not know.
_UNKNOWN_JOB = {"ResourceNotFound", "ResourceNotFoundException"}
_DEAD_JOB = {"Failed", "Stopped"}
CLAIM_SECONDS = 6 * 3600
"""A completed job may hold images for so long after its end, or after the last record of its conversion.

A part is converted within minutes and leaves a record; the parts of a large job take hours.
"""


class Sweep:
    """Joins everything that may disagree: bucket, catalogue, state table, uploads queue and labeling jobs."""

    def __init__(
        self,
        storage: Storage,
        catalogue: Catalogue,
        state: StateTable,
        settings: Settings,
        *,
        queue: SQSClient,
        sagemaker: SageMakerClient,
        sns: SNSClient,
    ) -> None:
        self.storage = storage
        self.catalogue = catalogue
        self.state = state
        self.queue = queue
        self.sagemaker = sagemaker
        self.sns = sns
        self.settings = settings
        self._errors: list[Exception] = []

    def sweep(self, request: SweepRequest) -> SweepResponse:
        """Queue forgotten uploads again, requeue images whose labeling job is over, alert quarantined files.

        Whatever fails, the rest is done: what the next sweep meets again would keep it from the others for ever. The
        first error is raised at the end.
        """
        self._errors.clear()
        examined, uploads_requeued, images_requeued, alerted = 0, 0, 0, 0
        with self._going_on():
            examined, uploads_requeued = self._uploads(request.now)
        with self._going_on():
            images_requeued = self._labeling(request.now)
        with self._going_on():
            alerted = alert_quarantined(self.storage, self.catalogue, self.sns, self.settings, request.now)
        if self._errors:
            raise self._errors[0]
        return SweepResponse(
            uploads_requeued=uploads_requeued,
            images_requeued=images_requeued,
            uploads_examined=examined,
            files_alerted=alerted,
        )

    @contextmanager
    def _going_on(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            logger.exception("a part of the sweep failed; the others go on")
            self._errors.append(error)

    def _uploads(self, now: datetime) -> tuple[int, int]:
        """(objects looked at, uploads queued again).

        The listing comes before the catalogue: what is catalogued in between is then known, and not queued in vain.
        Uploads younger than the quiet period are left to their own events; while the queue is busy, those of the last
        hours are left to it.
        """
        patience = self.settings.labeling_quiet_seconds + (BACKLOG_SECONDS if self._busy() else 0)
        settled = now.timestamp() - patience
        # A million keys have no room as texts: digests of keys, each with that of the object's ETag.
        unknown: dict[int, int] = {}
        examined = 0
        for summary in self._objects():
            examined += 1
            if summary.modified <= settled:
                unknown[_digest(summary.key)] = _digest(summary.etag)
        for status in (*get_args(ImageStatus), COPY) if unknown else ():
            for key, etag in self.catalogue.known_objects(status):
                # One whose content was replaced without an event is as forgotten as one that nobody knows.
                if etag is None or unknown.get(_digest(key)) == _digest(etag):
                    unknown.pop(_digest(key), None)
        requeued = 0
        forgotten = (each for each in self._objects() if each.modified <= settled and _digest(each.key) in unknown)
        while unknown and (batch := list(islice(forgotten, QUEUE_BATCH))):
            requeued += len(batch)
            with self._going_on():
                self._queue_again(batch)
        return examined, requeued

    def _objects(self) -> Iterator[ObjectSummary]:
        listing = self.storage.listing(layout.RAW_IMAGES)
        return (summary for summary in listing if not layout.is_folder_marker(summary.key))

    def _busy(self) -> bool:
        """Does the uploads queue hold messages, waiting or being worked on?"""
        counts = self.queue.get_queue_attributes(
            QueueUrl=self.settings.uploads_queue_url,
            AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"],
        )["Attributes"]
        return any(int(count) for count in counts.values())

    def _queue_again(self, summaries: list[ObjectSummary]) -> None:
        entries: list[SendMessageBatchRequestEntryTypeDef] = [
            {
                "Id": str(number),
                # In ASCII: a key may have characters that SQS refuses, such as U+FFFF.
                "MessageBody": json.dumps(object_created(self.storage.bucket, summary.key, summary.size)),
            }
            for number, summary in enumerate(summaries)
        ]
        answer = self.queue.send_message_batch(QueueUrl=self.settings.uploads_queue_url, Entries=entries)
        if answer.get("Failed"):
            raise RuntimeError(f"the uploads queue refused {len(answer['Failed'])} messages: {answer['Failed'][0]}")

    def _labeling(self, now: datetime) -> int:
        """How many images were requeued.

        Between its claims and CreateLabelingJob a selection's job does not exist yet. A selection holds the lock for
        that time, so the claims are read first and the lock is looked at after: without a holder, every job whose
        images were seen was created, or never will be.
        """
        held: dict[str, list[str]] = defaultdict(list)
        for item in self.catalogue.by_status("LABELING"):
            if item.labeling_job:
                held[item.labeling_job].append(item.image_id)
        lock = self.state.get(layout.LABELING_LOCK)
        selecting = lock is not None and float(lock.get("expires_at", 0)) > now.timestamp()
        requeued = 0
        for job_name, image_ids in held.items():
            with self._going_on():
                status, ended = self._job_status(job_name)
                over = status == "Completed" and self._silent(job_name, ended, now)
                if status in _DEAD_JOB or over or (status is None and not selecting):
                    requeued += self.catalogue.requeue_all(image_ids, job_name)
        return requeued

    def _silent(self, job_name: str, ended: float, now: datetime) -> bool:
        """Is the job long over, and its conversion too? What still converts will come to the images that wait."""
        since = now.timestamp() - CLAIM_SECONDS
        records = self.storage.listing(layout.label_records(job_name))
        return ended < since and all(record.modified < since for record in records)

    def _job_status(self, job_name: str) -> tuple[str | None, float]:
        """The job's status, None where there is no such job, and when it last changed, in seconds since the epoch."""
        try:
            job = self.sagemaker.describe_labeling_job(LabelingJobName=job_name)
        except ClientError as error:
            if error.response["Error"]["Code"] in _UNKNOWN_JOB:
                return None, 0.0
            raise
        return job["LabelingJobStatus"], job["LastModifiedTime"].timestamp()


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest())
