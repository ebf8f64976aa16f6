"""Images that a labeling job holds although it is over, or never was."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from skyloop import layout
from skyloop.aws.catalogue import Catalogue
from skyloop.aws.state import StateTable
from skyloop.aws.storage import Storage
from skyloop.sweep.failures import Failures

if TYPE_CHECKING:
    from mypy_boto3_sagemaker import SageMakerClient

# What DescribeLabelingJob answers for a name that it does not know.
_UNKNOWN_JOB = {"ResourceNotFound", "ResourceNotFoundException"}
_DEAD_JOB = {"Failed", "Stopped"}
CLAIM_SECONDS = 6 * 3600
"""A completed job may hold images for so long after its end, or after the last record of its conversion.

A part is converted within minutes and leaves a record; the parts of a large job take hours.
"""


class Claims:
    """Joins the catalogue, the labeling jobs and what they have left in the bucket."""

    def __init__(
        self,
        storage: Storage,
        catalogue: Catalogue,
        state: StateTable,
        sagemaker: SageMakerClient,
        failures: Failures,
    ) -> None:
        self.storage = storage
        self.catalogue = catalogue
        self.state = state
        self.sagemaker = sagemaker
        self.failures = failures
        self.requeued = 0

    def requeue(self, now: datetime) -> None:
        """Requeue the images of jobs that are over; `requeued` counts them.

        Between its claims and CreateLabelingJob a selection's job does not exist yet. A selection holds the lock for
        that time, so the claims are read first and the lock is looked at after: without a holder, every job whose
        images were seen was created, or never will be.
        """
        held: dict[str, list[str]] = defaultdict(list)
        for image_id, job_name in self.catalogue.claims():
            held[job_name].append(image_id)
        lock = self.state.get(layout.LABELING_LOCK)
        selecting = lock is not None and float(lock.get("expires_at", 0)) > now.timestamp()
        for job_name, image_ids in held.items():
            with self.failures.kept():
                status, ended = self._job_status(job_name)
                over = status == "Completed" and self._silent(job_name, ended, now)
                if status in _DEAD_JOB or over or (status is None and not selecting):
                    self.requeued += self.catalogue.requeue_all(image_ids, job_name)

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
