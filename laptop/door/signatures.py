"""AWS Signature Version 4 of a request, recomputed with botocore.

In headers, in the query (presigned), and chunk by chunk (`aws-chunked`). Source: "Authenticating Requests (AWS
Signature Version 4)" in the S3 API reference, and "Signature Version 4 signing process" in the IAM user guide.
"""

from __future__ import annotations

import datetime
import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote, unquote_to_bytes, urlsplit

from botocore.auth import HmacV1Auth, S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest, HTTPHeaders
from botocore.credentials import Credentials

ALGORITHM = "AWS4-HMAC-SHA256"
SKEW = datetime.timedelta(minutes=15)
LONGEST = 7 * 24 * 3600  # seconds for which a presigned request may be good
UNSIGNED = "UNSIGNED-PAYLOAD"
STREAMING = "STREAMING-"
UNSIGNED_CHUNKS = f"{STREAMING}{UNSIGNED}-TRAILER"
SIGNED_CHUNKS = f"{STREAMING}{ALGORITHM}-PAYLOAD"
EMPTY = hashlib.sha256(b"").hexdigest()


class Refused(Exception):
    """A request that is not let in: AWS's code, HTTP status and message."""

    def __init__(self, code: str, message: str, status: int = 403) -> None:
        self.code = code
        self.status = status
        super().__init__(message)


@dataclass(frozen=True)
class Signature:
    """What a request says of its signature."""

    access_key_id: str
    date: str  # YYYYMMDD, of the scope
    region: str
    service: str
    signed_headers: tuple[str, ...]
    signature: str
    timestamp: str  # YYYYMMDDTHHMMSSZ
    token: str
    expires: int | None  # seconds from the timestamp; None where the signature is in the headers
    payload: (
        str  # what the signature covers of the body: its SHA-256, a word, or "" where the service has no such header
    )


_HEADER = re.compile(
    rf"{ALGORITHM} Credential=(?P<Credential>[^,\s=]+), ?SignedHeaders=(?P<SignedHeaders>[^,\s=]+), ?"
    r"Signature=(?P<Signature>[0-9a-f]{64})"
)
_CREDENTIAL = re.compile(r"(\w+)/(\d{8})/([\w-]+)/([\w-]+)/aws4_request", re.ASCII)
# In lower case: what in a query says who asks, by Version 4 and (S3 alone) by Version 2, and the rest of what signs it.
_WHO = {"x-amz-credential", "awsaccesskeyid"}
_SIGNING = {*_WHO, "signature", "expires"} | {
    f"x-amz-{name}" for name in ("algorithm", "date", "expires", "security-token", "signature", "signedheaders")
}


def _signing_parameters(query: str, authorization: str) -> dict[str, str]:
    """Those parameters of a query by which it is signed.

    Raises:
        Refused: a request says more than once who asks. What reads it after the door might believe the other one.
    """
    found = [(name, value) for name, value in parse_qsl(query, keep_blank_values=True) if name.lower() in _SIGNING]
    names = [name.lower() for name, _ in found]
    if bool(authorization) + len(_WHO.intersection(names)) > 1 or len(names) != len(set(names)):
        raise Refused("InvalidArgument", "Only one authentication mechanism is allowed, and only once.", 400)
    return dict(found)


def parse(headers: Mapping[str, str], query: str) -> Signature | PresignedV2 | None:
    """The signature of a request; None for an anonymous one.

    Args:
        headers: by lower-case name.
        query: as it was sent.

    Raises:
        Refused: there is a signature, but none that AWS takes, or more than one.
    """
    authorization = headers.get("authorization", "")
    parameters = _signing_parameters(query, authorization)
    payload = headers.get("x-amz-content-sha256", "")
    expires = None
    if authorization:
        match = _HEADER.fullmatch(authorization)
        fields = match.groupdict() if match else {}
        timestamp, token = headers.get("x-amz-date", ""), headers.get("x-amz-security-token", "")
    elif "X-Amz-Signature" in parameters or "X-Amz-Credential" in parameters:
        fields = {name: parameters.get(f"X-Amz-{name}", "") for name in ("Credential", "SignedHeaders", "Signature")}
        if parameters.get("X-Amz-Algorithm") != ALGORITHM:
            fields = {}
        timestamp, token = parameters.get("X-Amz-Date", ""), parameters.get("X-Amz-Security-Token", "")
        given = parameters.get("X-Amz-Expires", "")
        if not given.isascii() or not given.isdigit() or len(given) > 9 or not 0 < int(given) <= LONGEST:
            raise Refused("AuthorizationQueryParametersError", "X-Amz-Expires must be 1 to 604800 seconds.", 400)
        expires = int(given)
    elif {"AWSAccessKeyId", "Signature", "Expires"} <= parameters.keys():
        token = parameters.get("x-amz-security-token", "")
        return PresignedV2(parameters["AWSAccessKeyId"], token, parameters["Expires"], parameters["Signature"])
    else:
        return None
    scope = _CREDENTIAL.fullmatch(fields.get("Credential", ""))
    if scope is None:
        raise Refused("IncompleteSignature", "The request is not signed with AWS Signature Version 4.", 400)
    access_key_id, date, region, service = scope.groups()
    if service == "s3" and expires is not None:
        payload = payload or UNSIGNED
    return Signature(
        access_key_id=access_key_id,
        date=date,
        region=region,
        service=service,
        signed_headers=tuple(fields["SignedHeaders"].split(";")),
        signature=fields["Signature"],
        timestamp=timestamp,
        token=token,
        expires=expires,
        payload=payload,
    )


