"""The services that MiniStack does not have: SageMaker and Application Auto Scaling, answered by `laptop.sagemaker`."""

from __future__ import annotations

import asyncio
import json
import os
import re
from typing import Any
from urllib.parse import unquote

from ministack import app
from ministack.core import iam_actions, router
from ministack.services import sqs

from laptop.documents import Document
from laptop.ministack_patches import operations
from laptop.ministack_patches.judged_requests import objects_arn
from laptop.ministack_patches.local_sagemaker import sagemaker
from laptop.ministack_patches.operations import request_of
from laptop.ministack_patches.patching import Original, patch
from laptop.sagemaker import arns

_RUNTIME = re.compile(r"^/endpoints/([^/]+)/(async-)?invocations")
_QUEUE_URL_PORT = "4566"
_TARGETS = {"sagemaker": "SageMaker.", "application-autoscaling": "AnyScaleFrontendService."}


class _OwnAddress:
    """What MiniStack takes for the host that a request asked for, when it answers with the URL of a queue."""

    def get(self) -> str:
        return f"{sqs.DEFAULT_HOST}:{os.environ['GATEWAY_PORT']}"

    def set(self, host: str) -> None:
        """Whatever name it was asked by is this machine's."""


def _naming_own_address(handler: Any) -> Any:
    """CloudFormation whose answers name queues by the cloud's own address: outputs are such URLs."""

    async def answering(*request: Any) -> tuple[int, dict[str, str], bytes]:
        status, headers, body = await handler(*request)
        text = body.encode() if isinstance(body, str) else body
        own = f"http://{_OwnAddress().get()}/"
        return status, headers, text.replace(f"http://{sqs._CANONICAL_NETLOC}/".encode(), own.encode())

    return answering


def prepare() -> None:
    """Register both services with MiniStack's router and its IAM tables."""
    for name, target in _TARGETS.items():
        app.SERVICE_HANDLERS[name] = _handle_request
        router.SERVICE_PATTERNS[name] = {"target_prefixes": [target], "credential_scope": name}
        iam_actions.SERVICE_TO_IAM_NAMESPACE[name] = name
    # MiniStack keys queues by their URL, port included; a stack's queue URLs must outlive a change of port. What it
    # answers has the cloud's own address: another cloud may listen on that port.
    sqs.DEFAULT_PORT = _QUEUE_URL_PORT
    sqs._CANONICAL_NETLOC = f"{sqs.DEFAULT_HOST}:{_QUEUE_URL_PORT}"
    sqs._HOST_EXPLICIT = False
    sqs._request_host = _OwnAddress()
    app.SERVICE_HANDLERS["cloudformation"] = _naming_own_address(app.SERVICE_HANDLERS["cloudformation"])


async def _handle_request(
    method: str, path: str, headers: dict[str, str], body: bytes, query: Document
) -> tuple[int, dict[str, str], bytes]:
    """The local services, once MiniStack has checked what the caller may do."""
    service = await asyncio.to_thread(sagemaker)
    return await service.handle_request(method, path, headers, body, query)


@patch(
    "app:fix_error_content_type",
    because="MiniStack writes over the Content-Type of a model's own answer",
    proof="test_services.py::test_a_models_answer_keeps_its_content_type",
)
@patch(
    "app:fix_success_content_type",
    because="MiniStack writes over the Content-Type of a model's own answer",
    proof="test_services.py::test_a_models_answer_keeps_its_content_type",
)
def _content_type(original: Original, service: str, status: int, headers: dict[str, str]) -> None:
    if service != "sagemaker":  # which gives every answer its type itself
        original(service, status, headers)


@patch(
    "core.iam_actions:extract_resource_arn",
    because="MiniStack cannot know the resources of a service it lacks and would check every action against *; it "
    "does so with DescribeAlarms, which AWS checks on the alarms; and it takes two slashes in a key for one",
    proof="test_authorization.py::test_sagemaker_actions_are_checked_on_their_resource",
)
def _resource_arn(
    original: Original,
    service: str,
    method: str,
    path: str,
    headers: dict[str, str],
    body: bytes,
    query: Document,
    region: str,
    account: str,
) -> str:
    found = operations.find(service, request_of(method, path, headers, body, query))
    operation = found.name if found else ""
    if (service, operation) == ("monitoring", "DescribeAlarms"):
        return f"arn:aws:cloudwatch:{region}:{account}:alarm:*"
    if service == "s3" and operation != "DeleteObjects":  # which is judged by its first object, and then by the others
        return objects_arn(path)
    if service not in _TARGETS:
        return str(original(service, method, path, headers, body, query, region, account))
    if endpoint := _RUNTIME.match(path):
        return f"arn:aws:sagemaker:{region}:{account}:endpoint/{unquote(endpoint[1]).lower()}"
    try:
        request = json.loads(body or b"{}")
    except ValueError:
        return "*"
    return arns.resource_of(service, operation, request if isinstance(request, dict) else {}, region, account)
