"""Logger, metrics, tracer and idempotency, set up once and shared by every handler."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import TypeAlias

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.utilities.idempotency import DynamoDBPersistenceLayer, IdempotencyConfig
from aws_lambda_powertools.utilities.typing import LambdaContext

from skyloop.aws.clients import client
from skyloop.aws.settings import Settings
from skyloop.documents import JsonObject

Handler: TypeAlias = Callable[[JsonObject, LambdaContext], JsonObject]

logger = Logger()
metrics = Metrics(namespace="Skyloop")
# Lambda names its X-Ray daemon in the environment. Without a daemon nothing is traced.
tracer = Tracer(disabled="AWS_XRAY_DAEMON_ADDRESS" not in os.environ, patch_modules=("botocore",))


def observed(handler: Handler) -> Handler:
    """Give a Lambda handler structured logs, a cold-start metric, EMF metrics flushed at its end, and a trace.

    The correlation id is cleared between invocations; the handler sets it as soon as it has read it from the event.
    """
    wrapped = metrics.log_metrics(handler, capture_cold_start_metric=True)
    wrapped = tracer.capture_lambda_handler(wrapped, capture_response=False)
    wrapped = logger.inject_lambda_context(wrapped, clear_state=True)
    return functools.wraps(handler)(wrapped)


def idempotency_store(settings: Settings) -> DynamoDBPersistenceLayer:
    """Where Powertools keeps the answers that were given (table key `id`, TTL attribute `expiration`)."""
    return DynamoDBPersistenceLayer(table_name=settings.idempotency_table, boto3_client=client("dynamodb"))


def idempotency_config(key: str) -> IdempotencyConfig:
    """Remember an answer for an hour under the JMESPath expression `key` of the event; refuse an event without it."""
    return IdempotencyConfig(event_key_jmespath=key, raise_on_no_idempotency_key=True, expires_after_seconds=3600)
