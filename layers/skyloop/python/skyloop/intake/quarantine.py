"""Tell people of files that could not be used: one alert for all that were put aside since the last one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

from skyloop import layout
from skyloop.alerts import Alert, publish
from skyloop.aws.catalogue import Catalogue
from skyloop.aws.settings import Settings
from skyloop.aws.storage import Storage
from skyloop.documents import CatalogueItem

REASONS_TOLD = 5  # different reasons an alert spells out; the entries have them all
PARALLEL_WRITES = 16


def alert_quarantined(storage: Storage, catalogue: Catalogue, sns: Any, settings: Settings, now: datetime) -> int:
    """Publish one alert for every quarantined entry that no alert told of yet; how many entries it told of.

    The entries are marked after the alert is out: an interruption between the two tells them twice, never not at all.
    A file that is refused again for another reason is an entry of its own, and told. `sns` is a boto3 client.
    """
    untold = sorted(catalogue.unalerted(), key=lambda item: item.key)
    if untold:
        publish(sns, settings.alert_topic_arn, quarantine_alert(untold, storage, settings.stage, now), settings.prefix)
        with ThreadPoolExecutor(PARALLEL_WRITES) as pool:
            list(pool.map(lambda item: catalogue.mark_alerted(item.image_id, now), untold))
    return len(untold)


def quarantine_alert(items: Sequence[CatalogueItem], storage: Storage, stage: str, now: datetime) -> Alert:
    """The alert `images-quarantined` for `items`, at least one."""
    by_reason: dict[str, list[CatalogueItem]] = defaultdict(list)
    for item in items:
        by_reason[item.reason or "no reason was kept"].append(item)
    commonest = sorted(by_reason.items(), key=lambda entry: (-len(entry[1]), entry[0]))
    reasons = [_reason(reason, found) for reason, found in commonest[:REASONS_TOLD]]
    left = len(items) - sum(len(found) for _, found in commonest[:REASONS_TOLD])
    if left:
        reasons.append(f"{left} more for {len(commonest) - REASONS_TOLD} other reasons")
    flights = sorted({item.flight for item in items})
    files = "1 file" if len(items) == 1 else f"{len(items)} files"
    where = f"flight {flights[0]}" if len(flights) == 1 else f"{len(flights)} flights"
    return Alert(
        event="images-quarantined",
        severity="warning",
        stage=stage,
        subject=f"{files} of {where}",
        what=f"{files} of {where} cannot be used and will not be labeled or trained on.",
        why="; ".join(reasons) + ".",
        kept="Every file where it was dropped, and a copy of what could not be read; all other images go on.",
        next_step="Read the reasons; mend the files and drop them again under the same keys, or leave them.",
        correlation_id=items[0].correlation_id,
        links={"quarantine": storage.uri(layout.QUARANTINE), "first file": storage.uri(items[0].key)},
        at=now,
    )


def _reason(reason: str, items: Sequence[CatalogueItem]) -> str:
    first = items[0].key
    return f"{first}: {reason}" if len(items) == 1 else f"{len(items)} files such as {first}: {reason}"
