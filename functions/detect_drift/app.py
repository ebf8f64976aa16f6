"""Compare what an endpoint is asked about with what its model was judged on.

Two triggers: new capture files (SQS, from S3's Object Created events), and a schedule. The schedule also judges the
images that were too few to be judged when they came, and finishes what an interrupted run left.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING

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
from skyloop.documents import JsonObject
from skyloop.drift.monitor import DriftMonitor, DriftOutcome
from skyloop.drift.window import CaptureReader
from skyloop.formats.capture import CaptureUnreadable, parse_capture_key

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@observed
def handler(event: JsonObject, context: LambdaContext) -> JsonObject:
    """Evaluate the endpoints of a batch of capture files, or, on a schedule, the stack's endpoint."""
    settings = Settings.from_environment()
    monitor = _monitor(settings)
    metrics.add_metric("DriftRuns", MetricUnit.Count, 1)
    now = datetime.now(UTC)
    if "Records" not in event:
        outcome = _evaluate(monitor, settings.endpoint_name, now, scheduled=True)
        return {"endpoint": settings.endpoint_name, "state": outcome.state, "outcome": outcome.what}

    # A batch holds many files of one endpoint. It is evaluated once, and all its records share the result.
    failures: dict[str, Exception | None] = {}

    def handle(record: SQSRecord) -> None:
        endpoint = _endpoint(record)
        if endpoint is None:
            return
        if endpoint not in failures:
            failures[endpoint] = _failure(monitor, endpoint, now)
        if failure := failures[endpoint]:
            raise failure

    processor = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)
    return dict(process_partial_response(event=event, record_handler=handle, processor=processor, context=context))


def _endpoint(record: SQSRecord) -> str | None:
    """The endpoint of the capture file in an S3 event; None for any other object, which is no error."""
    key: str = record.json_body["detail"]["object"]["key"]
    try:
        return parse_capture_key(key).endpoint
    except CaptureUnreadable:
        logger.info("not a capture file", key=key)
        return None


def _failure(monitor: DriftMonitor, endpoint: str, now: datetime) -> Exception | None:
    """Evaluate the endpoint; the error that it failed with, if any."""
    try:
        _evaluate(monitor, endpoint, now, scheduled=False)
    except Exception as error:
        logger.exception("drift could not be judged", endpoint=endpoint)
        return error
    return None


def _evaluate(monitor: DriftMonitor, endpoint: str, now: datetime, *, scheduled: bool) -> DriftOutcome:
    outcome = monitor.evaluate(endpoint, now=now, scheduled=scheduled)
    not_compared = outcome.judgment.not_compared if outcome.judgment else {}
    log = logger.warning if outcome.unjudgeable or not_compared else logger.info
    log(
        "evaluated drift",
        endpoint=endpoint,
        outcome=outcome.what,
        state=outcome.state,
        window=outcome.window,
        not_compared=not_compared,
    )
    _count(endpoint, "DriftWindow", MetricUnit.Count, outcome.window)
    _count(endpoint, "DriftUnjudgeable", MetricUnit.Count, int(outcome.unjudgeable))
    _count(endpoint, "CaptureLinesUnusable", MetricUnit.Count, outcome.unusable)
    if outcome.judgment:
        _count(endpoint, "DriftPValue", MetricUnit.NoUnit, outcome.judgment.p_value)
        _count(endpoint, "DriftDetected", MetricUnit.Count, int(outcome.judgment.decision == "DRIFT"))
        _count(endpoint, "DriftImagesSent", MetricUnit.Count, outcome.images_sent)
        _count(endpoint, "DriftStatisticsNotCompared", MetricUnit.Count, len(not_compared))
    return outcome


def _count(endpoint: str, name: str, unit: MetricUnit, value: float) -> None:
    with single_metric(name=name, unit=unit, value=value, namespace=metrics.namespace) as metric:
        metric.add_dimension("Endpoint", endpoint)


def _monitor(settings: Settings) -> DriftMonitor:
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
def _reader(s3: S3Client, bucket: str) -> CaptureReader:
    """Kept while the process is warm, so that a capture file is fetched once."""
    return CaptureReader(Storage(s3, bucket))
