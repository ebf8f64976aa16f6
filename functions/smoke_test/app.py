"""Check that a new endpoint gives its model's golden predictions. Called by deploy.asl once it is InService."""

from __future__ import annotations

from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext
from skyloop.aws.clients import client
from skyloop.aws.observability import logger, metrics, observed
from skyloop.aws.settings import Settings
from skyloop.aws.storage import Storage
from skyloop.documents import JsonObject, SmokeRequest
from skyloop.smoke.smoke_test import SmokeTest


@observed
def handler(event: JsonObject, context: LambdaContext) -> JsonObject:
    """A SmokeRequest in, a SmokeResponse out. Repeating it asks the endpoint again."""
    request, settings = SmokeRequest.model_validate(event), Settings.from_environment()
    logger.append_keys(endpoint=request.endpoint_name, endpoint_config=request.endpoint_config_name)
    smoke_test = SmokeTest(Storage(client("s3"), settings.data_bucket), client("sagemaker-runtime"))
    answer, checks = smoke_test.run(request)
    metrics.add_dimension("Endpoint", request.endpoint_name)
    metrics.add_metric("SmokeTestPassed", MetricUnit.Count, int(answer.passed))
    for check in checks:
        logger.info("image checked", uri=check.uri, faults=check.faults, seconds=round(check.seconds, 3))
        metrics.add_metric("SmokeTestLatency", MetricUnit.Seconds, check.seconds)
    logger.info("smoke test", passed=answer.passed, summary=answer.summary)
    return answer.plain()
