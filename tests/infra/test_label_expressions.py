"""What label's JSONata makes of sample inputs is what the services take and what people read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.infra import wiring
from tests.infra.expressions import run, state, which


def test_lock_is_released_only_when_nobody_asked_meanwhile_or_there_is_an_alert() -> None:
    condition = state("label", "ReleaseLock")["Arguments"]["ConditionExpression"]
    assert "asked_at" in run(condition, {"alert": {"event": "none"}, "tired": False})
    assert "asked_at" not in run(condition, {"alert": {"event": "labeling-failed"}, "tired": False})
    assert run(condition, {"alert": {"event": "none"}, "tired": True}) == "#owner = :me"


@pytest.mark.parametrize(("looks", "hours", "tired"), [(0, 0, False), (799, 23, False), (800, 0, True), (1, 25, True)])
def test_one_execution_does_not_label_for_ever(looks: int, hours: int, tired: bool) -> None:
    """Uploads that never stop would outgrow its history or its time: it lets go, and a fresh one goes on."""
    started = (datetime.now(UTC) - timedelta(hours=hours)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    assign = state("label", "TakeLock")["Assign"]
    context = {"Execution": {"StartTime": started}}
    after = wiring.evaluate(assign, {"looks": looks}, {"context": context})
    assert after == {"looks": looks + 1, "tired": tired}
    selection = {"decision": "wait", "reason": "uploads are still arriving"}
    variables = {**after, "selection": selection, "alert": {"event": "none"}}
    assert which("label", "Decide", variables) == ("NothingToLabel" if tired else "WaitForUploads")
    assert which("label", "DidItGoWell", variables) == ("Done" if tired else "TakeLock")
    assert wiring.machine("label")["TimeoutSeconds"] > 86400 + 3600


@pytest.mark.parametrize(("wait", "seconds"), [(0, 1), (2.2, 3), (120, 120), (90000, 3600)])
def test_wait_for_uploads_is_whole_seconds_within_the_lease(wait: float, seconds: int) -> None:
    assert run(state("label", "WaitForUploads")["Seconds"], {"selection": {"wait_seconds": wait}}) == seconds
