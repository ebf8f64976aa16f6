"""The sweep: find uploads and labeling jobs whose events never came, and send the alert of quarantined files, once.

Work that an event should have started is not lost, only late.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from skyloop.aws.catalogue import Catalogue
from skyloop.aws.objects import KnownObjects
from skyloop.aws.settings import Settings
from skyloop.aws.state import StateTable
from skyloop.aws.storage import Storage
from skyloop.documents import SweepRequest, SweepResponse
from skyloop.intake.quarantine_alert import alert_quarantined
from skyloop.sweep.claims import Claims
from skyloop.sweep.failures import Failures
from skyloop.sweep.uploads import ForgottenUploads

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sagemaker import SageMakerClient
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_sqs import SQSClient


class Sweep:
    """Joins everything that may disagree: bucket, catalogue, state table, uploads queue and labeling jobs."""

    def __init__(
        self,
        settings: Settings,
        *,
        s3: S3Client,
        dynamodb: DynamoDBClient,
        queue: SQSClient,
        sagemaker: SageMakerClient,
        sns: SNSClient,
    ) -> None:
        self.storage = Storage(s3, settings.data_bucket)
        self.catalogue = Catalogue(dynamodb, settings.catalogue_table)
        self.state = StateTable(dynamodb, settings.state_table)
        self.known = KnownObjects(dynamodb, settings.catalogue_table)
        self.queue = queue
        self.sagemaker = sagemaker
        self.sns = sns
        self.settings = settings

    def sweep(self, request: SweepRequest) -> SweepResponse:
        """Queue forgotten uploads again, requeue images whose labeling job is over, alert quarantined files.

        Whatever fails, the rest is done: what the next sweep meets again would keep it from the others for ever. The
        first error is raised at the end.
        """
        failures, alerted = Failures(), 0
        uploads = ForgottenUploads(self.storage, self.known, self.state, self.queue, self.settings, failures)
        claims = Claims(self.storage, self.catalogue, self.state, self.sagemaker, failures)
        with failures.kept():
            uploads.queue_again(request.now)
        with failures.kept():
            claims.requeue(request.now)
        with failures.kept():
            alerted = alert_quarantined(self.storage, self.catalogue, self.sns, self.settings, request.now)
        failures.tell()
        return SweepResponse(
            uploads_requeued=uploads.requeued,
            images_requeued=claims.requeued,
            uploads_examined=uploads.examined,
            files_alerted=alerted,
        )
