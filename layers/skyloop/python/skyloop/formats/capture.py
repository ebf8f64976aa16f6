"""Data capture: the JSON Lines files in which a SageMaker endpoint keeps requests and answers.

Format: https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-data-capture-endpoint.html. One line per request:
`captureData.endpointInput` / `endpointOutput` {observedContentType, mode, data, encoding}, `eventMetadata` {eventId,
inferenceId?, inferenceTime}. Either part is missing when it was not captured (or the model did not answer). Keys are
`<prefix>/<endpoint>/<variant>/yyyy/mm/dd/hh/<file>.jsonl`, in UTC.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from skyloop.documents import parse_json
from skyloop.layout import CAPTURES

_KEY = re.compile(
    rf"{CAPTURES}(?P<endpoint>[^/]+)/(?P<variant>[^/]+)/(?P<hour>\d{{4}}/\d{{2}}/\d{{2}}/\d{{2}})/[^/]+\.jsonl"
)


class CaptureUnreadable(ValueError):
    """A capture line, or a part of one, is not what SageMaker writes."""


@dataclass(frozen=True)
class CaptureFile:
    """What a capture file's key says. `hour` is the start of the hour it belongs to, UTC."""

    key: str
    endpoint: str
    variant: str
    hour: datetime


@dataclass(frozen=True)
class Part:
    """Request or answer. `data` is as captured: text, or text in `encoding` BASE64; JSON may be there as a value."""

    content_type: str
    encoding: str
    data: object

    def body(self) -> bytes:
        """The bytes that went over the wire. Raises CaptureUnreadable for BASE64 that is none."""
        if self.encoding == "BASE64":
            if not isinstance(self.data, str):
                raise CaptureUnreadable("the captured data is not BASE64, which is text")
            try:
                return base64.b64decode(self.data, validate=True)
            except ValueError as error:
                raise CaptureUnreadable(f"the captured data is not BASE64: {error}") from error
        if isinstance(self.data, str):
            return self.data.encode()
        return json.dumps(self.data, ensure_ascii=False).encode()

    def json(self) -> object:
        """The body as JSON. Raises CaptureUnreadable."""
        if not isinstance(self.data, str):
            return self.data
        try:
            return parse_json(self.body())
        except ValueError as error:
            raise CaptureUnreadable(f"the captured data is not JSON: {error}") from error


@dataclass(frozen=True)
class CaptureRecord:
    """One request. `inference_id` is what the caller named it, if anything."""

    event_id: str
    inference_id: str | None
    inference_time: datetime
    input: Part | None
    output: Part | None


@dataclass(frozen=True)
class Problem:
    """A line that could not be used; `line` counts from 1."""

    line: int
    reason: str


def parse_capture_key(key: str) -> CaptureFile:
    """What the key of a capture file says. Raises CaptureUnreadable for any other object."""
    found = _KEY.fullmatch(key)
    try:
        hour = datetime.strptime(found["hour"], "%Y/%m/%d/%H").replace(tzinfo=UTC) if found else None
    except ValueError:
        hour = None
    if found is None or hour is None:
        raise CaptureUnreadable(f"{key!r} is not the key of a capture file")
    return CaptureFile(key, found["endpoint"], found["variant"], hour)


def parse_capture(lines: Iterable[bytes]) -> Iterator[CaptureRecord | Problem]:
    """Every line of a capture file, as a record or as the problem with it; empty lines are skipped."""
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            yield _record(parse_json(line))
        except CaptureUnreadable as error:
            yield Problem(number, str(error))
        except ValueError as error:
            yield Problem(number, f"the line is not JSON: {error}")


def _record(line: object) -> CaptureRecord:
    if not isinstance(line, dict) or not isinstance(line.get("eventMetadata"), dict):
        raise CaptureUnreadable("the line has no eventMetadata")
    metadata = line["eventMetadata"]
    event_id, time = metadata.get("eventId"), metadata.get("inferenceTime")
    if not isinstance(event_id, str) or not event_id:
        raise CaptureUnreadable("the line has no eventId")
    data = line.get("captureData")
    data = data if isinstance(data, dict) else {}
    return CaptureRecord(
        event_id=event_id,
        inference_id=metadata.get("inferenceId") or None,
        inference_time=_time(time),
        input=_part(data.get("endpointInput")),
        output=_part(data.get("endpointOutput")),
    )


def _time(text: object) -> datetime:
    if not isinstance(text, str):
        raise CaptureUnreadable(f"inferenceTime {text!r} is not a time")
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise CaptureUnreadable(f"inferenceTime {text!r} is not a time") from error
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _part(part: object) -> Part | None:
    if not isinstance(part, dict) or part.get("data") in (None, ""):
        return None
    # SageMaker writes CSV, JSON or BASE64; what it does not say was text.
    encoding = str(part.get("encoding") or "CSV").upper()
    return Part(str(part.get("observedContentType") or "application/octet-stream"), encoding, part["data"])
