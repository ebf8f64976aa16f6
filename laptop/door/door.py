"""The door of the laptop cloud: an ASGI application around another that lets in what is meant to come in.

A port of 127.0.0.1 is open to every program of this machine, and by way of the browser to every page on the web. So the
`Host` must be this machine (no DNS rebinding), a request that a page of another origin sends needs that origin in the
CORS rules of the bucket that it asks for, and whatever does something is signed with keys that only this home knows.

Nobody waits for a client without end: every 64 KiB of a body, and its rest, must come within 60 seconds of waiting for
it. What waits while nothing is expected of the client (a long poll, a function that runs) has all its time. A body is
read after the signature was checked, but where the signature covers the body's hash and no header has it: then up to
70 MiB are kept before (`connections` bounds what all of them keep).
"""

from __future__ import annotations

import asyncio
import datetime
import hashlib
import re
from collections.abc import Awaitable, Callable

from laptop.account import ACCOUNT_ID, HEALTH, Keys
from laptop.door import signatures
from laptop.door.answers import Headers, Message, Send, answer, raw, refusal
from laptop.door.connections import STATE, Connection
from laptop.door.signatures import PresignedV2, Refused, Verifier

Receive = Callable[[], Awaitable[Message]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]
SessionSecret = Callable[[str, str], str]
"""(access key, session token) -> secret of a session or user. Raises Refused."""
Caller = Callable[[Headers, str], str]
"""(headers, query) -> the access key by which what is inside will judge a request."""
Cors = Callable[[str, str, Headers], tuple[int, Headers, bytes] | None]
"""(method, path, headers) -> the preflight's answer, or the CORS headers of an answer; None: not for this origin."""

BODY_SECONDS = 60.0
BODY_PIECE = 64 * 1024
UNCHECKED_BYTES = 70 * 1024 * 1024
"""The largest request of a service that signs the body's hash without a header for it: Lambda's CreateFunction."""

_ADMIN = "/_skyloop/"
# What the emulator serves to its own tools, without a signature: nobody needs it here.
_INTERNAL = re.compile(r"/(_(?!skyloop/)|health$)")
# A path and a query, percent-encoded (RFC 9112, origin-form): no URL of another server, no fragment.
_TARGET = re.compile(rb"/[!-\"$-~]*")
_HOST = re.compile(r"(?:(?:[a-z0-9.-]+\.)?localhost|127\.0\.0\.1|\[::1\]):([0-9]{1,5})")


