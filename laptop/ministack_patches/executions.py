"""Step Functions executions: starting, ending in time, retrying, assigning."""

from __future__ import annotations

import contextvars
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ministack.core import responses
from ministack.services import stepfunctions

from laptop.documents import Document
from laptop.ministack_patches.patching import Original, patch

RESUME = "resume"
"""Member of an execution's record: {"state", "input", "variables"} of the state that it is in; see `resumption`."""
PAYLOAD_BYTES = 262_144  # Step Functions quotas: maximum input or output of a task, state or execution
_NAME_CHARACTERS = 80
_STARTUP_SLEEP = 0.15
_POLL_SECONDS = 0.05

# Reentrant: an execution that starts is an event, which may start another.
_start = threading.RLock()
_running: dict[str, Execution] = {}


@dataclass(frozen=True)
class Execution:
    """The execution that a thread works for: its ARN, its machine's role, and a flag that is set once it has ended.

    `resumed` says that a stop of the cloud interrupted it, so that its first task may have begun before.
    """

    arn: str
    role_arn: str
    resumed: bool = False
    ended: threading.Event = field(default_factory=threading.Event)


CURRENT: contextvars.ContextVar[Execution | None] = contextvars.ContextVar("execution", default=None)
# Set while a task runs under TimeoutSeconds; the flag is set when the time is over.
TASK_OVER: contextvars.ContextVar[threading.Event | None] = contextvars.ContextVar("task_over", default=None)


class _Clock:
    """MiniStack's ``time``, without its fixed pause at the start; it stops sleeping when the execution has ended."""

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)

    @staticmethod
    def sleep(seconds: float) -> None:
        execution = CURRENT.get()
        if execution is None:
            time.sleep(seconds)
        elif seconds != _STARTUP_SLEEP and execution.ended.wait(seconds):
            raise SystemExit  # ends this thread of the execution, without a traceback


def prepare() -> None:
    """Give MiniStack's interpreter the clock above (a module attribute rather than a function)."""
    stepfunctions.time = _Clock()


# Set once the cloud stops: executions then stay RUNNING, to begin again when the cloud does.
_stopping = threading.Event()
_interrupted: list[str] = []


def is_over() -> bool:
    """Whether the execution that this thread works for has ended, or is to stay as it is because the cloud stops."""
    execution = CURRENT.get()
    return execution is not None and (execution.ended.is_set() or _stopping.is_set())


def halt() -> None:
    """Stop every execution where it is; the cloud is about to save its state."""
    _stopping.set()
    for execution in list(_running.values()):
        execution.ended.set()


def resume() -> list[str]:
    """Let the executions go on that a stop interrupted; says so. Call this once the whole cloud answers."""
    machines = Counter(arn.split(":")[6] for arn in _interrupted)
    for arn in _interrupted:
        threading.Thread(
            target=contextvars.copy_context().run, args=(stepfunctions._run_execution, arn), daemon=True
        ).start()
    _interrupted.clear()
    named = ", ".join(f"{count} of {machine}" for machine, count in sorted(machines.items()))
    return [f"Executions go on in the state that they were in: {named}."] if machines else []


def failure(error: str, cause: str) -> Exception:
    """An error as MiniStack's interpreter raises it: Retry and Catch see ``error``."""
    raised: Exception = stepfunctions._ExecutionError(error, cause)
    return raised


@patch(
    "services.stepfunctions:_start_execution",
    because="MiniStack refuses to start a running execution again with the same input, takes any name, and can start "
    "one name twice from two threads",
    proof="test_executions.py::test_starting_twice_is_starting_once",
)
def _start_execution(original: Original, request: Document) -> Any:
    name, given = request.get("name"), request.get("input") or "{}"
    if name is not None and (not 1 <= len(name) <= _NAME_CHARACTERS or any(c in _FORBIDDEN or c < " " for c in name)):
        return responses.error_response_json("InvalidName", f"Invalid Name: '{name}'", 400)
    if len(given.encode()) > PAYLOAD_BYTES:
        message = f"The input is longer than {PAYLOAD_BYTES} bytes."
        return responses.error_response_json("InvalidExecutionInput", message, 400)
    try:
        json.loads(given)
    except ValueError as error:
        return responses.error_response_json(
            "InvalidExecutionInput", f"Invalid State Machine Execution Input: '{error}'", 400
        )
    with _start:
        machine_arn = stepfunctions._resolve_state_machine_arn(request.get("stateMachineArn", ""))
        if name and machine_arn:
            arn = machine_arn.replace(":stateMachine:", ":execution:") + f":{name}"
            known = stepfunctions._executions.get(arn)
            if known and known["status"] == "RUNNING" and known["input"] == given:
                return responses.json_response({"executionArn": arn, "startDate": known["startDate"]})
        return original({**request, "input": given})


