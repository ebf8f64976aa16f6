"""Ask a new endpoint for known answers, before it is trusted with traffic for good. (deploy.asl, after InService)"""

from __future__ import annotations

import mimetypes
from typing import Any

from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext
from skyloop.aws.clients import client
from skyloop.aws.observability import logger, metrics, observed
from skyloop.aws.settings import Settings
from skyloop.aws.storage import Storage
from skyloop.documents import SmokeRequest
from skyloop.layout import SMOKE_TEST_INFERENCE_PREFIX
from skyloop.smoke.comparison import ask, check_prediction, conclude, read_golden_predictions


@observed
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    request = SmokeRequest.model_validate(event)
    logger.append_keys(endpoint=request.endpoint_name, endpoint_config=request.endpoint_config_name)
    storage = Storage(client("s3"), Settings.from_environment().data_bucket)
    known = read_golden_predictions(storage.read(storage.key_of(request.golden_predictions_uri)).body)
    runtime = client("sagemaker-runtime")
    checks = []
    for number, answer in enumerate(known.answers):
        image = storage.read(storage.key_of(answer.uri))
        content_type = mimetypes.guess_type(answer.uri)[0] or "image/jpeg"
        inference_id = f"{SMOKE_TEST_INFERENCE_PREFIX}{request.endpoint_config_name}-{number}"
        reply = ask(runtime, request, image.body, content_type, inference_id)
        check = check_prediction(answer, reply, training_job=known.training_job)
        logger.info("known answer checked", uri=answer.uri, faults=check.faults, seconds=round(reply.seconds, 3))
        checks.append(check)
    verdict = conclude(checks, endpoint=request.endpoint_name, config=request.endpoint_config_name)
    logger.info("smoke test", passed=verdict.passed, summary=verdict.summary)
    metrics.add_dimension("Endpoint", request.endpoint_name)
    metrics.add_metric("SmokeTestPassed", MetricUnit.Count, int(verdict.passed))
    for check in checks:
        metrics.add_metric("SmokeTestLatency", MetricUnit.Seconds, check.seconds)
    return verdict.plain()
