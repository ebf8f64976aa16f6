"""Connections that send nothing, or too slowly, do not keep others out."""

import contextlib
import socket
import threading
from collections.abc import Iterator

import h11
import pytest
import uvicorn
from skyloop_container import connections
from skyloop_container.predictions import MAX_BODY
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

OK = b"HTTP/1.1 200 OK"


async def refuse(_: Request) -> PlainTextResponse:
    return PlainTextResponse("no")  # without reading the body


async def read(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"{len(await request.body())} no")


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A server whose connections have half a second for their headers, and of which there may be three."""
    monkeypatch.setattr(connections, "HEADER_SECONDS", 0.5)
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 3)
    app = Starlette(routes=[Route("/", refuse, methods=["GET", "POST"]), Route("/read", read, methods=["POST"])])
    server = uvicorn.Server(uvicorn.Config(app, http=connections.BoundedProtocol, log_level="warning"))
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    yield listener.getsockname()[1]
    server.should_exit = True
    thread.join(20)
    assert not thread.is_alive()


def connect(port: int, sent: bytes = b"") -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=20)
    connection.sendall(sent)
    return connection


def closed(connection: socket.socket) -> bool:
    """Whether the server ends the connection, without a word or with a reset, before the socket's own time-out."""
    try:
        return connection.recv(100) == b""
    except ConnectionError:
        return True


def answer(connection: socket.socket, request: bytes = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n") -> bytes:
    """The status line of the whole answer to a request."""
    connection.sendall(request)
    received = b""
    while not received.endswith(b"no"):
        received += connection.recv(4096) or b"no"
    return received.partition(b"\r\n")[0]


@pytest.mark.parametrize("sent", [b"", b"POST / HT", b"POST / HTTP/1.1\r\nHost: x\r\nX-Slow: "])
def test_headers_that_do_not_come_end_the_connection(port: int, sent: bytes) -> None:
    assert closed(connect(port, sent))


def test_bytes_that_drip_do_not_prolong_it(port: int) -> None:
    connection = connect(port, b"GET / HTTP/1.1\r\nX-Drip: ")
    connection.settimeout(0.1)  # the pace: well below the time for headers

    def drip_until_closed() -> None:
        for _ in range(200):
            connection.sendall(b"x")
            with contextlib.suppress(TimeoutError):
                if connection.recv(100) == b"":
                    raise ConnectionError

    with pytest.raises(ConnectionError):
        drip_until_closed()


def test_a_body_that_nobody_wants_ends_the_connection(port: int) -> None:
    connection = connect(port)
    assert answer(connection, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nbegun") == OK
    assert closed(connection)


def test_a_connection_serves_several_requests(port: int) -> None:
    connection = connect(port)
    whole = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nwhole"
    assert [answer(connection), answer(connection), answer(connection, whole), answer(connection)] == [OK] * 4


def test_the_oldest_idle_connection_gives_way(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEADER_SECONDS", 60)
    held = [connect(port) for _ in range(3)]
    assert answer(held[2]) == OK
    assert answer(connect(port)) == OK
    assert closed(held[0])
    assert answer(held[1]) == OK


CHUNKED = b"POST /read HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunks(size: int, count: int) -> bytes:
    return b"%x\r\n%b\r\n" % (size, b"x" * size) * count


@pytest.mark.parametrize("before", [b"", chunks(2**20, 4)])
@pytest.mark.parametrize("size", [1, 129, 900])
def test_a_body_in_very_many_small_chunks_is_refused(port: int, size: int, before: bytes) -> None:
    """Each takes as long as thousands of bytes, in which nobody else is heard; large ones do not pay for them."""
    connection = connect(port)
    many = connections.MANY_CHUNKS * connections.SMALL_CHUNK // (connections.SMALL_CHUNK - size) + 1
    assert b" 400 " in answer(connection, CHUNKED + before + chunks(size, many))


class Sent:
    """A reader of one chunked body. `parts` are those that it has taken."""

    def __init__(self) -> None:
        self.conn = connections._BoundedChunks(h11.SERVER)
        self.parts = self.bytes = self.burst = 0
        self.read(CHUNKED)

    def read(self, sent: bytes) -> None:
        """As uvicorn does. Raises h11.RemoteProtocolError."""
        self.conn.receive_data(sent)
        self.burst = 0
        while (event := self.conn.next_event()) is not h11.NEED_DATA:
            if isinstance(event, h11.Data):
                self.parts, self.bytes, self.burst = self.parts + 1, self.bytes + len(event.data), self.burst + 1


@pytest.mark.parametrize("size", [connections.SMALL_CHUNK, 1024, 4096, 2**16])
@pytest.mark.parametrize("alternating", [False, True])
def test_the_most_parts_that_a_body_may_have_are_few(size: int, alternating: bool) -> None:
    """Counted, not timed: a part takes some ten microseconds of the loop, with a body of any size."""
    sent = Sent()
    large = chunks(size, 2**22 // size)
    while sent.bytes < MAX_BODY:
        sent.read(large)
        if alternating and (most := sent.conn._credit // connections.SMALL_CHUNK):  # all that it is good for, at once
            sent.read(chunks(1, most))
            assert sent.burst <= connections.MANY_CHUNKS
    assert sent.parts <= connections.MANY_CHUNKS + sent.bytes / connections.SMALL_CHUNK


@pytest.mark.parametrize("size", [100, 536, 1460])
def test_a_body_that_a_network_cuts_is_taken(size: int) -> None:
    sent, body = Sent(), chunks(1024, 2**22 // 1024)
    for at in range(0, len(body), size):
        sent.read(body[at : at + size])
    assert sent.bytes == 2**22


def test_a_body_in_usual_chunks_is_taken(port: int) -> None:
    connection = connect(port)
    body = (
        chunks(1, connections.MANY_CHUNKS // 2)
        + chunks(1024, 2000)
        + b"2000\r\n%b\r\n" % (b"x" * 0x2000) * 100
        + b"0\r\n\r\n"
    )
    for _ in range(2):
        assert answer(connection, CHUNKED + body) == OK
