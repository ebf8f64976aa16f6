"""Everything that reaches into MiniStack 1.5.33: the services it lacks and the behavior it gets wrong.

One module a subject; :func:`install` is the only entry. See :mod:`laptop.hooks.registry` for the form of a hook.
"""

from __future__ import annotations

import importlib

_SUBJECTS = (
    "services",
    "lambdas",
    "events",
    "alarms",
    "executions",
    "maps",
    "integrations",
    "authorization",
    "templates",
)


def install() -> None:
    """Hook every subject in. Call once, before MiniStack serves its first request."""
    from laptop.hooks import registry

    for subject in _SUBJECTS:
        module = importlib.import_module(f"laptop.hooks.{subject}")
        if hasattr(module, "prepare"):
            module.prepare()
    registry.apply()
