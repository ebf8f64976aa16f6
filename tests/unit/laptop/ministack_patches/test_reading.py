"""What is handed on of a request, and which requests have two meanings."""

from __future__ import annotations

import gzip
import json
import zlib
from typing import Any
from urllib.parse import parse_qs

import pytest
from ministack.services import sqs as sqs_module

from laptop.door.signatures import Refused
from laptop.ministack_patches import reading
from laptop.ministack_patches.operations import FORM, Request

QUEUES = f"http://{sqs_module._CANONICAL_NETLOC}"
JSON = {"content-type": "application/x-amz-json-1.0"}


def refused(service: str, request: Request) -> tuple[str, int]:
    with pytest.raises(Refused) as caught:
        reading.read(service, request)
    return caught.value.code, caught.value.status


def form(body: str, query: dict[str, list[str]] | None = None, path: str = "/", **headers: str) -> Request:
    return Request("POST", path, {"content-type": FORM, **headers}, body.encode(), query or {})


def dynamodb(body: bytes, **headers: str) -> Request:
    return Request("POST", "/", {"x-amz-target": "DynamoDB_20120810.GetItem", **JSON, **headers}, body, {})


def sqs(members: dict[str, Any], path: str = "/") -> Request:
    headers = {"x-amz-target": "AmazonSQS.SendMessage", **JSON}
    return Request("POST", path, headers, json.dumps(members).encode(), {})


def s3(method: str, path: str, query: dict[str, list[str]], headers: dict[str, str] | None = None) -> Request:
    return Request(method, path, headers or {}, b"", query)


def test_a_form_keeps_what_its_operation_takes() -> None:
    body = "Version=2010-08-01&Namespace=mine&Action=PutMetricData&AlarmName=a&MetricData.member.1.Value=&action=x"
    signature = {"X-Amz-Signature": ["s"]}
    operation, request = reading.read("monitoring", form(body, signature, **{"x-amz-target": "Any.Thing"}))
    assert operation is None  # the target is none of CloudWatch's, and a form beside a target is no request of its
    operation, request = reading.read("monitoring", form(body, signature))
    assert operation is not None
    assert request.query == signature
    assert parse_qs(request.body.decode(), keep_blank_values=True) == {
        "Action": ["PutMetricData"],
        "Version": ["2010-08-01"],
        "Namespace": ["mine"],
        "MetricData.member.1.Value": [""],
    }
    _, request = reading.read("iam", form("Action=CreateUser&UserName=u&RoleName=r", **{"x-amz-target": "X.GetRole"}))
    assert request.body == b"Action=CreateUser&UserName=u"
    assert "x-amz-target" not in request.headers


@pytest.mark.parametrize(
    ("service", "request_"),
    [
        ("monitoring", form("Action=PutMetricData&Namespace=other", {"Namespace": ["mine"]})),
        ("monitoring", form("Action=SetAlarmState", {"Action": ["PutMetricData"]})),
        ("monitoring", form("Action=PutMetricData&Namespace=mine&Namespace=other")),
        ("iam", Request("GET", "/", {}, b"", {"Action": ["GetRole", "CreateUser"]})),
        ("iam", Request("GET", "/", {"content-type": FORM}, b"Action=CreateUser", {"Action": ["GetRole"]})),
    ],
)
def test_a_name_in_two_places_of_a_form_is_refused(service: str, request_: Request) -> None:
    assert refused(service, request_)[1] == 400


@pytest.mark.parametrize(
    "body",
    [
        b'{"TableName": "a", "TableName": "b"}',
        b'{"Key": {"name": {"S": "a", "S": "b"}}}',
        b'{"\\u0054ableName": "a", "TableName": "b"}',
        '{"TableName": "a"}'.encode("utf-16"),
        b"[1]",
        b"{",
        b"[" * 100_000,
        b'{"a": ' + b"1" * 5000 + b"}",
    ],
)
def test_json_with_two_meanings_is_refused(body: bytes) -> None:
    assert refused("dynamodb", dynamodb(body))[1] == 400


