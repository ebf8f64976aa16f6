"""Compare what an endpoint is asked about with what its model was judged on.

Two triggers: new capture files (SQS, from S3's Object Created events) and a schedule, which also judges what arrived
without enough company to be judged at once, and finishes what an interrupted run left.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from aws_lambda_powertools.metrics import MetricUnit, single_metric
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext
from skyloop.aws.catalogue import Catalogue
from skyloop.aws.clients import client
from skyloop.aws.observability import logger, metrics, observed
from skyloop.aws.settings import Settings
from skyloop.aws.state import StateTable
from skyloop.aws.storage import Storage
from skyloop.drift.monitor import DriftMonitor, Outcome
from skyloop.drift.window import CaptureReader
from skyloop.formats.capture import CaptureUnreadable, parse_capture_key


@observed
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    settings = Settings.from_environment()
    watch = _watch(settings)
    metrics.add_metric("DriftRuns", MetricUnit.Count, 1)
    now = datetime.now(UTC)
    if "Records" not in event:
        outcome = _look(watch, settings.endpoint_name, now, eager=True)
        return {"endpoint": settings.endpoint_name, "state": outcome.state, "outcome": outcome.what}

    # A batch tells of many files of one endpoint: it is looked at once, and all its records share what came of it.
    looked: dict[str, Outcome | Exception] = {}

    def handle(record: SQSRecord) -> None:
        endpoint = _endpoint(record)
        if endpoint is None:
            return
        if endpoint not in looked:
            try:
                looked[endpoint] = _look(watch, endpoint, now, eager=False)
            except Exception as error:
                logger.exception("drift could not be judged", endpoint=endpoint)
                looked[endpoint] = error
        if isinstance(looked[endpoint], Exception):
            raise looked[endpoint]

    processor = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)
    return process_partial_response(event=event, record_handler=handle, processor=processor, context=context)


def _endpoint(record: SQSRecord) -> str | None:
    """The endpoint whose capture file an S3 event tells of; None for any other object, which is no fault."""
    key = record.json_body["detail"]["object"]["key"]
    try:
        return parse_capture_key(key).endpoint
    except CaptureUnreadable:
        logger.info("not a capture file", key=key)
        return None


def _look(watch: DriftMonitor, endpoint: str, now: datetime, *, eager: bool) -> Outcome:
    outcome = watch.look(endpoint, now=now, eager=eager)
    log = logger.warning if outcome.unjudgeable else logger.info
    log("looked for drift", endpoint=endpoint, outcome=outcome.what, state=outcome.state, window=outcome.window)
    _count(endpoint, "DriftWindow", MetricUnit.Count, outcome.window)
    _count(endpoint, "DriftUnjudgeable", MetricUnit.Count, int(outcome.unjudgeable))
    _count(endpoint, "CaptureLinesUnusable", MetricUnit.Count, outcome.unusable)
    if outcome.judgment:
        _count(endpoint, "DriftPValue", MetricUnit.NoUnit, outcome.judgment.p_value)
        _count(endpoint, "DriftDetected", MetricUnit.Count, int(outcome.judgment.decision == "DRIFT"))
        _count(endpoint, "DriftImagesSent", MetricUnit.Count, outcome.images_sent)
    return outcome


def _count(endpoint: str, name: str, unit: MetricUnit, value: float) -> None:
    with single_metric(name=name, unit=unit, value=value, namespace=metrics.namespace) as metric:
        metric.add_dimension("Endpoint", endpoint)


def _watch(settings: Settings) -> DriftMonitor:
    storage = Storage(client("s3"), settings.data_bucket)
    return DriftMonitor(
        storage=storage,
        states=StateTable(client("dynamodb"), settings.state_table),
        catalogue=Catalogue(client("dynamodb"), settings.catalogue_table),
        reader=_reader(storage.client, storage.bucket),
        sagemaker=client("sagemaker"),
        sns=client("sns"),
        settings=settings,
    )


@lru_cache(maxsize=1)
def _reader(s3: Any, bucket: str) -> CaptureReader:
    """Kept while the process is warm, so that a capture file is fetched once."""
    return CaptureReader(Storage(s3, bucket))
