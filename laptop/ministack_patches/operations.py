"""Which operation of AWS a request asks for, found in one way, by AWS's own models: it is judged by that, and done.

The JSON protocols name it in the header `X-Amz-Target`, the query protocol in the form of a POST or the query of a GET,
the REST protocols by method, path and query. What a protocol does not look at counts for nothing.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from botocore.model import ListShape, MapShape, OperationModel, ServiceModel, Shape, StructureShape
from ministack.core import responses

from laptop.documents import Document
from laptop.door.signatures import Refused

# MiniStack's names of services, and botocore's, where one signs and answers for two.
_MODELS = {"sagemaker": ("sagemaker", "sagemaker-runtime")}
# What decides here and in MiniStack by a path is compared for these; of others only the account itself may ask.
_REST = frozenset({"s3", "lambda", "scheduler", "sagemaker-runtime"})
# SQS had the query protocol until 2023, and takes it still.
_ALSO_QUERY = frozenset({"sqs"})
FORM = "application/x-www-form-urlencoded"
_SIGNING = frozenset(
    [
        *(f"x-amz-{word}" for word in ("algorithm", "credential", "date", "expires", "signedheaders", "signature")),
        *("x-amz-security-token", "x-amz-content-sha256", "awsaccesskeyid", "signature", "expires"),
    ]
)
_LABEL = re.compile(r"\{([^}]+)\}")
# A list of every bucket is asked for by the same request.
_TWINS = frozenset({"ListDirectoryBuckets"})
_BY_LITERAL = 2  # weighs more than a member that has to be there


@dataclass(frozen=True)
class Request:
    """One request: the path decoded, header names in lower case, the values of each name of the query."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    query: dict[str, list[str]]


def request_of(method: str, path: str, headers: dict[str, str], body: Any, query: Document) -> Request:
    """A request as MiniStack has it, which gives some values alone where it asks itself."""
    lists = {name: value if isinstance(value, list) else [str(value)] for name, value in query.items()}
    return Request(method, path, headers, body.encode() if isinstance(body, str) else body, lists)


@dataclass(frozen=True)
class Operation:
    """What a request asks for, and by which protocol: json, query, ec2, rest-json or rest-xml."""

    service: str
    protocol: str
    model: OperationModel

    @property
    def name(self) -> str:
        """AWS's name of it."""
        return str(self.model.name)

    @property
    def members(self) -> dict[str, Shape]:
        """What it takes, by AWS's names."""
        shape = self.model.input_shape
        return dict(shape.members) if shape else {}


@dataclass(frozen=True)
class _Route:
    name: str
    method: str
    path: re.Pattern[str]
    literals: dict[str, str]
    queries: frozenset[str]  # names that the query must have
    headers: frozenset[str]
    weight: int


def models(service: str) -> tuple[ServiceModel, ...]:
    """The models of a service in botocore, by MiniStack's name of it; none where nothing is judged by one."""
    found = [(name, responses._service_model(name)) for name in _MODELS.get(service, (service,))]
    return tuple(model for name, model in found if model is not None and (name in _REST or not _is_rest(model)))


def _is_rest(model: ServiceModel) -> bool:
    return str(model.metadata["protocol"]).startswith("rest-")


def find(service: str, request: Request) -> Operation | None:
    """The operation of a service that a request asks for; None where AWS has none such.

    Raises Refused for one whose form cannot be read.
    """
    for model in models(service):
        for protocol in (*model.metadata.get("protocols", [model.metadata["protocol"]]), *_also(service)):
            name = _name(protocol, model, request)
            if name in model.operation_names:
                return Operation(service, protocol, model.operation_model(name))
    return None


def _also(service: str) -> tuple[str, ...]:
    return ("query",) if service in _ALSO_QUERY else ()


