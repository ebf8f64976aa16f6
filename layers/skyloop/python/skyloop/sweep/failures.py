"""What failed in a sweep: each part is tried, and what went wrong is told at the end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from skyloop.aws.observability import logger


class Failures:
    """The errors of one sweep, in order."""

    def __init__(self) -> None:
        self.errors: list[Exception] = []

    @contextmanager
    def kept(self) -> Iterator[None]:
        """A part of the sweep; whatever it raises is kept, and the other parts go on."""
        try:
            yield
        except Exception as error:
            logger.exception("a part of the sweep failed; the others go on")
            self.errors.append(error)

    def tell(self) -> None:
        """Raise the first error, if there is one."""
        if self.errors:
            raise self.errors[0]
