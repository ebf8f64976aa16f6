"""Keep every alert of the topic in the bucket: monitoring/alerts/<yyyy>/<mm>/<dd>/<name>.json."""

from __future__ import annotations

from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext
from skyloop.alerts import archive_document, archive_key
from skyloop.aws.clients import client
from skyloop.aws.observability import logger, metrics, observed
from skyloop.aws.settings import Settings
from skyloop.aws.storage import Storage
from skyloop.documents import JsonObject


@observed
def handler(event: JsonObject, context: LambdaContext) -> JsonObject:
    """SNS notifications in, the URIs of their copies out. SNS may deliver twice: a repeat writes the same object."""
    storage = Storage(client("s3"), Settings.from_environment().data_bucket)
    uris = []
    for record in event["Records"]:
        document = archive_document(record["Sns"])
        logger.set_correlation_id(document["alert"].get("correlation_id") or document["message_id"])
        uri = storage.write_json(archive_key(document), document)
        logger.info("alert archived", uri=uri, event_name=document["alert"].get("event"))
        uris.append(uri)
    metrics.add_metric("AlertsArchived", MetricUnit.Count, len(uris))
    return {"archived": uris}
