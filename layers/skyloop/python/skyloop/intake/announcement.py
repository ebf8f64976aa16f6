"""The event that starts labeling: a batch of uploads brought new images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from skyloop.aws.events import put_event
from skyloop.aws.settings import Settings
from skyloop.documents import ImagesCatalogued
from skyloop.intake.intake import IntakeResult

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient

IMAGES_CATALOGUED = "Images Catalogued"


def announce_images(client: EventBridgeClient, results: Sequence[IntakeResult], settings: Settings) -> None:
    """Put one event for all new images among `results`; none without one. Raises EventRefused.

    The entries are written before: if no event comes out, the scheduled sweep starts labeling.
    """
    new = [result for result in results if result.outcome == "new"]
    if not new:
        return
    detail = ImagesCatalogued(
        stack=settings.prefix, new=len(new), correlation_id=new[0].correlation_id or settings.prefix
    )
    put_event(client, settings.label_event_bus, IMAGES_CATALOGUED, detail.plain())
