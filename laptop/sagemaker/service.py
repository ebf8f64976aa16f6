"""The way into the local SageMaker: `handle_request` for HTTP (JSON 1.1), `call` for the cloud's own integrations.

Every resource module names its operations in a dict `OPERATIONS` {operation: function(request) -> response}. A function
gets a request that has been checked against botocore's model and normalized, and may return whole records: the
response is reduced to the members of the operation's output shape.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import functools
import json
import logging
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from laptop.database import NotStored
from laptop.documents import Document
from laptop.sagemaker.autoscaling import api as autoscaling
from laptop.sagemaker.core import context, errors, tags, validation
from laptop.sagemaker.endpoints import api as endpoints
from laptop.sagemaker.endpoints import invocations, models
from laptop.sagemaker.jobs import processing, runner, training
from laptop.sagemaker.labeling import api as labeling
from laptop.sagemaker.registry import api as registry

log = logging.getLogger(__name__)

Operation = Callable[[Document], Document]

# A module may say SERVICE = "application-autoscaling"; without it, its operations are SageMaker's.
_MODULES: tuple[ModuleType, ...] = (tags, labeling, training, processing, registry, models, endpoints, autoscaling)
_TARGETS = {"SageMaker": "sagemaker", "AnyScaleFrontendService": "application-autoscaling"}
_RUNTIME_PATH = re.compile(r"^/endpoints/[^/]+/(invocations|async-invocations|invocations-response-stream)$")

# Operations block on disk, S3 and processes, and some call back into this same server: never on its event loop, and
# not in asyncio's small default pool, which the server's other services share.
_pool = concurrent.futures.ThreadPoolExecutor(max_workers=16, thread_name_prefix="sagemaker")


@functools.cache
def operations() -> dict[str, dict[str, Operation]]:
    """All operations, from every module: service -> operation -> function."""
    merged: dict[str, dict[str, Operation]] = {}
    for module in _MODULES:
        merged.setdefault(getattr(module, "SERVICE", "sagemaker"), {}).update(module.OPERATIONS)
    return merged


def start(
    home: Path, endpoint_url: str, *, role_credentials: context.RoleCredentials, put_event: context.PutEvent
) -> None:
    """Open the service over a cloud's home; call once the cloud answers at `endpoint_url`.

    Picks up where a stopped or killed cloud left off: each module's `start()` runs the jobs again that lost their
    process and brings endpoints back. `role_credentials` and `put_event` are those of `Context`.
    """
    current = context.Context(home, endpoint_url, role_credentials=role_credentials, put_event=put_event)
    current.on_endpoint_deleted.append(autoscaling.forget)
    context.configure(current)
    for module in _MODULES:
        if hasattr(module, "start"):
            module.start()


def stop() -> None:
    """Stop every process that the service started; call before the cloud stops answering.

    A module that fails to stop does not keep the others from stopping.
    """
    context.current().store.stop_waiting()
    for module in reversed(_MODULES):
        if hasattr(module, "stop"):
            try:
                module.stop()
            except Exception:
                log.exception("%s could not stop", module.__name__)
    context.current().store.close()


def found() -> list[str]:
    """What of the service's records could not be read at the start, in sentences."""
    return context.current().store.found


def running_jobs() -> list[str]:
    """The training and processing jobs that run or wait for their turn, as the last part of their ARNs."""
    return runner.running()


def call(operation: str, request: Document, service: str = "sagemaker") -> Document:
    """Run one operation in the caller's thread (it may block).

    Times in the response are epoch seconds. Raises errors.ServiceError, ServiceUnavailable for what cannot be stored.
    """
    normal = validation.validate(service, operation, request)
    function = operations().get(service, {}).get(operation)
    if function is None:
        raise errors.unsupported_operation(operation)
    try:
        answer = function(normal)
    except NotStored as error:
        log.error("%s was refused, since nothing can be written down: %s", operation, error)
        raise errors.unavailable("The request could not be stored.") from error
    response: Document = validation.project(validation.operation_model(service, operation).output_shape, answer)
    return response


async def handle_request(
    method: str, path: str, headers: dict[str, str], body: bytes, query: Document
) -> tuple[int, dict[str, str], bytes]:
    """Answer one HTTP request; the signature is the one MiniStack gives a service."""
    if _RUNTIME_PATH.match(path):
        return await invocations.handle_request(method, path, headers, body, query)
    prefix, _, operation = headers.get("x-amz-target", "").partition(".")
    status, answer = await in_thread(_answer, _TARGETS.get(prefix), operation, body)
    reply = {"Content-Type": "application/x-amz-json-1.1"}
    if status != 200:
        reply["x-amzn-ErrorType"] = answer["__type"]
    return status, reply, json.dumps(answer, ensure_ascii=False).encode("utf-8")


async def in_thread(function: Callable[..., Any], *arguments: Any) -> Any:
    """Run something that blocks in the service's own pool, with the request's account and region."""
    run = contextvars.copy_context().run
    return await asyncio.get_running_loop().run_in_executor(_pool, run, function, *arguments)


def _answer(service: str | None, operation: str, body: bytes) -> tuple[int, Document]:
    try:
        if service is None:
            raise errors.unknown_operation(operation)
        try:
            request = json.loads(body or b"{}")
        except ValueError as error:
            raise errors.serialization("The request body is not valid JSON.") from error
        return 200, call(operation, request, service)
    except errors.ServiceError as error:
        return error.status, error.body()