def check_time(signature: Signature, now: datetime.datetime) -> None:
    """Raise Refused for a request of another time: more than 15 minutes off, or a presigned one that has expired."""
    try:
        signed = datetime.datetime.strptime(signature.timestamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.UTC)
    except ValueError:
        raise Refused("IncompleteSignature", "The request has no valid X-Amz-Date.", 400) from None
    if signature.date != signature.timestamp[:8]:
        raise Refused("SignatureDoesNotMatch", "The date of the credential's scope is not that of the request.")
    if signed > now + SKEW or (signature.expires is None and signed < now - SKEW):
        raise Refused("RequestTimeTooSkewed", "The request's time and this machine's differ by more than 15 minutes.")
    if signature.expires is not None and now > signed + datetime.timedelta(seconds=signature.expires):
        raise Refused("AccessDenied", "Request has expired")


# What Version 2 signs of a query, and what carries the signature itself.
_V2_PARAMETERS = frozenset((*HmacV1Auth.QSAOfInterest, "AWSAccessKeyId", "Signature", "Expires"))
_BARE_HOST = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:\d+)?", re.ASCII | re.IGNORECASE)


class _Version2(HmacV1Auth):
    """Version 2, where the time at which a presigned request ends stands in the place of a date."""

    expires = ""

    def _get_date(self) -> str:
        return self.expires


@dataclass(frozen=True)
class PresignedV2:
    """A presigned S3 request of Signature Version 2, which boto3 makes by default.

    Source: "Query string request authentication alternative" in the S3 developer guide.
    """

    access_key_id: str
    token: str
    expires: str  # seconds since the epoch
    signature: str

    def check(self, method: str, raw_path: str, query: str, headers: Mapping[str, str], secret: str) -> None:
        """Raise Refused unless the request was signed as it came, and is still good."""
        if not self.expires.isascii() or not self.expires.isdigit():
            raise Refused("AccessDenied", "Invalid date (should be seconds since epoch)")
        if len(self.expires) > 12 or int(self.expires) < datetime.datetime.now(datetime.UTC).timestamp():
            raise Refused("AccessDenied", "Request has expired")
        signer = _Version2(Credentials(self.access_key_id, secret, self.token or None))
        signer.expires = self.expires
        parameters = dict(parse_qsl(query, keep_blank_values=True))
        if any(name not in _V2_PARAMETERS and not name.lower().startswith("x-amz-") for name in parameters):
            # This signature does not cover it, and what is inside might take it for another service's operation.
            raise Refused("AccessDenied", "The request has a query parameter that is not signed.")
        if not _BARE_HOST.fullmatch(headers.get("host", "")):
            # Nor does it cover the host, which may name a bucket, or another service.
            raise Refused("AccessDenied", "A request with this signature names its bucket in the path.")
        covered = {**parameters, **headers}
        signed = HTTPHeaders()
        for name, value in covered.items():
            if name.lower().startswith("x-amz-") or name in ("content-md5", "content-type"):
                signed[name] = value
        # The stub asks for a mapping; the function deletes and adds, as in the headers that it gets from botocore.
        address = urlsplit(f"http://host{raw_path}?{query}")
        computed = signer.get_signature(method, address, signed)  # type: ignore[arg-type]
        if not hmac.compare_digest(computed.encode(), self.signature.encode()):
            raise mismatch()


class _Signer(SigV4Auth):
    """Signs exactly the headers that it is given, with a payload hash that is known."""

    payload_hash = ""

    def headers_to_sign(self, request: AWSRequest) -> Any:
        return request.headers

    def payload(self, request: AWSRequest) -> str:
        return self.payload_hash


class _S3Signer(_Signer, S3SigV4Auth):
    """The same for S3, whose paths are signed as they are sent."""


