"""A request is judged by what is done: by the operation that answers it, and by the members which that one has.

Before MiniStack judges a request and hands it on, it is read once (:mod:`laptop.ministack_patches.reading`), for the
service that it was signed for. What no operation of AWS's models asks for is done for the account itself alone, whose
keys may do everything; so is what MiniStack serves by rules of its own, at hosts and paths that no policy covers.
"""

from __future__ import annotations

import os
import re
from typing import Any

from ministack import app
from ministack.core import iam_actions, router
from ministack.services import dynamodb, sqs

from laptop.account import ACCOUNT_ID
from laptop.documents import Document
from laptop.door import answers
from laptop.door.signatures import Refused
from laptop.ministack_patches import operations, reading
from laptop.ministack_patches.actions import action_of, additional_checks
from laptop.ministack_patches.operations import Request, request_of
from laptop.ministack_patches.patching import Original, patch

Answer = tuple[int, dict[str, str], Any]

_SCOPE = re.compile(r"Credential=[^/]+/[0-9]{8}/[^/]*/([^/]+)/aws4_request")
_BY_PATH = "test_judged_requests.py::test_a_path_that_no_operation_has_is_denied"
_UNKNOWN = "UnknownOperation"  # the account itself may, and who may do everything
_UNSERVED = re.compile(
    r"(Get|Put|Delete|List)Bucket(Abac|Analytics|IntelligentTiering|Inventory|Metadata|Metrics|PolicyStatus)"
    r"|(Create|Update)BucketMetadata|CreateSession|GetBucketRequestPayment|RenameObject|UpdateObjectEncryption|SelectObject|GetObjectTorrent"
    r"|WriteGetObjectResponse"
)
"""Operations of S3 that MiniStack takes for others: it would delete a bucket for the metrics of one."""


def prepare() -> None:
    """Put a refusal before the operations of S3 that are not there."""
    handler = app.SERVICE_HANDLERS["s3"]

    async def served(method: str, path: str, headers: dict[str, str], body: bytes, query: Document) -> Any:
        operation = operations.find("s3", request_of(method, path, headers, body, query))
        if operation is not None and _UNSERVED.match(operation.name):
            refused = Refused("NotImplemented", f"The laptop cloud does not have {operation.name}.", 501)
            return _refusal(refused, headers)
        return await handler(method, path, headers, body, query)

    app.SERVICE_HANDLERS["s3"] = served


def signed_for(headers: dict[str, str], query: Document) -> str:
    """The service that a request was signed for, by AWS's name in the scope of the signature; S3 has one without."""
    scope = _SCOPE.search(headers.get("authorization", ""))
    if scope:
        return scope[1]
    parts = str((query.get("X-Amz-Credential") or [""])[0]).split("/")
    return parts[3] if len(parts) == 5 else "s3"


def _is_account(headers: dict[str, str], query: Document) -> bool:
    return router.extract_access_key_id(headers, query) in (os.environ["AWS_ACCESS_KEY_ID"], ACCOUNT_ID)


def _refusal(refused: Refused, headers: dict[str, str]) -> Answer:
    more, body = answers.refusal(refused, {"query_string": b""}, headers)
    return refused.status, more, body


