"""Clients that take their time, on a real server: those who hold what they were not given, and those who may."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from hypercorn.config import Config

from laptop.door import connections, door
from laptop.ministack_patches import authorization
from tests.unit.laptop.door import conftest
from tests.unit.laptop.door.conftest import KEYS, Request, signed

SOON = 20.0  # seconds in which what must come to an end comes to it, on a machine that does other things too

Reader, Writer = asyncio.StreamReader, asyncio.StreamWriter


class Inside:
    """Takes the whole body, then waits for `release`, then answers."""

    def __init__(self) -> None:
        self.received = b""
        self.begun = asyncio.Event()
        self.release = asyncio.Event()
        self.release.set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for step in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{step}.complete"})
            return
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return
            self.received += message["body"]
            if not message.get("more_body"):
                break
        self.begun.set()
        gone = asyncio.create_task(receive())  # a long poll looks whether its client is still there
        await asyncio.wait({gone, asyncio.create_task(self.release.wait())}, return_when=asyncio.FIRST_COMPLETED)
        assert not gone.done()
        gone.cancel()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})


@asynccontextmanager
async def served(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Inside]:
    inside = Inside()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setattr(conftest, "PORT", listener.getsockname()[1])
        config = Config()
        config.bind = [f"fd://{listener.detach()}"]
        config.graceful_timeout = 0.1
    guarded = door.Door(
        inside, KEYS, conftest.PORT, authorization.session_secret, authorization.caller, lambda *_: None
    )
    stop = asyncio.Event()
    server = asyncio.create_task(connections.serve_bounded(guarded, config, stop.wait))
    try:
        yield inside
    finally:
        stop.set()
        await server


def head(request: Request, length: int | None = None) -> bytes:
    size = b"content-length: %d\r\n" % (len(b"".join(request.body)) if length is None else length)
    lines = b"".join(b"%s: %s\r\n" % pair for pair in request.headers)
    return b"%s %s HTTP/1.1\r\n%s%s\r\n" % (request.method.encode(), request.target, lines, size)


async def connect(text: bytes = b"") -> tuple[Reader, Writer]:
    while True:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", conftest.PORT)
        except ConnectionRefusedError:
            await asyncio.sleep(0.01)
            continue
        writer.write(text)
        return reader, writer


async def rest(reader: Reader) -> bytes:
    """All that the server says until it closes the connection."""
    said = b""
    try:
        async with asyncio.timeout(SOON):
            while part := await reader.read(65536):
                said += part
    except ConnectionError:
        pass
    return said


async def answer(reader: Reader) -> bytes:
    async with asyncio.timeout(SOON):
        found = await reader.readuntil(b"\r\n\r\n")
    return found.split()[1]


def honest(body: bytes = b"body") -> Request:
    return signed("PUT", "/bucket/key", body)


def unhashed(body: bytes = b"body") -> Request:
    return signed("POST", "/", body, "dynamodb")


Steps = Callable[[Inside], Awaitable[None]]


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Callable[[Steps], None]:
    """Serve, with limits that a test can wait for, while something happens."""
    monkeypatch.setattr(connections, "HEAD_SECONDS", 1.2)
    monkeypatch.setattr(connections, "WAITING", 8)
    monkeypatch.setattr(door, "BODY_SECONDS", 1.2)
    monkeypatch.setattr(door, "BODY_PIECE", 100)

    def run(steps: Steps) -> None:
        async def main() -> None:
            async with served(monkeypatch) as inside:
                await steps(inside)

        asyncio.run(main())

    return run


async def drip(writer: Writer, text: bytes, pause: float = 0.02) -> None:
    for number in range(len(text)):
        writer.write(text[number : number + 1])
        await asyncio.sleep(pause)


def test_a_head_that_comes_byte_by_byte_is_not_waited_for(play) -> None:
    async def steps(inside: Inside) -> None:
        reader, writer = await connect()
        task = asyncio.create_task(drip(writer, b"GET /" + b"x" * 5000))
        assert await rest(reader) == b""
        assert not task.done()
        task.cancel()

    play(steps)


@pytest.mark.parametrize("request_of", [honest, unhashed])
@pytest.mark.parametrize("body", [b"", b"x" * 5000], ids=["nothing", "byte by byte"])
def test_a_body_that_does_not_come_is_not_waited_for(play, request_of: Callable[[bytes], Request], body: bytes) -> None:
    async def steps(inside: Inside) -> None:
        reader, writer = await connect(head(request_of(b"x" * 5000)))
        task = asyncio.create_task(drip(writer, body))
        said = await rest(reader)
        assert said.startswith(b"HTTP/1.1 400"), said
        assert b"RequestTimeout" in said
        assert not inside.begun.is_set()
        task.cancel()

    play(steps)


def test_what_cannot_be_let_in_is_answered_before_its_body_comes(play) -> None:
    def anonymous() -> Request:
        return replace(honest(), headers=tuple(pair for pair in honest().headers if pair[0] == b"Host"))

    def forged() -> Request:
        return replace(honest(), target=b"/bucket/other")

    async def steps(inside: Inside) -> None:
        for request in (anonymous(), forged()):
            reader, _ = await connect(head(request, 10**12))
            assert (await rest(reader)).startswith(b"HTTP/1.1 403")

    play(steps)


@pytest.mark.parametrize("request_of", [honest, unhashed])
def test_a_slow_upload_goes_on_as_long_as_it_gets_on(play, request_of: Callable[[bytes], Request]) -> None:
    async def steps(inside: Inside) -> None:
        body = bytes(range(256)) * 10
        reader, writer = await connect(head(request_of(body)))
        for number in range(0, len(body), 100):  # 2.6 s in all
            writer.write(body[number : number + 100])
            await asyncio.sleep(0.1)
        assert await answer(reader) == b"200"
        assert inside.received == body

    play(steps)


def test_a_long_answer_has_its_time_and_its_connection(play) -> None:
    async def steps(inside: Inside) -> None:
        inside.release.clear()
        request = honest()
        reader, _ = await connect(head(request) + request.body[0])
        await inside.begun.wait()
        others = [await connect() for _ in range(30)]
        await asyncio.sleep(1.5)
        inside.release.set()
        assert await answer(reader) == b"200"
        for _, writer in others:
            writer.close()

    play(steps)


def test_who_only_opens_connections_loses_them_and_keeps_nobody_out(play, monkeypatch: pytest.MonkeyPatch) -> None:
    async def steps(inside: Inside) -> None:
        monkeypatch.setattr(connections._Server.connections, "_most", 8)
        silent = [await connect(text) for text in (b"", b"GET / HT", head(unhashed(), 10**6), head(honest(), 9)) * 50]
        request = honest()
        reader, _ = await connect(head(request) + request.body[0])
        assert await answer(reader) == b"200"
        open_still = len(connections._Server.connections._waiting)
        assert open_still <= 8
        for _, writer in silent:
            writer.close()

    play(steps)


def test_an_answer_ends_whatever_still_waits_of_the_body(play) -> None:
    """A part of a body for each byte fills the queue between hypercorn and the application."""

    async def steps(inside: Inside) -> None:
        lines = b"PUT /bucket/key HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nTransfer-Encoding: chunked\r\n\r\n" % conftest.PORT
        reader, _ = await connect(lines + b"1\r\nx\r\n" * 2000)
        assert (await rest(reader)).startswith(b"HTTP/1.1 403")

    play(steps)


@pytest.mark.parametrize(
    "text",
    [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /_skyloop/health HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: Upgrade, HTTP2-Settings\r\n"
        b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
    ],
)
def test_http2_is_not_spoken(play, text: bytes) -> None:
    async def steps(inside: Inside) -> None:
        reader, _ = await connect(text % conftest.PORT if b"%d" in text else text)
        assert await answer(reader) in (b"200", b"400")

    play(steps)


def test_only_so_much_is_kept_before_a_signature_is_checked(play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "UNCHECKED_BYTES", 1000)

    async def steps(inside: Inside) -> None:
        for body, status in ((b"x" * 1000, b"200"), (b"x" * 1001, b"413")):
            reader, _ = await connect(head(unhashed(body)) + body)
            assert await answer(reader) == status
        body = b"x" * 100_000  # where the head says what the body is, it may have any length
        reader, _ = await connect(head(honest(body)) + body)
        assert await answer(reader) == b"200"

    play(steps)


def test_all_bodies_that_are_not_checked_yet_are_bounded_together() -> None:
    closed: list[str] = []
    found = connections.Connections(most=10, most_bytes=100)
    first, second, third = (
        connections.Connection(found, lambda name=name: closed.append(name)) for name in ("first", "second", "third")
    )
    known = connections.Connection(found, lambda: closed.append("known"))
    known.let_in()
    second.hold(60)
    first.hold(40)
    known.hold(1000)  # its requests are signed, and do not count
    assert closed == []
    third.hold(1)
    assert closed == ["first"]  # it waits longest
    first.end()
    second.release()
    third.hold(99)
    assert closed == ["first"]
