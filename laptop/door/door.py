"""The door of the laptop cloud: an ASGI application around another that lets in what is meant to come in.

A port of 127.0.0.1 is open to every program of this machine, and by way of the browser to every page on the web. So the
`Host` must be this machine (no DNS rebinding), a request that a page of another origin sends needs that origin in the
CORS rules of the bucket that it asks for, and whatever does something is signed with keys that only this home knows.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from xml.sax.saxutils import escape

from laptop.account import ACCOUNT_ID, Keys
from laptop.door import signatures
from laptop.door.signatures import Refused, Verifier

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]
Headers = dict[str, str]
SessionSecret = Callable[[str, str], str]
"""(access key, session token) -> secret of a session or user. Raises Refused."""
Cors = Callable[[str, str, Headers], tuple[int, Headers, bytes] | None]
"""(method, path, headers) -> the preflight's answer, or the CORS headers of an answer; None: not for this origin."""

HEALTH = "/_skyloop/health"
# What the emulator serves to its own tools, without a signature: nobody needs it here.
_INTERNAL = re.compile(r"/(_(?!skyloop/)|health$)")
_HOST = re.compile(r"(?:(?:[a-z0-9.-]+\.)?localhost|127\.0\.0\.1|\[::1\]):(\d+)")


class Door:
    """Lets requests through to `inside`, or answers them."""

    def __init__(self, inside: Application, keys: Keys, port: int, session_secret: SessionSecret, cors: Cors) -> None:
        """`port` is where the cloud listens; `session_secret` knows the keys that the cloud itself gave out."""
        self._inside = inside
        self._keys = keys
        self._port = port
        self._session_secret = session_secret
        self._cors = cors

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it in AWS's words."""
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._inside(scope, receive, send)
            return
        headers = _headers(scope)
        try:
            self._check_host(headers)
            cors = self._check_origin(scope, headers)
            if cors is not None and scope["method"] == "OPTIONS":
                await _answer(send, *cors)
                return
            body = _Body(receive)
            if scope["path"] != HEALTH:
                await self._check_signature(scope, headers, body)
            await self._inside(scope, body.receive, _without_wildcard(send, cors[1] if cors else {}))
            if body.refused:
                raise body.refused
        except Refused as refused:
            await _answer(send, refused.status, *_error(refused, headers))

    def _check_host(self, headers: Headers) -> None:
        match = _HOST.fullmatch(headers.get("host", "").lower())
        if match is None or int(match[1]) != self._port:
            raise Refused("AccessDenied", f"This cloud answers for 127.0.0.1:{self._port} only.")

    def _check_origin(self, scope: Message, headers: Headers) -> tuple[int, Headers, bytes] | None:
        origin = headers.get("origin")
        if origin is None or origin == f"http://{headers['host']}":
            return None
        allowed = self._cors(scope["method"], scope["path"], headers)
        if allowed is None:
            raise Refused("AccessForbidden", "CORSResponse: This CORS request is not allowed.")
        return allowed

    async def _check_signature(self, scope: Message, headers: Headers, body: _Body) -> None:
        if _INTERNAL.match(scope["path"]):
            raise Refused("AccessDenied", "Nothing is served here.")
        query = scope.get("query_string", b"").decode("latin-1")
        raw_path = scope["raw_path"].decode("latin-1")
        signature = signatures.parse(headers, query)
        if signature is None and (presigned := signatures.parse_v2(query)):
            secret = self._secret(presigned.access_key_id, presigned.token)
            presigned.check(scope["method"], raw_path, query, headers, secret)
            return
        if signature is None:
            raise Refused("MissingAuthenticationToken", "The request is not signed.")
        signatures.check_time(signature, datetime.datetime.now(datetime.UTC))
        verifier = Verifier(signature, self._secret(signature.access_key_id, signature.token))

        def check(payload_hash: str) -> None:
            verifier.check(scope["method"], raw_path, query, headers, payload_hash)

        word = signature.payload
        if signature.service == "s3" and signature.expires is not None:
            check(word or signatures.UNSIGNED)
        elif word in (signatures.UNSIGNED, signatures.UNSIGNED_CHUNKS):
            check(word)
        elif word.startswith(signatures.SIGNED_CHUNKS):
            check(word)
            verifier.chunks().check(await body.whole())
        elif word.startswith(signatures.STREAMING):
            raise Refused("NotImplemented", f"The payload {word} is not supported.", 501)
        elif word:
            check(word)
            body.expected_hash = word
        else:
            check(hashlib.sha256(await body.whole()).hexdigest())

    def _secret(self, access_key_id: str, token: str) -> str:
        # The account's number stands for the account's keys where the emulator makes clients of its own.
        if access_key_id in (self._keys.access_key_id, ACCOUNT_ID):
            if token:
                raise Refused("InvalidClientTokenId", "The security token included in the request is invalid.")
            return self._keys.secret_access_key
        return self._session_secret(access_key_id, token)


