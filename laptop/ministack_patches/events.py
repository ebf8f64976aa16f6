"""EventBridge deliveries: faults for tests, what queues and roles allow, dead letters, Lambda's own retries."""

from __future__ import annotations

import contextvars
import json
import uuid
from collections.abc import Callable
from typing import Any

from ministack import app
from ministack.core.iam_evaluator import EvalContext, evaluate_resource_policy
from ministack.core.responses import get_account_id, get_region
from ministack.services import eventbridge, lambda_svc, sqs, stepfunctions

from laptop import faults
from laptop.documents import Document
from laptop.ministack_patches import authorization
from laptop.ministack_patches.deliveries import carries, current_number, ending, whole
from laptop.ministack_patches.patching import Original, patch

_PRINCIPAL = "events.amazonaws.com"
_KIND = "event"


def put_event(entry: Document) -> None:
    """Put one PutEvents entry on the default bus. Clients may not use a source `aws.*`; services may."""
    eventbridge._put_events({"Entries": [entry]}, allow_aws_source=True)


class _Undeliverable(Exception):
    """A target that cannot be reached: ``code`` and message go into the dead letter's attributes."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


# The rule and the target that a delivery in this thread is for: MiniStack hands its senders the bare payload.
_delivery: contextvars.ContextVar[tuple[Document, Document] | None] = contextvars.ContextVar("delivery", default=None)
# The name of the execution that it starts, if it does.
_execution: contextvars.ContextVar[str | None] = contextvars.ContextVar("execution", default=None)


@patch(
    "services.eventbridge:_invoke_target",
    because="in MiniStack an event on its way is gone when the process is killed; tests lose and repeat events here, "
    "as EventBridge may; and dead letters need rule and target",
    proof="test_deliveries.py::test_an_event_that_was_taken_survives_a_kill",
)
def _deliver(original: Original, target: Document, event: Document, rule: Document, view: Any = None) -> None:
    if faults.loses(event.get("DetailType", ""), event.get("EventId", "")):
        return
    token = _delivery.set((rule, target))
    try:
        with whole(_KIND, {"target": target, "event": event, "rule": rule}):
            for repeat in range(faults.deliveries()):
                named = _execution.set(_execution_name(event, rule, target, repeat))
                try:
                    original(target, event, rule, view)
                finally:
                    _execution.reset(named)
    finally:
        _delivery.reset(token)


def _execution_name(event: Document, rule: Document, target: Document, repeat: int) -> str:
    """A name that is the same when a delivery is made again, and else no other's: the execution begins once."""
    # Several events of one request to S3 have one id.
    of = [event.get("EventId"), event.get("Detail"), rule.get("Arn"), target.get("Id"), current_number(), repeat]
    return str(uuid.uuid5(uuid.NAMESPACE_OID, json.dumps(of)))


@carries(_KIND)
def _deliver_again(number: int, content: Document) -> None:
    with ending(number):
        eventbridge._invoke_target(content["target"], content["event"], content["rule"])


def _or_dead_letter(payload: str, send: Callable[[], None]) -> None:
    """Send, or put the event into the target's dead-letter queue with the attributes that EventBridge gives it."""
    try:
        send()
    except _Undeliverable as failure:
        rule, target = _delivery.get() or ({}, {})
        queue_arn = (target.get("DeadLetterConfig") or {}).get("Arn", "")
        queue = sqs._queue_by_arn(queue_arn) if queue_arn else None
        if queue is None or not sqs.queue_policy_allows(queue_arn, _PRINCIPAL, rule.get("Arn", ""), _account()):
            raise
        attributes = {
            "RULE_ARN": rule.get("Arn", ""),
            "TARGET_ARN": target.get("Arn", ""),
            "ERROR_CODE": failure.code,
            "ERROR_MESSAGE": str(failure),
        }
        sqs._act_send_message(
            {
                "MessageBody": payload,
                "MessageAttributes": {
                    name: {"DataType": "String", "StringValue": value} for name, value in attributes.items() if value
                },
            },
            sqs._queue_url(queue_arn.rpartition(":")[2]),
        )


