"""The door around an application that notes what it was given, without a server."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from laptop.account import REGION, Keys
from laptop.door.connections import STATE, Connection, Connections
from laptop.door.door import Door
from laptop.ministack_patches import authorization

PORT = 4566
KEYS = Keys("AKIAOFTHISHOME", "secret")


@dataclass(frozen=True)
class Request:
    """As a server hands it over: bytes, and the body in the pieces in which it came."""

    method: str
    target: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    body: tuple[bytes, ...] = (b"",)

    @property
    def scope(self) -> dict[str, Any]:
        path, _, query = self.target.partition(b"?")
        return {
            "type": "http",
            "method": self.method,
            "path": path.decode("latin-1"),
            "raw_path": path,
            "query_string": query,
            "headers": [(name.lower(), value) for name, value in self.headers],
        }


def signed(method: str, target: str, body: bytes = b"", service: str = "s3", **headers: str) -> Request:
    """A request as botocore signs it; the names of headers have _ for -."""
    given = {"Host": f"127.0.0.1:{PORT}", **{name.replace("_", "-"): value for name, value in headers.items()}}
    request = AWSRequest(method, f"http://127.0.0.1:{PORT}{target}", headers=given, data=body)
    signer = S3SigV4Auth if service == "s3" else SigV4Auth
    signer(Credentials(KEYS.access_key_id, KEYS.secret_access_key), service, REGION).add_auth(request)
    return Request(
        method,
        target.encode(),
        tuple((name.encode(), value.encode()) for name, value in request.headers.items()),
        (body,),
    )


@dataclass
class Asked:
    """What came of one request: the answer, and whether the application got all of it."""

    status: int = 0
    body: bytes = b""
    let_in: bool = False
    answers: int = 0
    received: bytes = field(default=b"", repr=False)


def ask(request: Request) -> Asked:
    """Ask a door of this home; raises what the door raises."""
    asked = Asked()
    messages = [
        {"type": "http.request", "body": part, "more_body": number < len(request.body) - 1}
        for number, part in enumerate(request.body)
    ]

    async def receive() -> dict[str, Any]:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            asked.status = message["status"]
            asked.answers += 1
        else:
            asked.body += message.get("body", b"")

    async def inside(scope: Any, receive: Any, send: Any) -> None:
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return
            asked.received += message.get("body", b"")
            if not message.get("more_body"):
                break
        asked.let_in = True
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    door = Door(inside, KEYS, PORT, authorization.session_secret, authorization.caller, lambda *_: None)
    state = {STATE: Connection(Connections(), lambda: None)}
    asyncio.run(door({**request.scope, "state": state}, receive, send))
    return asked