def _name(protocol: str, model: ServiceModel, request: Request) -> str | None:
    if protocol == "json":
        prefix, _, name = request.headers.get("x-amz-target", "").rpartition(".")
        return name if request.method == "POST" and prefix == model.metadata["targetPrefix"] else None
    if protocol in ("query", "ec2"):
        by_target = "x-amz-target" in request.headers and "json" in model.metadata.get("protocols", ())
        if by_target or (request.path.strip("/") and model.service_name not in _ALSO_QUERY):
            return None
        return dict(form(request)).get("Action")
    if protocol in ("rest-json", "rest-xml"):
        return _routed(model, request)
    return None


def form(request: Request) -> list[tuple[str, str]]:
    """Names and values of a request in the query protocol: the form of a POST, else the query.

    Raises Refused for a form that is none, and for a name that is there twice.
    """
    if request.method != "POST":
        return once((name, value) for name, values in unsigned(request.query).items() for value in values)
    if request.body and not request.headers.get("content-type", "").startswith(FORM):
        raise Refused("MalformedInput", f"The body of a request of this service is {FORM}.", 400)
    try:
        return once(parse_qsl(request.body.decode(), keep_blank_values=True, errors="strict"))
    except UnicodeDecodeError:
        raise Refused("MalformedInput", "The form is not UTF-8.", 400) from None