class Verifier:
    """Checks one request's signature against a secret, and the chunks of its body where they are signed too."""

    def __init__(self, signature: Signature, secret: str) -> None:
        """`secret` is that of the signature's access key."""
        self._signature = signature
        self._secret = secret

    def check(self, method: str, raw_path: str, query: str, headers: Mapping[str, str], payload_hash: str) -> None:
        """Raise Refused unless the request was signed as it came.

        Args:
            method: of HTTP.
            raw_path: as it was sent, percent-encoded.
            query: as it was sent.
            headers: by lower-case name; several of one name joined by commas.
            payload_hash: SHA-256 of the body, or the word that the request has in its place.
        """
        signature = self._signature
        # A header that is added later must not change what a request does.
        open_headers = {"x-amz-content-sha256", *(() if signature.expires is None else ("x-amz-date",))}
        unsigned = [
            name
            for name in headers
            if (name == "host" or (name.startswith("x-amz-") and name not in open_headers))
            and name not in signature.signed_headers
        ]
        if unsigned:
            raise Refused(
                "AccessDenied", f"There were headers present in the request which were not signed: {unsigned}"
            )
        pairs = [
            tuple(quote(unquote_to_bytes(text.replace("+", "%20")), safe="-_.~") for text in part.partition("=")[::2])
            for part in query.split("&")
            if part and not part.startswith("X-Amz-Signature=")
        ]
        url = f"http://{headers.get('host', '')}{raw_path}?{'&'.join('='.join(pair) for pair in pairs)}"
        request = AWSRequest(method, url)
        for name in signature.signed_headers:
            request.headers[name] = headers.get(name, "")
        request.context["timestamp"] = signature.timestamp
        signer = (_S3Signer if signature.service == "s3" else _Signer)(
            Credentials(signature.access_key_id, self._secret), signature.service, signature.region
        )
        signer.payload_hash = payload_hash
        text = signer.string_to_sign(request, signer.canonical_request(request))
        if not hmac.compare_digest(signer.signature(text, request).encode(), signature.signature.encode()):
            raise mismatch()

    def chunks(self) -> Chunks:
        """What checks the chunks of this request's body. Call it after `check`."""
        key = f"AWS4{self._secret}".encode()
        for part in (self._signature.date, self._signature.region, self._signature.service, "aws4_request"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        scope = "/".join((self._signature.date, self._signature.region, self._signature.service, "aws4_request"))
        return Chunks(
            key,
            f"{self._signature.timestamp}\n{scope}",
            self._signature.signature,
            trailer=self._signature.payload.endswith("-TRAILER"),
        )


_CHUNK = re.compile(rb"([0-9a-fA-F]{1,8});chunk-signature=([0-9a-f]{64})\r\n")


class Chunks:
    """The chain of signatures in an `aws-chunked` body: each chunk's covers its bytes and the signature before it.

    Source: "Signature calculations for the Authorization header: transferring payload in multiple chunks", and "… with
    trailing headers", in the S3 API reference.
    """

    def __init__(self, key: bytes, scope: str, seed: str, *, trailer: bool) -> None:
        """`key` is the derived signing key, `scope` timestamp and scope, `seed` the signature of the headers.

        `trailer` says whether headers follow the last chunk, signed like it: then they must be there.
        """
        self._key = key
        self._scope = scope
        self._previous = seed
        self._trailer = trailer

    def check(self, body: bytes) -> None:
        """Raise Refused unless every chunk, and a trailer, was signed by who signed the request."""
        position, size = 0, -1
        while size != 0:
            head = _CHUNK.match(body, position)
            if head is None:
                raise mismatch()
            size = int(head[1], 16)
            chunk = memoryview(body)[head.end() : head.end() + size]
            self._next("AWS4-HMAC-SHA256-PAYLOAD", f"{EMPTY}\n{hashlib.sha256(chunk).hexdigest()}", head[2])
            position = head.end() + size
            if size:
                position += 2
        rest = body[position:]
        if self._trailer:
            trailer, _, given = rest.partition(b"x-amz-trailer-signature:")
            canonical = trailer.replace(b"\r\n", b"\n")
            self._next("AWS4-HMAC-SHA256-TRAILER", hashlib.sha256(canonical).hexdigest(), given.strip())
        elif rest.strip(b"\r\n"):
            raise mismatch()

    def _next(self, kind: str, covered: str, given: bytes) -> None:
        text = f"{kind}\n{self._scope}\n{self._previous}\n{covered}"
        self._previous = hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(self._previous.encode(), given):
            raise mismatch()


def mismatch() -> Refused:
    """The refusal of a signature that is not the one that this machine computes."""
    return Refused(
        "SignatureDoesNotMatch",
        "The request signature we calculated does not match the signature you provided. Check your key and signing "
        "method.",
    )
