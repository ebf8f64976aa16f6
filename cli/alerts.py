"""Alerts as the archive keeps them: monitoring/alerts/<yyyy>/<mm>/<dd>/<message id>.json."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from typing import Any

from cli.cloud import Cloud
from cli.errors import CliError

PREFIX = "monitoring/alerts/"
LOOK_BACK_DAYS = 30


def _keys(s3: Any, bucket: str, since: date) -> list[str]:
    """Keys of the archive from a day on, newest first."""
    pages = s3.get_paginator("list_objects_v2").paginate(
        Bucket=bucket, Prefix=PREFIX, StartAfter=f"{PREFIX}{since:%Y/%m/%d}/"
    )
    objects = [item for page in pages for item in page.get("Contents", []) if item["Key"].endswith(".json")]
    return [item["Key"] for item in sorted(objects, key=lambda item: item["LastModified"], reverse=True)]


def _read(s3: Any, bucket: str, key: str) -> dict[str, Any]:
    try:
        archived = json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
        # A message that another sender put on the topic has none of these: only its text, as `what`.
        document = {"event": "message", "subject": "", "at": archived["published_at"], **archived["alert"]}
    except (ValueError, KeyError, TypeError) as error:
        raise CliError(
            f"s3 object {key} is not an archived alert: {error!r}", "Delete the object, then repeat the command."
        ) from error
    return {**document, "key": key}


def latest(
    cloud: Cloud, limit: int, event: str | None = None, days: int = LOOK_BACK_DAYS, today: date | None = None
) -> list[dict[str, Any]]:
    """The newest alerts, newest first, from the archive of the last `days` days; `event` keeps one kind."""
    s3 = cloud.client("s3")
    keys = _keys(s3, cloud.bucket, (today or datetime.now(UTC).date()) - timedelta(days=days))
    if event is None:
        keys = keys[:limit]
    with ThreadPoolExecutor(8) as pool:
        documents = list(pool.map(lambda key: _read(s3, cloud.bucket, key), keys))
    found = [document for document in documents if event in (None, document.get("event"))]
    return sorted(found, key=lambda document: str(document.get("at", "")), reverse=True)[:limit]
