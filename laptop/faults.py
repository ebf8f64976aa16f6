"""Faults of event delivery, for tests: EventBridge promises neither exactly one delivery nor any.

Set with ``POST /_skyloop/faults`` and the JSON ``{"duplicate": true, "lose": ["Object Created", …]}``; an absent
member is off. ``duplicate`` hands every event to every matching target twice. ``lose`` drops the first event of each
detail-type that it names, for all targets (and the next, for each further time the name is listed); events that no rule
matches do not count.
"""

from __future__ import annotations

import threading

from laptop.documents import Document

_lock = threading.Lock()
_duplicate = False
_lose: list[str] = []
_lost: list[dict[str, str]] = []


def configure(settings: Document) -> Document:
    """Replace the faults. Raises ValueError for settings that are not of the shape above."""
    global _duplicate
    unknown = set(settings) - {"duplicate", "lose"} if isinstance(settings, dict) else {"(not an object)"}
    if unknown:
        raise ValueError(f"unknown fault: {', '.join(sorted(unknown))}; known are duplicate and lose")
    duplicate, lose = settings.get("duplicate", False), settings.get("lose", [])
    if not isinstance(duplicate, bool) or not isinstance(lose, list) or not all(isinstance(i, str) for i in lose):
        raise ValueError("duplicate takes true or false, lose a list of detail-types")
    with _lock:
        _duplicate = duplicate
        _lose[:] = lose
        _lost.clear()
    return current()


def current() -> Document:
    """The faults in force, and ``lost``: ``{"detail-type", "id"}`` of each event dropped since they were set."""
    with _lock:
        return {"duplicate": _duplicate, "lose": list(_lose), "lost": list(_lost)}


def loses(detail_type: str, event_id: str) -> bool:
    """Whether this event is to be dropped; counts it if so, once for all of its targets."""
    with _lock:
        if any(event["id"] == event_id for event in _lost):
            return True
        if detail_type not in _lose:
            return False
        _lose.remove(detail_type)
        _lost.append({"detail-type": detail_type, "id": event_id})
        return True


def deliveries() -> int:
    """How often each event goes to each target."""
    with _lock:
        return 2 if _duplicate else 1
