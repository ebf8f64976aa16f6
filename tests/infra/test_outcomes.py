"""What deploy and rollback say at their end is what the command line takes for done, or for not done."""

from __future__ import annotations

import re

from cli.commands.models import NOTHING_DONE
from tests.infra import wiring

DONE = ("deployed", "already in service", "rolled-back", "stopped")


def outcomes() -> set[str]:
    """How each outcome begins, that the two machines can end with."""
    found = set()
    for name in ("deploy", "rollback"):
        for _, state in wiring.states(wiring.machine(name)):
            for assigned in (state, *state.get("Choices", []), *state.get("Catch", [])):
                if text := assigned.get("Assign", {}).get("outcome"):
                    literal = re.search(r"'([^']+)'", text) if text.startswith("{%") else None
                    found.add(literal[1] if literal else text)
    return found


def test_every_outcome_is_something_done_or_nothing() -> None:
    found = outcomes()
    assert [text for text in found if not text.startswith(DONE + NOTHING_DONE)] == []
    assert [begin for begin in DONE + NOTHING_DONE if not any(text.startswith(begin) for text in found)] == []
