"""Where MiniStack's functions, of which there is one set per process, find the cloud's SageMaker."""

from __future__ import annotations

import threading

from laptop.sagemaker.service import SageMaker

START_SECONDS = 120.0  # far beyond what taking up the records of a home takes

_provided: list[SageMaker] = []
_ready = threading.Event()


def provide(service: SageMaker) -> None:
    """Answer with this service from now on; it has taken up what was left of a cloud before."""
    _provided[:] = [service]
    _ready.set()


def sagemaker() -> SageMaker:
    """The service. MiniStack's pollers and schedulers work before it is there: they wait in their threads.

    Raises RuntimeError where it is not provided in time.
    """
    if not _ready.wait(START_SECONDS):
        raise RuntimeError("the laptop cloud's SageMaker has not started")
    return _provided[0]
