"""A request is judged by what is done: by the operation that answers it, and by the members which that one has.

MiniStack reads what it judges out of the request again, by whichever header, parameter or member it finds first. What
the operation's own protocol does not look at counts for nothing here, as on AWS.
"""

from __future__ import annotations

import json
from typing import Any

from botocore.model import ListShape, MapShape, Shape, StructureShape
from ministack import app
from ministack.core import iam_actions, responses, router

from laptop.documents import Document
from laptop.ministack_patches.patching import Original, patch

# Their operation is the path and the method, and neither a header nor a parameter.
_BY_PATH = frozenset({"s3", "lambda", *iam_actions._BOTOCORE_SERVICE_MAP} - {"ses"})


@patch(
    "app:_dispatch_service_request",
    because="MiniStack judges a request by members that its operation does not have: a `Key` beside a PutItem's `Item`",
    proof="test_judged_requests.py::test_members_that_an_operation_lacks_count_for_nothing",
)
async def _dispatch(
    original: Original,
    method: str,
    path: str,
    headers: dict[str, str],
    body: bytes,
    query: Document,
    request_id: str,
) -> Any:
    if target := headers.get("x-amz-target"):
        service = router.detect_service(method, path, headers, query)
        # It takes the encoding out of the headers, so that the body is not inflated again.
        body = app._decompress_request_body(body, headers) if service != "s3" else body
        if service != "sagemaker":  # which refuses what its operation does not have
            body = _known_part(service, target.rpartition(".")[2], body)
    return await original(method, path, headers, body, query, request_id)


def input_shape(service: str, operation: str) -> Shape | None:
    """What an operation of a service, by MiniStack's name of it, takes; None where botocore does not know it."""
    model = responses._service_model(service)
    if model is None or operation not in model.operation_names:
        return None
    shape: Shape | None = model.operation_model(operation).input_shape
    return shape


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


def _known_part(service: str, operation: str, body: bytes) -> bytes:
    shape = input_shape(service, operation)
    try:
        request = json.loads(body or b"{}")
    except ValueError:  # no request that the service would take
        return body
    known = known_members(shape, request)
    return body if known == request else json.dumps(known).encode()


@patch(
    "core.iam_actions:extract_iam_action",
    because="MiniStack takes the action from a parameter or a header also where the path, or another header, says what "
    "is done: who may list the functions may make one",
    proof="test_judged_requests.py::test_the_operation_that_is_done_is_the_one_that_is_judged",
)
def _iam_action(
    original: Original, service: str, method: str, path: str, headers: dict[str, str], body: bytes, query: Document
) -> str | None:
    by_path = service in _BY_PATH
    if by_path or headers.get("x-amz-target"):
        ignored = {"content-type", "x-amz-target"} if by_path else {"content-type"}
        headers = {name: value for name, value in headers.items() if name not in ignored}
        query = {name: value for name, value in query.items() if name != "Action"}
    action: str | None = original(service, method, path, headers, body, query)
    return action
