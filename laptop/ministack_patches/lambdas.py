"""Lambda: workers that end with the cloud, errors with their own names, and complete logs."""

from __future__ import annotations

import logging
import queue
import subprocess
import threading
import time
from types import SimpleNamespace
from typing import Any

from ministack.core import lambda_runtime
from ministack.services import lambda_svc, sqs

from laptop import processes
from laptop.documents import Document
from laptop.ministack_patches.patching import MINISTACK_VERSION, Original, patch

log = logging.getLogger(__name__)


class NotStarted(Exception):
    """A worker could not be started, for instance because the disk is full. MiniStack answers with the type's name."""


SERVICE_ERROR = "Lambda.ServiceException"
"""The type of an error that is Lambda's own; no exception of a function can have a name with a dot."""

# Written to stderr after every invocation, so that the logs of one end where they end (a NUL is in no log line).
_END_OF_LOGS = "\x00end of invocation"
_LOG_SECONDS = 2.0
_DIED = "Worker process died"  # in MiniStack's words

_WORKER_ANSWERS = (
    '_real_stdout.write(json.dumps({"status": "ok", "result": result}) + "\\n")',
    '_real_stdout.write(json.dumps({"status": "error", "error": str(e), "trace": traceback.format_exc()}) + "\\n")',
)
_OUR_ANSWERS = (
    '_answer = json.dumps({"status": "ok", "result": result})',
    '_answer = json.dumps({"status": "ok", "raised": {"errorMessage": str(e), "errorType": type(e).__name__,'
    ' "stackTrace": traceback.format_list(traceback.extract_tb(e.__traceback__)[1:])}})',
)
_AFTER_ANSWER = "        _real_stdout.flush()\n"
_WRITE_ANSWER = (
    f'        sys.stderr.write("{_END_OF_LOGS}\\n".replace("\\x00", chr(0)))\n'
    "        sys.stderr.flush()\n"
    '        _real_stdout.write(_answer + "\\n")\n'
)


def _worker_script(script: str) -> str:
    """MiniStack's Python worker, changed in three ways.

    An exception is answered with its own type and trace, and leaves the process running, as in Lambda (only a
    process that exits is replaced there); and the end of an invocation's logs is marked.
    """
    for theirs, ours in zip(_WORKER_ANSWERS, _OUR_ANSWERS, strict=True):
        if script.count(theirs) != 1:
            raise RuntimeError(f"The Lambda worker is not the one of MiniStack {MINISTACK_VERSION}, which is patched")
        script = script.replace(theirs, ours)
    head, separator, tail = script.rpartition(_AFTER_ANSWER)
    return head + _WRITE_ANSWER.replace("\x00", "\\x00") + separator + tail


def prepare() -> None:
    """Change the worker's text and how MiniStack starts it (module attributes rather than functions)."""
    lambda_runtime._PYTHON_WORKER_SCRIPT = _worker_script(lambda_runtime._PYTHON_WORKER_SCRIPT)

    def start(argv: list[str], **options: Any) -> subprocess.Popen[str]:
        command, descriptors = processes.supervised(argv)
        return subprocess.Popen(command, pass_fds=descriptors, start_new_session=True, **options)

    lambda_runtime.subprocess = SimpleNamespace(
        Popen=start, PIPE=subprocess.PIPE, TimeoutExpired=subprocess.TimeoutExpired
    )


def release_messages() -> None:
    """Show again what functions were working on when the cloud ended.

    On AWS those who poll a queue for a function do not end; here nobody is left who would delete the message, and it
    would be hidden for as long as the function was allowed to take. Call it before anything polls.
    """
    polled = {mapping["EventSourceArn"] for mapping in lambda_svc._esms._data.values()}
    now = time.time()
    for queue_ in sqs._queues._data.values():
        if queue_["attributes"].get("QueueArn") in polled:
            for message in queue_["messages"]:
                if message.get("receipt_handle"):  # others are delayed, not received
                    message["visible_at"] = min(message["visible_at"], now)


@patch(
    "core.lambda_runtime:Worker._drain_stderr_bounded",
    because="MiniStack waits a fixed 50 ms for logs and cuts off those that come later",
    proof="test_lambdas.py::test_every_log_line_arrives",
)
def _logs(original: Original, worker: Any) -> str:
    lines = []
    deadline = time.monotonic() + _LOG_SECONDS
    while (remaining := deadline - time.monotonic()) > 0:
        if worker._proc is None:  # it was killed: take what there is
            return str(original(worker))
        try:
            line = worker._stderr_queue.get(timeout=min(remaining, 0.1))
        except queue.Empty:
            if worker._proc.poll() is not None and not worker._stderr_thread.is_alive():
                break
            continue
        if line.endswith(_END_OF_LOGS):
            lines.append(line.removesuffix(_END_OF_LOGS))
            break
        lines.append(line)
    return "\n".join(line for line in lines if line)


@patch(
    "services.lambda_svc:_execute_function_warm",
    because="in MiniStack every exception of a function is Runtime.HandlerError, so no typed Retry or Catch matches",
    proof="test_lambdas.py::test_an_exception_keeps_its_name",
)
def _execute(original: Original, function: Document, event: Any, request_id: str) -> Document:
    outcome: Document = original(function, event, request_id)
    raised = _raised.pop(threading.get_ident(), None)
    if raised is None:
        if outcome.get("error") and outcome["body"].get("errorMessage") == _DIED:
            outcome["body"]["errorType"] = "Runtime.ExitError"
        if outcome.get("error") and outcome["body"].get("errorType") == NotStarted.__name__:
            outcome["body"]["errorType"] = SERVICE_ERROR
        return outcome
    log = "\n".join(filter(None, [outcome.get("log", ""), f"[ERROR] {raised['errorType']}: {raised['errorMessage']}"]))
    return {"body": {**raised, "requestId": request_id}, "error": True, "log": log}


# What the worker of this thread's invocation raised: MiniStack's own result has no room for it.
_raised: dict[int, Document] = {}


@patch(
    "core.lambda_runtime:Worker._spawn",
    because="to MiniStack a disk that is full when a function starts is an error of the function",
    proof="test_lambdas.py::test_a_function_that_cannot_be_started_is_a_fault_of_the_service",
)
def _start(original: Original, worker: Any) -> None:
    try:
        original(worker)
    except (OSError, RuntimeError) as error:
        problem: BaseException | None = error  # what happens to a layer is wrapped
        while problem and not isinstance(problem, OSError):
            problem = problem.__cause__ or problem.__context__
        if problem is None or isinstance(problem, BrokenPipeError):  # the latter: the function's process has died
            raise
        raise NotStarted(f"The function could not be started: {problem}") from error


@patch(
    "core.lambda_runtime:Worker.invoke",
    because="MiniStack drops what the worker says of an exception except its text",
    proof="test_lambdas.py::test_an_exception_keeps_its_name",
)
def _invoke(original: Original, worker: Any, *arguments: Any, **named: Any) -> Document:
    _raised.pop(threading.get_ident(), None)
    response: Document = original(worker, *arguments, **named)
    if "raised" in response:
        _raised[threading.get_ident()] = response["raised"]
    return response