def test_json_keeps_what_its_operation_takes_and_is_not_read_as_a_form() -> None:
    body = b'{"TableName": "a", "key": 1, "RequestItems": {}}'
    headers = {"content-type": FORM, "smithy-protocol": ""}
    request = Request("POST", "/x", {**dynamodb(b"").headers, **headers}, body, {"Action": ["ListTables"]})
    operation, request = reading.read("dynamodb", request)
    assert operation is not None
    assert (json.loads(request.body), request.path, request.query) == ({"TableName": "a"}, "/", {})
    assert request.headers["content-type"] == "application/x-amz-json-1.0"


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("q", "q"),
        ("http://host/000000000000/q", f"{QUEUES}/000000000000/q"),
        ("https://host:1/111111111111/q.fifo", f"{QUEUES}/111111111111/q.fifo"),
    ],
)
def test_a_queue_has_one_url(url: str, found: str) -> None:
    assert reading.queue_url(url) == found


@pytest.mark.parametrize(
    "url",
    [
        "http://host/000000000000/other#/allowed",
        "http://host/000000000000/other?x=/allowed",
        "http://host/000000000000/other?",
        "http://host/000000000000/other/",
        "http://host/000000000000/other;/allowed",
        "http://host/000000000000/%61llowed",
        "http://host/x/000000000000/other",
        "http:///000000000000/other",
        "ftp://host/000000000000/other",
        "http://[::1/000000000000/other\n",
        "http://me@host/000000000000/other",
        "000000000000/other",
        "other\n",
        "",
        None,
        ["other"],
    ],
)
def test_another_url_of_a_queue_is_refused(url: Any) -> None:
    assert refused("sqs", sqs({"QueueUrl": url, "MessageBody": "m"})) == ("InvalidAddress", 400)


def test_a_path_names_the_queue_where_nothing_else_does() -> None:
    url = "http://host/000000000000/allowed"
    _, request = reading.read("sqs", form("Action=SendMessage&MessageBody=m", path="/000000000000/allowed"))
    assert parse_qs(request.body.decode())["QueueUrl"] == [f"{QUEUES}/000000000000/allowed"]
    _, request = reading.read("sqs", sqs({"QueueUrl": url}, "/000000000000/allowed"))
    assert request.path == "/"
    for other in ("/000000000000/other", "/111111111111/allowed", "/x"):
        assert refused("sqs", sqs({"QueueUrl": url}, other))[0] == "InvalidAddress"
        assert refused("sqs", form(f"Action=SendMessage&QueueUrl={url}", path=other))[0] == "InvalidAddress"


def test_a_compressed_body_is_inflated_up_to_a_bound() -> None:
    body = json.dumps({"TableName": "a"}).encode()
    _, request = reading.read("dynamodb", dynamodb(gzip.compress(body), **{"content-encoding": "gzip, other"}))
    assert request.body == body
    assert request.headers["content-encoding"] == "other"
    largest = json.dumps({"TableName": "a" * (reading.INFLATED_BYTES - len(body) + 1)}).encode()
    assert len(largest) == reading.INFLATED_BYTES
    reading.read("dynamodb", dynamodb(gzip.compress(largest), **{"content-encoding": "gzip"}))
    packer = zlib.compressobj(9, wbits=31)
    bomb = b"".join(packer.compress(bytes(2**20)) for _ in range(200)) + packer.flush()
    for packed, found in [
        (gzip.compress(largest + b" "), ("RequestTooLargeException", 413)),
        (bomb, ("RequestTooLargeException", 413)),
        (gzip.compress(body)[:-1], ("MalformedInput", 400)),
        (gzip.compress(body) * 2, ("MalformedInput", 400)),
        (body, ("MalformedInput", 400)),
    ]:
        assert refused("dynamodb", dynamodb(packed, **{"content-encoding": "gzip"})) == found
    twice = dynamodb(gzip.compress(gzip.compress(body)), **{"content-encoding": "gzip, gzip"})
    assert refused("dynamodb", twice) == ("MalformedInput", 400)


