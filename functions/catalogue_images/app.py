"""Enter uploaded images into the catalogue. Triggered by the uploads queue, in batches with partial failures."""

from __future__ import annotations

from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext
from skyloop.aws.catalogue import Catalogue
from skyloop.aws.clients import client
from skyloop.aws.events import EventRefused
from skyloop.aws.observability import logger, metrics, observed, tracer
from skyloop.aws.settings import Settings
from skyloop.aws.storage import Storage
from skyloop.documents import JsonObject
from skyloop.intake.announcement import announce_images
from skyloop.intake.intake import Intake, IntakeResult
from skyloop.intake.uploads import uploads_in


@observed
def handler(event: JsonObject, context: LambdaContext) -> JsonObject:
    """An SQS batch in; out, the messages to deliver again (`batchItemFailures`)."""
    settings = Settings.from_environment()
    intake = Intake(
        Storage(client("s3"), settings.data_bucket), Catalogue(client("dynamodb"), settings.catalogue_table)
    )
    taken: list[IntakeResult] = []

    @tracer.capture_method(capture_response=False)
    def take(record: SQSRecord) -> None:
        try:
            uploads = uploads_in(record.body)
        except ValueError as error:
            # It would come back four times, and hold up the sweep's look at what else is missing meanwhile.
            key = intake.put_aside(record.body, str(error))
            logger.error("a message names no upload", message_id=record.message_id, reason=str(error), key=key)
            metrics.add_metric("MessagesUnreadable", MetricUnit.Count, 1)
            return
        try:
            results = [intake.take(upload) for upload in uploads]
        except Exception:
            # The batch processor keeps it for a second try and says nothing; the reason would be lost.
            logger.exception("upload not taken", message_id=record.message_id, body=record.body)
            raise
        for result in results:
            logger.set_correlation_id(result.correlation_id)
            logger.info("upload taken", outcome=result.outcome, key=result.key, reason=result.reason)
            metrics.add_metric(f"Images{result.outcome.capitalize()}", MetricUnit.Count, 1)
        taken.extend(results)

    processor = BatchProcessor(EventType.SQS, raise_on_entire_batch_failure=False)
    answer = process_partial_response(event, take, processor, context)
    try:
        announce_images(client("events"), taken, settings)
    except EventRefused as refusal:
        logger.warning("the event bus took no event; the sweep will start labeling", reason=str(refusal))
    return dict(answer)
