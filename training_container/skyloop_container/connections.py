"""Connections that do not hold the endpoint up: uvicorn's HTTP protocol, with a time for headers and a limit of number.

uvicorn closes a connection that is idle after an answer, but waits for ever for the headers of a request, and for the
rest of a body that the application did not want. It takes each chunk of a body by itself, however small, which takes
longer than thousands of bytes do.
"""

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEADER_SECONDS = 10.0  # in which a connection must have sent the headers of a request
MAX_CONNECTIONS = 256
SMALL_CHUNK = 1000  # bytes that a chunk must have: ordinary clients send 1 KB to 64 KB
MANY_CHUNKS = 500  # that may have none, at the begin of a body or after large ones


class _BoundedChunks(h11.Connection):
    """A reader of requests that refuses a body in very many small chunks.

    Each costs the bytes that it must have, and brings those that it has. What large ones bring is kept up to a limit,
    or they would pay for very many at once, in which nobody else is heard. What a network cuts is nobody's fault, and
    comes in larger parts where the loop is busy.
    """

    _credit = 0

    def next_event(self) -> Any:  # noqa: ANN401  # as in h11
        """Raises RemoteProtocolError for what is no request of usual form."""
        event = super().next_event()
        if isinstance(event, h11.Request):
            self._credit = MANY_CHUNKS * SMALL_CHUNK
        elif isinstance(event, h11.Data):
            self._credit = min(MANY_CHUNKS * SMALL_CHUNK, self._credit + len(event.data))
            self._credit -= SMALL_CHUNK if event.chunk_start else 0
            if self._credit < 0:
                raise h11.RemoteProtocolError("a body in very many small chunks")
        return event


class BoundedProtocol(H11Protocol):
    """One connection. The oldest that waits for a request gives way where there are too many."""

    _opened = 0.0
    _deadline: asyncio.TimerHandle | None = None

    def __init__(self, *arguments: Any, **named: Any) -> None:  # noqa: ANN401  # as in uvicorn
        """As uvicorn's, but for what reads the bytes."""
        super().__init__(*arguments, **named)
        self.conn = _BoundedChunks(h11.SERVER, self.conn._max_incomplete_event_size)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._opened = self.loop.time()
        self._set_deadline()
        if len(self.connections) > MAX_CONNECTIONS:
            others = [each for each in self.connections if isinstance(each, BoundedProtocol) and each.waits]
            min(others, key=lambda each: each._opened).transport.abort()

    @property
    def waits(self) -> bool:
        """Whether no request is under way."""
        return self.cycle is None or self.cycle.response_complete

    def data_received(self, data: bytes) -> None:
        """Take bytes; those that begin a request must soon be its whole headers."""
        super().data_received(data)
        if self.waits:
            self._set_deadline()
        else:
            self._forget_deadline()

    def on_response_complete(self) -> None:
        """Wait for the next request, or for the rest of one that was answered before it had come."""
        super().on_response_complete()
        if self.waits and self.conn.their_state is h11.SEND_BODY:
            self._set_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._forget_deadline()
        super().connection_lost(exc)

    def _set_deadline(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(HEADER_SECONDS, self.transport.abort)

    def _forget_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
