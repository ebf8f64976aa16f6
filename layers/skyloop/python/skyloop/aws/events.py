"""The EventBridge edge: Skyloop's own events."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from skyloop.documents import JsonObject

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_events.type_defs import PutEventsRequestEntryTypeDef

SOURCE = "skyloop"


class EventRefused(RuntimeError):
    """The event bus did not take the event; the message is its reason."""


def put_event(client: EventBridgeClient, bus: str, detail_type: str, detail: JsonObject) -> None:
    """Put one event on `bus`. Raises EventRefused; other errors of the client pass through."""
    entry: PutEventsRequestEntryTypeDef = {
        "Source": SOURCE,
        "DetailType": detail_type,
        "Detail": json.dumps(detail),
        "EventBusName": bus,
    }
    answer = client.put_events(Entries=[entry])
    if answer["FailedEntryCount"]:
        refused = answer["Entries"][0]
        raise EventRefused(f"{refused.get('ErrorCode')}: {refused.get('ErrorMessage')}")
