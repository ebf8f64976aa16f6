"""Asynchronous invocations of functions: kept until they are done, or their tries are over.

docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html: an error of the function is tried twice more;
throttling and faults of the service are tried from one second to five minutes apart, until the event is six hours old.
"""

from __future__ import annotations

import contextvars
import logging
import threading
import time
from typing import Any

from ministack.core import responses
from ministack.services import lambda_svc

from laptop.documents import Document
from laptop.ministack_patches.deliveries import DELIVERIES, carries
from laptop.ministack_patches.lambdas import SERVICE_ERROR
from laptop.ministack_patches.patching import Original, patch

log = logging.getLogger(__name__)

_RETRIES, _EVENT_AGE_SECONDS, _LONGEST_PAUSE = 2, 21600.0, 300.0
_KIND = "invocation"


@patch(
    "services.lambda_svc:invoke_async_with_retry",
    because="MiniStack forgets an event when its process ends, and drops one whose function cannot be started for some "
    "seconds",
    proof="test_deliveries.py::test_an_asynchronous_invocation_survives_a_kill",
)
def _invoke_later(original: Original, function: Document, event: Any) -> None:
    since = time.time()
    arn = _configuration(function)["FunctionArn"]
    _start(DELIVERIES.begin(_KIND, {"function": arn, "event": event, "since": since}), function, event, since)


@carries(_KIND)
def _invoke_again(number: int, content: Document) -> None:
    function, configuration, name = lambda_svc._get_func_record_for_ref(content["function"])
    if not function or not configuration:
        log.warning("The function %s, which an event waits for, does not exist any more", name)
        DELIVERIES.end(number)
        return
    record = lambda_svc._execution_record_for_config(function, configuration)
    _start(number, record, content["event"], content["since"])


def _start(number: int | None, function: Document, event: Any, since: float) -> None:
    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(_invoke, number, function, event, since), daemon=True)
    thread.start()


def _invoke(number: int | None, function: Document, event: Any, since: float) -> None:
    """Invoke until it succeeds, or its tries or its time are over. `since` is when it was asked for (epoch seconds)."""
    configuration = _configuration(function)
    account, region = lambda_svc._account_region_from_function_config(configuration)
    responses.set_request_account_id(account)
    responses.set_request_region(region)
    settings = _settings(function)
    retries = settings.get("MaximumRetryAttempts", _RETRIES)
    until = since + settings.get("MaximumEventAgeInSeconds", _EVENT_AGE_SECONDS)
    failures, faults = 0, 0
    while True:
        outcome = _execute(function, event)
        if not outcome.get("error"):
            break
        if DELIVERIES.halted:  # the stop ended it: it is tried at the next start
            return
        if outcome.get("throttle") or outcome["body"].get("errorType") == SERVICE_ERROR:
            pause = min(2.0**faults, _LONGEST_PAUSE)
            faults += 1
        else:
            pause = lambda_svc._LAMBDA_ASYNC_RETRY_BASE_SECONDS * 2**failures
            failures += 1
        if failures > retries or time.time() + pause > until:
            _fail(function, event, outcome)
            break
        time.sleep(pause)
    DELIVERIES.end(number)


def _execute(function: Document, event: Any) -> Document:
    try:
        outcome: Document = lambda_svc._execute_function(function, event)
    except Exception as error:  # of the emulator: a fault of the service
        log.exception("An event for the function %s could not be given to it", _configuration(function)["FunctionName"])
        return {"error": True, "body": {"errorType": SERVICE_ERROR, "errorMessage": str(error)}}
    return outcome


def _settings(function: Document) -> Document:
    found: Document = function.get("event_invoke_config") or {}
    return found or (function.get("event_invoke_configs") or {}).get("$LATEST") or {}


def _fail(function: Document, event: Any, outcome: Document) -> None:
    configuration = _configuration(function)
    destination = (_settings(function).get("DestinationConfig") or {}).get("OnFailure", {}).get("Destination")
    target = destination or (configuration.get("DeadLetterConfig") or {}).get("TargetArn")
    name = configuration["FunctionName"]
    log.warning("An event for the function %s is given up: %s", name, outcome["body"])
    if target:
        lambda_svc._route_async_failure(target, name, event, outcome)


def _configuration(function: Document) -> Document:
    configuration: Document = function.get("config") or function
    return configuration
