"""A request as it is judged and done: it has what its operation takes, each once and in one place, and nothing else.

What two readers might read as two things is refused: a name that is there twice, the URL of a queue with a fragment,
an encoding inside an encoding. What is left is written again, so that MiniStack, which judges a request by whichever
header, parameter or member it finds first, finds what the service finds.
"""

from __future__ import annotations

import json
import re
import zlib
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode
from xml.etree.ElementTree import Element

from botocore.model import ListShape, MapShape
from ministack.core.iam_actions import ParseError, fromstring
from ministack.services import sqs

from laptop.documents import Document
from laptop.door.signatures import Refused
from laptop.ministack_patches import operations
from laptop.ministack_patches.operations import FORM, Operation, Request

INFLATED_BYTES = 10 * 1024 * 1024
"""The largest body that is sent compressed: CloudWatch, which alone asks SDKs to compress, takes 1 MB."""

_QUEUE_NAME = re.compile(r"[A-Za-z0-9_-]{1,80}|[A-Za-z0-9_-]{1,75}\.fifo")
_QUEUE_URL = re.compile(rf"https?://[\w.:\[\]-]+/([0-9]{{12}})/({_QUEUE_NAME.pattern})", re.ASCII)
_GROUPS = frozenset({"logGroupName", "logGroupNames", "logGroupIdentifier", "logGroupIdentifiers"})
_NUMBERS = frozenset({"part-number-marker"})  # a string in AWS's model
_VERSION = re.compile(r"versionId=[^&]*")


def read(service: str, request: Request) -> tuple[Operation | None, Request]:
    """The operation that a request asks a service for, and the request that judge and service get.

    None, and the request as it came, where AWS has no such operation. Raises Refused for a request with two meanings.
    """
    if request.headers.get("smithy-protocol"):
        raise Refused("UnsupportedProtocol", "The laptop cloud does not speak this protocol. It speaks JSON.", 400)
    if service != "s3":  # where it is part of what is stored
        request = _inflated(request)
    operation = operations.find(service, request)
    if operation is None:
        return None, request
    reader = {"json": _json, "query": _query, "ec2": _query}.get(operation.protocol, _rest)
    return operation, reader(operation, request)


def _inflated(request: Request) -> Request:
    """A request whose body is not compressed. Raises Refused for one that is too large, or damaged."""
    encodings = [name.strip() for name in request.headers.get("content-encoding", "").split(",") if name.strip()]
    others = [name for name in encodings if name.lower() != "gzip"]
    if len(others) == len(encodings):
        return request
    if len(encodings) - len(others) > 1:
        raise Refused("MalformedInput", "The body is compressed more than once.", 400)
    inflater = zlib.decompressobj(wbits=31)
    try:
        body = inflater.decompress(request.body, INFLATED_BYTES + 1)
    except zlib.error:
        raise Refused("MalformedInput", "The body is not what its Content-Encoding says.", 400) from None
    if len(body) > INFLATED_BYTES:
        raise Refused("RequestTooLargeException", f"A body must be smaller than {INFLATED_BYTES} bytes.", 413)
    if not inflater.eof or inflater.unused_data:
        raise Refused("MalformedInput", "The body is not what its Content-Encoding says.", 400)
    headers = {name: value for name, value in request.headers.items() if name != "content-encoding"}
    if others:
        headers["content-encoding"] = ", ".join(others)
    return replace(request, body=body, headers=headers)


def _json(operation: Operation, request: Request) -> Request:
    members = members_of(request.body)
    if operation.service == "sqs" and request.path.strip("/") and "QueueUrl" in members:
        _same_queue(members["QueueUrl"], request)
    known = members
    if operation.service != "sagemaker":  # which refuses what its operation does not have
        known = operations.known_members(operation.model.input_shape, members)
    if operation.service == "sqs" and "QueueUrl" in known:
        known["QueueUrl"] = queue_url(known["QueueUrl"])
    if operation.service == "logs" and len(_GROUPS & known.keys()) > 1:  # AWS takes one, MiniStack all, judged by one
        raise Refused("InvalidParameterException", f"Give one of {', '.join(sorted(_GROUPS & known.keys()))}.", 400)
    kind = f"application/x-amz-json-{operation.model.service_model.metadata['jsonVersion']}"
    return replace(
        request,
        path="/",
        headers={**request.headers, "content-type": kind},
        body=request.body if known == members else json.dumps(known).encode(),
        query=operations.signature(request.query),
    )


def members_of(body: bytes) -> Document:
    """What a JSON body says. Raises Refused for one that is no object, and for names that are there twice."""

    def pairs(found: list[tuple[str, Any]]) -> Document:
        return dict(operations.once(found))

    try:
        members = json.loads(body.decode() or "{}", object_pairs_hook=pairs)
    except (ValueError, RecursionError):
        raise Refused("SerializationException", "The body is not JSON in UTF-8.", 400) from None
    if not isinstance(members, dict):
        raise Refused("SerializationException", "The body is not a JSON object.", 400)
    return members


