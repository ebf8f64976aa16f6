"""Invocations: servers that misbehave on the wire, and the choice of a variant."""

from __future__ import annotations

import asyncio
import json
import random
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from laptop.sagemaker.core.context import Context
from laptop.sagemaker.endpoints import capture, invocations, metrics
from laptop.sagemaker.endpoints.instances import Fleet, Instance, Launch, VariantFleet
from laptop.sagemaker.endpoints.kinds import Kinds


class NoLog:
    def write(self, line: bytes) -> None:
        """Nothing is run here."""

    def close(self) -> None:
        """Nor kept."""


@contextmanager
def server(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server on a free port that reads a request and lets `answer` do the rest, one connection after the other."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    answer(connection)

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def read_request(connection: socket.socket) -> bytes:
    """One request with a Content-Length; empty when the client is gone."""
    received = b""
    while b"\r\n\r\n" not in received:
        piece = connection.recv(65536)
        if not piece:
            return b""
        received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")]
    length = int(lengths[0].split(b":")[1])
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def instance(tmp_path: Path, port: int, name: str = "i-1") -> Instance:
    built = Instance(name, tmp_path / name, tmp_path, Launch(["true"], tmp_path, dict, 1.0), NoLog())  # type: ignore[arg-type]
    built.port = port
    built.ready.set()
    return built


@dataclass
class Serving:
    """The runtime of a cloud in which endpoint `e` can be opened over ports."""

    folder: Path
    published: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        context = Context(self.folder, "http://127.0.0.1:1", role_credentials=lambda _: {}, put_event=lambda _: None)
        self.kind = Kinds(context).endpoints
        self.collector = metrics.Metrics(lambda _, data: self.published.extend(data))
        self.runtime = invocations.Invocations(context, self.kind, self.collector)

    def open(self, *ports: int, strategy: str = "RANDOM") -> VariantFleet:
        """Serve the endpoint by an instance on each port."""
        instances = [instance(self.folder, port, f"i-{index}") for index, port in enumerate(ports)]
        variant = VariantFleet("v", lambda index: instances[index], 1.0, strategy, instances)
        config = {"EndpointConfigName": "c", "ProductionVariants": [{"VariantName": "v", "InitialVariantWeight": 1.0}]}
        fleet = Fleet(config, self.folder, {"v": variant})
        kept = capture.Capture("e", lambda *_: None)
        self.runtime.open_to(
            invocations.Traffic("e", fleet, invocations.weights(config), kept, chance=random.Random(1))
        )
        return variant

    def invoke(self, body: bytes = b"x") -> tuple[int, dict[str, str], Any]:
        status, headers, answer = self.runtime.invoke("e", {"content-type": "text/plain"}, body)
        return status, headers, json.loads(answer) if answer else None

    def counted(self) -> dict[str, Any]:
        """The sums of the metrics."""
        self.collector.flush()
        sets = [datum for datum in self.published if "StatisticValues" in datum]
        return {datum["MetricName"]: datum["StatisticValues"]["Sum"] for datum in sets}


@pytest.fixture
def endpoint(tmp_path: Path) -> Iterator[Serving]:
    serving = Serving(tmp_path)
    yield serving
    serving.runtime.stop()


def test_a_container_that_does_not_answer_in_time(endpoint: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invocations, "TIMEOUT_SECONDS", 0.1)
    released = threading.Event()

    def hang(connection: socket.socket) -> None:
        read_request(connection)
        released.wait(5)

    with server(hang) as port:
        endpoint.open(port)
        status, headers, answer = endpoint.invoke()
        released.set()
    assert (status, headers["x-amzn-ErrorType"], answer["OriginalStatusCode"]) == (424, "ModelError", 0)
    assert answer["Message"].startswith(
        'Received server error (0) from primary with message "Your invocation timed out while waiting for a response '
        "from container primary."
    )
    counted = endpoint.counted()
    assert (counted["Invocation5XXErrors"], counted["InvocationModelErrors"]) == (0, 1)


def test_a_container_that_breaks_off_in_the_body(endpoint: Serving) -> None:
    def break_off(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")

    with server(break_off) as port:
        endpoint.open(port)
        status, _, answer = endpoint.invoke()
    assert status == 424
    assert "from primary and could not load the entire response body" in answer["Message"]
    counted = endpoint.counted()
    assert (counted["Invocation5XXErrors"], counted["InvocationModelErrors"]) == (0, 1)


def test_a_container_that_hangs_up(endpoint: Serving) -> None:
    with server(lambda connection: read_request(connection) and None) as port:
        endpoint.open(port)
        status, _, answer = endpoint.invoke()
    assert (status, answer["OriginalStatusCode"]) == (424, 500)
    counted = endpoint.counted()  # the model answered nothing, so it answered no 5xx
    assert (counted["Invocation5XXErrors"], counted["InvocationModelErrors"]) == (0, 1)


def test_no_container_at_all(endpoint: Serving) -> None:
    variant = endpoint.open(1)
    variant.instances[0].ready.clear()
    status, headers, _ = endpoint.invoke()
    assert (status, headers["x-amzn-ErrorType"]) == (503, "ServiceUnavailable")
    assert endpoint.counted()["InvocationModelErrors"] == 1


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("Creating", (400, "ValidationError")),
        ("Failed", (400, "ValidationError")),
        ("SystemUpdating", (503, "ServiceUnavailable")),
        ("InService", (503, "ServiceUnavailable")),
    ],
)
def test_an_endpoint_that_is_being_brought_back_is_not_unknown(
    endpoint: Serving, status: str, expected: tuple[int, str]
) -> None:
    endpoint.kind.create({"EndpointName": "e", "EndpointStatus": status})
    answered, headers, _ = endpoint.invoke()
    assert (answered, headers["x-amzn-ErrorType"]) == expected


