"""The connections of the laptop cloud: how many there may be, and how long one may take, while nothing on it is signed.

Hypercorn accepts what comes, waits for a body without end and speaks HTTP/2 to who asks for it. Here a connection has
HEAD_SECONDS for the head of each request, and the door bounds the rest. Connections on which no request was let in yet
are few, and hold few bytes: when there are too many, the one that waits longest is closed. So who opens connections and
sends nothing, or little, loses them, and a client whose requests are signed always finds room. One on which a request
was let in is its client's, idle or not, and does not count.
"""

from __future__ import annotations

import resource
from collections.abc import Awaitable, Callable
from typing import Any

from hypercorn.asyncio import run, serve, tcp_server
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.config import Config
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.typing import ASGIFramework

STATE = "skyloop.connection"
"""In the `state` of an ASGI scope: the Connection that the request came by."""

HEAD_SECONDS = 75
WAITING = 256
HELD_BYTES = 256 * 1024 * 1024


class Connections:
    """Those on which nothing was let in yet, the one that waits longest first."""

    def __init__(self, most: int = WAITING, most_bytes: int = HELD_BYTES) -> None:
        """`most` of them stay open, and the bodies that they hold have `most_bytes` together."""
        self._most = most
        self._most_bytes = most_bytes
        self._waiting: dict[Connection, None] = {}

    def wait(self, connection: Connection) -> None:
        """A new one waits; where that is one too many, another is closed."""
        self._waiting[connection] = None
        while len(self._waiting) > self._most:
            self._close(next(iter(self._waiting)))

    def make_room(self) -> None:
        """Close those that wait longest, of those that hold bytes, until the rest is not too much."""
        while sum(each.held for each in self._waiting) > self._most_bytes:
            self._close(next(each for each in self._waiting if each.held))

    def _close(self, connection: Connection) -> None:
        self.remove(connection)
        connection.close()

    def remove(self, connection: Connection) -> None:
        """This one does not wait any more."""
        self._waiting.pop(connection, None)


class Connection:
    """One connection, which waits until the door lets in the first request."""

    def __init__(self, connections: Connections, close: Callable[[], None]) -> None:
        """`close` ends it at once."""
        self.close = close
        self.held = 0
        self._connections = connections
        connections.wait(self)

    def hold(self, count: int) -> None:
        """Count bytes that are kept of a request that is not let in yet."""
        self.held += count
        self._connections.make_room()

    def release(self) -> None:
        """None are kept any more."""
        self.held = 0

    def let_in(self) -> None:
        """A request was let in: it does not count any more, and is not closed."""
        self._connections.remove(self)

    def end(self) -> None:
        """It is closed."""
        self._connections.remove(self)


class _Http1(H11Protocol):
    """HTTP/1.1 only: in HTTP/2 one connection is a hundred, and nobody needs it here."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments[:9])  # without the protocol that TLS agreed on: there is no TLS

    async def _check_protocol(self, event: Any) -> None:
        """Change to no other protocol. A server may take no notice of an `Upgrade` (RFC 9110, 7.8)."""


class _Server(TCPServer):
    """A connection of hypercorn's, which tells of itself in the `state` of each request."""

    connections = Connections()

    async def run(self) -> None:
        connection = Connection(self.connections, self.writer.transport.abort)
        self.state = {**self.state, STATE: connection}
        try:
            await super().run()
        finally:
            connection.end()


async def serve_bounded(app: ASGIFramework, config: Config, stopped: Callable[[], Awaitable[None]]) -> None:
    """Serve an application with the limits above until `stopped` returns. Raises what hypercorn raises."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    _Server.connections = Connections(min(WAITING, files // 4))  # the rest is for what the cloud itself opens
    config.keep_alive_timeout = HEAD_SECONDS
    config.backlog = 2 * WAITING
    # Hypercorn has no settings for these two.
    run.TCPServer = _Server  # type: ignore[attr-defined]
    tcp_server.ProtocolWrapper = _Http1  # type: ignore[attr-defined, assignment]
    await serve(app, config, shutdown_trigger=stopped)
