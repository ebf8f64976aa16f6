"""A clock that is set back stops nothing: schedules and hidden messages wait by the clock as it is now.

MiniStack compares moments of the wall clock. What it noted before it went back lies in the future then, and would
wait until the clock comes there again. While the cloud runs, the clock that only goes forward shows it; after a start,
the moment of the last write to the journal. A clock that is put forward makes things due early, once.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, MutableMapping
from datetime import timedelta
from typing import Any

from ministack.services import eventbridge, lambda_svc, scheduler, sqs

from laptop.ministack_patches.patching import Original, patch

log = logging.getLogger(__name__)

_NOTICED_SECONDS = 5.0  # clocks are put right by less all the time, and by as little nothing is held up for long
_HIDDEN_SECONDS = 43_200  # SQS quotas: the longest visibility timeout; a delay is shorter


class Watch:
    """Compares the wall clock with the one that only goes forward."""

    def __init__(self) -> None:
        self._wall, self._steady = time.time(), time.monotonic()

    def set_back(self) -> float:
        """By how many seconds the wall clock was set back since the last call; 0 where it was not, or hardly."""
        wall, steady = time.time(), time.monotonic()
        back = (steady - self._steady) - (wall - self._wall)
        self._wall, self._steady = wall, steady
        return back if back > _NOTICED_SECONDS else 0.0


_watch = Watch()
_looking = threading.Lock()  # who finds that the clock was set back puts all right before anyone goes on


def put_right_since(written: float | None) -> list[str]:
    """Put right what was brought back, where the clock is before the last write to the journal; says so.

    `written` is the moment of that write, in seconds since 1970; None where there was none.
    """
    back = 0.0 if written is None else written - time.time()
    changed = _shift(back if back > _NOTICED_SECONDS else 0.0)
    if back > _NOTICED_SECONDS:
        ago = timedelta(seconds=round(back))
        return [f"The clock is {ago} before the last write of the cloud; what waits goes by the clock as it is now."]
    if changed:
        return [f"{changed} messages, rules and schedules were dated in the future; they go by the clock as it is now."]
    return []


def _look() -> None:
    with _looking:
        if back := _watch.set_back():
            log.warning("The clock was set back by %s; what waits goes by it now", timedelta(seconds=round(back)))
            _shift(back)


def _shift(back: float) -> int:
    """Move what waits by so many seconds, and further where it could not wait for so long; returns how many."""
    now, beyond = time.time(), 0
    for moments, name, latest in list(_moments(now)):
        moment = moments.get(name)
        if isinstance(moment, (int, float)):
            beyond += moment - back > latest
            moments[name] = min(moment - back, latest)
    return beyond


def _moments(now: float) -> Iterator[tuple[MutableMapping[Any, Any], Any, float]]:
    """Where moments are noted: in what, under which name, and the latest that each can be."""
    for queue in list(sqs._queues._data.values()):
        for message in list(queue["messages"]):
            yield message, "sent_at", now
            yield message, "visible_at", now + _HIDDEN_SECONDS
        for known in list(queue.get("dedup_cache", {}).values()):
            yield known, "expire", now + sqs._DEDUP_WINDOW_S
    for rule in list(eventbridge._rules._data.values()):
        yield rule, "CreationTime", now
    for schedule in list(scheduler._schedules._data.values()):
        yield schedule, "CreationDate", now
    for fired in (eventbridge._rule_last_fired, scheduler._schedule_last_fired):
        for key in list(fired):
            yield fired, key, now
    for mapping in list(lambda_svc._esm_backoff_until._data):
        yield lambda_svc._esm_backoff_until._data, mapping, now + lambda_svc._ESM_BACKOFF_SECONDS


@patch(
    "services.eventbridge:_tick_scheduled_rules",
    because="in MiniStack a rule is not due again until a clock that was set back comes to where it was",
    proof="test_clock.py::test_a_schedule_goes_on_after_the_clock_was_set_back",
)
@patch(
    "services.scheduler:_tick_schedules",
    because="in MiniStack a schedule is not due again until a clock that was set back comes to where it was",
    proof="test_clock.py::test_a_schedule_goes_on_after_the_clock_was_set_back",
)
@patch(
    "services.sqs:_collect_msgs",
    because="in MiniStack a message stays hidden until a clock that was set back comes to where it was",
    proof="test_clock.py::test_a_message_comes_again_after_the_clock_was_set_back",
)
def _look_first(original: Original, *request: Any) -> Any:
    _look()  # before anything is due, or hidden, by the clock as it is now
    return original(*request)
