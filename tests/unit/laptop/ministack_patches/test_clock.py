"""A clock that is set back holds up nothing that waits."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ministack.services import eventbridge, lambda_svc, scheduler, sqs

from laptop.ministack_patches import clock
from laptop.ministack_patches.patching import PATCHES

HOUR = 3600.0
KEY = ("000000000000", "us-east-1", "one")


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The clocks: `wall` is the time, `steady` what only goes forward. What waits is empty."""
    now = SimpleNamespace(wall=1_000_000.0, steady=50.0)
    monkeypatch.setattr(clock, "time", SimpleNamespace(time=lambda: now.wall, monotonic=lambda: now.steady))
    monkeypatch.setattr(clock, "_watch", clock.Watch())
    for store in (sqs._queues, eventbridge._rules, scheduler._schedules, lambda_svc._esm_backoff_until):
        monkeypatch.setattr(store, "_data", {})
    monkeypatch.setattr(eventbridge, "_rule_last_fired", {})
    monkeypatch.setattr(scheduler, "_schedule_last_fired", {})
    return now


def message(sent: float, visible: float) -> dict[str, Any]:
    held = {"sent_at": sent, "visible_at": visible}
    sqs._queues._data[KEY] = {"messages": [held], "dedup_cache": {}}
    return held


def test_what_waits_while_the_clock_is_set_back_waits_no_longer(now: SimpleNamespace) -> None:
    hidden = message(now.wall - 100, now.wall + 20)
    eventbridge._rule_last_fired[KEY] = now.wall - 30
    scheduler._schedule_last_fired[KEY] = now.wall - 30
    lambda_svc._esm_backoff_until._data[KEY] = now.wall + 0.5
    now.steady += 10
    now.wall += 10 - 2 * HOUR
    clock._look()
    assert hidden["visible_at"] - now.wall == pytest.approx(10)
    assert hidden["sent_at"] - now.wall == pytest.approx(-110)
    assert now.wall - eventbridge._rule_last_fired[KEY] == pytest.approx(40)
    assert now.wall - scheduler._schedule_last_fired[KEY] == pytest.approx(40)
    assert lambda_svc._esm_backoff_until._data[KEY] <= now.wall + 1
    before = dict(hidden)
    clock._look()
    assert hidden == before


@pytest.mark.parametrize("step", [-2.0, 0.0, 2 * HOUR])
def test_a_clock_that_is_put_right_a_little_or_forward_moves_nothing(now: SimpleNamespace, step: float) -> None:
    hidden = message(now.wall, now.wall + 30)
    before = dict(hidden)
    now.steady += 100
    now.wall += 100 + step
    clock._look()
    assert hidden == before


def test_a_suspended_machine_is_no_clock_that_was_set_back(now: SimpleNamespace) -> None:
    hidden = message(now.wall, now.wall + 30)
    now.wall += HOUR  # the steady clock stands still meanwhile
    clock._look()
    assert hidden["visible_at"] == 1_000_030.0


def test_after_a_start_the_last_write_says_how_far_the_clock_is_behind(now: SimpleNamespace) -> None:
    hidden = message(now.wall, now.wall + 30)
    eventbridge._rules._data[KEY] = {"CreationTime": now.wall - 50}
    written, now.wall = now.wall + 5, now.wall + 5 - 24 * HOUR
    [sentence] = clock.put_right_since(written)
    assert "1 day" in sentence
    assert hidden["visible_at"] == now.wall + 25
    assert eventbridge._rules._data[KEY]["CreationTime"] == now.wall - 55


@pytest.mark.parametrize("written", [None, 999_990.0])
def test_nothing_is_from_the_future(now: SimpleNamespace, written: float | None) -> None:
    """A home whose last write was after the clock was put right; and one that has no moment of it."""
    hidden = message(now.wall + 24 * HOUR, now.wall + 24 * HOUR + 30)
    eventbridge._rules._data[KEY] = {"CreationTime": now.wall + 24 * HOUR}
    scheduler._schedules._data[KEY] = {"CreationDate": now.wall + 24 * HOUR}
    [sentence] = clock.put_right_since(written)
    assert "dated in the future" in sentence
    assert hidden["sent_at"] == now.wall
    assert hidden["visible_at"] <= now.wall + 12 * HOUR
    assert eventbridge._rules._data[KEY]["CreationTime"] == now.wall
    assert scheduler._schedules._data[KEY]["CreationDate"] == now.wall


def test_a_home_that_is_in_order_is_left_as_it_is(now: SimpleNamespace) -> None:
    hidden = message(now.wall - 5, now.wall + 12 * HOUR - 5)
    before = dict(hidden)
    assert clock.put_right_since(now.wall - 1) == []
    assert hidden == before


@pytest.mark.parametrize("name", ["_tick_scheduled_rules", "_tick_schedules", "_collect_msgs"])
def test_who_waits_looks_first(now: SimpleNamespace, name: str) -> None:
    [patched] = [
        patch.replacement for patch in PATCHES if patch.name == name and patch.replacement.__module__ == clock.__name__
    ]
    hidden = message(now.wall, now.wall + 30)
    now.wall -= HOUR
    assert patched(lambda: hidden["visible_at"] <= now.wall + 30) is True
    assert hidden["visible_at"] == now.wall + 30
