"""Decide whether to label now, and claim the images if so. Called by label.asl, which holds the labeling lock."""

from __future__ import annotations

from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.idempotency import idempotent
from aws_lambda_powertools.utilities.typing import LambdaContext
from skyloop.aws.catalogue import Catalogue
from skyloop.aws.clients import client
from skyloop.aws.observability import idempotency_config, idempotency_store, logger, metrics, observed
from skyloop.aws.settings import Settings
from skyloop.aws.storage import Storage
from skyloop.documents import JsonObject, SelectLabel, SelectRequest
from skyloop.labeling.jobs import LabelingJobs


@observed
def handler(event: JsonObject, context: LambdaContext) -> JsonObject:
    """A SelectRequest in; SelectWait, SelectIdle or SelectLabel out."""
    # Claiming changes what is pending: a retry after a lost answer must get that answer, and make no second selection.
    store = idempotency_store(Settings.from_environment())
    config = idempotency_config("[now, force || `false`]")
    answer: JsonObject = idempotent(persistence_store=store, config=config)(_select)(event, context)
    return answer


def _select(event: JsonObject, context: LambdaContext) -> JsonObject:
    settings = Settings.from_environment()
    labeling = LabelingJobs(
        Storage(client("s3"), settings.data_bucket), Catalogue(client("dynamodb"), settings.catalogue_table), settings
    )
    answer = labeling.select(SelectRequest.model_validate(event))
    selected = 0
    if isinstance(answer, SelectLabel):
        logger.set_correlation_id(answer.correlation_id)
        selected = answer.image_count
    metrics.add_metric("ImagesSelected", MetricUnit.Count, selected)
    logger.info("selection", **answer.plain())
    return answer.plain()
