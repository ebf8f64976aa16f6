"""Find uploads without an entry, images of dead jobs, and quarantined files without an alert. Called by sweep.asl."""

from __future__ import annotations

from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext
from skyloop.aws.catalogue import Catalogue
from skyloop.aws.clients import client
from skyloop.aws.observability import logger, metrics, observed
from skyloop.aws.settings import Settings
from skyloop.aws.state import StateTable
from skyloop.aws.storage import Storage
from skyloop.documents import JsonObject, SweepRequest
from skyloop.sweep import Sweep


@observed
def handler(event: JsonObject, context: LambdaContext) -> JsonObject:
    """A SweepRequest in, a SweepResponse out. Repeating it changes nothing."""
    request, settings = SweepRequest.model_validate(event), Settings.from_environment()
    sweep = Sweep(
        Storage(client("s3"), settings.data_bucket),
        Catalogue(client("dynamodb"), settings.catalogue_table),
        StateTable(client("dynamodb"), settings.state_table),
        settings,
        queue=client("sqs"),
        sagemaker=client("sagemaker"),
        sns=client("sns"),
    )
    answer = sweep.sweep(request)
    metrics.add_metric("UploadsRequeued", MetricUnit.Count, answer.uploads_requeued)
    metrics.add_metric("ImagesRequeued", MetricUnit.Count, answer.images_requeued)
    metrics.add_metric("QuarantineAlerted", MetricUnit.Count, answer.files_alerted)
    logger.info("swept", **answer.plain())
    return answer.plain()