class Door:
    """Lets requests through to `inside`, or answers them."""

    def __init__(
        self, inside: Application, keys: Keys, port: int, session_secret: SessionSecret, caller: Caller, cors: Cors
    ) -> None:
        """`port` is where the cloud listens; `session_secret` knows the keys that the cloud itself gave out."""
        self._inside = inside
        self._keys = keys
        self._port = port
        self._session_secret = session_secret
        self._caller = caller
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
        connection: Connection = scope["state"][STATE]
        body = _Body(receive, connection)
        send = body.draining(send)
        try:
            _check_text(scope, headers)
            self._check_host(headers)
            cors = self._check_origin(scope, headers)
            if cors is not None and scope["method"] == "OPTIONS":
                await answer(send, *cors)
                return
            sending = _without_wildcard(send, cors[1] if cors else {})
            if scope["path"] == HEALTH:
                await body.whole(0)
                await self._inside(scope, body.receive, sending)
                return
            signer = await self._check_signature(scope, headers, body)
            self._check_caller(scope, headers, signer)
            connection.let_in()
            await self._inside(scope, body.receive, sending)
            if body.refused:
                raise body.refused
        except Refused as refused:
            await answer(send, refused.status, *refusal(refused, scope, headers))
        finally:
            connection.release()

    def _check_host(self, headers: Headers) -> None:
        match = _HOST.fullmatch(headers.get("host", "").lower())
        if match is None or int(match[1]) != self._port:
            raise Refused("AccessDenied", f"This cloud answers for 127.0.0.1:{self._port} only.")

    def _check_origin(self, scope: Message, headers: Headers) -> tuple[int, Headers, bytes] | None:
        origin = headers.get("origin")
        if origin is None:
            # A picture or a link in a page of another origin, which is let in where somebody with keys made its URL.
            if headers.get("sec-fetch-site") in ("cross-site", "same-site") and not scope.get("query_string"):
                raise Refused("AccessForbidden", "A page of another origin may not ask for this.")
            return None
        if origin == f"http://{headers['host']}":
            return None
        allowed = self._cors(scope["method"], scope["path"], headers)
        if allowed is None:
            raise Refused("AccessForbidden", "CORSResponse: This CORS request is not allowed.")
        return allowed

    async def _check_signature(self, scope: Message, headers: Headers, body: _Body) -> str:
        """The access key that signed the request. Raises Refused."""
        if _INTERNAL.match(scope["path"]):
            raise Refused("AccessDenied", "Nothing is served here.")
        query = scope.get("query_string", b"").decode("latin-1")
        raw_path = scope["raw_path"].decode("latin-1")
        signature = signatures.parse(headers, query)
        if signature is None:
            raise Refused("MissingAuthenticationToken", "The request is not signed.")
        secret = self._secret(signature.access_key_id, signature.token)
        if isinstance(signature, PresignedV2):
            signature.check(scope["method"], raw_path, query, headers, secret)
            return signature.access_key_id
        signatures.check_time(signature, datetime.datetime.now(datetime.UTC))
        verifier = Verifier(signature, secret)

        def check(payload_hash: str) -> None:
            verifier.check(scope["method"], raw_path, query, headers, payload_hash)

        word = signature.payload
        if word in (signatures.UNSIGNED, signatures.UNSIGNED_CHUNKS):
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
            check(hashlib.sha256(await body.whole(UNCHECKED_BYTES)).hexdigest())
        return signature.access_key_id

    def _check_caller(self, scope: Message, headers: Headers, signer: str) -> None:
        """Raise Refused unless what is inside takes the request for the signer's, and the signer may ask for it."""
        query = scope.get("query_string", b"").decode("latin-1")
        if self._caller(headers, query) != signer:
            raise Refused("AccessDenied", "It is not clear who signed the request.")
        if scope["path"].startswith(_ADMIN) and signer != self._keys.access_key_id:
            raise Refused("AccessDenied", "Only the keys of the account itself may ask for this.")

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

    def __init__(self, receive: Receive, connection: Connection) -> None:
        self._receive = receive
        self._connection = connection
        self._digest = hashlib.sha256()
        self._whole: bytes | None = None
        self._complete = False
        self._patience = BODY_SECONDS
        self._piece = 0

    async def whole(self, limit: int | None = None) -> bytes:
        """The body, read ahead of the application, which gets it all the same.

        Args:
            limit: bytes that may be kept of a request whose signature is not checked yet; None where it was.

        Raises:
            Refused: it is longer, it comes too slowly, or the client has gone.
        """
        body = bytearray()
        while not self._complete:
            message = await self._next()
            if message["type"] != "http.request":
                raise Refused("IncompleteBody", "The request ended before its body did.", 400)
            body += message.get("body", b"")
            if limit is not None:
                if len(body) > limit:
                    raise Refused("RequestTooLargeException", f"Request must be smaller than {limit} bytes.", 413)
                self._connection.hold(len(message.get("body", b"")))
        self._whole = bytes(body)
        return self._whole

    async def receive(self) -> Message:
        """For the application."""
        if self._whole is not None:
            message: Message = {"type": "http.request", "body": self._whole}
            self._whole = None
            return message
        if self._complete:  # it waits for the client to go, which may be long
            return await self._receive()
        try:
            message = await self._next()
        except Refused as refused:
            self.refused = refused
            return {"type": "http.disconnect"}
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

    async def _next(self) -> Message:
        """What the client sends next. Raises Refused when that takes too long; other waiting does not count."""
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            async with asyncio.timeout(self._patience):
                message = await self._receive()
        except TimeoutError:
            raise Refused(
                "RequestTimeout",
                "Your socket connection to the server was not read from or written to within the timeout period. Idle "
                "connections will be closed.",
                400,
            ) from None
        self._complete = not message.get("more_body")
        self._patience -= clock() - began
        self._piece += len(message.get("body", b""))
        if self._piece >= BODY_PIECE:
            self._piece, self._patience = 0, BODY_SECONDS
        return message

    def draining(self, send: Send) -> Send:
        """A `send` that takes in what still comes of the body while an answer ends.

        Hypercorn tells the application then that the request is over, by the queue of the body's parts. Where that is
        full and nobody takes from it, it waits for ever, and keeps the connection.
        """

        async def drain() -> None:
            while True:
                await self._receive()

        async def sending(message: Message) -> None:
            if self._complete or message["type"] != "http.response.body" or message.get("more_body"):
                await send(message)
                return
            draining = asyncio.create_task(drain())
            try:
                await send(message)
            finally:
                draining.cancel()

        return sending


def _headers(scope: Message) -> Headers:
    """By lower-case name, several of one name joined; what is not UTF-8 is kept as surrogates, for `_check_text`."""
    headers: Headers = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("utf-8", "surrogateescape")
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    return headers


def _check_text(scope: Message, headers: Headers) -> None:
    """Raise Refused for a request that is no text, or whose target is none that HTTP knows.

    A signature is computed over text in UTF-8. What was no text, or was cut by one reader of the URL and not by the
    next, could not be checked, or would be checked as something else than what is inside takes it for.
    """
    if not _TARGET.fullmatch(scope["raw_path"] + b"?" + scope.get("query_string", b"")):
        raise Refused("InvalidURI", "Couldn't parse the specified URI.", 400)
    for name, value in headers.items():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise Refused("IncompleteSignature", f"The header {name!a} is not UTF-8.", 400) from None
        if not name.isascii():
            raise Refused("IncompleteSignature", f"The header {name!a} is not a name.", 400)


def _without_wildcard(send: Send, cors: Headers) -> Send:
    """A `send` that lets a page of another origin read an answer only where the bucket's rules say so."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            kept = [
                (name, value) for name, value in message["headers"] if not name.lower().startswith(b"access-control-")
            ]
            message = {**message, "headers": [*kept, *raw(cors)]}
        await send(message)

    return sending
