"""Where MiniStack's services hand over what has to be kept; :mod:`laptop.ministack_patches.keeper` keeps it.

S3 writes objects to files itself; here its errors are passed on instead of being logged.
"""

from __future__ import annotations

import contextvars
import logging
from typing import Any

from ministack.services import s3

from laptop.documents import Document
from laptop.ministack_patches.keeper import KEEPER
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
    KEEPER.keep_execution(execution)
    original(execution)


@patch(
    "app:_load_persisted_state",
    because="MiniStack reads what it saved at the last clean stop",
    proof="test_kills.py::test_what_was_acknowledged_survives_a_kill",
)
def _load_state(original: Original) -> None:
    KEEPER.load()


@patch(
    "app:save_all",
    because="MiniStack writes what it has at a clean stop, over what was there, and goes on when that fails",
    proof="test_kills.py::test_a_full_disk_refuses_and_damages_nothing",
)
def _save_all(original: Original, services: Document) -> None:
    KEEPER.stop()


_not_written: contextvars.ContextVar[list[OSError] | None] = contextvars.ContextVar("not_written", default=None)


@patch(
    "services.s3:_atomic_write",
    because="MiniStack logs that an object could not be written to disk, and goes on",
    proof="test_kills.py::test_a_full_disk_refuses_and_damages_nothing",
)
def _atomic_write(original: Original, path: str, data: Any, **named: Any) -> None:
    try:
        original(path, data, **named)
    except OSError as error:
        if (errors := _not_written.get()) is not None:
            errors.append(error)
        raise


@patch(
    "services.s3:handle_request",
    because="MiniStack answers 200 for an object that it could not write to disk",
    proof="test_kills.py::test_a_full_disk_refuses_and_damages_nothing",
)
async def _handle_s3(
    original: Original, method: str, path: str, headers: Document, body: bytes, query: Document, **more: Any
) -> Any:
    errors: list[OSError] = []
    token = _not_written.set(errors)
    bucket_name, _, key = path.lstrip("/").partition("/")
    bucket = s3._buckets.get(bucket_name) or {"objects": {}}
    object_before = bucket["objects"].get(key)
    versions_before = list(s3._object_versions.get((bucket_name, key)) or [])
    try:
        answer = await original(method, path, headers, body, query, **more)
    except OSError as error:
        errors.append(error)
    finally:
        _not_written.reset(token)
    if not errors:
        return answer
    log.error("%s %s could not be stored: %s", method, path, errors[0])
    if object_before is None:
        bucket["objects"].pop(key, None)
    else:
        bucket["objects"][key] = object_before
    if versions_before:
        s3._object_versions[(bucket_name, key)] = versions_before
    else:
        s3._object_versions.pop((bucket_name, key), None)
    message = "<Error><Code>ServiceUnavailable</Code><Message>The object could not be stored.</Message></Error>"
    return 503, {"Content-Type": "application/xml"}, message.encode()