def test_requests_that_there_is_no_room_for_are_refused_at_once(
    endpoint: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()

    def hold(connection: socket.socket) -> None:
        read_request(connection)
        released.wait(60)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")

    async def three(room: int) -> list[int]:
        def ask() -> Any:
            return asyncio.create_task(endpoint.runtime.handle_request("POST", "/endpoints/e/invocations", {}, b"", {}))

        endpoint.runtime._queue = asyncio.Semaphore(room)
        held = [ask() for _ in range(room)]
        await asyncio.sleep(0)  # lets the tasks take their places
        refused = await ask()
        released.set()
        return [refused[0], *[(await task)[0] for task in held]]

    with server(hold) as port:
        endpoint.open(port)
        assert asyncio.run(three(2)) == [503, 200, 200]


def _ok(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")


def test_connections_are_kept_and_a_stale_one_costs_nobody_a_request(endpoint: Serving) -> None:
    connections = []

    def twice(connection: socket.socket) -> None:
        connections.append(connection)
        for _ in range(2):
            if read_request(connection):
                _ok(connection)

    with server(twice) as port:
        endpoint.open(port)
        assert [endpoint.invoke()[0] for _ in range(5)] == [200] * 5
    assert len(connections) == 3


def test_headers_go_both_ways(endpoint: Serving) -> None:
    seen: list[bytes] = []

    def echo(connection: socket.socket) -> None:
        seen.append(read_request(connection).lower())
        connection.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nX-Amzn-SageMaker-Custom-Attributes: back\r\n"
            b"Content-Length: 3\r\nConnection: close\r\n\r\nabc"
        )

    sent = {
        "content-type": "image/jpeg",
        "accept": "application/json",
        "x-amzn-sagemaker-custom-attributes": "there",
        "x-amzn-sagemaker-inference-id": "id-1",
        "authorization": "secret",
    }
    with server(echo) as port:
        endpoint.open(port)
        status, headers, body = endpoint.runtime.invoke("e", sent, b"picture")
    assert (status, body, headers["Content-Type"]) == (200, b"abc", "image/png")
    assert headers["X-Amzn-SageMaker-Custom-Attributes"] == "back"
    assert headers["x-Amzn-Invoked-Production-Variant"] == "v"
    for expected in (b"content-type: image/jpeg", b"accept: application/json", b"attributes: there", b"id: id-1"):
        assert expected in seen[0]
    assert b"secret" not in seen[0]
    assert seen[0].endswith(b"\r\n\r\npicture")


def test_least_outstanding_requests(tmp_path: Path, endpoint: Serving) -> None:
    variant = endpoint.open(1, 2, 3, strategy="LEAST_OUTSTANDING_REQUESTS")
    chance = random.Random(5)
    first = [variant.pick(chance) for _ in range(3)]
    assert {picked.name for picked in first if picked} == {"i-0", "i-1", "i-2"}
    assert first[1] is not None
    first[1].release()
    assert variant.pick(chance) is first[1]


def test_a_canary_takes_its_share(tmp_path: Path) -> None:
    def fleet(name: str) -> Fleet:
        return Fleet({"name": name}, tmp_path, {"v": VariantFleet("v", lambda index: instance(tmp_path, 1), 1.0)})

    traffic = invocations.Traffic("e", fleet("blue"), {"v": 1.0}, capture.Capture("e", lambda *_: None))
    traffic.chance = random.Random(3)
    traffic.green, traffic.shares = fleet("green"), {"v": 0.25}
    chosen = [traffic.choose(None)[0].config["name"] for _ in range(4000)]
    assert chosen.count("green") / 4000 == pytest.approx(0.25, abs=0.03)


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ({"a": 1.0}, {"a": 1.0}),
        ({"a": 3.0, "b": 1.0}, {"a": 0.75, "b": 0.25}),
        ({"a": 0.0, "b": 2.0}, {"a": 0.0, "b": 1.0}),
        ({"a": 0.0, "b": 0.0}, {"a": 0.5, "b": 0.5}),
        ({"a": 0.1, "b": 0.2, "c": 0.7}, {"a": 0.1, "b": 0.2, "c": 0.7}),
    ],
)
def test_variants_are_chosen_by_weight(weights: dict[str, float], expected: dict[str, float]) -> None:
    chance = random.Random(11)
    drawn = Counter(invocations.choose_variant(weights, chance) for _ in range(4000))
    assert {name: drawn[name] / 4000 for name in weights} == pytest.approx(expected, abs=0.03)
