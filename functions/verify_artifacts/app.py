"""Check that a package's artifacts are those that were evaluated. Called by deploy.asl before it makes the model."""

from __future__ import annotations

from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext
from skyloop.aws.clients import client
from skyloop.aws.observability import logger, metrics, observed
from skyloop.aws.settings import Settings
from skyloop.aws.storage import Storage
from skyloop.documents import JsonObject, VerifyRequest
from skyloop.verification import verify_artifacts


@observed
def handler(event: JsonObject, context: LambdaContext) -> JsonObject:
    """A VerifyRequest in, a VerifyResponse out. Repeating it reads the objects again."""
    request, settings = VerifyRequest.model_validate(event), Settings.from_environment()
    answer = verify_artifacts(Storage(client("s3"), settings.data_bucket), request)
    metrics.add_metric("ArtifactsVerified", MetricUnit.Count, int(answer.verified))
    logger.info("artifacts verified", verified=answer.verified, summary=answer.summary)
    return answer.plain()