def once(pairs: Iterable[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Pairs whose names are all different. Raises Refused for others: two readers might take one each."""
    found = list(pairs)
    seen = set()
    for name, _ in found:
        if name in seen:
            raise Refused("MalformedInput", f"{name!a} is given twice.", 400)
        seen.add(name)
    return found


def unsigned(query: dict[str, list[str]]) -> dict[str, list[str]]:
    """A query without the names that belong to a signature."""
    return {name: values for name, values in query.items() if name.lower() not in _SIGNING}


def signature(query: dict[str, list[str]]) -> dict[str, list[str]]:
    """What of a query belongs to a signature."""
    return {name: values for name, values in query.items() if name.lower() in _SIGNING}


def _routed(model: ServiceModel, request: Request) -> str | None:
    query = frozenset((name, values[0] if values else "") for name, values in request.query.items())
    return _route_of(model.service_name, request.method, request.path, query, frozenset(request.headers))


@functools.lru_cache(maxsize=256)
def _route_of(
    service: str, method: str, path: str, query: frozenset[tuple[str, str]], headers: frozenset[str]
) -> str | None:
    """The name of the operation of a REST service. One request is asked about several times: served, judged, done."""
    first = dict(query)
    either = headers | {name.lower() for name in first}

    def fits(route: _Route) -> bool:
        return (
            method == route.method
            and all(name in first for name in (*route.literals, *route.queries))
            and route.path.fullmatch(path) is not None
            and all(value in ("", first[name]) for name, value in route.literals.items())
            and route.headers <= either
        )

    fitting = [route for route in _routes(service) if fits(route)]
    return max(fitting, key=lambda route: route.weight).name if fitting else None


@functools.cache
def _routes(name: str) -> tuple[_Route, ...]:
    """The routes of a REST service; those that are of age come after those that took their place."""
    model = responses._service_model(name)
    operations = [model.operation_model(each) for each in model.operation_names if each not in _TWINS]
    return tuple(_route(each) for each in sorted(operations, key=lambda each: each.deprecated))


def _route(operation: OperationModel) -> _Route:
    literal = str(operation.http["requestUri"]).partition("?")[2]
    # A client of S3 takes the bucket out of its model, and keeps the whole path there.
    path = str(operation.http.get("authPath", operation.http["requestUri"])).partition("?")[0]
    bound: dict[str, set[str]] = {"querystring": set(), "header": set()}
    shape = operation.input_shape
    needed = [shape.members[name].serialization for name in shape.required_members] if shape else []
    for place in needed:
        if place.get("location") in bound:
            bound[place["location"]].add(str(place["name"]))
    literals = dict(parse_qsl(literal, keep_blank_values=True))
    # AWS needs the header of GetObjectAttributes; what is asked for is known without.
    headers = bound["header"] if not literals else set()
    pattern = "".join(_pattern(part, label=bool(odd % 2)) for odd, part in enumerate(_LABEL.split(path.rstrip("/"))))
    return _Route(
        operation.name,
        str(operation.http["method"]),
        re.compile(pattern + ("/?" if "+}" not in path else ""), re.DOTALL),
        literals,
        frozenset(bound["querystring"]),
        frozenset(headers),
        _BY_LITERAL * len(literals) + len(bound["querystring"]) + len(headers) + path.count("/"),
    )


def _pattern(part: str, *, label: bool) -> str:
    if not label:
        return re.escape(part)
    if part.endswith("+"):
        return ".+"
    # What has a slash, or would have one if it were decoded again, is another path to MiniStack. A schedule's ARN may.
    return "(?:arn:aws:scheduler:[^/%]+/[^/%]+|[^/%]+)" if part == "ResourceArn" else "[^/%]+"


@functools.cache
def markers(service: str) -> frozenset[str]:
    """The names in a query by which a REST service tells its operations apart."""
    routes = [route for model in models(service) if _is_rest(model) for route in _routes(model.service_name)]
    return frozenset(name for route in routes for name in (*route.literals, *route.queries))


def query_names(operation: Operation) -> dict[str, Shape | None]:
    """What the query of a REST operation may have, and of which shape; None for what is only there."""
    literals = dict(parse_qsl(str(operation.model.http["requestUri"]).partition("?")[2], keep_blank_values=True))
    bound = {
        str(member.serialization["name"]): member
        for member in operation.members.values()
        if member.serialization.get("location") == "querystring"
    }
    return {**dict.fromkeys(literals), **bound}


def form_names(operation: Operation) -> frozenset[str]:
    """What the names in a form of the query protocol begin with, up to the first dot."""
    return frozenset({"Action", "Version", *(name for item in operation.members.items() for name in _forms(*item))})


def _forms(name: str, shape: Shape) -> Iterator[str]:
    written = shape.serialization
    yield from (name, name[:1].upper() + name[1:], written.get("name", name), written.get("queryName", name))
    if isinstance(shape, ListShape):  # a flattened list goes by the name of its items
        yield shape.member.serialization.get("name", name)


def input_shape(service: str, operation: str) -> Shape | None:
    """What an operation of a service, by MiniStack's name of it, takes; None where botocore does not know it."""
    model = responses._service_model(service)
    if model is None or operation not in model.operation_names:
        return None
    shape: Shape | None = model.operation_model(operation).input_shape
    return shape


def headers_of(shape: Shape | None, request: Document) -> dict[str, str]:
    """The headers, in lower case, in which a client sends members of a request."""
    members = shape.members.items() if isinstance(shape, StructureShape) else ()
    places = {name: member.serialization for name, member in members}
    return {
        str(places[name]["name"]).lower(): str(value)
        for name, value in request.items()
        if name in places and places[name].get("location") == "header"
    }


def known_members(shape: Shape | None, value: Any) -> Any:
    """A value without the members that its shape does not have, at any depth; all of it where there is no shape."""
    if isinstance(shape, StructureShape) and isinstance(value, dict) and not shape.is_document_type:
        names = {member.serialization.get("name", name): member for name, member in shape.members.items()}
        return {name: known_members(names[name], item) for name, item in value.items() if name in names}
    if isinstance(shape, ListShape) and isinstance(value, list):
        return [known_members(shape.member, item) for item in value]
    if isinstance(shape, MapShape) and isinstance(value, dict):
        return {key: known_members(shape.value, item) for key, item in value.items()}
    return value


def body_members(operation: Operation, value: Document) -> Document:
    """What of a JSON body an operation takes: nothing that its path, its query or a header says."""
    known: Document = known_members(operation.model.input_shape, value)
    elsewhere = {
        member.serialization.get("name", name)
        for name, member in operation.members.items()
        if member.serialization.get("location")
    }
    return {name: item for name, item in known.items() if name not in elsewhere}
