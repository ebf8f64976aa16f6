"""When a window is worth a judgment, and when an episode of drift begins and ends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from skyloop.documents import DriftReport, DriftState
from skyloop.drift.detector import detect
from skyloop.drift.episode import enough_is_new, next_state, window_digest
from skyloop.drift.window import CapturedPrediction

from tests.support.profiles import baseline_of, draw, profiles_of

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
SIZE = 10


def seen(count: int, start: int = 0) -> list[CapturedPrediction]:
    """`count` requests, a second apart, from the `start`-th on."""
    profiles = profiles_of(draw(np.random.default_rng(0), count))
    return [
        CapturedPrediction(profile, NOW + timedelta(seconds=start + n), f"event-{start + n}", None, "key", n, None)
        for n, profile in enumerate(profiles)
    ]


def judged(window: list[CapturedPrediction], config: str = "v1") -> DriftState:
    return DriftState(config=config, judged=window_digest(config, window), judged_through=window[-1].time)


@pytest.mark.parametrize(
    ("state", "new", "scheduled", "enough"),
    [
        (DriftState(), 0, False, True),  # never judged
        (judged(seen(SIZE), config="v0"), 0, False, True),  # judged under another config
        (judged(seen(SIZE)), 0, True, False),  # the very same window
        (judged(seen(SIZE)), 1, False, False),
        (judged(seen(SIZE)), 1, True, True),
        (judged(seen(SIZE)), 2, False, True),  # a fifth of it
    ],
)
def test_enough_is_new(state, new, scheduled, enough):
    assert enough_is_new(state, "v1", seen(SIZE, start=new), size=SIZE, scheduled=scheduled) is enough


def report(decision: str, *, clear: bool, config: str) -> DriftReport:
    random = np.random.default_rng(1)
    judgment = detect(baseline_of(draw(random, 20)), profiles_of(draw(random, 10)), alpha=0.01)
    return DriftReport(
        endpoint="e",
        config=config,
        package_arn="arn",
        dataset_id="ds-1",
        baseline_uri="s3://b/baseline.json",
        correlation_id="drift-e-2",
        judged_at=NOW,
        window_from=NOW,
        window_to=NOW + timedelta(seconds=9),
        judgment=judgment.model_copy(update={"decision": decision, "clear": clear}),
        images=[],
        html_key="page.html",
    )


@pytest.mark.parametrize(
    ("before", "decision", "clear", "config", "after"),
    [
        ("OK", "OK", True, "v1", None),
        ("OK", "OK", False, "v2", None),
        ("OK", "DRIFT", False, "v1", "DRIFT"),
        ("DRIFT", "DRIFT", False, "v1", None),
        ("DRIFT", "DRIFT", False, "v2", "DRIFT"),  # an episode of its own, under another model
        ("DRIFT", "OK", False, "v1", None),  # not clear yet: the state does not flap
        ("DRIFT", "OK", True, "v1", "OK"),
        ("DRIFT", "OK", False, "v2", "OK"),  # another model sees nothing unusual
    ],
)
def test_episodes_begin_and_end(before, decision, clear, config, after):
    state = DriftState(state=before, config="v1", images_sent=7, correlation_id="drift-e-1", revision=3)
    changed = next_state(
        state, report(decision, clear=clear, config=config), report_key="report.json", judged="digest", now=NOW
    )
    assert (changed.config, changed.judged, changed.judged_through) == (config, "digest", NOW + timedelta(seconds=9))
    assert (changed.state, changed.announced, changed.revision) == (after or before, after is None, 3)
    if after:
        assert (changed.since, changed.claimed_at, changed.report_key) == (NOW, NOW, "report.json")
    if after == "DRIFT":
        assert (changed.images_sent, changed.correlation_id) == (0, "drift-e-2")
    else:
        assert (changed.images_sent, changed.correlation_id) == (7, "drift-e-1")
