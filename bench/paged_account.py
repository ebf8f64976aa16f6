"""An account with so many labeled images, made up as it is read: S3 and DynamoDB answer in pages, as AWS's do.

boto3's own clients and paginators run; only what would go over the wire is answered here. A listing has a thousand
objects in a page, a query a megabyte of entries or `Limit` of them; both say where they stopped. What is read is
counted: calls, and DynamoDB's read units (half a unit for 4 kB that may be a second old, rounded up for each call).
"""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import boto3
from botocore.model import OperationModel
from skyloop import layout
from skyloop.aws.dynamodb import to_attributes

FLIGHT_FRAMES = 500
LISTED = 1000  # objects that ListObjectsV2 lists at most
QUERIED = 1 << 20  # bytes that Query reads at most
UNIT = 4096
ARRIVED = datetime(2026, 1, 1, tzinfo=UTC)
FORGOTTEN = 10_000
"""One object in so many has no entry."""


def key_of(number: int) -> str:
    """The key of an upload; keys are in the order of their numbers."""
    return f"{layout.RAW_IMAGES}flight-{number // FLIGHT_FRAMES:06d}/DJI_{number % FLIGHT_FRAMES:04d}.JPG"


def is_forgotten(number: int) -> bool:
    """Has the object no entry?"""
    return number % FORGOTTEN == FORGOTTEN // 2


def entry(number: int) -> dict[str, object]:
    """A labeled image's entry as conversion leaves it."""
    image_id = f"{number:064x}"
    return {
        "image_id": image_id, "status": "LABELED", "queue_order": layout.queue_order(False, ARRIVED, image_id),
        "key": key_of(number), "flight": f"flight-{number // FLIGHT_FRAMES:06d}",
        "correlation_id": f"flight-{number // FLIGHT_FRAMES:06d}", "catalogued_at": ARRIVED.isoformat(), "attempts": 0,
        "unanswered": 0, "width": 5472, "height": 3648, "bytes": 8_000_000, "format": "JPEG", "orientation": 1,
        "captured_at": "2026-01-01T00:00:00", "latitude": 48.1, "longitude": 11.5,
        "labeling_job": "skyloop-dev-0123456789ab", "etag": f'"{number:032x}"',
    }  # fmt: skip


IN_INDEX = {
    layout.OBJECTS_INDEX: {"image_id", "status", "key", "etag", "replaced_at", "labeling_job"},
    layout.STATUS_INDEX: set(entry(0)),
}


def size_of(attributes: dict[str, Any]) -> int:
    """Bytes of an entry, as DynamoDB counts them: names, and values (a number has about half its digits)."""
    values = [(kind, value) for each in attributes.values() for kind, value in each.items()]
    return sum(map(len, attributes)) + sum(len(value) // (1 + (kind == "N")) for kind, value in values)


class Account:
    """`clients` are boto3's, by the name of the service; `calls` and `units` count what they ask for."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.calls: Counter[str] = Counter()
        self.units = 0.0
        self.state: dict[str, Any] = {}
        session = boto3.Session("testing", "testing", region_name="us-east-1")
        services: tuple[Any, ...] = ("s3", "dynamodb", "sqs", "sagemaker", "sns")
        self.clients = {service: session.client(service) for service in services}
        for client in self.clients.values():
            client.meta.events.register("before-call", self._answer)

    def _answer(self, model: OperationModel, params: dict[str, Any], **_: object) -> tuple[object, dict[str, Any]]:
        self.calls[model.name] += 1
        asked = params["query_string"] if model.name == "ListObjectsV2" else json.loads(params["body"] or b"{}")
        answer = getattr(self, f"_{model.name}")(asked)
        response = type("Response", (), {"status_code": 200, "headers": {}})
        return response, {**answer, "ResponseMetadata": {"HTTPStatusCode": 200}}

    def _first(self, key: str, *, after: bool) -> int:
        """The number of the first upload whose key is `key` or after it, or only after it."""
        low, high = 0, self.count
        while low < high:
            middle = (low + high) // 2
            found = key_of(middle)
            if found < key or (after and found == key):
                low = middle + 1
            else:
                high = middle
        return low

    def _ListObjectsV2(self, asked: dict[str, str]) -> dict[str, Any]:
        prefix = asked["prefix"]
        after = asked.get("continuation-token") or asked.get("start-after") or ""
        first = self._first(max(prefix, after), after=bool(after))
        end = min(first + LISTED, self._first(f"{prefix}\U0010ffff", after=False))
        contents = [
            {"Key": key_of(number), "Size": 8_000_000, "LastModified": ARRIVED, "ETag": f'"{number:032x}"'}
            for number in range(first, end)
        ]
        is_truncated = end == first + LISTED and key_of(end).startswith(prefix) and end < self.count
        more = {"NextContinuationToken": key_of(end - 1)} if is_truncated else {}
        return {"Contents": contents, "IsTruncated": is_truncated, **more}

    def _Query(self, asked: dict[str, Any]) -> dict[str, Any]:
        values = {name: value["S"] for name, value in asked["ExpressionAttributeValues"].items()}
        known = values[":status"] == "LABELED"
        first, end = 0, self.count if known else 0
        if known and ":first" in values:
            first, end = self._first(values[":first"], after=False), self._first(values[":last"], after=True)
        elif known and ":since" in values and values[":since"] > layout.queue_order(False, ARRIVED, "g"):
            end = 0
        if start := asked.get("ExclusiveStartKey"):
            first = int(start["image_id"]["S"], 16) + 1
        members = IN_INDEX[asked["IndexName"]]
        items: list[dict[str, Any]] = []
        size, number, count = 0, first, 0
        while number < end and count < asked.get("Limit", end) and size < QUERIED:
            if not is_forgotten(number):
                attributes = to_attributes({name: each for name, each in entry(number).items() if name in members})
                size, count = size + size_of(attributes), count + 1
                if asked.get("Select") != "COUNT":
                    items.append(attributes)
            number += 1
        self.units += max(1, -(-size // UNIT)) / 2
        answer: dict[str, Any] = {"Items": items, "Count": count, "ScannedCount": count}
        if number < end:
            last = entry(number - 1)
            at = {name: last[name] for name in ("image_id", "status", "key", "queue_order")}
            answer["LastEvaluatedKey"] = to_attributes(at)
        return answer

    def _GetItem(self, asked: dict[str, Any]) -> dict[str, Any]:
        self.units += 1
        found = self.state.get(asked["Key"]["name"]["S"])
        return {"Item": found} if found else {}

    def _PutItem(self, asked: dict[str, Any]) -> dict[str, Any]:
        self.state[asked["Item"]["name"]["S"]] = asked["Item"]
        return {}

    def _GetQueueAttributes(self, _: object) -> dict[str, Any]:
        return {"Attributes": {"ApproximateNumberOfMessages": "0", "ApproximateNumberOfMessagesNotVisible": "0"}}

    def _SendMessageBatch(self, _: object) -> dict[str, Any]:
        return {"Successful": []}
