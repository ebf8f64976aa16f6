"""Requeue the images of a labeling job that will not finish, or whose labels are wrong."""

from __future__ import annotations

from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext
from skyloop.aws.catalogue import Catalogue
from skyloop.aws.clients import client
from skyloop.aws.observability import logger, metrics, observed
from skyloop.aws.settings import Settings
from skyloop.aws.storage import Storage
from skyloop.documents import JsonObject, RequeueRequest
from skyloop.labeling.jobs import LabelingJobs


@observed
def handler(event: JsonObject, context: LambdaContext) -> JsonObject:
    """A RequeueRequest in, a RequeueResponse out. Repeating it requeues nothing more."""
    request, settings = RequeueRequest.model_validate(event), Settings.from_environment()
    labeling = LabelingJobs(
        Storage(client("s3"), settings.data_bucket), Catalogue(client("dynamodb"), settings.catalogue_table), settings
    )
    answer = labeling.requeue(request)
    metrics.add_metric("ImagesRequeued", MetricUnit.Count, answer.requeued)
    logger.info("images requeued", labeling_job=request.job_name, reason=request.reason, requeued=answer.requeued)
    return answer.plain()
