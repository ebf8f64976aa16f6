"""Every expression of every state is run on sample values, and gives what its field and its service take."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.infra import wiring
from tests.infra.expressions import accepted_by_task, machine_states, run
from tests.infra.sample_results import EVENTS, INPUTS, RESULTS
from tests.infra.samples import ERROR, VARIABLES

STATES = [(name, path, state) for name in wiring.MACHINES for path, state in machine_states(name)]
IDS = [f"{name}.{path}" for name, path, _ in STATES]
# Functions of JSONata and of Step Functions that the definitions may call.
FUNCTIONS = frozenset(
    (
        "append", "boolean", "ceil", "count", "each", "exists", "floor", "fromMillis", "hash", "join", "length",
        "lookup", "match", "max", "merge", "millis", "min", "not", "now", "number", "replace", "split", "string",
        "substring", "substringAfter", "substringBefore", "sum", "toMillis", "type",
    )
)  # fmt: skip


@pytest.mark.parametrize(("name", "path", "state"), STATES, ids=IDS)
def test_every_expression_has_a_value_that_fits(name: str, path: str, state: wiring.JSON) -> None:
    variables, where = VARIABLES[name], f"{name}.{path}"
    given = {"input": INPUTS.get(where, {}), "result": RESULTS.get(where)}
    for field in ("Assign", "Output", "Items", "Error", "Cause"):
        if field in state:
            run(state[field], variables, **given)
    if "Seconds" in state:
        seconds = run(state["Seconds"], variables)
        assert isinstance(seconds, int)
        assert seconds > 0
    if "Arguments" in state:
        accepted_by_task(state["Resource"], run(state["Arguments"], variables, **given))
    if "ItemSelector" in state:
        run(state["ItemSelector"], variables, **given)
    for catch in state.get("Catch", []):
        for field in ("Assign", "Output"):
            run(catch.get(field, {}), variables, **given, errorOutput=ERROR)
    for number, rule in enumerate(state.get("Choices", [])):
        given["input"] = EVENTS[number] if name == "route" and path == "CheckEvent" else {}
        assert isinstance(run(rule["Condition"], variables, **given), bool), rule
        run(rule.get("Assign", {}), variables, **given)


def test_an_expression_without_a_value_is_seen() -> None:
    with pytest.raises(LookupError, match="no value"):
        run({"Assign": {"x": "{% $nothing.there %}"}}, {})


@pytest.mark.parametrize("name", wiring.MACHINES)
def test_every_field_with_an_expression_is_one_of_those_above(name: str) -> None:
    """A field that the test above does not know would not be run."""
    known = {"Assign", "Output", "Items", "Error", "Cause", "Seconds", "Arguments", "Condition", "ItemSelector"}
    for path, state in machine_states(name):
        assert _holders(state) <= known, path


def _holders(value: Any, field: str = "") -> set[str]:
    """Names of the fields that hold expressions, the outermost that takes any JSON."""
    if isinstance(value, str):
        return {field} if value.startswith("{%") else set()
    if field in ("Assign", "Output", "Arguments", "ItemSelector"):
        return {field}
    if isinstance(value, dict):
        parts = [_holders(item, key) for key, item in value.items() if key != "ItemProcessor"]
        return set().union(*parts)
    return set().union(*(_holders(item, field) for item in value)) if isinstance(value, list) else set()


def assigned(name: str) -> set[str]:
    """Every variable that some state of the machine assigns."""
    found: set[str] = set()
    for _, state in machine_states(name):
        for holder in (state, *state.get("Choices", []), *state.get("Catch", [])):
            found |= set(holder.get("Assign", {}))
    return found


@pytest.mark.parametrize("name", wiring.MACHINES)
def test_the_samples_are_those_of_the_machines_variables(name: str) -> None:
    assert set(VARIABLES[name]) == assigned(name)


@pytest.mark.parametrize("name", wiring.MACHINES)
def test_every_variable_that_is_read_is_assigned(name: str) -> None:
    """JSONata makes nothing of a name that is not there, without a word."""
    known = assigned(name) | FUNCTIONS | {"states"}
    for text in _expressions(name):
        bare = re.sub(r"'(?:[^'\\]|\\.)*'|/(?:[^/\\\n ]|\\.)+/", "''", text)
        local = set(re.findall(r"\$(\w+)\s*:=", bare))
        for parameters in re.findall(r"function\(([^)]*)\)", bare):
            local |= set(re.findall(r"\$(\w+)", parameters))
        read = set(re.findall(r"\$(\w+)", bare))
        assert read <= known | local, read - known - local


def _expressions(name: str) -> Iterator[str]:
    yield from (text for text in wiring.strings(wiring.machine(name)) if text.startswith("{%"))
