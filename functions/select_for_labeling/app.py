"""Decide whether to label now, and claim the images if so. Called by label.asl, which holds the selection lock."""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.idempotency import idempotent
from aws_lambda_powertools.utilities.typing import LambdaContext
from skyloop.aws.catalogue import Catalogue
from skyloop.aws.clients import client
from skyloop.aws.observability import idempotency_config, idempotency_store, logger, metrics, observed
from skyloop.aws.settings import Settings
from skyloop.aws.storage import Storage
from skyloop.documents import SelectLabel, SelectRequest
from skyloop.labeling.jobs import Labeling


@observed
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """A SelectRequest in; SelectWait, SelectIdle or SelectLabel out."""
    settings = Settings.from_environment()
    # Claiming changes what is pending, so a retry after a lost answer must get that answer, not make a second one.
    answer = idempotent(
        select,
        persistence_store=idempotency_store(settings),
        config=idempotency_config("[now, force || `false`]"),
    )
    return answer(event, context)


def select(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    settings = Settings.from_environment()
    labeling = Labeling(
        Storage(client("s3"), settings.data_bucket), Catalogue(client("dynamodb"), settings.catalogue_table), settings
    )
    answer = labeling.select(SelectRequest.model_validate(event))
    if isinstance(answer, SelectLabel):
        logger.set_correlation_id(answer.correlation_id)
    selected = answer.image_count if isinstance(answer, SelectLabel) else 0
    metrics.add_metric("ImagesSelected", MetricUnit.Count, selected)
    logger.info("selection", **answer.plain())
    return answer.plain()
