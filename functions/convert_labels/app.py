"""Turn one part of a finished labeling job's manifest into training data. Called by retrain.asl's distributed map."""

from __future__ import annotations

from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext
from skyloop.aws.catalogue import Catalogue
from skyloop.aws.clients import client
from skyloop.aws.observability import logger, metrics, observed
from skyloop.aws.settings import Settings
from skyloop.aws.storage import Storage
from skyloop.dataset.conversion import Conversion
from skyloop.documents import ConvertRequest, JsonObject


@observed
def handler(event: JsonObject, context: LambdaContext) -> JsonObject:
    """A ConvertRequest in, a ConvertResponse out. Repeating it writes the same again."""
    request, settings = ConvertRequest.model_validate(event), Settings.from_environment()
    logger.set_correlation_id(request.correlation_id)
    conversion = Conversion(
        Storage(client("s3"), settings.data_bucket),
        Catalogue(client("dynamodb"), settings.catalogue_table),
    )
    answer = conversion.convert(request)
    metrics.add_metric("ImagesLabeled", MetricUnit.Count, answer.converted)
    metrics.add_metric("LabelsQuarantined", MetricUnit.Count, answer.quarantined)
    metrics.add_metric("ImagesUnlabeled", MetricUnit.Count, answer.unlabeled)
    logger.info("labels converted", labeling_job=request.job_name, **answer.plain())
    return answer.plain()
