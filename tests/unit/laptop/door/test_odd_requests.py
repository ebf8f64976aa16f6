"""Requests that no honest client sends. Each is answered in AWS's words, and none is let in."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import replace
from urllib.parse import parse_qsl

import pytest
from botocore.auth import HmacV1QueryAuth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.utils import normalize_url_path

from laptop.account import REGION
from tests.unit.laptop.door.conftest import KEYS, PORT, Request, ask, signed

SEED = 20_260_101
ROUNDS = 500


def presigned(version: type[HmacV1QueryAuth] | type[S3SigV4QueryAuth]) -> Request:
    request = AWSRequest("GET", f"http://127.0.0.1:{PORT}/bucket/key")
    credentials = Credentials(KEYS.access_key_id, KEYS.secret_access_key)
    by_version = (credentials,) if version is HmacV1QueryAuth else (credentials, "s3", REGION)
    version(*by_version).add_auth(request)
    target = str(request.url).removeprefix(f"http://127.0.0.1:{PORT}").encode()
    return Request("GET", target, ((b"host", f"127.0.0.1:{PORT}".encode()),))


HONEST: dict[str, Callable[[], Request]] = {
    "S3": lambda: signed("PUT", "/bucket/key?x=1&y=", b"body", x_amz_meta_note="of a flight"),
    "JSON": lambda: signed("POST", "/", b'{"a": 1}', "dynamodb", Content_Type="application/x-amz-json-1.0"),
    "presigned": lambda: presigned(S3SigV4QueryAuth),
    "presigned, Version 2": lambda: presigned(HmacV1QueryAuth),
}


@pytest.mark.parametrize("kind", HONEST)
def test_an_honest_request_is_let_in(kind: str) -> None:
    asked = ask(HONEST[kind]())
    assert (asked.status, asked.let_in) == (200, True), asked


def with_header(request: Request, name: bytes, value: bytes) -> Request:
    kept = tuple(pair for pair in request.headers if pair[0].lower() != name.lower())
    return replace(request, headers=(*kept, (name, value)))


def header(request: Request, name: bytes) -> bytes:
    return next(value for each, value in request.headers if each.lower() == name)


AUTHORIZATION = b"authorization"
S3 = HONEST["S3"]
ODD: dict[str, Callable[[], Request]] = {
    "signed header in latin-1": lambda: with_header(S3(), b"x-amz-meta-note", b"\xfcber"),
    "half a character": lambda: with_header(S3(), b"x-amz-meta-note", "ü".encode()[:1]),
    "a surrogate": lambda: with_header(S3(), b"x-amz-meta-note", b"\xed\xb3\xbf"),
    "token in latin-1": lambda: with_header(S3(), b"x-amz-security-token", b"\xff\xfe"),
    "token in latin-1, Version 2": lambda: with_header(presigned(HmacV1QueryAuth), b"x-amz-note", b"\xff"),
    "host in latin-1": lambda: with_header(S3(), b"host", b"\xff"),
    "origin in latin-1": lambda: with_header(S3(), b"origin", b"http://\xff"),
    "date in latin-1": lambda: with_header(S3(), b"x-amz-date", b"\xff"),
    "header name in latin-1": lambda: with_header(S3(), b"x-amz-\xff", b"x"),
    "authorization in latin-1": lambda: with_header(S3(), AUTHORIZATION, b"AWS4-HMAC-SHA256 \xff"),
    "two authorizations": lambda: replace(
        S3(), headers=(*S3().headers, (b"authorization", header(S3(), AUTHORIZATION)))
    ),
    "a scope with too little": lambda: with_header(
        S3(), AUTHORIZATION, header(S3(), AUTHORIZATION).replace(b"/s3/", b"/")
    ),
    "a scope with too much": lambda: with_header(
        S3(), AUTHORIZATION, header(S3(), AUTHORIZATION).replace(b"/s3/", b"/s3/s3/")
    ),
    "no scope": lambda: with_header(
        S3(), AUTHORIZATION, re.sub(rb"Credential=[^,]+", b"Credential=x", header(S3(), AUTHORIZATION))
    ),
    "a surrogate among the signed headers": lambda: with_header(
        S3(), AUTHORIZATION, header(S3(), AUTHORIZATION).replace(b"host", b"host;\xff")
    ),
    "four thousand signed headers": lambda: with_header(
        S3(), AUTHORIZATION, header(S3(), AUTHORIZATION).replace(b"host", b";".join(b"h%d" % n for n in range(4000)))
    ),
    "signed headers twice": lambda: with_header(
        S3(), AUTHORIZATION, header(S3(), AUTHORIZATION).replace(b"host", b"host;host")
    ),
    "path in latin-1": lambda: replace(S3(), target=b"/bucket/\xff?x=1&y="),
    "query in latin-1": lambda: replace(S3(), target=b"/bucket/key?x=\xff&y="),
    "a fragment in the path": lambda: replace(signed("PUT", "/bucket/key"), target=b"/bucket/key#2"),
    "a path that is none": lambda: replace(HONEST["JSON"](), target=b"*"),
    "a whole URL": lambda: replace(HONEST["JSON"](), target=b"http://127.0.0.1:4566/"),
    "a fragment in the query, Version 2": lambda: replace(
        presigned(HmacV1QueryAuth), target=presigned(HmacV1QueryAuth).target + b"&acl#"
    ),
    "a signature that is no hex": lambda: replace(
        presigned(S3SigV4QueryAuth),
        target=re.sub(rb"X-Amz-Signature=\w+", b"X-Amz-Signature=%C3%BC", presigned(S3SigV4QueryAuth).target),
    ),
    "a key that is no text": lambda: replace(
        S3(), target=b"/bucket?AWSAccessKeyId=%F0%9F%ED&Signature=%ff&Expires=9999999999", headers=S3().headers[:1]
    ),
    "an endless time": lambda: replace(
        presigned(S3SigV4QueryAuth), target=presigned(S3SigV4QueryAuth).target.replace(b"3600", b"1" * 5000)
    ),
}


@pytest.mark.parametrize("kind", ODD)
def test_an_odd_request_is_refused(kind: str) -> None:
    asked = ask(ODD[kind]())
    assert 400 <= asked.status < 500, asked
    assert not asked.let_in
    assert asked.body


PIECES = (
    b"\xff", b"\xfc", b"\xed\xb3\xbf", b"\x80", b"%", b"%ff", b"%C3%BC", b"#", b"?", b"&", b"=", b";", b",", b"/",
    b"//", b"..", b" ", b"+", b"\t", b"x-amz-", b"host", b"Credential=", b"Signature=", b"9" * 400, b"\xe2\x80\x8b",
    b"[", b"]", b"@", b":", b"\xd9\xa1", b"AWS4-HMAC-SHA256 ", b"",
)  # fmt: skip
NAMES = (
    b"host", b"authorization", b"x-amz-date", b"x-amz-content-sha256", b"x-amz-security-token", b"x-amz-\xff",
    b"origin", b"content-type", b"x-amz-copy-source", b"x-amz-target", b"content-length", b"x_amz_date",
)  # fmt: skip


def damaged(chance: random.Random, text: bytes) -> bytes:
    at = chance.randrange(len(text) + 1)
    return text[:at] + chance.choice(PIECES) + text[at + chance.choice((0, 0, 1, 3)) :]


def mutated(chance: random.Random, request: Request) -> Request:
    """A request with one to three changes, anywhere in it."""
    for _ in range(chance.randint(1, 3)):
        headers = list(request.headers)
        number = chance.randrange(len(headers))
        match chance.randrange(7):
            case 0:
                request = replace(request, target=damaged(chance, request.target))
            case 1 | 2:
                name, value = headers[number]
                headers[number] = (name, damaged(chance, value))
            case 3:
                headers.insert(number, headers[chance.randrange(len(headers))])
            case 4:
                headers.insert(number, (chance.choice(NAMES), damaged(chance, b"")))
            case 5:
                del headers[number]
            case _:
                request = replace(request, body=(damaged(chance, request.body[0]),))
        request = replace(request, headers=tuple(headers) or request.headers)
    return request


def meaning(kind: str, request: Request) -> object:
    """What the application may rely on: all that a signature covers, however it is written."""
    path, _, query = request.target.partition(b"?")
    if kind == "JSON":  # in all services but S3 a path stands for what it leads to
        path = normalize_url_path(path.decode("latin-1")).encode()
    names = sorted({name.lower() for name, _ in request.headers})
    covered = {
        name: b",".join(b" ".join(value.split()) for each, value in request.headers if each.lower() == name)
        for name in names
        if name == b"host" or name.startswith(b"x-amz-")
    }
    # Of a presigned request these may be added: its query says when, and the body is compared.
    covered.pop(b"x-amz-content-sha256", None)
    if b"X-Amz-Signature=" in query:
        covered.pop(b"x-amz-date", None)
    return request.method, path, sorted(parse_qsl(query, keep_blank_values=True)), covered, b"".join(request.body)


@pytest.mark.parametrize("kind", HONEST)
def test_no_change_to_what_was_signed_is_let_in(kind: str) -> None:
    chance = random.Random(f"{SEED}/{kind}")
    honest = HONEST[kind]()
    unsigned_body = kind.startswith("presigned")
    refused = 0
    for number in range(ROUNDS):
        request = mutated(chance, honest)
        asked = ask(request)
        told = f"seed {SEED}, {kind}, number {number}: {request}"
        assert asked.answers == 1, told
        if asked.let_in:
            compared = replace(request, body=honest.body) if unsigned_body else request
            assert meaning(kind, compared) == meaning(kind, honest), told
        else:
            assert 400 <= asked.status < 500, f"{told} was answered {asked}"
            refused += 1
    assert refused > ROUNDS / 2


def test_a_refusal_says_it_in_the_form_of_the_service() -> None:
    asked = ask(with_header(HONEST["JSON"](), b"x-amz-note", b"\xff"))
    assert asked.body.startswith(b'{"__type": "')
    asked = ask(with_header(S3(), b"x-amz-meta-note", b"\xff"))
    assert b"<Code>" in asked.body
