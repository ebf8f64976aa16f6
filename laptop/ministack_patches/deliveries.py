"""What is on its way is kept: events to their targets, notifications of S3, asynchronous invocations.

Each is written down before what caused it is answered, and forgotten with the snapshot that has what came of it, as a
message in a queue. What the end of the cloud interrupted is done at the next start: once more, where it was done in
part, since all of them are delivered at least once, on AWS too.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from contextvars import ContextVar, copy_context

from ministack.core import persistence, responses

from laptop.documents import Document
from laptop.journal import Delivery, Journal

log = logging.getLogger(__name__)

_carriers: dict[str, Callable[[int, Document], None]] = {}
# `inside`: of something that is written down as a whole, under `number`; what it starts outlives it.
_thread = threading.local()
# What a request could not have written down so far: more than nothing, and it is refused.
_unkept: ContextVar[list[str]] = ContextVar("unkept")


class Deliveries:
    """What was acknowledged and is yet to be done, in the journal until it is done."""

    def __init__(self) -> None:
        self._journal: Journal | None = None
        self._touch: Callable[[], None] | None = None
        self._interrupted: list[Delivery] = []
        self._done: set[int] = set()
        self._halted = threading.Event()

    def open(self, journal: Journal, touch: Callable[[], None]) -> None:
        """Read what was interrupted; `touch` is called when something is done. Call it before anything begins."""
        self._journal, self._touch = journal, touch
        self._interrupted = list(journal.deliveries())

    def begin(self, kind: str, content: Document) -> int | None:
        """Write down what is to be done; returns its number.

        Where that is not possible, None: it may be done all the same, but a request that asks for it is refused.
        """
        assert self._journal
        scope = {"account": responses.get_account_id(), "region": responses.get_region()}
        try:
            text = json.dumps({**scope, **content}, default=persistence._json_default)
            return self._journal.put_delivery(kind, text)
        except Exception as error:  # whatever it was, it is not stored
            log.error("What is to be delivered could not be written down: %s", error)
            _unkept.get([]).append(kind)
            return None

    def end(self, number: int | None) -> None:
        """It is done, or will never be: it is forgotten with the next snapshot."""
        if number is not None and self._touch:
            self._done.add(number)
            self._touch()

    def done(self) -> frozenset[int]:
        """What is done so far. What came of it is in every state that is read from now on."""
        return frozenset(self._done.copy())

    def forget(self, numbers: Set[int]) -> None:
        """These are not in the journal any more."""
        self._done -= numbers

    def halt(self) -> None:
        """Nothing fails for good from now on: the cloud stops, and takes functions' processes away."""
        self._halted.set()

    @property
    def halted(self) -> bool:
        """Whether the cloud is stopping."""
        return self._halted.is_set()

    def resume(self) -> list[str]:
        """Begin to do what was interrupted, in its order; says so. Call this once the whole cloud answers."""
        interrupted, self._interrupted = self._interrupted, []
        if not interrupted:
            return []
        threading.Thread(target=self._resume, args=(interrupted,), name="deliveries", daemon=True).start()
        return [f"{len(interrupted)} deliveries were on their way when the cloud ended; they are made again."]

    def _resume(self, interrupted: list[Delivery]) -> None:
        assert self._journal
        for delivery in interrupted:
            try:
                copy_context().run(_carry, delivery)
            except Exception:  # of a delivery, not of those after it
                log.exception("The delivery %s (%s) could not be made again", delivery.number, delivery.kind)
                lost = f"The delivery number {delivery.number} ({delivery.kind}) could not be made again"
                self._journal.put_aside("deliveries", "number", delivery.number, json.dumps(delivery.content), lost)


DELIVERIES = Deliveries()


def carries(kind: str) -> Callable[[Callable[[int, Document], None]], Callable[[int, Document], None]]:
    """Declare what does an interrupted delivery of a kind: it gets its number and its content, and ends it."""

    def declare(carrier: Callable[[int, Document], None]) -> Callable[[int, Document], None]:
        _carriers[kind] = carrier
        return carrier

    return declare


@contextmanager
def ending(number: int | None) -> Iterator[None]:
    """Within it, what belongs to a delivery is not written down by itself; the delivery ends with it."""
    _thread.inside, _thread.number = True, number
    try:
        yield
    finally:
        _thread.inside, _thread.number = False, None
        DELIVERIES.end(number)


@contextmanager
def whole(kind: str, content: Document) -> Iterator[None]:
    """Something that is done at once, but whose results are in memory until the next snapshot."""
    if getattr(_thread, "inside", False):
        yield
        return
    with ending(DELIVERIES.begin(kind, content)):
        yield


def current_number() -> int | None:
    """The number of what this thread delivers, the same when it is made again; None where it has none."""
    return getattr(_thread, "number", None)


def watch_request() -> list[str]:
    """The kinds of what the current request begins and cannot have written down, as they come."""
    unkept: list[str] = []
    _unkept.set(unkept)
    return unkept


def _carry(delivery: Delivery) -> None:
    responses.set_request_account_id(delivery.content["account"])
    responses.set_request_region(delivery.content["region"])
    _carriers[delivery.kind](delivery.number, delivery.content)
