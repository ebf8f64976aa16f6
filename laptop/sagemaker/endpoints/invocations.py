"""invoke_endpoint: choose a variant, a fleet and an instance, pass the request on, respond as SageMaker's runtime does.

Sources: API reference of InvokeEndpoint (headers, errors), "Custom Inference Code with Hosting Services" (60 s, /ping,
/invocations), "Test models with production variants" (weights and TargetVariant). The texts of ModelError are those
that callers report from AWS.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import http.client
import json
import random
import re
import socket
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from laptop.sagemaker.core.context import Context
from laptop.sagemaker.core.resources import Kind
from laptop.sagemaker.endpoints import capture, metrics
from laptop.sagemaker.endpoints.instances import Fleet, Instance, VariantFleet

BODY_LIMIT_BYTES = 25 * 1024 * 1024
TIMEOUT_SECONDS = 60.0
_ATTRIBUTES = "x-amzn-sagemaker-custom-attributes"
_INFERENCE_ID = "x-amzn-sagemaker-inference-id"
_TARGET_VARIANT = "x-amzn-sagemaker-target-variant"
_UNSUPPORTED_HEADERS = (
    "x-amzn-sagemaker-target-model",
    "x-amzn-sagemaker-target-container-hostname",
    "x-amzn-sagemaker-inference-component",
    "x-amzn-sagemaker-session-id",
    "x-amzn-sagemaker-enable-explanations",
)
# botocore's model of InvokeEndpoint: the member in a header, its length, and its pattern, which in all is ASCII.
_TEXTS = {
    "accept": ("accept", 1024, r"\p{ASCII}*"),
    "content-type": ("contentType", 1024, r"\p{ASCII}*"),
    _ATTRIBUTES: ("customAttributes", 1024, r"\p{ASCII}*"),
    _INFERENCE_ID: ("inferenceId", 64, r"\A\S[\p{Print}]*\z"),
}
_QUICK_ACK = getattr(socket, "TCP_QUICKACK", None)  # Linux
_QUEUE = 128  # requests that run or wait for a thread, each with its body
_NEVER_SERVED = ("Creating", "Failed", "Deleting")
_PATH = re.compile(r"^/endpoints/([^/]+)/invocations$")

Reply = tuple[int, dict[str, str], bytes]


@dataclass
class Traffic:
    """Who serves an endpoint now. `shares` is the part of each variant's traffic that goes to `green` (0..1)."""

    name: str
    fleet: Fleet
    weights: dict[str, float]
    capture: capture.Capture
    green: Fleet | None = None
    shares: Mapping[str, float] = field(default_factory=dict)
    chance: random.Random = field(default_factory=random.Random)

    def choose(self, target: str | None) -> tuple[Fleet, VariantFleet]:
        """The variant (by weight, or the target) and the fleet (by share) for one request."""
        variant = target or choose_variant(self.weights, self.chance)
        green, share, fleet = self.green, self.shares.get(variant, 0.0), self.fleet
        if green is not None and share > 0 and self.chance.random() < share:
            fleet = green
        return fleet, fleet.variants[variant]


def weights(config: Mapping[str, Any]) -> dict[str, float]:
    """The weight of each variant of an endpoint config's record."""
    return {variant["VariantName"]: variant["InitialVariantWeight"] for variant in config["ProductionVariants"]}


def choose_variant(shares: Mapping[str, float], chance: random.Random) -> str:
    """A variant with probability weight / sum of weights; evenly when all weights are 0."""
    names = list(shares)
    if len(names) == 1:
        return names[0]
    return chance.choices(names, list(shares.values()) if sum(shares.values()) else None)[0]


