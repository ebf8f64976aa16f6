"""What MiniStack's services hold, as text that can be written down."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from ministack import app
from ministack.core import persistence
from ministack.core.responses import AccountRegionScopedDict
from ministack.services import cloudformation, cloudwatch, cloudwatch_logs, dynamodb, stepfunctions

from laptop.documents import Document

LOG_LINES = "cloudwatch_logs:lines"
"""The state that has log groups with their lines; `cloudwatch_logs` has how they are set up."""

# What an operation of a stack that was interrupted comes back as: something that can be updated, or else deleted.
_INTERRUPTED = {
    "CREATE_IN_PROGRESS": "CREATE_FAILED",
    "ROLLBACK_IN_PROGRESS": "ROLLBACK_FAILED",
    "DELETE_IN_PROGRESS": "DELETE_FAILED",
    "REVIEW_IN_PROGRESS": "REVIEW_IN_PROGRESS",  # no operation: it waits for its change set
}


def digest(text: str) -> str:
    """SHA-256 of a text, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def _serialized(get_state: Callable[[], Any]) -> str:
    """A service's state as text. Other threads may change it meanwhile: then it is read again."""
    for _ in range(100):
        try:
            return json.dumps(get_state(), default=persistence._json_default)
        except RuntimeError as error:
            if "changed size during iteration" not in str(error):
                raise
    raise RuntimeError("a service's state changes too fast to be written down")


def as_texts(states: Mapping[str, Callable[[], Any]]) -> tuple[dict[str, str], dict[str, object]]:
    """The states as text, and what is wrong with those that cannot be made into text."""
    texts: dict[str, str] = {}
    failed: dict[str, object] = {}
    for name, get_state in states.items():
        try:
            texts[name] = _serialized(get_state)
        except Exception as error:  # the other services' changes are kept all the same
            failed[name] = error
    return texts, failed


def tables_digest() -> str:
    """A digest of what the tables are: their definitions and settings, without items."""
    of_items = {"items", "ItemCount", "TableSizeBytes", dynamodb._INDEX_MEMBERS}
    settings = (dynamodb._tags, dynamodb._ttl_settings, dynamodb._pitr_settings, dynamodb._resource_policies)

    def definitions() -> list[object]:
        tables = dynamodb._tables._data.items()
        return [
            [[repr(key), {k: v for k, v in table.items() if k not in of_items}] for key, table in tables],
            *settings,
        ]

    try:
        return digest(_serialized(definitions))
    except Exception:  # then their snapshot says why
        return ""


def stacks_progress() -> list[object]:
    """What changes with each step of each stack."""
    stacks = list(cloudformation._stacks._data.items())
    events = list(cloudformation._stack_events._data.items())
    return [*((repr(key), stack["StackStatus"]) for key, stack in stacks), *((repr(k), len(v)) for k, v in events)]


def services_states() -> dict[str, Callable[[], Any]]:
    """What makes each service's state; without tables and executions, which are written down one by one."""
    states = {name: make for name, make in app._build_persistence_save_dict().items() if name != "dynamodb"}
    states["stepfunctions"] = lambda: {
        "state_machines": stepfunctions._state_machines,
        "tags": stepfunctions._tags,
        "activities": stepfunctions._activities,
        "state_machine_versions": stepfunctions._state_machine_versions,
        "state_machine_aliases": stepfunctions._state_machine_aliases,
        "map_runs": stepfunctions._map_runs,
    }
    states["cloudwatch"] = lambda: {
        "alarms": cloudwatch._alarms,
        "composite_alarms": cloudwatch._composite_alarms,
        "composite_triggers": cloudwatch._composite_triggers,
        "dashboards": cloudwatch._dashboards,
        "resource_tags": cloudwatch._resource_tags,
    }
    states["cloudwatch:metrics"] = lambda: {
        "metrics": cloudwatch._metrics,
        "alarm_history": cloudwatch._alarm_history,
    }
    states[LOG_LINES] = cloudwatch_logs.get_state
    states["cloudwatch_logs"] = _log_settings
    # First: a stack is never ahead of its parts.
    return {"cloudformation": cloudformation.get_state, **states}


def _log_settings() -> Document:
    groups = AccountRegionScopedDict()
    groups._data = {key: {**group, "streams": {}} for key, group in list(cloudwatch_logs._log_groups._data.items())}
    return {
        "log_groups": groups,
        "destinations": cloudwatch_logs._destinations,
        "resource_policies": cloudwatch_logs._resource_policies,
        "log_group_policies": cloudwatch_logs._log_group_policies,
        "metric_filters": cloudwatch_logs._metric_filters,
        "delivery_sources": cloudwatch_logs._delivery_sources,
        "delivery_destinations": cloudwatch_logs._delivery_destinations,
        "deliveries": cloudwatch_logs._deliveries,
    }


def with_lines(settings: Document, lines: Document) -> None:
    """Put what the state LOG_LINES kept into `cloudwatch_logs`; of a group that was made anew since then, nothing."""
    known = {} if "log_groups" not in lines else lines["log_groups"]._data
    for key, group in {} if "log_groups" not in settings else settings["log_groups"]._data.items():
        if key in known and known[key]["creationTime"] == group["creationTime"]:
            group["streams"] = known[key]["streams"]
    settings |= {name: lines[name] for name in ("queries", "log_records") if name in lines}


def to_be_updated(stack: Document, reason: str) -> None:
    """Make a stack one whose next update is never empty: no template is what it runs now."""
    stack["StackStatus"] = "UPDATE_ROLLBACK_COMPLETE"
    stack["StackStatusReason"] = reason
    stack["_template"] = {**stack.get("_template", {}), "_interrupted": True}


def end_interrupted_operations() -> list[str]:
    """Give every stack whose operation the end of the cloud interrupted a status from which it can go on."""
    found = []
    for stack in cloudformation._stacks._data.values():
        before = str(stack["StackStatus"])
        if not before.endswith("IN_PROGRESS"):
            continue
        # MiniStack takes an update in this state. The resources that were changed already are recorded as changed.
        after = _INTERRUPTED.get(before, "UPDATE_ROLLBACK_COMPLETE")
        if after == before:
            continue
        reason = f"The cloud ended during {before}."
        if after == "UPDATE_ROLLBACK_COMPLETE":
            to_be_updated(stack, reason)
        else:
            stack["StackStatus"] = after
            stack["StackStatusReason"] = reason
        found.append(f"The stack {stack['StackName']} was {before} when the cloud ended; it is {after} now.")
    return found
