"""Before people are paid to label what waits: does its object still hold the bytes that were catalogued?"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from skyloop import layout
from skyloop.aws.catalogue import Catalogue
from skyloop.aws.storage import ObjectMissing, Storage
from skyloop.documents import CatalogueItem

PARALLEL_LOOKS = 16


class Sources:
    """The objects of images that wait for labels."""

    def __init__(self, storage: Storage, catalogue: Catalogue) -> None:
        self.storage = storage
        self.catalogue = catalogue

    def unchanged(self, waiting: Iterable[CatalogueItem], now: datetime) -> list[CatalogueItem]:
        """Those that are what they were when they were catalogued, in the same order.

        The bytes of a key that was overwritten may lie under another one; then the entry moves there. Else the entry
        is put aside with the reason. An entry that is changed meanwhile waits for the next selection.
        """
        with ThreadPoolExecutor(PARALLEL_LOOKS) as pool:
            looked_at = pool.map(lambda item: self._look(item, now), waiting)
            return [item for item in looked_at if item is not None]

    def _look(self, item: CatalogueItem, now: datetime) -> CatalogueItem | None:
        if item.etag is None:  # an entry of an older version does not say from what it was made
            return item
        gone = False
        for key in (item.key, *sorted(item.duplicate_keys)):
            try:
                found = self.storage.summary(key)
                if key == item.key and found.etag == item.etag:
                    return item
                # Equal bytes that were put again may have another ETag. Only what is as long is read.
                read = self.storage.digest(key) if found.size == item.bytes else None
            except ObjectMissing:
                gone = gone or key == item.key
                continue
            if read and read.sha256 == item.image_id:
                moved = item.model_copy(update={"key": key, "flight": layout.flight_of(key), "etag": read.etag})
                return moved if self.catalogue.move(item, moved) else None
        reason = "it was deleted" if gone else "another file was put under its name"
        self.catalogue.put_aside(item, f"{reason} before it was labeled", now)
        return None
