"""An endpoint that answers, is captured, and is watched for drift, in a moto account: for tests of detect_drift."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import numpy as np
import pytest
from skyloop.aws.clients import client
from skyloop.aws.state import StateTable
from skyloop.aws.storage import Storage

from tests.support.account import BUCKET, ENVIRONMENT, Context, load_handler, put_state
from tests.support.files import stored_event
from tests.support.pictures import encoded, picture
from tests.support.profiles import NAMES, draw, only

ENDPOINT, WINDOW = "skyloop-dev", 20
DARK = only("brightness", -7.0) + only("p05", -5.0)
JOBS = {"skyloop-dev-v1": "job-1", "skyloop-dev-v2": "job-2"}
ARN = "arn:aws:sagemaker:us-east-1:123456789012:model-package/skyloop-dev/{}"


class Registry:
    """A SageMaker client that knows the packages of two models."""

    def __init__(self) -> None:
        self.metadata: dict[str, dict[str, str]] = {}
        for config, job in JOBS.items():
            uri = f"s3://{BUCKET}/model-artifacts/{job}/evaluation/baseline.json"
            self.metadata[ARN.format(config[-1])] = {"baseline_uri": uri, "training_job": job}

    def describe_model_package(self, *, ModelPackageName: str) -> dict[str, Any]:
        return {"CustomerMetadataProperties": self.metadata[ModelPackageName]}


class World:
    """An endpoint in a moto account, and the clock its requests are answered by."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.random = np.random.default_rng(42)
        self.registry = Registry()
        self.states = StateTable(client("dynamodb"), ENVIRONMENT["SKYLOOP_STATE_TABLE"])
        self.storage = Storage(client("s3"), BUCKET)
        self.numbers = count()
        # What the container in service makes of a profile; another container knows other statistics.
        self.written: Callable[[dict[str, Any]], dict[str, Any]] = dict
        # The handler's own clock decides what is "now"; requests lie in the hour before it.
        self.time = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=50)
        self.app = load_handler("detect_drift")
        real = self.app.client
        monkeypatch.setattr(self.app, "client", lambda name: self.registry if name == "sagemaker" else real(name))
        for job in JOBS.values():
            self.baseline(job, draw(self.random, 60))
        sqs, sns = client("sqs"), client("sns")
        self.mailbox = sqs.create_queue(QueueName="alerts")["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=self.mailbox, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        topic = ENVIRONMENT["SKYLOOP_ALERT_TOPIC_ARN"]
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes={"RawMessageDelivery": "true"})

    def baseline(self, job: str, statistics: np.ndarray, names: Sequence[str] = NAMES) -> None:
        document = {
            "version": 1,
            "profile_names": names,
            "profiles": statistics.tolist(),
            "features": [],
            "dataset_id": "ds-1",
            "count": len(statistics),
        }
        self.storage.write_json(f"model-artifacts/{job}/evaluation/baseline.json", document)

    def deploy(self, config: str = "skyloop-dev-v1") -> None:
        item = {"config": config, "package_arn": ARN.format(config[-1]), "deployed_at": self.time.isoformat()}
        put_state(self.states, f"endpoint#{ENDPOINT}", item)

    def state(self) -> dict[str, Any]:
        return self.states.get(f"drift#{ENDPOINT}") or {}

    def serve(
        self,
        number: int,
        shift: np.ndarray | float = 0.0,
        *,
        job: str = "job-1",
        inputs: bool = True,
        variant: str = "primary",
        inference_ids: Iterator[str] | None = None,
        rows: np.ndarray | None = None,
    ) -> str:
        """Answer `number` requests, a second apart, and capture them in one file. Returns its key."""
        lines = []
        started = self.time
        rows = draw(self.random, number, shift=shift) if rows is None else rows
        for row in rows.tolist():
            unique = next(self.numbers)
            answer = {
                "image": {"width": 64, "height": 48},
                "detections": [],
                "profile": self.written({"version": 1, **dict(zip(NAMES, row, strict=True)), "features": []}),
                "model": {"training_job": job, "dataset_id": "ds-1"},
            }
            event = {"eventId": f"event-{unique:06d}", "inferenceTime": self.time.strftime("%Y-%m-%dT%H:%M:%SZ")}
            if inference_ids:
                event["inferenceId"] = next(inference_ids)
            output = {"observedContentType": "application/json", "mode": "OUTPUT", "encoding": "JSON"}
            captured: dict[str, Any] = {"endpointOutput": {**output, "data": json.dumps(answer)}}
            if inputs:
                body = base64.b64encode(encoded(picture(seed=unique))).decode()
                part = {"observedContentType": "image/jpeg", "mode": "INPUT", "data": body, "encoding": "BASE64"}
                captured["endpointInput"] = part
            lines.append(json.dumps({"captureData": captured, "eventMetadata": event, "eventVersion": "0"}))
            self.time += timedelta(seconds=1)
        key = f"monitoring/capture/{ENDPOINT}/{variant}/{started:%Y/%m/%d/%H/%M-%S}-000-{next(self.numbers):06d}.jsonl"
        self.storage.write(key, "\n".join(lines).encode() + b"\n")
        return key

    def tell(self, *keys: str) -> dict[str, Any]:
        """The queue delivers the events of new files."""
        records = []
        for number, key in enumerate(keys):
            event = stored_event("s3_object_created")
            event["detail"]["object"]["key"] = key
            record = stored_event("sqs_batch")["Records"][0]
            records.append({**record, "messageId": f"message-{number}", "body": json.dumps(event)})
        return self.app.handler({"Records": records}, Context())

    def tick(self) -> dict[str, Any]:
        """The schedule fires."""
        return self.app.handler({"version": "0", "detail-type": "Scheduled Event", "detail": {}}, Context())

    def alerts(self) -> list[dict[str, Any]]:
        """The alerts that reached the subscriber since the last look."""
        messages = client("sqs").receive_message(QueueUrl=self.mailbox, MaxNumberOfMessages=10).get("Messages", [])
        for message in messages:
            client("sqs").delete_message(QueueUrl=self.mailbox, ReceiptHandle=message["ReceiptHandle"])
        return [json.loads(message["Body"]) for message in messages]

    def keys(self, prefix: str) -> list[str]:
        return [summary.key for summary in self.storage.listing(prefix)]


def written_metrics(output: str) -> dict[str, dict[str, Any]]:
    """The lines of CloudWatch's embedded metric format in a function's output, by metric; the last of each."""
    lines = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    directives = [(line, d) for line in lines for d in line.get("_aws", {}).get("CloudWatchMetrics", [])]
    return {metric["Name"]: line for line, directive in directives for metric in directive["Metrics"]}
