"""One alert for all files that were quarantined since the last one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import TYPE_CHECKING

from skyloop import layout
from skyloop.alerts import publish
from skyloop.aws.catalogue import PARALLEL_WRITES, Catalogue
from skyloop.aws.settings import Settings
from skyloop.aws.storage import Storage
from skyloop.documents import Alert, CatalogueItem

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient

MOST_REASONS = 5  # different reasons that an alert spells out; the entries have them all


def alert_quarantined(storage: Storage, catalogue: Catalogue, sns: SNSClient, settings: Settings, now: datetime) -> int:
    """Publish one alert for every quarantined entry that no alert has named yet; how many entries it names.

    The entries are marked after the alert is out: an interruption between the two names them twice, but never not at
    all. A file that is refused again for another reason is an entry of its own, and alerted.
    """
    entries = sorted(catalogue.unalerted(), key=lambda item: item.key)
    if entries:
        alert = quarantine_alert(entries, storage, settings.stage, now)
        publish(sns, settings.alert_topic_arn, alert, settings.prefix)
        with ThreadPoolExecutor(PARALLEL_WRITES) as pool:
            list(pool.map(lambda item: catalogue.mark_alerted(item, now), entries))
    return len(entries)


def quarantine_alert(items: Sequence[CatalogueItem], storage: Storage, stage: str, now: datetime) -> Alert:
    """The alert `images-quarantined` for `items`, at least one."""
    by_reason: dict[str, list[CatalogueItem]] = defaultdict(list)
    for item in items:
        by_reason[item.reason or "no reason was kept"].append(item)
    commonest = sorted(by_reason.items(), key=lambda entry: (-len(entry[1]), entry[0]))
    reasons = [_reason(reason, found) for reason, found in commonest[:MOST_REASONS]]
    left = len(items) - sum(len(found) for _, found in commonest[:MOST_REASONS])
    if left:
        reasons.append(f"{left} more for {len(commonest) - MOST_REASONS} other reasons")
    flights = sorted({item.flight for item in items})
    files = "1 file" if len(items) == 1 else f"{len(items)} files"
    replaced = any(item.replaced_at for item in items)
    versions = " (of one that was overwritten or deleted, the bucket keeps the earlier version for 90 days)"
    where = f"flight {flights[0]}" if len(flights) == 1 else f"{len(flights)} flights"
    return Alert(
        event="images-quarantined",
        severity="warning",
        stage=stage,
        subject=f"{files} of {where}",
        what=f"{files} of {where} cannot be used and will not be labeled or trained on.",
        why="; ".join(reasons) + ".",
        kept="Every file stays where it was dropped, with a copy of what could not be read"
        f"{versions if replaced else ''}; all other images go on.",
        next_step="Fix the files and drop them under new names with `skyloop drop FOLDER`, or leave them: "
        "nothing waits for them.",
        correlation_id=items[0].correlation_id,
        links={"quarantine": storage.uri(layout.QUARANTINE), "first file": storage.uri(items[0].key)},
        at=now,
    )


def _reason(reason: str, items: Sequence[CatalogueItem]) -> str:
    first = items[0].key
    return f"{first}: {reason}" if len(items) == 1 else f"{len(items)} files such as {first}: {reason}"
