"""What label's JSONata makes of sample inputs is what the services take and what people read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.infra import wiring
from tests.infra.expressions import run, state, which


def test_lock_is_released_only_when_no_rerun_was_requested_or_something_failed() -> None:
    condition = state("label", "ReleaseLock")["Arguments"]["ConditionExpression"]
    assert "rerun_requested_at" in run(condition, {"failed": "", "at_limit": False})
    assert "rerun_requested_at" not in run(condition, {"failed": "SelectImages", "at_limit": False})
    assert run(condition, {"failed": "", "at_limit": True}) == "#owner = :me"


@pytest.mark.parametrize(
    ("rounds", "hours", "at_limit"), [(0, 0, False), (799, 23, False), (800, 0, True), (1, 25, True)]
)
def test_one_execution_does_not_label_forever(rounds: int, hours: int, at_limit: bool) -> None:
    """Uploads that never stop would outgrow its history or its time: it lets go, and a fresh one goes on."""
    started = (datetime.now(UTC) - timedelta(hours=hours)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    assign = state("label", "TakeLock")["Assign"]
    context = {"Execution": {"StartTime": started}}
    after = wiring.evaluate(assign, {"rounds": rounds}, {"context": context})
    assert after == {"rounds": rounds + 1, "at_limit": at_limit}
    selection = {"decision": "wait", "reason": "uploads are still arriving"}
    variables = {**after, "selection": selection, "failed": ""}
    assert which("label", "CheckSelection", variables) == ("NothingToLabel" if at_limit else "WaitForUploads")
    assert which("label", "CheckRerun", variables) == ("Done" if at_limit else "TakeLock")
    assert wiring.machine("label")["TimeoutSeconds"] > 86400 + 3600


@pytest.mark.parametrize(("wait", "seconds"), [(0, 1), (2.2, 3), (120, 120), (90000, 3600)])
def test_wait_for_uploads_is_whole_seconds_within_the_lease(wait: float, seconds: int) -> None:
    assert run(state("label", "WaitForUploads")["Seconds"], {"selection": {"wait_seconds": wait}}) == seconds