class Invocations:
    """The runtime of one cloud: who serves each endpoint, and the requests to them."""

    def __init__(self, context: Context, endpoints: Kind, collector: metrics.Metrics) -> None:
        self._context = context
        self._endpoints = endpoints
        self._metrics = collector
        self._traffic: dict[str, Traffic] = {}
        # Requests wait for containers in threads of their own, so that a slow model does not slow down the rest of the
        # cloud.
        self._pool = concurrent.futures.ThreadPoolExecutor(max_workers=64, thread_name_prefix="invoke")
        self._queue = asyncio.Semaphore(_QUEUE)

    def open_to(self, traffic: Traffic) -> None:
        """Let an endpoint be invoked."""
        self._traffic[traffic.name] = traffic

    def close(self, name: str) -> None:
        """Stop an endpoint being invoked; unknown names are ignored."""
        self._traffic.pop(name, None)

    def stop(self) -> None:
        """Take no more requests."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def handle_request(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes, query: Any
    ) -> Reply:
        """Answer one request of the SageMaker runtime; the signature is the one MiniStack gives a service."""
        match = _PATH.match(path)
        if match is None or method != "POST":
            return _error(501, "InternalFailure", "Only InvokeEndpoint is implemented by the local SageMaker runtime.")
        if self._queue.locked():
            return _error(503, "ServiceUnavailable", "There is no room for more requests. Try your call again.")
        loop = asyncio.get_running_loop()
        async with self._queue:
            return await loop.run_in_executor(self._pool, self.invoke, unquote(match.group(1)), dict(headers), body)

    def invoke(self, endpoint: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """Run one InvokeEndpoint (blocking). `headers` have lower-case names. Returns status, headers, body."""
        began = time.perf_counter()
        at = time.time()
        traffic = self._traffic.get(endpoint)
        if traffic is None:
            if (record := self._endpoints.find(endpoint)) and record["EndpointStatus"] not in _NEVER_SERVED:
                return _error(503, "ServiceUnavailable", f"Endpoint {endpoint} is being brought back: try again.")
            account = self._context.account_id
            return _error(400, "ValidationError", f"Endpoint {endpoint} of account {account} not found.")
        if refusal := _refusal(traffic, headers, body):
            return _error(400, "ValidationError", refusal)
        fleet, variant = traffic.choose(headers.get(_TARGET_VARIANT))
        instance = variant.pick(traffic.chance)
        if instance is None:
            self._measure(traffic, fleet, variant, 0, 0.0, began)
            return _error(503, "ServiceUnavailable", f"No instance of production variant {variant.name} is available.")

        model_began = time.perf_counter()
        answer = _forward(instance, headers, body)
        model_seconds = time.perf_counter() - model_began
        status = 0 if answer.lost or answer.problem else answer.status
        self._measure(traffic, fleet, variant, status, model_seconds, began)
        if not 200 <= answer.status < 300 or answer.problem:
            return self._model_error(endpoint, answer)
        traffic.capture.record(
            variant.name,
            fleet.config.get("DataCaptureConfig"),
            capture.Exchange(
                event_id=str(uuid.uuid4()),
                at=at,
                input_type=headers.get("content-type"),
                input_body=body,
                output_type=answer.content_type,
                output_body=answer.body,
                inference_id=headers.get(_INFERENCE_ID),
                custom_attributes=headers.get(_ATTRIBUTES),
            ),
        )
        reply = {
            "Content-Type": answer.content_type or "application/octet-stream",
            "x-Amzn-Invoked-Production-Variant": variant.name,
            "x-amzn-RequestId": str(uuid.uuid4()),
        }
        if answer.custom_attributes:
            reply["X-Amzn-SageMaker-Custom-Attributes"] = answer.custom_attributes
        return 200, reply, answer.body

    def _measure(
        self, traffic: Traffic, fleet: Fleet, variant: VariantFleet, status: int, model_seconds: float, began: float
    ) -> None:
        overhead = time.perf_counter() - began - model_seconds
        values = metrics.of_request(status, model_seconds, overhead, len(variant.instances))
        self._metrics.record(traffic.name, variant.name, fleet.config["EndpointConfigName"], values)

    def _model_error(self, endpoint: str, answer: _ContainerResponse) -> Reply:
        """ModelError: HTTP 424 with the container's own status and message inside."""
        group = f"/aws/sagemaker/Endpoints/{endpoint}"
        side = "client" if 400 <= answer.status < 500 else "server"
        said = answer.problem if answer.status == 0 else answer.body.decode("utf-8", "replace")
        if answer.problem == "unreadable":
            what = f"Received {side} error ({answer.status}) from primary and could not load the entire response body."
        else:
            what = f'Received {side} error ({answer.status}) from primary with message "{said}".'
        message = (
            f"{what} See https://{self._context.region}.console.aws.amazon.com/cloudwatch/home?region={self._context.region}"
            f"#logEventViewer:group={group} in account {self._context.account_id} for more information."
        )
        return _error(
            424,
            "ModelError",
            message,
            ErrorCode="CLIENT_ERROR_FROM_MODEL" if side == "client" else "INTERNAL_FAILURE_FROM_MODEL",
            LogStreamArn=f"arn:aws:logs:{self._context.region}:{self._context.account_id}:log-group:{group}",
            OriginalMessage=said,
            OriginalStatusCode=answer.status,
        )


