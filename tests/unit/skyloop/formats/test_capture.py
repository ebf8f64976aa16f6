"""Data capture lines in every encoding and state of disrepair."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from skyloop.formats.capture import CaptureRecord, CaptureUnreadable, Part, Problem, parse_capture, parse_capture_key
from skyloop.formats.profile import profile_of

from tests.support.files import REPOSITORY

KEY = "monitoring/capture/skyloop-dev/primary/2026/11/20/10/15-30-123-0a1b.jsonl"


def line(output: object = None, **metadata: object) -> bytes:
    event = {"eventId": "e-1", "inferenceTime": "2026-11-20T10:15:30Z", **metadata}
    return json.dumps({"captureData": {"endpointOutput": output} if output else {}, "eventMetadata": event}).encode()


def test_the_stored_file_line_by_line():
    body = (REPOSITORY / "tests/documents/capture.jsonl").read_bytes().splitlines()
    json_line, base64_line, csv_line, input_only, broken = parse_capture(body)
    assert json_line.inference_id == "flight-7/0001"
    assert json_line.inference_time == datetime(2026, 11, 20, 10, 15, 30, tzinfo=UTC)
    assert json_line.input.body().startswith(b"\xff\xd8\xff")
    assert profile_of(json_line.output.json()).features == (0.5, -1.25)
    assert base64_line.input.body() == b"\x89PNG\r\n\x1a\n"
    assert base64_line.inference_id is None
    assert profile_of(base64_line.output.json()).select(["brightness"]) == [0.5]
    assert csv_line.input is None
    assert csv_line.output.body() == b"0.1,0.2,0.7"
    assert input_only.output is None
    assert isinstance(broken, Problem)
    assert broken.line == 6  # the empty line counts, as an editor counts


def test_json_may_be_there_as_a_value():
    [record] = parse_capture([line({"data": {"profile": {"p05": 1}}, "encoding": "JSON"})])
    assert record.output.json() == {"profile": {"p05": 1}}
    assert json.loads(record.output.body()) == {"profile": {"p05": 1}}


@pytest.mark.parametrize("encoding", ["csv", "CSV", None, ""])
def test_without_an_encoding_data_is_text(encoding):
    [record] = parse_capture([line({"data": "ü", "encoding": encoding})])
    assert record.output.body() == "ü".encode()


@pytest.mark.parametrize("output", [None, {"encoding": "JSON"}, {"data": "", "encoding": "JSON"}, "text"])
def test_a_part_without_data_is_missing(output):
    [record] = parse_capture([line(output)])
    assert record.output is None


@pytest.mark.parametrize("data", ["no*base64", "AAA", 7, ["AAAA"]])
def test_base64_that_is_none_is_refused_when_it_is_used(data):
    with pytest.raises(CaptureUnreadable, match="BASE64"):
        Part("image/jpeg", "BASE64", data).body()


@pytest.mark.parametrize("encoding", ["JSON", "CSV"])
def test_text_that_is_no_json(encoding):
    with pytest.raises(CaptureUnreadable, match="not JSON"):
        Part("application/json", encoding, "{").json()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"[]", "no eventMetadata"),
        (b'{"captureData": {}}', "no eventMetadata"),
        (line(eventId=""), "no eventId"),
        (line(eventId=7), "no eventId"),
        (line(inferenceTime="soon"), "not a time"),
        (line(inferenceTime=None), "not a time"),
        (b"\xff\xfe", "not JSON"),
        (b'{"eventMetadata":', "not JSON"),
    ],
)
def test_a_line_that_is_no_capture_is_a_problem_and_the_next_is_read(body, said):
    problem, record = parse_capture([body, line()])
    assert said in problem.reason
    assert isinstance(record, CaptureRecord)


def test_a_time_without_zone_is_utc():
    [record] = parse_capture([line(inferenceTime="2026-11-20T10:15:30")])
    assert record.inference_time.tzinfo == UTC


@given(st.binary(max_size=300))
def test_no_file_stops_the_reader(body):
    for item in parse_capture(body.splitlines()):
        assert isinstance(item, Problem | CaptureRecord)


@given(st.binary(min_size=1))
def test_a_captured_body_comes_back_as_it_was_sent(body):
    assert Part("image/jpeg", "BASE64", base64.b64encode(body).decode()).body() == body


def test_a_capture_files_key():
    found = parse_capture_key(KEY)
    assert (found.endpoint, found.variant, found.hour) == (
        "skyloop-dev",
        "primary",
        datetime(2026, 11, 20, 10, tzinfo=UTC),
    )


@pytest.mark.parametrize(
    "key",
    [
        "monitoring/capture/skyloop-dev/primary/2026/11/20/10/",
        "monitoring/capture/skyloop-dev/primary/2026/13/20/10/a.jsonl",
        "monitoring/capture/skyloop-dev/2026/11/20/10/a.jsonl",
        "monitoring/drift/skyloop-dev/2026.json",
        "raw-images/" + KEY,
        "",
    ],
)
def test_any_other_key_is_refused(key):
    with pytest.raises(CaptureUnreadable, match="not the key of a capture file"):
        parse_capture_key(key)
