"""Episodes of drift: whether enough of a window is new, and what a judgment makes of an endpoint's state.

Pure: states and windows in, states out. An episode begins with the first window that has drifted and ends with the
first that shows no sign of drift; `announced` is false from a change until its alert is out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime

from skyloop.documents import DriftReport, DriftState
from skyloop.drift.window import CapturedPrediction

STRIDE = 5  # a window is judged again when a fifth of it is new: each judgment is another chance of a false alarm


def window_digest(config: str, seen: Sequence[CapturedPrediction]) -> str:
    """What a window and the config it is judged under are known by: SHA-256, hex."""
    return hashlib.sha256("\n".join([config, *(prediction.event_id for prediction in seen)]).encode()).hexdigest()


def enough_is_new(
    state: DriftState, config: str, seen: Sequence[CapturedPrediction], *, size: int, scheduled: bool
) -> bool:
    """Whether enough of the window is new since the last judgment.

    A new config makes everything new. Otherwise a scheduled evaluation asks for any change, and one that a new capture
    file has caused for a fifth of the window's `size`.
    """
    if state.config != config or state.judged is None:
        return True
    if state.judged == window_digest(config, seen):
        return False
    judged_through = state.judged_through
    new = sum(judged_through is None or prediction.time > judged_through for prediction in seen)
    return scheduled or new >= max(1, size // STRIDE)


def next_state(state: DriftState, report: DriftReport, *, report_key: str, judged: str, now: datetime) -> DriftState:
    """The state after the judgment in `report`; a change between OK and DRIFT is claimed and not announced yet.

    `judged` is the window's digest.
    """
    after = state.model_copy(
        update={"config": report.config, "judged_through": report.window_to, "judged": judged},
    )
    drifting, another_model = state.state == "DRIFT", state.config != report.config
    change = {"since": now, "report_key": report_key, "announced": False, "claimed_at": now}
    if report.judgment.decision == "DRIFT" and (not drifting or another_model):
        # A new model has a new idea of what is usual: drift under it is an episode of its own.
        begins = {"state": "DRIFT", "images_sent": 0, "correlation_id": report.correlation_id}
        return after.model_copy(update={**begins, **change})
    if drifting and (report.judgment.clear or (another_model and report.judgment.decision == "OK")):
        return after.model_copy(update={"state": "OK", **change})
    return after
