"""Alerts as the archive keeps them: one JSON object per alert, in a folder per day."""

from __future__ import annotations

import functools
import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from typing import TypedDict, cast

from skyloop import layout
from skyloop.documents import JsonObject

from cli.cloud import Cloud
from cli.errors import CliError

LOOK_BACK_DAYS = 30
TEXTS = ("event", "severity", "subject", "what", "why", "kept", "next_step", "at")


class ArchivedAlert(TypedDict, total=False):
    """The fields of `skyloop.documents.Alert` as the archive keeps them, and the alert's `key` there.

    A message of another sender has `event` ("alarm" of a CloudWatch alarm, otherwise "message"), `subject`, `what`,
    `at` and `key`, and an alarm `severity` and `why` as well.
    """

    event: str
    severity: str
    stage: str
    subject: str
    what: str
    why: str
    kept: str
    next_step: str
    correlation_id: str
    links: dict[str, str]
    at: str
    key: str


def _keys(cloud: Cloud, since: date) -> list[str]:
    """Keys of the archive from a day on, newest first."""
    pages = (
        cloud.client("s3")
        .get_paginator("list_objects_v2")
        .paginate(Bucket=cloud.bucket, Prefix=layout.ALERTS, StartAfter=layout.alert_day(since))
    )
    objects = [item for page in pages for item in page.get("Contents", []) if item["Key"].endswith(".json")]
    return [item["Key"] for item in sorted(objects, key=lambda item: item["LastModified"], reverse=True)]


def _said(message: JsonObject, mail_subject: str) -> ArchivedAlert:
    """What a message of the topic says, whoever sent it.

    CloudWatch's JSON: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-actions.html. Any other
    that has no `what` (an event of EventBridge, a program of the user's) is shown as it came.
    """
    if "what" in message and all(isinstance(message.get(name, ""), str) for name in TEXTS):
        return cast("ArchivedAlert", message)
    if not isinstance(message.get("AlarmName"), str):
        return {"subject": mail_subject, "what": json.dumps(message, ensure_ascii=False)}
    description = f": {text}" if (text := message.get("AlarmDescription")) else "."
    severity, what = {
        "ALARM": ("error", f"The alarm rings{description}"),
        "OK": ("info", "The alarm is over."),
    }.get(str(message.get("NewStateValue")), ("warning", f"The alarm has too little data to judge{description}"))
    why = str(message.get("NewStateReason") or "")
    return {"event": "alarm", "severity": severity, "subject": message["AlarmName"], "what": what, "why": why}


@functools.lru_cache(maxsize=4096)
def _read(cloud: Cloud, key: str) -> ArchivedAlert:
    """Read once: an archived alert never changes, and who watches asks for them every few seconds."""
    try:
        archived: JsonObject = json.loads(cloud.storage.read(key).body)
        alert: ArchivedAlert = {"event": "message", "subject": "", "at": archived["published_at"]}
        alert.update(_said(archived["alert"], archived.get("mail_subject") or ""))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CliError(
            f"s3 object {key} is not an archived alert: {error!r}", "Delete the object, then repeat the command."
        ) from error
    alert["key"] = key
    return alert


def latest(cloud: Cloud, limit: int, event: str | None = None, days: int = LOOK_BACK_DAYS) -> list[ArchivedAlert]:
    """The newest alerts of the last `days` days, newest first; `event` selects one kind.

    Raises CliError when an object of the archive is not an alert.
    """
    keys = _keys(cloud, datetime.now(UTC).date() - timedelta(days=days))
    if event is None:
        keys = keys[:limit]
    with ThreadPoolExecutor(8) as pool:
        read = list(pool.map(functools.partial(_read, cloud), keys))
    found = [alert.copy() for alert in read if event in (None, alert.get("event"))]
    return sorted(found, key=lambda alert: str(alert.get("at", "")), reverse=True)[:limit]
