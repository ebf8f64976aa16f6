"""Data capture: what SageMaker writes to S3 about the requests of an endpoint.

Sources: "Capture data from real-time endpoint" (Model Monitor) for the line and the key
(`<DestinationS3Uri>/<endpoint>/<variant>/yyyy/mm/dd/hh/MM-SS-mmm-<uuid>.jsonl`, one line per request), the API
reference of DataCaptureConfig for sampling, options and content types.
"""

from __future__ import annotations

import base64
import datetime as dt
import json
import logging
import random
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from laptop.documents import Document

log = logging.getLogger(__name__)

# AWS does not say how long SageMaker buffers. With these limits drift shows soon, and an object is worth its event.
FLUSH_SECONDS = 1.0
FLUSH_LINES = 100
FLUSH_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class Exchange:
    """One request and its response, as invoke_endpoint saw them. `at` is epoch seconds."""

    event_id: str
    at: float
    input_type: str | None
    input_body: bytes
    output_type: str | None
    output_body: bytes
    inference_id: str | None = None
    custom_attributes: str | None = None


def encoding(content_type: str | None, config: Mapping[str, Any]) -> str:
    """How a body is written: `JSON`, `CSV` (both as text) or `BASE64`.

    Base64 unless CaptureContentTypeHeader names the content type (parameters such as charset do not count).
    """
    bare = (content_type or "").split(";")[0].strip().lower()
    headers = config.get("CaptureContentTypeHeader") or {}
    for name, member in (("JSON", "JsonContentTypes"), ("CSV", "CsvContentTypes")):
        if bare in (listed.lower() for listed in headers.get(member, [])):
            return name
    return "BASE64"


def _side(mode: str, content_type: str | None, body: bytes, config: Mapping[str, Any]) -> Document:
    written = encoding(content_type, config)
    if written != "BASE64":
        try:
            text = body.decode("utf-8")
        except UnicodeDecodeError:
            written = "BASE64"
    if written == "BASE64":
        text = base64.b64encode(body).decode("ascii")
    return {"observedContentType": content_type, "mode": mode, "data": text, "encoding": written}


def line(exchange: Exchange, config: Mapping[str, Any]) -> str:
    """The JSON line of one exchange, without its newline; holds the sides that CaptureOptions ask for."""
    modes = {option["CaptureMode"] for option in config["CaptureOptions"]}
    captured = {}
    if modes & {"Input", "InputAndOutput"}:
        captured["endpointInput"] = _side("INPUT", exchange.input_type, exchange.input_body, config)
    if modes & {"Output", "InputAndOutput"}:
        captured["endpointOutput"] = _side("OUTPUT", exchange.output_type, exchange.output_body, config)
    metadata: Document = {"eventId": exchange.event_id}
    if exchange.custom_attributes:
        metadata["customAttributes"] = [exchange.custom_attributes]
    if exchange.inference_id:
        metadata["inferenceId"] = exchange.inference_id
    metadata["inferenceTime"] = dt.datetime.fromtimestamp(exchange.at, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    record = {"captureData": captured, "eventMetadata": metadata, "eventVersion": "0"}
    return json.dumps(record, ensure_ascii=False, separators=(",", ":"))


def location(destination: str, endpoint: str, variant: str, at: float, unique: str) -> tuple[str, str]:
    """Bucket and key of a capture file that was begun at `at` (epoch seconds, written in UTC)."""
    bucket, _, prefix = destination.removeprefix("s3://").partition("/")
    moment = dt.datetime.fromtimestamp(at, dt.UTC)
    name = f"{moment:%M-%S}-{moment.microsecond // 1000:03d}-{unique}.jsonl"
    return bucket, "/".join(filter(None, [prefix.strip("/"), endpoint, variant, f"{moment:%Y/%m/%d/%H}", name]))


@dataclass
class _Buffer:
    began: float
    destination: str
    lines: list[str] = field(default_factory=list)
    size: int = 0


class Capture:
    """Samples, buffers and writes the exchanges of one endpoint. Safe across threads; never fails a request.

    `put(bucket, key, body)` stores one object. `flush(everything=True)` writes what is left.
    """

    def __init__(
        self,
        endpoint: str,
        put: Callable[[str, str, bytes], None],
        *,
        clock: Callable[[], float] = time.time,
        chance: random.Random | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._put = put
        self._clock = clock
        self._chance = chance or random.Random()
        self._buffers: dict[tuple[str, str], _Buffer] = {}
        self._lock = threading.Lock()

    def record(self, variant: str, config: Mapping[str, Any] | None, exchange: Exchange) -> None:
        """Keep one exchange if capture is on and the sampling percentage picks it."""
        if not config or not config.get("EnableCapture", True):
            return
        if self._chance.random() * 100 >= config["InitialSamplingPercentage"]:
            return
        text = line(exchange, config)
        full = None
        with self._lock:
            key = (variant, config["DestinationS3Uri"])
            buffer = self._buffers.setdefault(key, _Buffer(self._clock(), config["DestinationS3Uri"]))
            buffer.lines.append(text)
            buffer.size += len(text)
            if len(buffer.lines) >= FLUSH_LINES or buffer.size >= FLUSH_BYTES:
                full = self._buffers.pop(key)
        if full:
            self._write(variant, full)

    def flush(self, *, everything: bool = False) -> int:
        """Write the buffers that are old enough, or all of them; returns how many objects were written."""
        now = self._clock()
        with self._lock:
            due = [key for key, buffer in self._buffers.items() if everything or now - buffer.began >= FLUSH_SECONDS]
            taken = [(variant, self._buffers.pop((variant, to))) for variant, to in due]
        for variant, buffer in taken:
            self._write(variant, buffer)
        return len(taken)

    def _write(self, variant: str, buffer: _Buffer) -> None:
        bucket, key = location(buffer.destination, self._endpoint, variant, buffer.began, str(uuid.uuid4()))
        try:
            self._put(bucket, key, ("\n".join(buffer.lines) + "\n").encode("utf-8"))
        except Exception:
            # As on AWS, a destination that cannot be written loses the capture, not the request.
            log.exception("capture of endpoint %s could not be written to s3://%s/%s", self._endpoint, bucket, key)
