"""Where MiniStack's functions, of which there is one set per process, find the cloud's SageMaker."""

from __future__ import annotations

from laptop.sagemaker.service import SageMaker

_provided: list[SageMaker] = []


def provide(service: SageMaker) -> None:
    """Answer with this service from now on."""
    _provided[:] = [service]


def sagemaker() -> SageMaker:
    """The service. Raises RuntimeError before it is provided: the cloud has not started."""
    if not _provided:
        raise RuntimeError("the laptop cloud has not started yet")
    return _provided[0]
