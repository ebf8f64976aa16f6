"""Calls of functions and of state machines that fail where tests want it; see :mod:`laptop.faults`."""

from __future__ import annotations

import asyncio
import contextvars
import json
import re
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qs

from ministack.core import iam_actions, lambda_runtime
from ministack.services import stepfunctions, sts

from laptop import faults, processes
from laptop.ministack_patches.executions import CURRENT, failure
from laptop.ministack_patches.patching import Original, patch

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

_CREDENTIAL = re.compile(r"Credential=([^/,]+)/\d+/[^/]+/([^/]+)/aws4_request")
_PROTOCOL_ERRORS = {"throttled": (400, "ThrottlingException"), "server-error": (500, "InternalServerError")}
_S3_ERRORS = {"throttled": (503, "SlowDown"), "server-error": (500, "InternalError")}
# Errors of tasks by the names that Step Functions has for them; sources in tests/infra/test_retriers.py.
_TASK_ERRORS = {
    "lambda": ("Lambda.TooManyRequestsException", "Lambda.ServiceException"),
    "dynamodb": ("DynamoDB.ProvisionedThroughputExceededException", "DynamoDB.InternalServerErrorException"),
    "sns": ("SNS.ThrottledException", "SNS.InternalErrorException"),
    "sagemaker": ("SageMaker.AmazonSageMakerException", "SageMaker.AmazonSageMakerException"),
    "states": ("StepFunctions.AWSStepFunctionsException", "StepFunctions.AWSStepFunctionsException"),
}


def failing_calls(inside: Application) -> Application:
    """An application around another whose calls by functions fail as they are told to."""

    async def application(scope: Message, receive: Receive, send: Send) -> None:
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        credential = _CREDENTIAL.search(headers.get("authorization", ""))
        caller = _function(credential[1]) if credential else None
        if credential is None or caller is None:
            await inside(scope, receive, send)
            return
        service, body = credential[2], b""
        if service != "s3":  # small, and it may be what names the operation
            body, receive = await _read(receive)
        site = f"{caller} {_operation(service, scope, headers, body)}"
        mode = faults.of_call(site, headers.get("amz-sdk-invocation-id", uuid.uuid4().hex))
        if mode is None:
            await inside(scope, receive, send)
        elif mode in _PROTOCOL_ERRORS:
            await _refuse(service, mode, send)
        else:
            await inside(scope, receive, _nowhere)
            if mode == "killed":
                await asyncio.to_thread(_kill, caller)
            await _answer(send, 504, "text/plain", b"")

    return application


def _function(access_key_id: str) -> str | None:
    """The function that has these keys; None for anybody else."""
    name = str(sts._sessions.get(access_key_id, {}).get("Arn", "")).rpartition("/")[2]
    return name if any(key.split(":")[2] == name for key in list(lambda_runtime._workers)) else None


async def _read(receive: Receive) -> tuple[bytes, Receive]:
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), bool(message.get("more_body"))

    async def again() -> Message:
        return {"type": "http.request", "body": body}

    return body, again


def _operation(service: str, scope: Message, headers: dict[str, str], body: bytes) -> str:
    """`<service>:<operation> <table or first part of the key>`."""
    query = parse_qs(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
    method, path = scope["method"], scope["path"]
    action = iam_actions.extract_iam_action(service, method, path, headers, body, query) or f"{service}:{method}"
    if service == "s3":
        key = path.strip("/").partition("/")[2] or query.get("prefix", [""])[0]
        what = key.partition("/")[0]
        return f"{action}{' (HEAD)' if method == 'HEAD' else ''} {what}".rstrip()
    table = json.loads(body).get("TableName", "") if service == "dynamodb" else ""
    return f"{action} {table}".rstrip()


async def _nowhere(_: Message) -> None:
    """An answer that is lost on its way."""


async def _refuse(service: str, mode: str, send: Send) -> None:
    if service == "s3":
        status, code = _S3_ERRORS[mode]
        await _answer(send, status, "application/xml", f"<Error><Code>{code}</Code></Error>".encode())
        return
    status, code = _PROTOCOL_ERRORS[mode]
    await _answer(send, status, "application/x-amz-json-1.1", json.dumps({"__type": code, "message": mode}).encode())


async def _answer(send: Send, status: int, kind: str, body: bytes) -> None:
    headers = [(b"content-type", kind.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _kill(function: str) -> None:
    for key, workers in list(lambda_runtime._workers.items()):
        for worker in list(workers):
            if key.split(":")[2] == function and worker.in_use and worker._proc:
                processes.kill(worker._proc)


_state: contextvars.ContextVar[str] = contextvars.ContextVar("state", default="")


@patch(
    "services.stepfunctions:_execute_task",
    because="tests fail the calls of a state, which has its name here only",
    proof="test_call_faults.py::test_a_task_fails_once",
)
def _named(original: Original, state: Any, given: Any, record: Any, context: Any) -> Any:
    token = _state.set(context["State"]["Name"])
    try:
        return original(state, given, record, context)
    finally:
        _state.reset(token)


@patch(
    "services.stepfunctions:_invoke_resource",
    because="tests fail the calls of state machines here",
    proof="test_call_faults.py::test_a_task_fails_once",
)
def _invoke(original: Original, resource: str, arguments: Any) -> Any:
    # `authorization` and `integrations` patch the same target; imported after them, this patch is called first.
    execution = CURRENT.get()
    if execution is None or not resource.startswith("arn:aws:states:::"):
        return original(resource, arguments)
    called = resource.removeprefix("arn:aws:states:::")
    machine = execution.arn.split(":")[6]
    mode = faults.of_call(f"{machine}.{_state.get()} {called}", uuid.uuid4().hex)
    if mode is None:
        return original(resource, arguments)
    throttled, server_error, lost = _task_errors(called)
    if mode == "lost-answer":
        original(resource.replace(".sync:2", "").replace(".sync", ""), arguments)
        raise failure(lost, "Unable to execute HTTP request: Read timed out")
    raise failure(throttled if mode == "throttled" else server_error, f"{mode}, as a test asked")


def _task_errors(called: str) -> tuple[str, str, str]:
    """What a throttled task, one whose service fails and one whose answer is lost are called."""
    service, *rest = called.split(":")
    if service != "aws-sdk":
        prefix = _TASK_ERRORS[service][0].partition(".")[0]
        return (*_TASK_ERRORS[service], f"{prefix}.SdkClientException")
    prefix = stepfunctions._AWS_SDK_ERROR_PREFIX.get(rest[0], rest[0].capitalize())
    return f"{prefix}.{prefix}Exception", f"{prefix}.{prefix}Exception", f"{prefix}.SdkClientException"