# API reference, StartExecution: what a name must not contain, besides control characters.
_FORBIDDEN = ' \t\n<>{}[]?*"#%\\^|~`$&,;:/'


@patch(
    "services.stepfunctions:_run_execution",
    because="MiniStack ignores a machine's TimeoutSeconds and keeps working in executions that have ended",
    proof="test_executions.py::test_a_machine_that_takes_too_long_times_out",
)
def _run_execution(original: Original, arn: str) -> None:
    record = stepfunctions._executions.get(arn)
    machine = stepfunctions._state_machines.get(record["stateMachineArn"]) if record else None
    if record is None or machine is None:
        original(arn)
        return
    if _stopping.is_set():
        return
    execution = Execution(arn, machine["roleArn"], resumed=RESUME in record)
    seconds = json.loads(machine["definition"]).get("TimeoutSeconds")
    context = contextvars.copy_context()
    timer = threading.Timer(seconds, lambda: context.run(_time_out, record, execution)) if seconds else None
    _running[arn] = execution
    token = CURRENT.set(execution)
    TASK_OVER.set(None)  # that of the task that started this execution, if one did
    try:
        if timer:
            timer.daemon = True
            timer.start()
        original(arn)
    finally:
        CURRENT.reset(token)
        _running.pop(arn, None)
        if timer:
            timer.cancel()


def _time_out(record: Document, execution: Execution) -> None:
    with _start:
        if record["status"] != "RUNNING":
            return
        record.update(status="TIMED_OUT", stopDate=stepfunctions.now_iso(), error="States.Timeout")
    stepfunctions._add_event(
        record, "ExecutionTimedOut", {"executionTimedOutEventDetails": {"error": "States.Timeout"}}
    )
    stepfunctions._emit_execution_status_event(record)
    execution.ended.set()


@patch(
    "services.stepfunctions:_stop_execution",
    because="in MiniStack a stopped execution stays in its Wait state, and its jobs go on",
    proof="test_executions.py::test_a_stopped_execution_stays_stopped",
)
def _stop_execution(original: Original, request: Document) -> Any:
    answer = original(request)
    if execution := _running.get(request.get("executionArn", "")):
        execution.ended.set()
    return answer


@patch(
    "services.stepfunctions:_fail_execution",
    because="in MiniStack a task that fails after its execution was stopped or timed out makes it FAILED",
    proof="test_executions.py::test_a_stopped_execution_stays_stopped",
)
def _fail_execution(original: Original, record: Document, error: str, cause: str) -> None:
    if record["status"] == "RUNNING":
        original(record, error, cause)


@patch(
    "services.stepfunctions:_find_matching_retrier",
    because="MiniStack ignores MaxDelaySeconds and JitterStrategy and never waits longer than a minute",
    proof="test_executions.py::test_retries_wait_no_longer_than_max_delay",
)
def _retrier(original: Original, retriers: list[Document], error: str, counts: dict[int, int]) -> Any:
    retrier, index = original(retriers, error, counts)
    if retrier is None:
        return retrier, index
    delay = retrier.get("IntervalSeconds", 1) * retrier.get("BackoffRate", 2.0) ** counts.get(index, 0)
    delay = min(delay, retrier.get("MaxDelaySeconds", float("inf")))
    if retrier.get("JitterStrategy") == "FULL":
        delay = random.uniform(0, delay)
    stepfunctions._scaled_sleep(delay)
    return {**retrier, "IntervalSeconds": 0}, index


@patch(
    "services.stepfunctions:_error_matches",
    because="MiniStack lets States.ALL and States.TaskFailed match States.Runtime and States.DataLimitExceeded",
    proof="test_executions.py::test_runtime_errors_cannot_be_caught",
)
def _matches(original: Original, names: list[str], error: str) -> bool:
    if error in ("States.Runtime", "States.DataLimitExceeded"):
        return error in names and error != "States.Runtime"
    return bool(original(names, error))


