"""Everything that reaches into MiniStack 1.5.33: the services it lacks and the behavior it gets wrong.

One module per subject; `install` is the only entry. `registry` says how a patch is written down.
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
    from laptop.ministack_patches import registry

    for subject in _SUBJECTS:
        module = importlib.import_module(f"laptop.ministack_patches.{subject}")
        if hasattr(module, "prepare"):
            module.prepare()
    registry.apply()