@pytest.mark.parametrize(
    ("method", "path", "query", "headers"),
    [
        ("DELETE", "/bucket", {"metrics": [""]}, {}),  # without the id that its operation needs
        ("PUT", "/bucket/key", {"tagging": [""], "acl": [""]}, {}),
        ("PUT", "/bucket/key", {"tagging": [""], "uploadId": ["u"], "partNumber": ["1"]}, {}),
        ("GET", "/bucket", {"prefix": ["a", "b"]}, {}),
        ("GET", "/bucket", {"list-type": ["9"]}, {}),
        ("GET", "/bucket", {"max-keys": ["abc"]}, {}),
        ("GET", "/bucket", {"max-keys": ["-1"]}, {}),
        ("GET", "/bucket", {"max-keys": [""]}, {}),
        ("GET", "/bucket", {"max-keys": ["99999999999999999999"]}, {}),
        ("GET", "/bucket", {"uploads": [""], "max-uploads": ["x"]}, {}),
        ("GET", "/bucket/key", {"uploadId": ["u"], "part-number-marker": ["x"]}, {}),
        ("GET", "/bucket/key", {"attributes": [""]}, {"x-amz-max-parts": "x"}),
        ("PUT", "/bucket/key", {"X-Amz-Acl": ["private"]}, {"x-amz-acl": "public-read"}),
        ("PUT", "/bucket/key", {"X-Amz-Acl": ["private"], "x-amz-acl": ["public-read"]}, {}),
        ("PUT", "/bucket/key", {}, {"x-amz-copy-source": "/b/k?versionId=&versionId=v"}),
        ("PUT", "/bucket/key", {"x-amz-copy-source": ["/b/k?x=y"]}, {}),
    ],
)
def test_a_request_to_s3_with_two_meanings_is_refused(
    method: str, path: str, query: dict[str, list[str]], headers: dict[str, str]
) -> None:
    assert refused("s3", s3(method, path, query, headers))[1] == 400


def test_a_request_to_s3_keeps_what_its_operation_takes() -> None:
    query = {"x-id": ["GetObject"], "versionId": ["v"], "X-Amz-Date": ["d"], "x-amz-checksum-mode": ["ENABLED"]}
    _, request = reading.read("s3", s3("GET", "/bucket/key", query, {"x-amz-date": "d", "x-amz-target": "A.B"}))
    assert request.query == {name: values for name, values in query.items() if name != "x-id"}
    assert "x-amz-target" not in request.headers


@pytest.mark.parametrize(
    "inside",
    [
        "<Object><Key>a</Key><Key>b</Key></Object>",
        '<Object><Key>a</Key><Key xmlns="">b</Key></Object>',
        "<Object><Key>a</Key><VersionId>1</VersionId><VersionId>2</VersionId></Object>",
        '<Object><Key>a</Key></Object><Object xmlns=""><Key>b</Key></Object>',
        "<Quiet><Object><Key>a</Key></Object></Quiet>",
        "<Object>",
        '<!DOCTYPE a [<!ENTITY e "b">]><Object><Key>&e;</Key></Object>',
    ],
)
def test_objects_are_deleted_by_one_key_each(inside: str) -> None:
    def delete(inside: str) -> Request:
        body = f'<Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{inside}</Delete>'.encode()
        return Request("POST", "/bucket", {}, body, {"delete": [""]})

    reading.read("s3", delete("<Object><Key>a</Key></Object><Object><Key>a</Key></Object><Quiet>true</Quiet>"))
    assert refused("s3", delete(inside)) == ("MalformedXML", 400)


def test_a_function_is_named_by_the_path_alone() -> None:
    body = json.dumps({"FunctionName": "other", "Timeout": 3, "Qualifier": "x"}).encode()
    path = "/2015-03-31/functions/allowed/configuration"
    _, request = reading.read("lambda", Request("PUT", path, {}, body, {"FunctionName": ["other"]}))
    assert (json.loads(request.body), request.query) == ({"Timeout": 3}, {})
    invoked = Request("POST", "/2015-03-31/functions/f/invocations", {}, b'{"a": 1, "a": 2}', {})
    assert reading.read("lambda", invoked)[1].body == invoked.body  # data, which nothing is judged by


def test_what_is_no_operation_is_left_as_it_is() -> None:
    request = s3("PATCH", "/bucket", {"a": ["b", "c"]})
    assert reading.read("s3", request) == (None, request)
    assert refused("monitoring", form("", **{"smithy-protocol": "rpc-v2-cbor"})) == ("UnsupportedProtocol", 400)