def _query(operation: Operation, request: Request) -> Request:
    pairs = operations.form(request)
    outside = operations.unsigned(request.query)
    if request.method == "POST" and outside:
        raise Refused("MalformedInput", f"{next(iter(outside))!a} is in the query: a POST has it in its body.", 400)
    if request.method != "POST" and request.body:
        raise Refused("MalformedInput", "Only a POST has a body.", 400)
    known = operations.form_names(operation)
    nested = operation.service == "sqs"  # whose model has no names of this protocol any more, but for plain members
    kept = dict(pair for pair in pairs if pair[0].partition(".")[0] in known or (nested and "." in pair[0]))
    if operation.service == "sqs" and "QueueUrl" in operation.members:
        if request.path.strip("/"):
            kept["QueueUrl"] = _same_queue(kept.get("QueueUrl", f"http://queue{request.path}"), request)
        if "QueueUrl" in kept:
            kept["QueueUrl"] = queue_url(kept["QueueUrl"])
    headers = {name: value for name, value in request.headers.items() if name != "x-amz-target"}
    signature = operations.signature(request.query)
    if request.method != "POST":
        headers.pop("content-type", None)
        query = {**signature, **{name: [value] for name, value in kept.items()}}
        return replace(request, path="/", headers=headers, query=query)
    form = urlencode({"Action": operation.name, **kept}).encode()
    return replace(request, path="/", headers={**headers, "content-type": FORM}, body=form, query=signature)


def queue_url(url: Any) -> str:
    """The URL of a queue, or its name alone, as MiniStack has it. Raises Refused for what is neither."""
    if isinstance(url, str) and _QUEUE_NAME.fullmatch(url):
        return url
    found = _QUEUE_URL.fullmatch(url) if isinstance(url, str) else None
    if found is None:
        raise Refused("InvalidAddress", f"The address {url!a} is not valid for this endpoint.", 400)
    return f"http://{sqs._CANONICAL_NETLOC}/{found[1]}/{found[2]}"


def _same_queue(url: Any, request: Request) -> str:
    """The URL of the queue that a request names. Raises Refused where its path names another."""
    here, there = queue_url(f"http://queue{request.path}"), queue_url(url)
    if there not in (here, here.rpartition("/")[2]):
        raise Refused("InvalidAddress", "The path of the request names another queue than its QueueUrl.", 400)
    return str(url)


def _rest(operation: Operation, request: Request) -> Request:
    headers = {name: value for name, value in request.headers.items() if name != "x-amz-target"}
    query = _rest_query(operation, request)
    if operation.service == "s3":
        _check_objects(operation, replace(request, query=query))
        return replace(request, headers=headers, query=query)
    body = request.body
    shape = operation.model.input_shape
    if shape is None or "payload" not in shape.serialization:
        members = members_of(body)
        known = operations.body_members(operation, members)
        body = body if known == members else json.dumps(known).encode()
    return replace(request, headers=headers, query=query, body=body)


def _rest_query(operation: Operation, request: Request) -> dict[str, list[str]]:
    """What of a query an operation takes. Raises Refused for the name of another operation, and for names twice."""
    names = operations.query_names(operation)
    others = operations.markers(operation.service) - names.keys()
    kept = operations.signature(request.query)
    for name, values in operations.unsigned(request.query).items():
        shape = names.get(name)
        if name in others:
            raise Refused("InvalidArgument", f"{name!a} is not a parameter of {operation.name}.", 400)
        if name in names and len(values) > 1 and not isinstance(shape, ListShape | MapShape):
            raise Refused("InvalidArgument", f"{name!a} is given twice.", 400)
        if (shape is not None and shape.type_name in ("integer", "long")) or name in _NUMBERS:
            _check_number(name, values[0])
        # A presigned URL of S3 may have headers in its query.
        if name in names or (operation.service == "s3" and name.lower().startswith("x-amz-")):
            kept[name] = values
    return kept


def _check_number(name: str, value: str) -> None:
    if not re.fullmatch(r"-?[0-9]{1,10}", value, re.ASCII) or not -(2**31) <= int(value) < 2**31:
        raise Refused("InvalidArgument", f"Provided {name} not an integer or within integer range", 400)
    if int(value) < 0:
        raise Refused("InvalidArgument", f"Argument {name} must be an integer between 0 and 2147483647", 400)


def _check_objects(operation: Operation, request: Request) -> None:
    """Raise Refused for what names an object of S3 twice."""
    outside = operations.unsigned(request.query)
    in_query = [
        (name.lower(), value)
        for name, values in outside.items()
        for value in values
        if name.lower().startswith("x-amz-")
    ]
    in_headers = [item for item in request.headers.items() if item[0] in dict(in_query)]
    headers = {**request.headers, **dict(operations.once([*in_query, *in_headers]))}
    for name, member in operation.members.items():
        place = member.serialization
        if place.get("location") == "header" and member.type_name == "integer" and place["name"].lower() in headers:
            _check_number(name, headers[place["name"].lower()])
    source = headers.get("x-amz-copy-source", "")
    if "?" in source and not _VERSION.fullmatch(source.partition("?")[2]):
        raise Refused("InvalidArgument", "A copy source has no parameter but versionId.", 400)
    if operation.name == "DeleteObjects":
        try:
            _check_deleted(fromstring(request.body))
        except (ParseError, ValueError):
            raise Refused("MalformedXML", "The XML you provided was not well-formed.", 400) from None


def _check_deleted(root: Element) -> None:
    """Raise ValueError unless every object that is to be deleted has one key, and one version at most."""
    for parent in root.iter():
        names = [child.tag for child in parent]
        if parent is not root and any(_plain(name) == "Object" for name in names):
            raise ValueError("an object in an object")
        if len({name.rpartition("}")[0] for name in names}) > 1 or (
            parent is not root and len(set(names)) < len(names)
        ):
            raise ValueError("two readers may find two things")


def _plain(tag: str) -> str:
    return tag.rpartition("}")[2]
