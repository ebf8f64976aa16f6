"""What the workforce knows: the boxes that came with the images when they were dropped."""

from __future__ import annotations

import functools
import logging
from typing import Any

from laptop.sagemaker.core import transfer
from laptop.skyloop_plugin import KNOWN_BOXES, KnownFlight, LabeledBox, flight_and_path, known_boxes_key

log = logging.getLogger(__name__)


class KnownBoxes:
    """What is known about the images of every flight, looked up by S3 key, else by content. Each flight is read once.

    `s3` is a client that may read all of the bucket.
    """

    def __init__(self, s3: Any, bucket: str) -> None:
        self._s3 = s3
        self._bucket = bucket
        self._flights: dict[str, KnownFlight] = {}

    def of(self, key: str, content: str | None = None) -> list[LabeledBox] | None:
        """The boxes of the image at a key; None when nothing is known about it.

        `content` is its SHA-256. By it, other bytes that were put under the key are told from those that were dropped;
        and an image that comes again under another key, as the images that a drift detector sends to labeling do, is
        known by the flight that it was first dropped with.
        """
        place = flight_and_path(key)
        boxes = self._flight(known_boxes_key(place[0])).find(*place, content) if place else None
        return self._by_content.get(content) if boxes is None and content else boxes

    @functools.cached_property
    def _by_content(self) -> dict[str, list[LabeledBox]]:
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=KNOWN_BOXES)
        flights = [self._flight(item["Key"]) for page in pages for item in page.get("Contents", [])]
        return {content: boxes for flight in flights for content, boxes in flight.by_content.items()}

    def _flight(self, key: str) -> KnownFlight:
        if key not in self._flights:
            self._flights[key] = self._load(f"s3://{self._bucket}/{key}")
        return self._flights[key]

    def _load(self, uri: str) -> KnownFlight:
        try:
            return KnownFlight.parse(transfer.read(self._s3, uri))
        except transfer.TransferError:
            return KnownFlight()
        except ValueError as error:
            log.warning("Known boxes at %s cannot be read, its images stay unlabeled: %s", uri, error)
            return KnownFlight()
