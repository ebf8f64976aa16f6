"""Faults, for tests: events that come twice or never, and calls that fail.

Set with ``POST /_skyloop/faults`` and a JSON object; an absent member is off.

- ``{"duplicate": true}`` hands every event to every matching target twice: EventBridge promises neither exactly one
  delivery nor any.
- ``{"lose": ["Object Created", …]}`` drops the first event of each detail-type that it names, for all targets (and the
  next, for each further time the name is listed); events that no rule matches do not count.
- ``{"fail": {"<site>": "<mode>", …}}`` fails the next call that is made there, one call of each site. ``sites`` of the
  answer counts the calls of every site since the faults were set, which is how their names are found.

A site is who calls and what: ``<function> <service>:<operation> <table or first part of the key>`` for a function,
``<machine>.<state> <integration>`` for a task of a state machine.
"""

from __future__ import annotations

import threading
from collections import Counter

from laptop.documents import Document

MODES = ("throttled", "server-error", "lost-answer", "killed")
"""How a call fails. ``throttled`` and ``server-error``: each of its attempts is refused, and nothing is done.
``lost-answer``: it is done, and the caller hears nothing of it. ``killed``: it is done, and the function's process is
killed before it hears of it; a state machine has no process, and its tasks cannot fail so."""
_REFUSED = ("throttled", "server-error")
_KNOWN = {"duplicate", "lose", "fail"}

_lock = threading.Lock()
_duplicate = False
_lose: list[str] = []
_lost: list[dict[str, str]] = []
_fail: dict[str, str] = {}
_failed: dict[str, str] = {}  # site -> the call that failed there
_sites: Counter[str] = Counter()


def configure(settings: Document) -> Document:
    """Replace the faults. Raises ValueError for settings that are not of the shape above."""
    global _duplicate
    unknown = set(settings) - _KNOWN if isinstance(settings, dict) else {"(not an object)"}
    if unknown:
        raise ValueError(f"unknown fault: {', '.join(sorted(unknown))}; known are {', '.join(sorted(_KNOWN))}")
    duplicate, lose, fail = settings.get("duplicate", False), settings.get("lose", []), settings.get("fail", {})
    if not isinstance(duplicate, bool) or not isinstance(lose, list) or not all(isinstance(i, str) for i in lose):
        raise ValueError("duplicate takes true or false, lose a list of detail-types")
    if not isinstance(fail, dict) or not all(mode in MODES for mode in fail.values()):
        raise ValueError(f"fail takes an object of sites, each with one of {', '.join(MODES)}")
    with _lock:
        _duplicate = duplicate
        _lose[:] = lose
        _lost.clear()
        _fail.clear()
        _fail.update(fail)
        _failed.clear()
        _sites.clear()
    return current()


def current() -> Document:
    """The faults in force, and what came of them since they were set.

    ``lost`` has ``{"detail-type", "id"}`` of each event dropped, ``failed`` the sites where a call failed, ``sites``
    how many calls each site made.
    """
    with _lock:
        return {
            "duplicate": _duplicate,
            "lose": list(_lose),
            "fail": dict(_fail),
            "lost": list(_lost),
            "failed": sorted(_failed),
            "sites": dict(_sites),
        }


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


def of_call(site: str, call: str) -> str | None:
    """How a call fails, one of MODES; None where it does not. ``call`` is the same for each attempt at one call."""
    with _lock:
        if _failed.get(site) == call and _fail.get(site) in _REFUSED:
            return _fail[site]
        if site not in _failed:
            _sites[site] += 1
        if site not in _fail or site in _failed:
            return None
        _failed[site] = call
        return _fail[site]
