"""Enter uploaded images into the catalogue. Triggered by the uploads queue, in batches with partial failures."""

from __future__ import annotations

import json
from typing import Any

from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext
from skyloop.aws.catalogue import Catalogue
from skyloop.aws.clients import client
from skyloop.aws.observability import logger, metrics, observed, tracer
from skyloop.aws.settings import Settings
from skyloop.aws.storage import Storage
from skyloop.documents import ImagesCatalogued
from skyloop.intake.entry import Intake, IntakeResult
from skyloop.intake.uploads import uploads_in


@observed
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """An SQS batch in; out, the messages to deliver again (`batchItemFailures`)."""
    settings = Settings.from_environment()
    catalogue = Catalogue(client("dynamodb"), settings.catalogue_table)
    intake = Intake(Storage(client("s3"), settings.data_bucket), catalogue)
    taken: list[IntakeResult] = []

    @tracer.capture_method(capture_response=False)
    def take(record: SQSRecord) -> None:
        try:
            results = [intake.take(upload) for upload in uploads_in(record.body)]
        except Exception:
            # The batch processor keeps it for a second try and says nothing; the reason would be lost.
            logger.exception("upload not taken", message_id=record.message_id, body=record.body)
            raise
        for result in results:
            logger.set_correlation_id(result.correlation_id)
            logger.info("upload taken", outcome=result.outcome, key=result.key, reason=result.reason)
            metrics.add_metric(f"Images{result.outcome.capitalize()}", MetricUnit.Count, 1)
            taken.append(result)

    processor = BatchProcessor(EventType.SQS, raise_on_entire_batch_failure=False)
    answer = process_partial_response(event, take, processor, context)
    announce([result for result in taken if result.outcome == "new"], settings)
    return dict(answer)


def announce(new: list[IntakeResult], settings: Settings) -> None:
    """Tell the event bus of new images. The entries are written: should this fail, the scheduled sweep finds them."""
    if not new:
        return
    detail = ImagesCatalogued(
        stack=settings.prefix,
        new=len(new),
        correlation_id=new[0].correlation_id or settings.prefix,
    )
    entry = {
        "Source": "skyloop",
        "DetailType": "Images Catalogued",
        "Detail": json.dumps(detail.plain()),
        "EventBusName": settings.label_event_bus,
    }
    refused = client("events").put_events(Entries=[entry])
    if refused["FailedEntryCount"]:
        logger.warning("the event bus took no event; the sweep will start labeling", answer=refused["Entries"])
