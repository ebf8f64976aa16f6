"""Which captured requests go back to people, and where their images are found."""

from __future__ import annotations

import base64
import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from moto import mock_aws
from skyloop.aws.catalogue import Catalogue
from skyloop.aws.clients import client
from skyloop.aws.storage import Storage
from skyloop.documents import CatalogueItem, ScoredRequest
from skyloop.drift.requeue import RequeueResult, most_unusual, requeue_images

from tests.support.account import BUCKET, ENVIRONMENT, create_stack, set_environment
from tests.support.pictures import encoded, picture

CAPTURE = "monitoring/capture/skyloop-dev/primary/2026/11/20/10/00-00-000-a.jsonl"
PREFIX = "raw-images/drift-skyloop-dev-20261120/"


def asked(
    number: int, score: float = 2.0, inference_id: str | None = None, capture_key: str = CAPTURE
) -> ScoredRequest:
    return ScoredRequest(event_id=f"e-{number}", inference_id=inference_id, capture_key=capture_key, score=score)


def test_the_unusual_go_first_and_at_least_a_quarter_goes():
    scores = [0.2, 3.0, 0.9, 1.5, 0.1, 0.3, 0.4, 0.5]
    requests = [asked(number, score) for number, score in enumerate(scores)]
    assert [one.score for one in most_unusual(requests, 100)] == [3.0, 1.5]
    assert [one.score for one in most_unusual(requests, 1)] == [3.0]
    assert [one.score for one in most_unusual([asked(0, 0.1), asked(1, 0.2), asked(2, 0.3)], 100)] == [0.3]
    assert most_unusual(requests, 0) == []
    assert most_unusual([], 5) == []


@given(st.lists(st.floats(0, 9), max_size=20), st.integers(0, 20))
def test_the_choice_does_not_depend_on_the_order(scores, limit):
    requests = [asked(number, score) for number, score in enumerate(scores)]
    chosen = most_unusual(requests, limit)
    assert chosen == most_unusual(list(reversed(requests)), limit)
    assert len(chosen) <= limit


@pytest.fixture
def storage(monkeypatch):
    set_environment(monkeypatch)
    with mock_aws():
        create_stack()
        yield Storage(client("s3"), BUCKET)


@pytest.fixture
def catalogue(storage):
    return Catalogue(client("dynamodb"), ENVIRONMENT["SKYLOOP_CATALOGUE_TABLE"])


def capture(storage: Storage, *bodies: bytes | str | None) -> None:
    """Requests e-0, e-1, …: bytes are captured as BASE64, text as it is, None not at all."""
    lines = []
    for number, body in enumerate(bodies):
        encoding = "BASE64" if isinstance(body, bytes) else "CSV"
        data = base64.b64encode(body).decode() if isinstance(body, bytes) else body
        part = {"observedContentType": "image/jpeg", "mode": "INPUT", "data": data, "encoding": encoding}
        metadata = {"eventId": f"e-{number}", "inferenceTime": "2026-11-20T10:00:00Z"}
        lines.append(json.dumps({"captureData": {"endpointInput": part}, "eventMetadata": metadata}))
    storage.write(CAPTURE, "\n".join(lines).encode())


def send(storage: Storage, catalogue: Catalogue, *requests: ScoredRequest) -> RequeueResult:
    return requeue_images(storage, catalogue, list(requests), prefix=PREFIX, correlation_id="drift-1")


def test_images_are_named_by_content_and_kind_and_written_once(storage, catalogue):
    jpeg, png = encoded(picture(seed=1)), encoded(picture(seed=2), "PNG")
    capture(storage, jpeg, png, jpeg)
    requests = [asked(number) for number in range(3)]
    assert send(storage, catalogue, *requests) == RequeueResult(new=2, known=1, lost=0)
    assert send(storage, catalogue, *requests) == RequeueResult(new=0, known=3, lost=0)
    expected = {
        PREFIX + hashlib.sha256(jpeg).hexdigest()[:16] + ".jpg",
        PREFIX + hashlib.sha256(png).hexdigest()[:16] + ".png",
    }
    assert {summary.key for summary in storage.listing("raw-images/")} == expected


@pytest.mark.parametrize("body", [b"GIF89a", b"", "not an image", None])
def test_what_is_no_image_is_not_sent_to_people(storage, catalogue, body):
    capture(storage, body)
    assert send(storage, catalogue, asked(0)) == RequeueResult(new=0, known=0, lost=1)


def test_an_expired_capture_file_loses_only_its_own(storage, catalogue):
    capture(storage, encoded(picture(seed=3)))
    gone = asked(7, capture_key=CAPTURE.replace("-a.", "-b."))
    assert send(storage, catalogue, gone, asked(0), asked(9)) == RequeueResult(new=1, known=0, lost=2)


def test_an_image_id_of_the_catalogue_names_an_image(storage, catalogue):
    body = encoded(picture(seed=4))
    image_id = hashlib.sha256(body).hexdigest()
    storage.write("raw-images/flight-1/a.jpg", body)
    item = CatalogueItem(
        image_id=image_id,
        status="LABELED",
        queue_order=f"1#2026-11-20T10:00:00Z#{image_id[:8]}",
        key="raw-images/flight-1/a.jpg",
        flight="flight-1",
        correlation_id="flight-1",
        catalogued_at="2026-11-20T10:00:00Z",
    )
    catalogue.add(item)
    capture(storage, None)
    assert send(storage, catalogue, asked(0, inference_id=image_id)).new == 1
    assert send(storage, catalogue, asked(0, inference_id="0" * 64)).lost == 1


@pytest.mark.parametrize(
    "inference_id", ["s3://another-bucket/raw-images/a.jpg", "raw-images/gone.jpg", "request 7", "s3://"]
)
def test_an_inference_id_that_names_nothing_is_no_error(storage, catalogue, inference_id):
    capture(storage, None)
    assert send(storage, catalogue, asked(0, inference_id=inference_id)).lost == 1
