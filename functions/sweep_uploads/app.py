"""Find uploads without an entry, images of dead jobs, and quarantined files without an alert. Called by sweep.asl."""

from __future__ import annotations

from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext
from skyloop.aws.clients import client
from skyloop.aws.observability import logger, metrics, observed
from skyloop.aws.settings import Settings
from skyloop.documents import JsonObject, SweepRequest
from skyloop.sweep.sweep import Sweep


@observed
def handler(event: JsonObject, context: LambdaContext) -> JsonObject:
    """A SweepRequest in, a SweepResponse out. Repeating it changes nothing."""
    request, settings = SweepRequest.model_validate(event), Settings.from_environment()
    sweep = Sweep(
        settings,
        s3=client("s3"),
        dynamodb=client("dynamodb"),
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
