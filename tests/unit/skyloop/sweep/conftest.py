"""For the tests of functions/sweep_uploads: what SageMaker knows, what is queued, what reached a subscriber."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from skyloop.aws.clients import client
from skyloop.documents import CatalogueItem
from skyloop.layout import quarantine_id, queue_order

from tests.support.account import Context, load_handler


def later(minutes: float = 10) -> datetime:
    """Objects are dated by the (simulated) bucket's own clock, so the sweep comes this much after now."""
    return datetime.now(UTC) + timedelta(minutes=minutes)


@pytest.fixture
def jobs(stack) -> Iterator[dict[str, str]]:
    """Labeling jobs that SageMaker knows: name -> status. The simulation has none, so the client is answered here."""
    known: dict[str, str] = {}
    hooks = client("sagemaker").meta.events

    def answer(model: Any, params: dict[str, Any], **_: Any) -> tuple[Any, dict[str, Any]]:
        name = json.loads(params["body"])["LabelingJobName"]
        response = type("Response", (), {"status_code": 200 if name in known else 400, "headers": {}})
        if name in known:
            job = {"LabelingJobStatus": known[name], "LastModifiedTime": datetime.now(UTC)}
            return response, {**job, "ResponseMetadata": {"HTTPStatusCode": 200}}
        error = {"Code": "ResourceNotFound", "Message": "no such job"}
        return response, {"Error": error, "ResponseMetadata": {"HTTPStatusCode": 400}}

    hooks.register("before-call.sagemaker.DescribeLabelingJob", answer, unique_id="jobs")
    yield known
    hooks.unregister("before-call.sagemaker.DescribeLabelingJob", unique_id="jobs")


@pytest.fixture
def queued(stack) -> Callable[[], list[dict[str, Any]]]:
    def read() -> list[dict[str, Any]]:
        sqs, messages = client("sqs"), []
        while batch := sqs.receive_message(QueueUrl=stack.uploads_queue_url, MaxNumberOfMessages=10).get("Messages"):
            messages += [json.loads(message["Body"]) for message in batch]
            for message in batch:
                sqs.delete_message(QueueUrl=stack.uploads_queue_url, ReceiptHandle=message["ReceiptHandle"])
        return messages

    return read


@pytest.fixture
def alerts(stack) -> Callable[[], list[dict[str, Any]]]:
    """The alerts that reached a subscriber since the last look, with their attributes."""
    sqs, sns = client("sqs"), client("sns")
    url = sqs.create_queue(QueueName="listener")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=stack.alert_topic_arn, Protocol="sqs", Endpoint=arn)

    def read() -> list[dict[str, Any]]:
        found = []
        while batch := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            for message in batch:
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
                body = json.loads(message["Body"])
                attributes = {name: entry["Value"] for name, entry in body["MessageAttributes"].items()}
                found.append({**json.loads(body["Message"]), "mail": body["Subject"], "attributes": attributes})
        return found

    return read


def refused(number: int, reason: str = "it is not an image", **changes: Any) -> CatalogueItem:
    key = f"raw-images/f/{number}.jpg"
    facts = {"image_id": quarantine_id(key), "key": key, "status": "QUARANTINED", "labeling_job": None}
    return item(number, "", **{**facts, "reason": reason, **changes})


def sweep(now: datetime) -> dict[str, Any]:
    return load_handler("sweep_uploads").handler({"now": now.isoformat()}, Context())


def item(number: int, job: str, **changes: Any) -> CatalogueItem:
    image_id, now = f"{number:064x}", datetime(2026, 1, 1, tzinfo=UTC)
    facts: dict[str, Any] = {
        "image_id": image_id,
        "status": "LABELING",
        "labeling_job": job,
        "queue_order": queue_order(False, now, image_id),
        "key": f"raw-images/f/{number}.jpg",
        "flight": "f",
        "correlation_id": "f",
        "catalogued_at": now,
    }
    return CatalogueItem(**{**facts, **changes})