def _account() -> str:
    return str(get_account_id())


def _rule_arn() -> str:
    rule, _ = _delivery.get() or ({}, {})
    return str(rule.get("Arn", ""))


@patch(
    "services.eventbridge:_dispatch_to_sqs",
    because="MiniStack delivers without asking the queue's policy, and forgets an event whose queue is gone",
    proof="test_events.py::test_a_queue_gets_only_what_its_policy_allows",
)
def _to_queue(original: Original, spec: Any, payload: str, parameters: Any = None) -> None:
    def send() -> None:
        if sqs._queue_by_arn(str(spec)) is None:
            raise _Undeliverable("QUEUE_DOES_NOT_EXIST", f"The queue {spec} does not exist.")
        if not sqs.queue_policy_allows(str(spec), _PRINCIPAL, _rule_arn(), _account()):
            raise _Undeliverable("NO_PERMISSIONS", f"{_PRINCIPAL} may not send messages to {spec}.")
        original(spec, payload, parameters)

    _or_dead_letter(payload, send)


@patch(
    "services.eventbridge:_dispatch_to_stepfunctions",
    because="MiniStack starts an execution whether or not the target's role may, and a second one where the delivery "
    "is made again",
    proof="test_events.py::test_a_rule_starts_an_execution_only_with_a_role_that_may",
)
def _to_state_machine(original: Original, arn: str, payload: str) -> None:
    def send() -> None:
        if stepfunctions._resolve_state_machine_arn(arn) is None:
            raise _Undeliverable("RESOURCE_NOT_FOUND", f"The state machine {arn} does not exist.")
        _, target = _delivery.get() or ({}, {})
        role = target.get("RoleArn", "")
        if app.AUTH and not role:
            raise _Undeliverable("NO_PERMISSIONS", f"The target {arn} has no role that may start it.")
        if app.AUTH:
            key = authorization.session_key(role, "events")
            if message := authorization.refusal(key, "states:StartExecution", arn):
                raise _Undeliverable("NO_PERMISSIONS", message)
        stepfunctions._start_execution({"stateMachineArn": arn, "name": _execution.get(), "input": payload})

    _or_dead_letter(payload, send)


@patch(
    "services.eventbridge:_dispatch_to_lambda",
    because="MiniStack runs the function once, without a check, where Lambda retries and then uses its own dead "
    "letters",
    proof="test_events.py::test_a_function_that_fails_is_invoked_again",
)
def _to_function(original: Original, arn: str, payload: str) -> None:
    def send() -> None:
        function, configuration, name = lambda_svc._get_func_record_for_ref(arn)
        if not function or not configuration:
            raise _Undeliverable("RESOURCE_NOT_FOUND", f"The function {name} does not exist.")
        if not _function_allows(function, arn):
            raise _Undeliverable("NO_PERMISSIONS", f"{_PRINCIPAL} may not invoke {arn}.")
        record = lambda_svc._execution_record_for_config(function, configuration)
        lambda_svc.invoke_async_with_retry(record, json.loads(payload))

    _or_dead_letter(payload, send)


def _function_allows(function: Document, arn: str) -> bool:
    """Whether the function's resource policy lets EventBridge invoke it for the rule of this delivery."""
    if not app.AUTH:
        return True
    policy = function.get("policy")
    if not policy:
        return False
    context = EvalContext(
        principal_arn="*",
        principal_type="Service",
        principal_account="",
        action="lambda:InvokeFunction",
        resource_arn=arn,
        region=get_region(),
        service_context={"aws:sourcearn": _rule_arn(), "aws:sourceaccount": _account()},
    )
    return bool(evaluate_resource_policy(policy, context, service=_PRINCIPAL).decision == "Allow")
