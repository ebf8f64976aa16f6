"""What every part of the service is: operations over a context, and work that begins and ends with the cloud."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from laptop.sagemaker.core.context import Context
from laptop.sagemaker.core.store import Record

Operations = Mapping[str, Callable[[Any, Record], Record]]


@dataclass(frozen=True)
class InProgress:
    """Something that a stop of the cloud interrupts, and what becomes of it at the next start."""

    kind: str
    name: str
    afterwards: str  # the end of a sentence that begins with its kind and name


class Room:
    """One part of the service, made for one context. All that it knows and runs is its own.

    `OPERATIONS` has its functions (room, request) -> response by the API's names. A function gets a request that has
    been checked against botocore's model and normalized, and may return whole records: the response is reduced to the
    members of the operation's output shape.
    """

    SERVICE: ClassVar[str] = "sagemaker"
    OPERATIONS: ClassVar[Operations]

    def __init__(self, context: Context) -> None:
        self.context = context

    def start(self) -> None:
        """Take up again what an earlier cloud over this home left."""

    def in_progress(self) -> list[InProgress]:
        """What a stop would interrupt now."""
        return []

    def stop(self) -> None:
        """End what runs; the records stay as they are."""
