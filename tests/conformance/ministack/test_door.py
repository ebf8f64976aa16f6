"""Who gets in: requests signed with keys of this home, from no web page. The rest finds a closed door."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import zipfile
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode, urlsplit

import boto3
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

from laptop.account import REGION, Keys, client_settings, read_keys
from tests.conformance.conftest import Cloud, wait_until
from tests.support.signed import SignedRequest

PAGE = {"Origin": "http://evil.example"}
# What a page could always say: the constant key and the account's number, with any signature in the query.
GUESSED = ["test", "000000000000", "AKIAIOSFODNN7EXAMPLE", ""]


@pytest.fixture(scope="module")
def keys(cloud: Cloud) -> Keys:
    return read_keys(cloud.home)


@pytest.fixture(scope="module")
def bucket(cloud: Cloud) -> str:
    name = cloud.name("door")
    cloud.client("s3").create_bucket(Bucket=name)
    cloud.client("s3").put_object(Bucket=name, Key="there", Body=b"content")
    return name


def objects(cloud: Cloud, bucket: str) -> set[str]:
    return {each["Key"] for each in cloud.client("s3").list_objects_v2(Bucket=bucket).get("Contents", [])}


def in_query(key: str, service: str) -> str:
    scope = f"{key}/20260101/us-east-1/{service}/aws4_request"
    return urlencode(
        {
            "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
            "X-Amz-Credential": scope,
            "X-Amz-Date": "20260101T000000Z",
            "X-Amz-Expires": "604800",
            "X-Amz-SignedHeaders": "host",
            "X-Amz-Signature": "00",
        }
    )


def function_zip() -> str:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("x.py", "def h(event, context): return 'owned'")
    return base64.b64encode(archive.getvalue()).decode()


def pages(bucket: str) -> list[SignedRequest]:
    """Requests that a page can send without a preflight, or a program without keys."""
    form, text = "application/x-www-form-urlencoded", "text/plain"
    function = {
        "FunctionName": "evil",
        "Runtime": "python3.13",
        "Handler": "x.h",
        "Role": "arn:aws:iam::000000000000:role/evil",
        "Code": {"ZipFile": function_zip()},
    }
    trust = json.dumps({"Version": "2012-10-17", "Statement": []})
    role = urlencode({"Action": "CreateRole", "RoleName": "evil", "AssumeRolePolicyDocument": trust}).encode()
    requests = []
    for key in GUESSED:
        requests += [
            SignedRequest("", "POST", f"/?{in_query(key, 'iam')}", role, {"Content-Type": form}),
            SignedRequest(
                "",
                "POST",
                f"/2015-03-31/functions?{in_query(key, 'lambda')}",
                json.dumps(function).encode(),
                {"Content-Type": text},
            ),
            SignedRequest("", "POST", f"/2015-03-31/functions/evil/invocations?{in_query(key, 'lambda')}", b"{}"),
            SignedRequest("", "POST", f"/?{in_query(key, 'sqs')}", b"Action=ListQueues", {"Content-Type": form}),
            SignedRequest("", "GET", f"/{bucket}?list-type=2&{in_query(key, 's3')}"),
        ]
        header = (
            f"AWS4-HMAC-SHA256 Credential={key}/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=00"
        )
        requests.append(SignedRequest("", "GET", f"/{bucket}?list-type=2", headers={"Authorization": header}))
    return [
        *requests,
        SignedRequest("", "GET", "/"),
        SignedRequest("", "PUT", f"/{bucket}/evil", b"x"),
        SignedRequest("", "POST", f"/{bucket}", b"--b--", {"Content-Type": "multipart/form-data; boundary=b"}),
        SignedRequest("", "POST", "/_ministack/reset"),
        SignedRequest("", "POST", "/_ministack/config", b"{}"),
        SignedRequest("", "POST", "/_localstack/state/reset"),
        SignedRequest("", "GET", "/_ministack/health"),
        SignedRequest("", "GET", "/health"),
        SignedRequest("", "GET", "/_aws/sqs/messages"),
        SignedRequest("", "POST", "/_skyloop/faults", b'{"lose": []}', {"Content-Type": text}),
        SignedRequest("", "GET", "/_skyloop/faults"),
        SignedRequest("", "POST", "/endpoints/any/invocations", b"x", {"Content-Type": text}),
    ]


@pytest.mark.parametrize("origin", [None, "http://evil.example", "null"])
def test_nothing_is_done_without_keys(cloud: Cloud, bucket: str, origin: str | None) -> None:
    for request in pages(bucket):
        headers = {**request.headers, **({"Origin": origin} if origin else {})}
        answer = replace(request, endpoint_url=cloud.endpoint_url, headers=headers).send()
        assert answer.status in (400, 403), (request.method, request.path, answer)
        assert "access-control-allow-origin" not in answer.headers
    assert objects(cloud, bucket) == {"there"}
    assert "evil" not in {each["RoleName"] for each in cloud.client("iam").list_roles()["Roles"]}
    assert "evil" not in {each["FunctionName"] for each in cloud.client("lambda").list_functions()["Functions"]}


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "localhost.evil:{port}"]
)
def test_a_name_that_is_rebound_to_this_machine_is_refused(cloud: Cloud, keys: Keys, host: str) -> None:
    given = {"Host": host.format(port=urlsplit(cloud.endpoint_url).port)}
    assert SignedRequest(cloud.endpoint_url, "GET", "/_skyloop/health", headers=given).send().status == 403
    assert SignedRequest(cloud.endpoint_url, "GET", "/", headers=given).sign(keys, "s3").send().status == 403


def test_the_admin_paths_of_the_emulator_are_closed_to_signed_requests_too(cloud: Cloud, keys: Keys) -> None:
    for path in ("/_ministack/reset", "/_localstack/health", "/health"):
        assert SignedRequest(cloud.endpoint_url, "POST", path).sign(keys).send().status == 403


def test_a_page_reads_what_the_rules_of_a_bucket_let_it_read(cloud: Cloud) -> None:
    s3, name = cloud.client("s3"), cloud.name("cors")
    s3.create_bucket(Bucket=name)
    s3.put_object(Bucket=name, Key="picture", Body=b"pixels")
    rule = {"AllowedMethods": ["GET"], "AllowedOrigins": ["http://labels.example"]}
    s3.put_bucket_cors(Bucket=name, CORSConfiguration={"CORSRules": [rule]})
    address = urlsplit(s3.generate_presigned_url("get_object", Params={"Bucket": name, "Key": "picture"}))

    def ask(origin: str, method: str = "GET", **headers: str) -> Any:
        path = f"{address.path}?{address.query}"
        return SignedRequest(cloud.endpoint_url, method, path, headers={"Origin": origin, **headers}).send()

    good = ask("http://labels.example")
    assert (good.status, good.body) == (200, b"pixels")
    assert good.headers["access-control-allow-origin"] == "http://labels.example"
    preflight = ask("http://labels.example", "OPTIONS", **{"Access-Control-Request-Method": "GET"})
    assert preflight.status == 200
    for refused in (
        ask("http://evil.example"),
        ask("http://evil.example", "OPTIONS", **{"Access-Control-Request-Method": "GET"}),
        ask("http://labels.example", "OPTIONS", **{"Access-Control-Request-Method": "PUT"}),
    ):
        assert refused.status == 403
        assert "access-control-allow-origin" not in refused.headers
    # An answer to a request without an origin says nothing of pages.
    assert not [
        name
        for name in SignedRequest(cloud.endpoint_url, path=f"{address.path}?{address.query}").send().headers
        if name.startswith("access-control-")
    ]


def put(cloud: Cloud, bucket: str, body: bytes = b"x") -> SignedRequest:
    digest = hashlib.sha256(body).hexdigest()
    return SignedRequest(cloud.endpoint_url, "PUT", f"/{bucket}/key", body, {"x-amz-content-sha256": digest})


def test_a_signature_of_other_keys_is_refused(cloud: Cloud, keys: Keys, bucket: str) -> None:
    for other in (
        Keys(keys.access_key_id, "another"),
        Keys("AKIAANOTHER", keys.secret_access_key),
        Keys("test", "test"),
    ):
        answer = put(cloud, bucket).sign(other, "s3").send()
        assert answer.status == 403
    assert put(cloud, bucket).sign(keys, "s3").send().status == 200


@pytest.mark.parametrize("change", ["body", "path", "query", "method", "header", "added", "date", "region", "service"])
def test_what_was_changed_after_signing_is_refused(cloud: Cloud, keys: Keys, bucket: str, change: str) -> None:
    request = replace(put(cloud, bucket), headers={**put(cloud, bucket).headers, "x-amz-meta-a": "1"}).sign(keys, "s3")
    authorization = request.headers["Authorization"]
    changed = {
        "body": {"body": b"y"},
        "path": {"path": f"/{bucket}/other"},
        "query": {"path": f"/{bucket}/key?acl="},
        "method": {"method": "DELETE"},
        "header": {"headers": {**request.headers, "x-amz-meta-a": "2"}},
        "added": {"headers": {**request.headers, "x-amz-copy-source": f"/{bucket}/there"}},
        "date": {"headers": {**request.headers, "X-Amz-Date": "20200101T000000Z"}},
        "region": {"headers": {**request.headers, "Authorization": authorization.replace(REGION, "eu-west-1")}},
        "service": {"headers": {**request.headers, "Authorization": authorization.replace("/s3/", "/sqs/")}},
    }[change]
    answer = replace(request, **changed).send()
    assert answer.status in (400, 403), answer
    assert request.send().status == 200  # the request itself was good


def test_a_body_without_a_hash_header_is_covered_by_the_signature(cloud: Cloud, keys: Keys) -> None:
    headers = {"X-Amz-Target": "DynamoDB_20120810.ListTables", "Content-Type": "application/x-amz-json-1.0"}
    request = SignedRequest(cloud.endpoint_url, "POST", "/", b'{"Limit": 1}', headers).sign(keys, "dynamodb")
    assert request.send().status == 200
    assert replace(request, body=b'{"Limit": 2}').send().status == 403


def test_the_admin_paths_do_nothing_for_a_body_that_was_not_signed(cloud: Cloud, keys: Keys) -> None:
    faults = SignedRequest(cloud.endpoint_url, "GET", "/_skyloop/faults")
    before = faults.sign(keys).send().body
    body = b"{}"
    headers = {"x-amz-content-sha256": hashlib.sha256(body).hexdigest()}
    request = SignedRequest(cloud.endpoint_url, "POST", "/_skyloop/faults", body, headers).sign(keys)
    forged = replace(request, body=b'{"lose": ["Object Created"]}').send()
    assert (forged.status, b"XAmzContentSHA256Mismatch" in forged.body) == (400, True), forged
    assert faults.sign(keys).send().body == before


@pytest.mark.parametrize("version", ["s3", "s3v4"])
def test_presigned_requests_are_good_for_what_they_name_and_for_their_time(
    cloud: Cloud, keys: Keys, bucket: str, version: str
) -> None:
    s3 = boto3.client("s3", config=Config(signature_version=version), **client_settings(cloud.endpoint_url, keys))
    expires = re.compile(r"Expires=\d+")
    for method, body in (("get_object", b""), ("put_object", b"by url")):
        url = s3.generate_presigned_url(method, Params={"Bucket": bucket, "Key": "there"}, ExpiresIn=60)
        address = urlsplit(url)
        verb = method.partition("_")[0].upper()

        def ask(path: str, verb: str = verb, body: bytes = body) -> int:
            return SignedRequest(cloud.endpoint_url, verb, path, body).send().status

        whole = f"{address.path}?{address.query}"
        assert ask(whole) == 200
        assert ask(whole.replace("there", "other")) == 403
        assert ask(expires.sub("Expires=1999999999" if version == "s3" else "Expires=3600", whole)) == 403
        assert ask(whole, "DELETE") == 403
        assert ask(f"{whole}&versionId=null") == 403
        # To what is inside, a parameter or a host can name another service.
        assert ask(f"{whole}&Action=CreateUser&UserName=mallory&Version=2010-05-08") == 403
        assert ask(f"{whole}&prefix=") == 403
        port = urlsplit(cloud.endpoint_url).port
        for other in ("iam", f"{bucket}", "sqs.us-east-1"):
            request = SignedRequest(
                cloud.endpoint_url, verb, whole, body, headers={"Host": f"{other}.localhost:{port}"}
            )
            assert request.send().status == 403
    for wrong in ("0", "604801", "x", "-1", ""):
        assert ask(expires.sub(f"Expires={wrong}", whole)) in (400, 403)


@pytest.mark.parametrize("version", ["s3", "s3v4"])
def test_a_presigned_request_expires(cloud: Cloud, keys: Keys, bucket: str, version: str) -> None:
    s3 = boto3.client("s3", config=Config(signature_version=version), **client_settings(cloud.endpoint_url, keys))
    params = {"Bucket": bucket, "Key": "there"}
    address = urlsplit(s3.generate_presigned_url("get_object", Params=params, ExpiresIn=1))
    request = SignedRequest(cloud.endpoint_url, path=f"{address.path}?{address.query}")
    expired = wait_until(lambda: answer if (answer := request.send()).status != 200 else None, what="the expiry")
    assert expired.status == 403
    assert b"expired" in expired.body


def chunked(cloud: Cloud, keys: Keys, bucket: str, chunks: list[bytes], trailer: bytes = b"") -> SignedRequest:
    """A PUT whose chunks are signed one by one, by the S3 API reference's recipe."""
    word = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD" + ("-TRAILER" if trailer else "")
    size = sum(map(len, chunks))
    headers = {
        "x-amz-content-sha256": word,
        "x-amz-decoded-content-length": str(size),
        "content-encoding": "aws-chunked",
        **({"x-amz-trailer": trailer.partition(b":")[0].decode()} if trailer else {}),
    }
    request = SignedRequest(cloud.endpoint_url, "PUT", f"/{bucket}/chunked", b"", headers).sign(keys, "s3")
    signer = SigV4Auth(Credentials(keys.access_key_id, keys.secret_access_key), "s3", REGION)
    context = AWSRequest()
    context.context["timestamp"] = request.headers["X-Amz-Date"]
    head = f"{context.context['timestamp']}\n{signer.credential_scope(context)}"
    previous = request.headers["Authorization"].rpartition("Signature=")[2]
    body = b""
    for chunk in [*chunks, b""]:
        empty, digest = hashlib.sha256(b"").hexdigest(), hashlib.sha256(chunk).hexdigest()
        previous = signer.signature(f"AWS4-HMAC-SHA256-PAYLOAD\n{head}\n{previous}\n{empty}\n{digest}", context)
        body += f"{len(chunk):x};chunk-signature={previous}\r\n".encode() + (chunk + b"\r\n" if chunk else b"")
    if trailer:
        digest = hashlib.sha256(trailer + b"\n").hexdigest()
        previous = signer.signature(f"AWS4-HMAC-SHA256-TRAILER\n{head}\n{previous}\n{digest}", context)
        body += trailer + b"\r\nx-amz-trailer-signature:" + previous.encode() + b"\r\n"
    request.body = body + b"\r\n"
    return request


