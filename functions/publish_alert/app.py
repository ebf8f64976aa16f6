"""Publish an alert of a state machine. Called by every machine, which publishes by itself when this function fails."""

from __future__ import annotations

from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext
from skyloop.alerts import alert_from_request, publish, shortened
from skyloop.aws.clients import client
from skyloop.aws.observability import logger, metrics, observed
from skyloop.aws.settings import Settings
from skyloop.documents import JsonObject, PublishAlertRequest, PublishAlertResponse


@observed
def handler(event: JsonObject, context: LambdaContext) -> JsonObject:
    """A PublishAlertRequest in, a PublishAlertResponse out. A repeated call publishes again, for twice beats never.

    Mails may come twice then; the archive keeps one.
    """
    request, settings = PublishAlertRequest.model_validate(event), Settings.from_environment()
    logger.set_correlation_id(request.correlation_id)
    alert = alert_from_request(request, settings.stage)
    message_id = publish(client("sns"), settings.alert_topic_arn, alert, settings.prefix)
    metrics.add_metric("AlertsPublished", MetricUnit.Count, 1)
    logger.info("alert published", message_id=message_id, event_name=alert.event, subject=alert.subject)
    return PublishAlertResponse(message_id=message_id, why=shortened(alert).why).plain()