@patch(
    "app:_dispatch_service_request",
    because="MiniStack judges a request by the first header, parameter or member that it finds, and a service does "
    "what another one says",
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
    request = _in_path(Request(method, path, headers, body, query))
    service = router.detect_service(method, request.path, headers, query)
    try:
        _check_scope(service, headers, query)
        operation, request = reading.read(service, request)
    except Refused as refused:
        return _refusal(refused, headers)
    if operation is None and app.AUTH and not _is_account(headers, query):
        key = router.extract_access_key_id(headers, query)
        message = f"The laptop cloud knows no operation of {service} for {method} {path}."
        return iam_actions.access_denied_response(
            service, f"{service}:{_UNKNOWN}", key, request_id, headers=headers, message=message
        )
    return await original(request.method, request.path, request.headers, request.body, request.query, request_id)


def _in_path(request: Request) -> Request:
    """A request to S3 with its bucket in the path, if it was in the name of the host."""
    host = request.headers.get("host", "")
    bucket = app._extract_s3_vhost_bucket(host) if signed_for(request.headers, request.query) == "s3" else None
    if not bucket or app._S3_VHOST_EXCLUDE_RE.search(host) or bucket in app._NON_S3_VHOST_NAMES:
        return request
    headers = {**request.headers, "host": f"localhost:{host.rpartition(':')[2]}"}
    return Request(request.method, f"/{bucket}{request.path}", headers, request.body, request.query)


def _check_scope(service: str, headers: dict[str, str], query: Document) -> None:
    """Raise Refused for a request to a service that it was not signed for."""
    names = {str(model.signing_name) for model in operations.models(service)}
    if names and signed_for(headers, query) not in names:
        name = next(iter(names))
        raise Refused("SignatureDoesNotMatch", f"Credential should be scoped to correct service: '{name}'.")


@patch(
    "core.router:detect_service",
    because="MiniStack takes a signed URL of S3 for a request of another service where its path or a header says so",
    proof="test_judged_requests.py::test_a_request_is_for_the_service_that_it_was_signed_for",
)
@patch(
    "app:detect_service",
    because="it has the function above under a name of its own",
    proof="test_judged_requests.py::test_a_request_is_for_the_service_that_it_was_signed_for",
)
def _service(original: Original, method: str, path: str, headers: dict[str, str], query: Document) -> str:
    return "s3" if signed_for(headers, query) == "s3" else str(original(method, path, headers, query))


@patch(
    "core.iam_actions:extract_iam_action",
    because="MiniStack takes the action from a parameter or a header also where the path, or another header, says what "
    "is done, guesses it by parts of the path, and allows what it has no name for",
    proof="test_judged_requests.py::test_the_operation_that_is_done_is_the_one_that_is_judged",
)
def _iam_action(
    original: Original, service: str, method: str, path: str, headers: dict[str, str], body: bytes, query: Document
) -> str:
    request = request_of(method, path, headers, body, query)
    operation = operations.find(service, request)
    return action_of(operation, request) if operation else f"{service}:{_UNKNOWN}"  # for None it would be allowed


@patch(
    "app:_handle_special_data_plane_request",
    because="MiniStack serves hosts and paths of its own, some of them without asking whether the caller may",
    proof=_BY_PATH,
)
async def _special(
    original: Original,
    method: str,
    path: str,
    headers: dict[str, str],
    body: bytes,
    query: Document,
    *rest: Any,
    **more: Any,
) -> Any:
    in_host = _in_path(Request(method, path, headers, body, query)).path != path
    if in_host or not _is_account(headers, query):
        return None
    return await original(method, path, headers, body, query, *rest, **more)


@patch("app:_handle_cognito_get_request", because="MiniStack serves it to everyone", proof=_BY_PATH)
@patch("app:_handle_cognito_body_request", because="MiniStack serves it to everyone", proof=_BY_PATH)
async def _sign_in(original: Original, method: str, path: str, headers: dict[str, str], *rest: Any) -> Any:
    query = rest[-1]
    return await original(method, path, headers, *rest) if _is_account(headers, query) else None


@patch(
    "app:_decode_aws_chunked_body",
    because="MiniStack takes what follows the last chunk for headers, unsigned as it is: another signer, a copy",
    proof="test_judged_requests.py::test_a_trailer_has_checksums_only",
)
def _decode_chunks(original: Original, body: bytes, headers: dict[str, str]) -> bytes:
    before = set(headers)
    try:
        return bytes(original(body, headers))
    finally:
        for name in headers.keys() - before:
            if not name.startswith("x-amz-checksum-"):
                del headers[name]


@patch(
    "services.s3:_verify_presigned_sigv4",
    because="MiniStack computes the signature of what is left of a request; the door has, of what came",
    proof="test_judged_requests.py::test_a_signed_url_may_have_parameters_that_count_for_nothing",
)
def _verified(original: Original, *request: Any) -> None:
    return None


@patch(
    "core.iam_actions:s3_additional_checks",
    because="MiniStack judges a key with two slashes in it as the one with a single slash, and does not ask who may "
    "tag, grant, hold or retain what an upload or a copy makes",
    proof="test_judged_uploads.py::test_what_an_upload_says_besides_needs_its_own_action",
)
def _additional_checks(
    original: Original, method: str, path: str, headers: dict[str, str], body: bytes, query: Document
) -> list[tuple[str, str]]:
    operation = operations.find("s3", request_of(method, path, headers, body, query))
    name = operation.name if operation else ""
    bucket = path[1:].partition("/")[0]
    of_version = "s3:GetObjectVersion" if query.get("versionId", [""])[0] else "s3:GetObject"
    checks = [(of_version, objects_arn(path))] if name == "GetObjectAttributes" else []
    checks += additional_checks(name, headers, objects_arn(path))
    deleted = iam_actions._s3_batch_delete_targets(bucket, body) if name == "DeleteObjects" else []
    checks += [("s3:DeleteObjectVersion" if version else "s3:DeleteObject", arn) for arn, version in deleted]
    if headers.get("x-amz-bypass-governance-retention", "").strip().lower() == "true":
        there = [arn for arn, _ in deleted] or [objects_arn(path)]
        checks += [("s3:BypassGovernanceRetention", arn) for arn in there]
    return checks


def objects_arn(path: str) -> str:
    """What a path of S3 names: an object, a bucket, or all of them."""
    bucket, _, key = path[1:].partition("/")
    return f"arn:aws:s3:::{bucket}/{key}" if key else f"arn:aws:s3:::{bucket}" if bucket else "*"


@patch(
    "core.iam_actions:_dynamodb_table_arn",
    because="MiniStack judges a table by the ARN in a request, and finds it by a part of that",
    proof="test_judged_requests.py::test_a_table_is_judged_as_it_is_found",
)
def _table_arn(original: Original, table: str, region: str, account: str) -> str:
    return str(original(dynamodb._normalize_table_name(table), region, account))


@patch(
    "services.sqs:_get_q",
    because="MiniStack finds a queue by a part of a URL, and judges by another part of it",
    proof="test_judged_requests.py::test_the_url_of_a_queue_is_read_in_one_way",
)
def _queue(original: Original, url: str, action: str | None = None) -> Document:
    try:
        found: Document = original(reading.queue_url(url), action)
    except Refused as refused:
        raise sqs._Err(refused.code, str(refused), refused.status) from None
    return found
