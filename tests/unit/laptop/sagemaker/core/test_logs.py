"""Log batches."""

from __future__ import annotations

from laptop.sagemaker.core import logs


def test_log_events_are_cut_to_what_cloudwatch_takes() -> None:
    events = [{"timestamp": 1, "message": "m" * 60_000} for _ in range(20)]
    cut = logs.batches(events)
    assert [event for batch in cut for event in batch] == events
    assert all(sum(len(event["message"]) + 26 for event in batch) <= 512 * 1024 for batch in cut)
    assert [len(batch) for batch in logs.batches([{"timestamp": 1, "message": "m"}] * 2500)] == [1000, 1000, 500]
    assert logs.batches([]) == []
