"""Where MiniStack's services hand over what has to be kept; :mod:`laptop.ministack_patches.keeper` keeps it.

What S3 keeps in files is the subject of :mod:`laptop.ministack_patches.objects` and `uploads`.
"""

from __future__ import annotations

import logging
from typing import Any

from ministack.core import responses
from ministack.services import stepfunctions

from laptop import storing
from laptop.database import NotStored
from laptop.documents import Document
from laptop.ministack_patches import acknowledgements, clock
from laptop.ministack_patches.acknowledgements import home
from laptop.ministack_patches.authorization import service_error
from laptop.ministack_patches.executions import failure
from laptop.ministack_patches.keeper import KEEPER, ServicesNotStored
from laptop.ministack_patches.lambdas import release_messages
from laptop.ministack_patches.patching import Original, patch

log = logging.getLogger(__name__)

_TABLE_WRITES = (
    "_create_table",
    "_delete_table",
    "_update_table",
    "_put_item",
    "_delete_item",
    "_update_item",
    "_batch_write_item",
    "_transact_write_items",
    "_execute_statement",
    "_batch_execute_statement",
    "_execute_transaction",
    "_update_ttl",
    "_update_continuous_backups",
    "_tag_resource",
    "_untag_resource",
    "_put_resource_policy",
    "_delete_resource_policy",
)


def _log_writes(operation: str) -> None:
    @patch(
        f"services.dynamodb:{operation}",
        because="in MiniStack a write to a table is gone when the process is killed",
        proof="test_kills.py::test_what_was_acknowledged_survives_a_kill",
    )
    def _change(original: Original, request: Document) -> Any:
        return KEEPER.change_table(operation, original, request)


for _operation in _TABLE_WRITES:
    _log_writes(_operation)


@patch(
    "services.stepfunctions:_add_event",
    because="in MiniStack an execution is gone when the process is killed",
    proof="test_kills.py::test_an_execution_that_was_started_survives_a_kill",
)
def _keep_event(original: Original, execution: Document, *rest: Any) -> Any:
    event = original(execution, *rest)
    KEEPER.keep_execution(execution)
    KEEPER.touch()
    return event


@patch(
    "services.stepfunctions:_emit_execution_status_event",
    because="in MiniStack an execution is gone when the process is killed",
    proof="test_kills.py::test_an_execution_that_was_started_survives_a_kill",
)
def _keep_status(original: Original, execution: Document) -> None:
    begins = len(execution["events"]) == 1
    try:
        KEEPER.keep_execution(execution, surely=begins)
    except NotStored:
        stepfunctions._executions.pop(execution["executionArn"], None)
        raise
    original(execution)


@patch(
    "services.stepfunctions:_start_execution",
    because="an execution that could not be written down was not started",
    proof="test_kills.py::test_a_full_disk_refuses_and_damages_nothing",
)
def _start_execution(original: Original, request: Document) -> Any:
    try:
        return original(request)
    except NotStored:
        return responses.error_response_json("InternalFailure", storing.refusal(home()), 500)


@patch(
    "services.stepfunctions:_stop_execution",
    because="an execution whose end could not be written down goes on after the next start",
    proof="test_kills.py::test_a_full_disk_refuses_and_damages_nothing",
)
def _stop_execution(original: Original, request: Document) -> Any:
    answer = original(request)
    if (execution := stepfunctions._executions.get(request.get("executionArn"))) is not None:
        try:
            KEEPER.keep_execution(execution, surely=True)
        except NotStored:
            return responses.error_response_json("InternalFailure", storing.refusal(home()), 500)
    return answer


@patch(
    "services.stepfunctions:_invoke_resource",
    because="in MiniStack a history that says that a task is done may outlive what the task did",
    proof="test_kills.py::test_what_a_task_did_is_kept_with_its_history",
)
def _keep_with_task(original: Original, resource: str, arguments: Any) -> Any:
    result = original(resource, arguments)
    if acknowledgements.task_waits(resource):
        try:
            KEEPER.write_snapshots()
        except ServicesNotStored as error:
            log.error("What changed in some services could not be written down: %s", error)
        except NotStored as error:
            raise failure(service_error(resource, arguments), storing.refusal(home())) from error
    return result


@patch(
    "services.cloudwatch_logs:_append_log_events",
    because="no request says that a function has logged something",
    proof="test_kept_logs.py::test_what_a_function_logged_is_kept_though_nothing_else_happens",
)
def _keep_lines(original: Original, stream: Document, events: Any) -> None:
    original(stream, events)
    KEEPER.touch()


@patch(
    "services.lambda_svc:_run_sqs_batch",
    because="no request says that the messages which a function got are done with",
    proof="test_kept_logs.py::test_what_a_function_logged_is_kept_though_nothing_else_happens",
)
def _keep_batch(original: Original, *batch: Any) -> None:
    try:
        original(*batch)
    finally:
        KEEPER.touch()


@patch(
    "app:_load_persisted_state",
    because="MiniStack reads what it saved at the last clean stop",
    proof="test_kills.py::test_what_was_acknowledged_survives_a_kill",
)
def _load_state(original: Original) -> None:
    KEEPER.load()
    KEEPER.found += clock.put_right_since(KEEPER.last_written)
    release_messages()


@patch(
    "app:save_all",
    because="MiniStack writes what it has at a clean stop, over what was there, and goes on when that fails",
    proof="test_kills.py::test_a_full_disk_refuses_and_damages_nothing",
)
def _save_all(original: Original, services: Document) -> None:
    KEEPER.stop()
