"""The patches of every subject, put in place together."""

from __future__ import annotations

from laptop.ministack_patches import (
    alarms,
    authorization,
    call_faults,
    clock,
    durability,
    events,
    executions,
    integrations,
    invocations,
    judged_requests,
    lambdas,
    leading_keys,
    log_metrics,
    maps,
    notifications,
    objects,
    pass_role,
    patching,
    resumption,
    services,
    templates,
    uploads,
)

_SUBJECTS = (
    judged_requests,
    services,
    pass_role,
    lambdas,
    invocations,
    notifications,
    log_metrics,
    events,
    alarms,
    executions,
    maps,
    integrations,
    authorization,
    leading_keys,
    templates,
    clock,
    durability,
    objects,
    uploads,
    resumption,
    call_faults,
)


def install() -> None:
    """Patch MiniStack in every subject. Call once, before it serves its first request."""
    for subject in _SUBJECTS:
        if hasattr(subject, "prepare"):
            subject.prepare()
    patching.apply()
