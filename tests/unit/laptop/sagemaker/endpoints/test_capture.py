"""Data capture: the lines, and the objects that hold them."""

from __future__ import annotations

import base64
import json
import random
from typing import Any

import pytest

from laptop.sagemaker.endpoints import capture

AT = 1_700_000_000.25  # 2023-11-14T22:13:20.250Z
JSON_AND_CSV = {"JsonContentTypes": ["application/json"], "CsvContentTypes": ["text/csv"]}


def settings(*modes: str, **members: Any) -> dict[str, Any]:
    chosen = {
        "InitialSamplingPercentage": 100,
        "DestinationS3Uri": "s3://bucket/monitoring/capture/",
        "CaptureOptions": [{"CaptureMode": mode} for mode in modes or ("Input", "Output")],
    }
    return {**chosen, **members}


def exchange(**members: Any) -> capture.Exchange:
    chosen: dict[str, Any] = {
        "event_id": "e-1",
        "at": AT,
        "input_type": "image/png",
        "input_body": b"\x89PNG",
        "output_type": "application/json; charset=utf-8",
        "output_body": '{"a": "é"}'.encode(),
    }
    return capture.Exchange(**{**chosen, **members})


def test_a_line_holds_both_sides() -> None:
    line = json.loads(capture.line(exchange(), settings(CaptureContentTypeHeader=JSON_AND_CSV)))
    assert line == {
        "captureData": {
            "endpointInput": {
                "observedContentType": "image/png",
                "mode": "INPUT",
                "data": base64.b64encode(b"\x89PNG").decode(),
                "encoding": "BASE64",
            },
            "endpointOutput": {
                "observedContentType": "application/json; charset=utf-8",
                "mode": "OUTPUT",
                "data": '{"a": "é"}',
                "encoding": "JSON",
            },
        },
        "eventMetadata": {"eventId": "e-1", "inferenceTime": "2023-11-14T22:13:20Z"},
        "eventVersion": "0",
    }


@pytest.mark.parametrize(
    ("modes", "sides"),
    [
        (("Input",), {"endpointInput"}),
        (("Output",), {"endpointOutput"}),
        (("InputAndOutput",), {"endpointInput", "endpointOutput"}),
    ],
)
def test_only_what_is_asked_for_is_captured(modes: tuple[str, ...], sides: set[str]) -> None:
    assert set(json.loads(capture.line(exchange(), settings(*modes)))["captureData"]) == sides


@pytest.mark.parametrize(
    ("content_type", "headers", "expected"),
    [
        ("application/json", None, "BASE64"),
        ("application/json", JSON_AND_CSV, "JSON"),
        ("Application/JSON; charset=utf-8", JSON_AND_CSV, "JSON"),
        ("text/csv", JSON_AND_CSV, "CSV"),
        ("image/jpeg", JSON_AND_CSV, "BASE64"),
        (None, JSON_AND_CSV, "BASE64"),
    ],
)
def test_encoding(content_type: str | None, headers: dict[str, Any] | None, expected: str) -> None:
    assert capture.encoding(content_type, {"CaptureContentTypeHeader": headers}) == expected


def test_what_claims_to_be_json_and_is_not_text_is_written_in_base64() -> None:
    config = settings("Output", CaptureContentTypeHeader=JSON_AND_CSV)
    side = json.loads(capture.line(exchange(output_body=b"\xff"), config))["captureData"]["endpointOutput"]
    assert (side["encoding"], side["data"]) == ("BASE64", "/w==")


def test_the_key_says_when_the_file_was_begun() -> None:
    bucket, key = capture.location("s3://bucket/monitoring/capture/", "end", "AllTraffic", AT, "u-u-i-d")
    assert (bucket, key) == ("bucket", "monitoring/capture/end/AllTraffic/2023/11/14/22/13-20-250-u-u-i-d.jsonl")
    assert capture.location("s3://bucket", "e", "v", AT, "u")[1] == "e/v/2023/11/14/22/13-20-250-u.jsonl"


class Shelf:
    """Takes the objects a Capture puts; `now` is its clock."""

    def __init__(self, chance: int = 0) -> None:
        self.now = AT
        self.objects: dict[str, bytes] = {}
        self.capture = capture.Capture("end", self.put, clock=lambda: self.now, chance=random.Random(chance))

    def put(self, bucket: str, key: str, body: bytes) -> None:
        self.objects[f"{bucket}/{key}"] = body

    def lines(self) -> int:
        return sum(body.count(b"\n") for body in self.objects.values())


def test_lines_are_collected_for_a_while() -> None:
    shelf = Shelf()
    for _ in range(3):
        shelf.capture.record("v", settings(), exchange())
    assert shelf.capture.flush() == 0
    shelf.now += capture.FLUSH_SECONDS
    assert shelf.capture.flush() == 1
    assert [body.count(b"\n") for body in shelf.objects.values()] == [3]
    assert shelf.capture.flush(everything=True) == 0


def test_a_full_file_is_written_at_once_and_the_rest_at_the_end() -> None:
    shelf = Shelf()
    for _ in range(capture.FLUSH_LINES + 1):
        shelf.capture.record("v", settings(), exchange())
    assert shelf.lines() == capture.FLUSH_LINES
    shelf.capture.flush(everything=True)
    assert shelf.lines() == capture.FLUSH_LINES + 1


@pytest.mark.parametrize(("percentage", "low", "high"), [(0, 0, 0), (30, 250, 350), (100, 1000, 1000)])
def test_sampling(percentage: int, low: int, high: int) -> None:
    shelf = Shelf(chance=4)
    for _ in range(1000):
        shelf.capture.record("v", settings(InitialSamplingPercentage=percentage), exchange())
    shelf.capture.flush(everything=True)
    assert low <= shelf.lines() <= high


@pytest.mark.parametrize("config", [None, {}, settings(EnableCapture=False)])
def test_capture_that_is_off_writes_nothing(config: dict[str, Any] | None) -> None:
    shelf = Shelf()
    shelf.capture.record("v", config, exchange())
    assert shelf.capture.flush(everything=True) == 0


def test_a_destination_that_cannot_be_written_fails_nobody() -> None:
    def refuse(*_: object) -> None:
        raise OSError("no such bucket")

    kept = capture.Capture("end", refuse)
    kept.record("v", settings(), exchange())
    assert kept.flush(everything=True) == 1
