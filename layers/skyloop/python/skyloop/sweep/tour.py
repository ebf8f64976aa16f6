"""The tour: the sweep goes through the bucket in the order of its keys, some pages at a time, and begins again."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Self

from pydantic import AwareDatetime, Field

from skyloop.documents import Document

PAGES = 50
"""Pages of a thousand objects that each sweep looks at: a smaller bucket is seen whole each time."""

MOST_PAGES = 1000
"""The most that one sweep looks at, in some minutes of the function's fifteen."""

TOUR_SECONDS = 20 * 3600
"""So long a tour may take where PAGES for each sweep are too few: within a day with what comes while it goes on."""


class Tour(Document):
    """How far the tour is: the item SWEEP_TOUR of the state table."""

    after: str = Field(default="", description="the last key that was looked at; empty: at the beginning")
    began: AwareDatetime
    pages: int = Field(default=0, ge=0, description="looked at so far")
    last_pages: int = Field(default=0, ge=0, description="of the tour before")
    step: int = Field(default=0, ge=0, description="counts the writes: of two sweeps at once, one moves on")
    failed: bool = Field(default=False, description="a part of what comes next failed, and is tried once more")

    def starting(self, now: datetime) -> Tour:
        """A tour that is at its beginning begins now."""
        return self if self.after else self._changed(began=now, pages=0)

    def due(self, now: datetime) -> int:
        """How many pages a sweep looks at: so many that a tour as long as the last one ends in TOUR_SECONDS."""
        share = (now - self.began).total_seconds() / TOUR_SECONDS
        return min(max(PAGES, math.ceil(self.last_pages * share) - self.pages), MOST_PAGES)

    def moved(self, after: str, pages: int, *, is_last: bool, failed: bool) -> Tour:
        """After so many pages more, up to the key `after`.

        Where something failed, the same is looked at once more; what fails then too waits for the next tour, so that it
        keeps nothing from the others.
        """
        if failed and not self.failed:
            return self._changed(failed=True)
        if is_last:
            return self._changed(after="", pages=0, last_pages=self.pages + pages, failed=False)
        return self._changed(after=after, pages=self.pages + pages, failed=False)

    def _changed(self, **changes: object) -> Self:
        return self.model_copy(update=changes)
