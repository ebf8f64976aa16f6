"""An image that cannot be shown is no image that could not be asked for."""

from __future__ import annotations

import hashlib
import io
import json
import threading
from typing import Any

import boto3
import pytest
from botocore.response import StreamingBody
from botocore.stub import Stubber

from laptop.sagemaker.core.transfer import TransferError
from laptop.sagemaker.labeling import api
from laptop.sagemaker.labeling.known_boxes import KnownBoxes
from laptop.sagemaker.labeling.workforce import Settings
from laptop.skyloop_plugin import KnownFlight, known_boxes_key
from tests.support.pictures import encoded, picture

URI = "s3://bucket/key.jpg"


@pytest.fixture
def s3() -> Any:
    client: Any = boto3.client("s3", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b")
    client.meta.config.retries = {"total_max_attempts": 1}
    client.stub = Stubber(client)
    client.stub.activate()
    return client


@pytest.fixture
def task(s3: Any, monkeypatch: pytest.MonkeyPatch) -> api._Task:
    monkeypatch.setattr(api, "_PAUSES", (0.0, 0.0))
    made = api._Task.__new__(api._Task)
    made._s3, made._stopping = s3, threading.Event()
    return made


def answer(s3: Any, body: bytes) -> None:
    s3.stub.add_response("get_object", {"Body": StreamingBody(io.BytesIO(body), len(body))})


def fail(s3: Any, code: str, status: int) -> None:
    s3.stub.add_client_error("get_object", code, http_status_code=status)


def test_a_moment_without_s3_costs_no_image(task: api._Task, s3: Any) -> None:
    fail(s3, "SlowDown", 503)
    fail(s3, "InternalError", 500)
    body = encoded(picture(30, 20))
    answer(s3, body)
    assert task._show(URI) == ((30, 20, 3), hashlib.sha256(body).hexdigest())


@pytest.mark.parametrize(("dropped", "labeled"), [("as it is", True), ("before it was overwritten", False)])
def test_an_answer_is_for_the_bytes_that_were_dropped(task: api._Task, s3: Any, dropped: str, labeled: bool) -> None:
    body = encoded(picture(30, 20))
    content = hashlib.sha256(body if labeled else b"other bytes").hexdigest()
    entry = {"id": 1, "file_name": "a.jpg", "sha256": content}
    known = {"images": [entry], "annotations": [], "categories": [{"id": 1, "name": "car"}]}
    task._known = {"bucket": KnownBoxes(s3, "bucket")}
    task._known["bucket"]._flights = {known_boxes_key("north"): KnownFlight.parse(json.dumps(known).encode())}
    task._known["bucket"].__dict__["_by_content"] = {}
    task._attribute, task._settings, task._categories, task._audited = "boxes", Settings(), ["car"], None
    task._record = {"LabelingJobName": "job", "HumanTaskConfig": {"NumberOfHumanWorkersPerDataObject": 1}}
    answer(s3, body)
    # The line names what was dropped: the key may be overwritten after the line was written.
    line = {"source-ref": "s3://bucket/raw-images/north/a.jpg", "image-id": content}
    assert (task._label(line) is not None) == labeled


@pytest.mark.parametrize(("code", "status", "times"), [("NoSuchKey", 404, 1), ("InternalError", 500, 3)])
def test_an_image_that_is_not_there_or_damaged_is_that_image_alone(
    task: api._Task, s3: Any, code: str, status: int, times: int
) -> None:
    for _ in range(times):
        fail(s3, code, status)
    assert task._show(URI) is None


def test_what_is_no_picture_cannot_be_shown(task: api._Task, s3: Any) -> None:
    answer(s3, b"no picture")
    assert task._show(URI) is None


def test_a_job_without_permission_labels_nothing(task: api._Task, s3: Any) -> None:
    fail(s3, "AccessDenied", 403)
    with pytest.raises(TransferError, match="AccessDenied"):
        task._show(URI)
