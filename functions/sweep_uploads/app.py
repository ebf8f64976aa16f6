"""Find uploads without an entry, images held by jobs that are gone, and refusals not yet told. Called by sweep.asl."""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext
from skyloop.catalogue import Catalogue
from skyloop.clients import client
from skyloop.documents import SweepRequest
from skyloop.observability import logger, metrics, observed
from skyloop.settings import Settings
from skyloop.state import StateTable
from skyloop.storage import Storage
from skyloop.sweep import Sweep


@observed
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """A SweepRequest in, a SweepAnswer out. Repeating it is harmless: what is known or told already changes nothing."""
    request, settings = SweepRequest.model_validate(event), Settings.from_environment()
    sweep = Sweep(
        Storage(client("s3"), settings.data_bucket),
        Catalogue(client("dynamodb"), settings.catalogue_table),
        StateTable(client("dynamodb"), settings.state_table),
        client("sqs"),
        client("sagemaker"),
        client("sns"),
        settings,
    )
    answer = sweep.sweep(request)
    metrics.add_metric("UploadsRequeued", MetricUnit.Count, answer.requeued)
    metrics.add_metric("ImagesReleased", MetricUnit.Count, answer.released)
    metrics.add_metric("QuarantineTold", MetricUnit.Count, answer.quarantined)
    logger.info("swept", **answer.plain())
    return answer.plain()
