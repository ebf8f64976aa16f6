"""Make a versioned dataset of everything labeled so far. Called by retrain.asl when all batches are converted."""

from __future__ import annotations

from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext
from skyloop.aws.catalogue import Catalogue
from skyloop.aws.clients import client
from skyloop.aws.observability import logger, metrics, observed
from skyloop.aws.settings import Settings
from skyloop.aws.state import StateTable
from skyloop.aws.storage import Storage
from skyloop.dataset.assembly import Assembly
from skyloop.documents import AssembleRequest, JsonObject


@observed
def handler(event: JsonObject, context: LambdaContext) -> JsonObject:
    """An AssembleRequest in, an AssembleResponse out. Repeating it gives the same dataset."""
    request, settings = AssembleRequest.model_validate(event), Settings.from_environment()
    logger.set_correlation_id(request.correlation_id)
    assembly = Assembly(
        Storage(client("s3"), settings.data_bucket),
        Catalogue(client("dynamodb"), settings.catalogue_table),
        StateTable(client("dynamodb"), settings.state_table),
        settings,
    )
    answer = assembly.assemble(request)
    for split, counts in answer.counts.items():
        metrics.add_metric(f"Dataset{split.capitalize()}Images", MetricUnit.Count, counts.images)
    logger.info("dataset assembled", **answer.plain())
    return answer.plain()
