"""skyloop.intake.announcement: one event for the new images of a batch, and what happens when the bus refuses it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from skyloop.aws.events import EventRefused
from skyloop.aws.settings import Settings
from skyloop.intake.announcement import announce_images
from skyloop.intake.intake import IntakeResult

NEW = [IntakeResult("new", f"raw-images/north/{number}.jpg", "north") for number in range(2)]
OTHERS = [IntakeResult("duplicate", "raw-images/a.jpg", "a"), IntakeResult("quarantined", "raw-images/b.jpg", "b")]


class Bus:
    """An EventBridge client that takes every event, or refuses every one."""

    def __init__(self, *, refuses: bool = False) -> None:
        self.refuses = refuses
        self.entries: list[dict[str, Any]] = []

    def put_events(self, *, Entries: list[dict[str, Any]]) -> dict[str, Any]:
        self.entries += Entries
        if not self.refuses:
            return {"FailedEntryCount": 0, "Entries": [{"EventId": "1"}]}
        return {"FailedEntryCount": 1, "Entries": [{"ErrorCode": "ThrottlingException", "ErrorMessage": "too many"}]}


def test_new_images_are_one_event(stack: Settings) -> None:
    bus = Bus()
    announce_images(bus, [*OTHERS, *NEW], stack)
    [entry] = bus.entries
    assert (entry["Source"], entry["DetailType"]) == ("skyloop", "Images Catalogued")
    assert json.loads(entry["Detail"]) == {"stack": "skyloop-dev", "new": 2, "correlation_id": "north"}


def test_without_new_images_there_is_no_event(stack: Settings) -> None:
    bus = Bus()
    announce_images(bus, OTHERS, stack)
    assert bus.entries == []


def test_a_refused_event_says_why(stack: Settings) -> None:
    with pytest.raises(EventRefused, match="ThrottlingException: too many"):
        announce_images(Bus(refuses=True), NEW, stack)