@pytest.mark.parametrize("trailer", [b"", b"x-amz-checksum-crc32:9NCQSg=="])
def test_chunks_are_signed_one_by_one(cloud: Cloud, keys: Keys, bucket: str, trailer: bytes) -> None:
    request = chunked(cloud, keys, bucket, [b"first " * 10, b"second"], trailer)
    forged = [
        replace(request, body=request.body.replace(b"second", b"forged")),
        replace(request, body=request.body.replace(b"first", b"forst")),
        replace(request, body=b"0;chunk-signature=00\r\n\r\n"),
        replace(request, body=b"nonsense"),
        replace(request, body=request.body[: len(request.body) // 2]),
    ]
    if trailer:
        forged.append(replace(request, body=request.body.replace(b"9NCQSg", b"AAAAAA")))
        forged.append(replace(request, body=request.body.partition(trailer)[0] + b"\r\n"))
    else:
        forged.append(replace(request, body=request.body + b"x-amz-checksum-crc32:AAAAAA==\r\n\r\n"))
    for each in forged:
        assert each.send().status in (400, 403)
    assert "chunked" not in objects(cloud, bucket)
    if not trailer:  # the trailer's checksum is not that of the body
        assert request.send().status == 200
        read = cloud.client("s3").get_object(Bucket=bucket, Key="chunked")["Body"].read()
        assert read == b"first " * 10 + b"second"
        cloud.client("s3").delete_object(Bucket=bucket, Key="chunked")


def test_boto3_uploads_large_files_in_parts(cloud: Cloud, bucket: str) -> None:
    content = bytes(range(256)) * 40_000
    cloud.client("s3").upload_fileobj(io.BytesIO(content), bucket, "large")
    assert cloud.client("s3").get_object(Bucket=bucket, Key="large")["Body"].read() == content
    cloud.client("s3").delete_object(Bucket=bucket, Key="large")


def test_odd_names_are_signed_as_they_are_sent(cloud: Cloud, bucket: str) -> None:
    s3 = cloud.client("s3")
    for key in ("a b+c", "ä/ö?x=1&y#z", "..//x", "%41", "tab\there"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"x", Metadata={"note": "two  spaces"})
        assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == b"x"
        s3.delete_object(Bucket=bucket, Key=key)


def test_the_keys_are_for_this_user_only(cloud: Cloud, keys: Keys) -> None:
    assert (cloud.home / "credentials.json").stat().st_mode & 0o777 == 0o600
    assert len(keys.secret_access_key) == 40
