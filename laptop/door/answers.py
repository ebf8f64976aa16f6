"""How the door answers: a refusal by the code and in the form that the service which was asked has for it."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import unquote
from xml.sax.saxutils import escape

from laptop.door.signatures import Refused

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
Headers = dict[str, str]

_SERVICE = re.compile(r"/([\w-]+)/aws4_request")
# What S3, the query protocol and the JSON protocols call it: "Error responses" in the S3 API reference, "Common errors"
# in those of IAM and DynamoDB.
_CODES = {
    "AccessDenied": ("AccessDenied", "AccessDenied", "AccessDeniedException"),
    "ExpiredTokenException": ("ExpiredToken", "ExpiredToken", "ExpiredTokenException"),
    "IncompleteSignature": ("AuthorizationHeaderMalformed", "IncompleteSignature", "IncompleteSignatureException"),
    "InvalidClientTokenId": ("InvalidAccessKeyId", "InvalidClientTokenId", "UnrecognizedClientException"),
    "InvalidToken": ("InvalidToken", "InvalidClientTokenId", "UnrecognizedClientException"),
    "MissingAuthenticationToken": ("AccessDenied", "MissingAuthenticationToken", "MissingAuthenticationTokenException"),
    "RequestTimeTooSkewed": ("RequestTimeTooSkewed", "SignatureDoesNotMatch", "InvalidSignatureException"),
    "SignatureDoesNotMatch": ("SignatureDoesNotMatch", "SignatureDoesNotMatch", "InvalidSignatureException"),
    "UnrecognizedClientException": ("InvalidAccessKeyId", "InvalidClientTokenId", "UnrecognizedClientException"),
}


def refusal(refused: Refused, scope: Message, headers: Headers) -> tuple[Headers, bytes]:
    """Headers and body of a refusal: JSON, the query protocol's XML, or S3's."""
    kind, text = headers.get("content-type", ""), str(refused)
    in_s3, in_query, in_json = _CODES.get(refused.code, (refused.code,) * 3)
    signed_for = headers.get("authorization", "") or unquote(scope.get("query_string", b"").decode("latin-1"))
    service = _SERVICE.search(signed_for)
    if kind.startswith("application/x-www-form-urlencoded"):
        code, frame = in_query, "<ErrorResponse><Error><Type>Sender</Type>{}</Error></ErrorResponse>"
    elif "json" in kind or "cbor" in kind or (service and service[1] != "s3"):
        body = json.dumps({"__type": in_json, "message": text}).encode()
        return {"content-type": "application/x-amz-json-1.1", "x-amzn-errortype": in_json}, body
    else:
        code, frame = in_s3, "<Error>{}</Error>"
    inner = f"<Code>{escape(code)}</Code><Message>{escape(text)}</Message>"
    xml = f'<?xml version="1.0" encoding="UTF-8"?>\n{frame.format(inner)}'
    return {"content-type": "application/xml", "x-amzn-errortype": code}, xml.encode()


def raw(headers: Headers) -> list[tuple[bytes, bytes]]:
    """Headers as ASGI has them."""
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]


async def answer(send: Send, status: int, headers: Headers, body: bytes) -> None:
    """Send a whole answer."""
    start = raw({**headers, "content-length": str(len(body))})
    await send({"type": "http.response.start", "status": status, "headers": start})
    await send({"type": "http.response.body", "body": body})
