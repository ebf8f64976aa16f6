"""When do pending images become a labeling job, and what is it called? Decided from plain numbers."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

MAX_SETTLING = 20
"""In quiet periods: the longest time that a full batch waits while uploads keep arriving."""


@dataclass(frozen=True)
class Queue:
    """The images that wait for labels. The times are None when there are none.

    `pending` counts them up to a full batch, as more make no difference to the decision. `full_since` is when the image
    arrived that made the batch full; None while it is not full.
    """

    pending: int
    oldest: datetime | None
    newest: datetime | None
    full_since: datetime | None


@dataclass(frozen=True)
class SelectionVerdict:
    """What to do now. `wait_seconds` has a meaning for `wait` only."""

    decision: Literal["wait", "idle", "label"]
    reason: str
    wait_seconds: int = 0


def decide_selection(
    queue: Queue, now: datetime, *, batch_size: int, max_wait_hours: float, quiet_seconds: int, force: bool = False
) -> SelectionVerdict:
    """Label when a batch is full or the oldest image has waited long enough, once uploads have been quiet for a while.

    The quiet time lets a drop of a thousand images become one job, not ten. It is bounded: after twenty quiet periods
    a full batch is labeled although uploads still arrive.
    """
    if not queue.pending or queue.oldest is None or queue.newest is None:
        return SelectionVerdict("idle", "no image waits for labels")
    if force:
        return SelectionVerdict("label", f"{queue.pending} images wait, and labeling was requested")
    due = queue.oldest + timedelta(hours=max_wait_hours)
    ready_since = min((moment for moment in (queue.full_since, due) if moment is not None), default=due)
    if ready_since > now:
        return SelectionVerdict(
            "idle",
            f"{queue.pending} of {batch_size} images wait; without more, labeling begins at {due.isoformat()}",
        )
    quiet_left = quiet_seconds - (now - queue.newest).total_seconds()
    settling = (now - ready_since).total_seconds()
    if quiet_left > 0 and settling < MAX_SETTLING * quiet_seconds:
        return SelectionVerdict(
            "wait", f"{queue.pending} images wait, and uploads are still arriving", math.ceil(quiet_left)
        )
    if queue.full_since is not None:
        return SelectionVerdict("label", f"{queue.pending} images wait; a batch is {batch_size}")
    return SelectionVerdict("label", f"{queue.pending} images wait, the oldest for over {max_wait_hours:g} hours")


def labeling_job_name(prefix: str, images: Iterable[tuple[str, int]]) -> str:
    """The name of the labeling job for these (image id, attempt) pairs: the same images twice are the same job.

    One more attempt gives another name, because the name of a failed job can never be used again.
    """
    lines = "\n".join(sorted(f"{image_id}:{attempt}" for image_id, attempt in images))
    return f"{prefix}-{hashlib.sha256(lines.encode()).hexdigest()[:12]}"
