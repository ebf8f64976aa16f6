"""Which answers wait until what they acknowledge is written down, and what is answered where it cannot be."""

from __future__ import annotations

import re
import uuid
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from ministack import app
from ministack.core import iam_actions, persistence, router

from laptop import storing

Message = MutableMapping[str, Any]

_READS = ("Describe", "List", "Get", "BatchGet", "Query", "Scan", "Receive", "Test", "Lookup", "Filter", "Validate")
# What has a journal of its own, or may be lost with the last second.
_LATER = {"dynamodb", "sagemaker", "sts"}
# Services of tasks whose changes are written down as they are made: executions, objects, and what functions do.
_BY_ITSELF = {"states", "sfn", "lambda", "s3"}
_LATER_OPERATIONS = {
    "StartExecution",
    "StopExecution",
    "PutEvents",
    "DeleteMessage",
    "DeleteMessageBatch",
    "PutMetricData",
    "PutLogEvents",
}
_STREAMS = {"CreateLogStream", "DeleteLogStream"}
# Whatever a resource is called: these two paths of REST services are all that says what is asked for.
_INVOCATION = re.compile(r"/(2015-03-31/functions|endpoints)/[^/]+/invocations")
_RPC = re.compile(r"/service/[^/]+/operation/([^/]+)")
_FORM_BYTES = 64 * 1024  # so much of a body is looked at: clients put the action first


class NotTaken(Exception):
    """A request that is refused before it is done, since its change would not be stored."""


def writes(scope: Message) -> bool:
    """Whether a request may change something."""
    return str(scope["method"]) not in ("GET", "HEAD", "OPTIONS")


class Asked:
    """One request, as it comes in.

    What forms ask for is in their bodies, and their answers wait all of them: who reads that a stack is made takes it
    for kept.
    """

    def __init__(self, scope: Message) -> None:
        self.waits = _at_once(scope)
        """Whether the answer has to wait for a snapshot."""
        self.is_of_streams = self.waits and _operation(scope) in _STREAMS
        """Whether what it changes is in the state that has lines of logs."""
        self.scope = scope
        """The request's ASGI scope."""
        self._body = bytearray()

    def hear(self, message: Message) -> bool:
        """Take a part of the body; whether it was the last one."""
        if len(self._body) < _FORM_BYTES:
            self._body.extend(message.get("body", b""))
        return not message.get("more_body")

    @property
    def changes(self) -> bool:
        """Whether it is refused where nothing can be stored."""
        forms = [self.scope.get("query_string", b"")]
        if b"x-www-form-urlencoded" in dict(self.scope["headers"]).get(b"content-type", b""):
            forms.append(bytes(self._body))
        actions = [action for form in forms for action in parse_qs(form.decode("latin-1")).get("Action", [])]
        return self.waits and not (actions and all(_may_wait(action) for action in actions))


def task_waits(resource: str) -> bool:
    """Whether a task of a state machine is done only once what it changed is written down."""
    service, _, rest = resource.removeprefix("arn:aws:states:::").removeprefix("aws-sdk:").partition(":")
    operation = rest.partition(".")[0]
    if not resource.startswith("arn:aws:states:::") or service in _LATER | _BY_ITSELF:
        return False
    return not _may_wait(operation[:1].upper() + operation[1:])


def states_of(scope: Message) -> frozenset[str]:
    """The names of the states that a request's own service has."""
    name = _detected(scope)
    service = app.SERVICE_REGISTRY.get(app.SERVICE_NAME_ALIASES.get(name, name), {"module": name})
    return frozenset({service.get("state_key", service["module"]), *service.get("sub_modules", ())})


def refused(scope: Message) -> list[Message]:
    """The answer to a request whose change is not stored, in the words of its service's protocol."""
    _, headers, body = iam_actions.access_denied_response(
        _detected(scope),
        "",
        "",
        str(uuid.uuid4()),
        error_code="InternalFailure",
        message=storing.refusal(home()),
        headers=_headers(scope),
    )
    length = {"Content-Length": str(len(body))}
    sent = [(name.lower().encode(), str(value).encode()) for name, value in {**headers, **length}.items()]
    return [
        {"type": "http.response.start", "status": 500, "headers": sent},
        {"type": "http.response.body", "body": body},
    ]


def home() -> Path:
    """The folder of the cloud whose state MiniStack keeps."""
    return Path(persistence.STATE_DIR).parent


def _at_once(scope: Message) -> bool:
    service = _service(dict(scope["headers"]).get(b"authorization", b""))
    if service in _LATER:
        return False
    if service == "s3":  # objects are files; what is set on a bucket is not
        return "/" not in str(scope["path"]).strip("/")
    invokes = scope["method"] == "POST" and _INVOCATION.fullmatch(str(scope["path"]))
    return not invokes and not _may_wait(_operation(scope))


def _operation(scope: Message) -> str:
    """The target of the JSON protocols, or what the path of RPC v2 says; nothing for REST, whose paths are names."""
    target = dict(scope["headers"]).get(b"x-amz-target", b"").rpartition(b".")[2].decode("latin-1")
    said = _RPC.fullmatch(str(scope["path"]))
    return target or (said[1] if said else "")


def _may_wait(operation: str) -> bool:
    return operation in _LATER_OPERATIONS or operation.startswith(_READS)


def _detected(scope: Message) -> str:
    return str(router.detect_service(str(scope["method"]), str(scope["path"]), _headers(scope), {}))


def _headers(scope: Message) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}


def _service(authorization: bytes) -> str:
    scope = authorization.partition(b"Credential=")[2].partition(b",")[0].split(b"/")
    return scope[3].decode("latin-1") if len(scope) == 5 else ""
