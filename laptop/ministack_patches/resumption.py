"""Executions go on where they were when the cloud was stopped or killed, as in Step Functions.

Each time an execution enters a state, its record notes that state with its input and the variables; the record is
written down with the event. A state that was under way is done again: every task has to tolerate that on AWS too. The
time of a Wait state, and the TimeoutSeconds of the machine, begin anew.
"""

from __future__ import annotations

import contextvars
import functools
import json
from typing import Any

from ministack.services import stepfunctions

from laptop.documents import Document
from laptop.ministack_patches.executions import RESUME, is_over
from laptop.ministack_patches.patching import Original, patch

# No name of a state: those have 80 characters at most.
_ENTRY = "Where this execution was when the cloud ended, which is looked up before its own states are entered"
_entry: contextvars.ContextVar[Document | None] = contextvars.ContextVar("entry", default=None)


class _Json:
    """MiniStack's `json`: the definition that an execution is resumed with begins with a way to where it was."""

    def __getattr__(self, name: str) -> Any:
        return getattr(json, name)

    @staticmethod
    def loads(text: Any, *arguments: Any, **named: Any) -> Any:
        value, at = json.loads(text, *arguments, **named), _entry.get()
        if at is None or not isinstance(value, dict) or not {"StartAt", "States"} <= value.keys():
            return value
        _entry.set(None)
        entry = {"Type": "Pass", _ENTRY: at, "Next": at["state"]}
        return {**value, "StartAt": _ENTRY, "States": {**value["States"], _ENTRY: entry}}


def prepare() -> None:
    """Give MiniStack's interpreter the reader of definitions above (a module attribute rather than a function)."""
    stepfunctions.json = _Json()


@patch(
    "services.stepfunctions:_run_execution",
    because="in MiniStack an execution that was interrupted cannot go on in the middle",
    proof="lifecycle/test_restart.py::test_an_execution_goes_on_in_its_state",
)
def _run_execution(original: Original, arn: str) -> None:
    _entry.set((stepfunctions._executions.get(arn) or {}).get(RESUME))  # a new one has none
    original(arn)


@patch(
    "services.stepfunctions:_execute_pass",
    because="in MiniStack an execution that was interrupted cannot go on in the middle",
    proof="lifecycle/test_restart.py::test_an_execution_goes_on_in_its_state",
)
def _pass(original: Original, state: Document, given: Any, context: Any = None) -> Any:
    if _ENTRY not in state:
        return original(state, given, context)
    context["variables"] = dict(state[_ENTRY]["variables"])
    return state[_ENTRY]["input"], state["Next"]


@patch(
    "services.stepfunctions:_add_event",
    because="in MiniStack an execution that was interrupted cannot go on in the middle",
    proof="lifecycle/test_restart.py::test_an_execution_goes_on_in_its_state",
)
def _add_event(original: Original, record: Document, kind: str, details: Document | None = None) -> Any:
    # `durability` patches the same target and writes the record down; imported after it, this patch is called first.
    if is_over() and not kind.startswith("Execution"):
        # A map or parallel state whose branches were left in the middle is not done: MiniStack takes it for done, with
        # no results, because a thread of a pool that leaves with SystemExit leaves nothing. How an execution ended is
        # written down all the same, also by the thread of one that waited for it.
        raise SystemExit
    entered = (details or {}).get("stateEnteredEventDetails")
    if entered and entered["name"] in _states(record):
        before = record.get(RESUME, {"variables": {}})
        variables = before.get("after", before["variables"])
        record[RESUME] = {"state": entered["name"], "input": json.loads(entered["input"]), "variables": variables}
    return original(record, kind, details)


@patch(
    "services.stepfunctions:_apply_state_assign",
    because="in MiniStack an execution that was interrupted cannot go on in the middle",
    proof="lifecycle/test_restart.py::test_an_execution_goes_on_in_its_state",
)
def _assign(original: Original, state: Document, given: Any, context: Any, **sources: Any) -> None:
    original(state, given, context, **sources)
    if not isinstance(context, dict) or not isinstance(state.get("Assign"), dict):
        return
    record = stepfunctions._executions.get(context["Execution"]["Id"])
    # A state inside of a map has variables of its own.
    if record and RESUME in record and context["State"]["Name"] == record[RESUME]["state"]:
        record[RESUME] = {**record[RESUME], "after": dict(context["variables"])}


def _states(record: Document) -> frozenset[str]:
    machine = stepfunctions._state_machines.get(record.get("stateMachineArn", ""))
    return _names(machine["definition"]) if machine else frozenset()


@functools.lru_cache(maxsize=64)
def _names(definition: str) -> frozenset[str]:
    """The states of a machine, without those inside of its maps."""
    return frozenset(json.loads(definition).get("States", ()))