def _refusal(traffic: Traffic, headers: Mapping[str, str], body: bytes) -> str | None:
    if len(body) > BODY_LIMIT_BYTES:
        return _constraint("body", f"Member must have length less than or equal to {BODY_LIMIT_BYTES}")
    for name in _UNSUPPORTED_HEADERS:
        if name in headers:
            return f"Header {name} is not implemented by the local SageMaker runtime."
    for name, (member, longest, pattern) in _TEXTS.items():
        text = headers.get(name, "")
        if len(text) > longest:
            return _constraint(member, f"Member must have length less than or equal to {longest}")
        if not text.isascii():
            return _constraint(member, f"Member must satisfy regular expression pattern: {pattern}")
    target = headers.get(_TARGET_VARIANT)
    if target is not None and target not in traffic.weights:
        # The kind of error is documented; its text is not, and was not seen.
        return f"Variant {target} of endpoint {traffic.name} not found."
    return None


def _constraint(member: str, rule: str) -> str:
    return f"1 validation error detected: Value at '{member}' failed to satisfy constraint: {rule}"


@dataclass
class _ContainerResponse:
    """What came back from a container. `status` 0: nothing did in time, and `problem` says so.

    lost: the connection broke, or what came is no HTTP; SageMaker calls that a 500.
    """

    status: int
    body: bytes = b""
    content_type: str | None = None
    custom_attributes: str | None = None
    problem: str | None = None
    lost: bool = False


_TIMED_OUT = (
    "Your invocation timed out while waiting for a response from container primary. Review the latency metrics for "
    "each container in Amazon CloudWatch, resolve the issue, and try again."
)
_PASSED_ON = {
    "content-type": "Content-Type",
    "accept": "Accept",
    _ATTRIBUTES: "X-Amzn-SageMaker-Custom-Attributes",
    _INFERENCE_ID: "X-Amzn-SageMaker-Inference-Id",
}


def _forward(instance: Instance, headers: Mapping[str, str], body: bytes) -> _ContainerResponse:
    passed = {name: headers[key] for key, name in _PASSED_ON.items() if key in headers}
    try:
        return _exchange(instance, passed, body)
    finally:
        instance.release()


def _exchange(instance: Instance, headers: dict[str, str], body: bytes) -> _ContainerResponse:
    connection, reused = _connection(instance)
    status = 0
    try:
        try:
            response = _send(connection, headers, body)
        except (http.client.RemoteDisconnected, ConnectionError):
            connection.close()
            if not reused:
                raise
            # The server closed an idle connection just now; the request never reached it.
            connection = http.client.HTTPConnection("127.0.0.1", instance.port, timeout=TIMEOUT_SECONDS)
            response = _send(connection, headers, body)
        status = response.status
        content = response.read(BODY_LIMIT_BYTES + 1)
    except TimeoutError:
        connection.close()
        return _ContainerResponse(0, problem=_TIMED_OUT)
    except (OSError, http.client.HTTPException):
        connection.close()
        return _ContainerResponse(status, problem="unreadable") if status else _ContainerResponse(500, lost=True)
    if len(content) > BODY_LIMIT_BYTES or response.length:  # too long, or broken off, which read(n) does not report
        connection.close()
        return _ContainerResponse(status, problem="unreadable")
    if response.will_close:
        connection.close()
    else:
        instance.connections.append(connection)
    return _ContainerResponse(status, content, response.getheader("Content-Type"), response.getheader(_ATTRIBUTES))


def _send(connection: http.client.HTTPConnection, headers: dict[str, str], body: bytes) -> http.client.HTTPResponse:
    connection.request("POST", "/invocations", body, headers)
    if _QUICK_ACK is not None:
        # A server that writes its headers and its body in two pieces, as Python's own does, would wait 40 ms between
        # them for the acknowledgement that this side delays.
        connection.sock.setsockopt(socket.IPPROTO_TCP, _QUICK_ACK, 1)
    return connection.getresponse()


def _connection(instance: Instance) -> tuple[http.client.HTTPConnection, bool]:
    with contextlib.suppress(IndexError):
        return instance.connections.pop(), True
    return http.client.HTTPConnection("127.0.0.1", instance.port, timeout=TIMEOUT_SECONDS), False


def _error(status: int, code: str, message: str, **more: Any) -> Reply:
    headers = {"Content-Type": "application/json", "x-amzn-ErrorType": code, "x-amzn-RequestId": str(uuid.uuid4())}
    return status, headers, json.dumps({"Message": message, **more}).encode("utf-8")
