"""laptop.ministack_patches.resumption: an execution stays where it was when the cloud stopped."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from laptop.ministack_patches import executions, resumption

EVENT = {"stateExitedEventDetails": {"name": "Batches", "output": "[null]"}}


@pytest.fixture
def execution() -> Iterator[executions.Execution]:
    """The execution that this thread works for."""
    execution = executions.Execution("arn:aws:states:us-east-1:000000000000:execution:machine:name", "role")
    token = executions.CURRENT.set(execution)
    yield execution
    executions.CURRENT.reset(token)


def add(kind: str) -> list[str]:
    """What is written down of an event."""
    written: list[str] = []

    def original(record: dict[str, Any], kind: str, details: object) -> None:
        written.append(kind)

    resumption._add_event(original, {}, kind, EVENT)
    return written


def test_what_happens_is_written_down(execution: executions.Execution) -> None:
    assert add("MapStateExited") == ["MapStateExited"]


def test_a_map_whose_children_were_left_in_the_middle_is_not_done(execution: executions.Execution) -> None:
    execution.ended.set()
    with pytest.raises(SystemExit):
        add("MapStateExited")


def test_who_ends_an_execution_may_write_it_down(execution: executions.Execution) -> None:
    """Also one that waited for it and has ended itself: the events of the other's end must not be lost."""
    execution.ended.set()
    assert add("ExecutionAborted") == ["ExecutionAborted"]