class _Body:
    """A request's body on its way in; its last bytes pass only if its hash is the one that was signed."""

    expected_hash: str | None = None
    refused: Refused | None = None

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._digest = hashlib.sha256()
        self._whole: bytes | None = None

    async def whole(self) -> bytes:
        """The body, read ahead of the application, which gets it all the same."""
        parts = []
        while True:
            message = await self._receive()
            if message["type"] != "http.request":
                raise Refused("IncompleteBody", "The request ended before its body did.", 400)
            parts.append(message.get("body", b""))
            if not message.get("more_body"):
                break
        self._whole = b"".join(parts)
        return self._whole

    async def receive(self) -> Message:
        """For the application."""
        if self._whole is not None:
            message: Message = {"type": "http.request", "body": self._whole}
            self._whole = None
            return message
        message = await self._receive()
        if self.expected_hash is None or message["type"] != "http.request":
            return message
        self._digest.update(message.get("body", b""))
        if message.get("more_body"):
            return message
        if self._digest.hexdigest() == self.expected_hash:
            self.expected_hash = None
            return message
        self.refused = Refused(
            "XAmzContentSHA256Mismatch",
            "The body is not the one whose SHA-256 the x-amz-content-sha256 header has.",
            400,
        )
        return {"type": "http.disconnect"}  # whoever gets an incomplete body does nothing


def _headers(scope: Message) -> Headers:
    headers: Headers = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("utf-8", "surrogateescape")
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    return headers


def _without_wildcard(send: Send, cors: Headers) -> Send:
    """A `send` that lets a page of another origin read an answer only where the bucket's rules say so."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            kept = [
                (name, value) for name, value in message["headers"] if not name.lower().startswith(b"access-control-")
            ]
            message = {**message, "headers": [*kept, *_raw(cors)]}
        await send(message)

    return sending


def _raw(headers: Headers) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]


def _error(refused: Refused, headers: Headers) -> tuple[Headers, bytes]:
    """A refusal as the protocol that was spoken has it: JSON, the query protocol's XML, or S3's."""
    code, text = refused.code, str(refused)
    kind = headers.get("content-type", "")
    if "json" in kind or "cbor" in kind:
        body = json.dumps({"__type": code, "message": text}).encode()
        return {"content-type": "application/x-amz-json-1.1", "x-amzn-errortype": code}, body
    inner = f"<Code>{escape(code)}</Code><Message>{escape(text)}</Message>"
    if kind.startswith("application/x-www-form-urlencoded"):
        inner = f"<ErrorResponse><Error><Type>Sender</Type>{inner}</Error></ErrorResponse>"
    else:
        inner = f"<Error>{inner}</Error>"
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n{inner}'.encode()
    return {"content-type": "application/xml", "x-amzn-errortype": code}, body


async def _answer(send: Send, status: int, headers: Headers, body: bytes) -> None:
    raw = _raw({**headers, "content-length": str(len(body))})
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})