@patch(
    "services.stepfunctions:_apply_state_assign",
    because="in MiniStack one variable of an Assign sees the new value of another; in Step Functions it sees the old",
    proof="test_executions.py::test_assignments_see_the_values_before_the_state",
)
def _assign(original: Original, state: Document, given: Any, context: Any, **sources: Any) -> None:
    assignments = state.get("Assign")
    if not isinstance(context, dict) or not isinstance(assignments, dict):
        return
    before = dict(context.get("variables", {}))
    after = dict(before)
    for name, template in assignments.items():
        trial = {**context, "variables": dict(before)}
        original({**state, "Assign": {name: template}}, given, trial, **sources)
        if name in trial["variables"]:
            after[name] = trial["variables"][name]
    context["variables"] = after


@patch(
    "services.stepfunctions:_invoke_resource_with_timeout",
    because="in MiniStack a job that outlives its task's TimeoutSeconds is not stopped",
    proof="test_sagemaker_tasks.py::test_a_job_that_outlives_its_task_is_stopped",
)
def _invoke_with_timeout(original: Original, resource: str, arguments: Any, timeout: float) -> Any:
    over = threading.Event()
    token = TASK_OVER.set(over)
    try:
        return original(resource, arguments, timeout)
    except Exception:
        over.set()
        raise
    finally:
        TASK_OVER.reset(token)


@patch(
    "services.stepfunctions:_execute_task",
    because="MiniStack takes TimeoutSeconds only as a number and knows no limit on a state's output",
    proof="test_executions.py::test_a_states_output_is_limited",
)
def _execute_task(original: Original, state: Document, given: Any, record: Any, context: Document) -> Any:
    if isinstance(state.get("TimeoutSeconds"), str):
        seconds = stepfunctions._jsonata_state_field(state, "TimeoutSeconds", "number", given, context)
        state = {**state, "TimeoutSeconds": seconds}
    output, following = original(state, given, record, context)
    check_size(output, context["State"]["Name"])
    return output, following


@patch(
    "services.stepfunctions:_apply_output_path",
    because="MiniStack ignores the Output of a Succeed state",
    proof="test_executions.py::test_choices_test_conditions_in_order_and_assign",
)
def _succeed(original: Original, state: Document, data: Any, context: Any = None) -> Any:
    if state.get("Type") == "Succeed" and stepfunctions._state_query_language(state, context) == "JSONata":
        return stepfunctions._apply_jsonata_output(state, data, context, default=data)
    return original(state, data, context)


def check_size(output: Any, state_name: str) -> None:
    """Raise States.DataLimitExceeded for an output over 256 KiB."""
    if len(json.dumps(output, ensure_ascii=False, separators=(",", ":")).encode()) > PAYLOAD_BYTES:
        message = f"The state/task '{state_name}' returned a result with a size exceeding the maximum number of bytes"
        raise failure("States.DataLimitExceeded", f"{message} service limit.")


@patch(
    "services.stepfunctions:_restore_state",
    because="in MiniStack an execution that a clean stop interrupts has failed after the next start, without any event",
    proof="lifecycle/test_restart.py::test_an_execution_goes_on_after_a_clean_stop",
)
def _restore(original: Original, data: Any) -> None:
    original(data)
    for arn, record in stepfunctions._executions.items():
        if record.get("error") == "States.ServiceRestart" and not record.get("mapRunArn"):
            record.update(status="RUNNING", stopDate=None)
            if RESUME not in record:  # it had not entered a state
                record["events"] = record["events"][:1]
            del record["error"], record["cause"]
            _interrupted.append(arn)


@patch(
    "services.stepfunctions:_call_lambda",
    because="a function that dies with the cloud is no failure of the execution that waits for it",
    proof="lifecycle/test_restart.py::test_an_execution_goes_on_after_a_clean_stop",
)
def _call_lambda(original: Original, function: Any, event: Any) -> Any:
    try:
        return original(function, event)
    finally:
        if _stopping.is_set() and CURRENT.get() is not None:
            raise SystemExit


def wait_for(ready: Callable[[], Any], stop: Callable[[], Any]) -> Any:
    """Poll ``ready`` until it returns something; ``stop`` and leave if the execution or the task ends before."""
    execution, over = CURRENT.get(), TASK_OVER.get()
    while True:
        if (result := ready()) is not None:
            return result
        if (execution and execution.ended.wait(_POLL_SECONDS)) or (over and over.is_set()):
            if not _stopping.is_set():
                stop()
            raise SystemExit
        if execution is None:
            time.sleep(_POLL_SECONDS)
