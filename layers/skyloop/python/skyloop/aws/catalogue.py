"""The CatalogueTable edge: one entry per image.

All writes are conditional, so that the second of two racing writers changes nothing.

Key `image_id`; GSI `status-index` (`status`, `queue_order`) answers "what waits, in which order" without a scan, and
`objects-index` (`status`, `key`) which objects are known (skyloop.aws.objects), at half the size.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Literal

from skyloop.aws.dynamodb import from_attributes, to_attributes, written
from skyloop.documents import CatalogueItem, ImageStatus, kept_reason
from skyloop.layout import (
    OBJECTS_INDEX,
    QUEUE_ALERTED,
    QUEUE_HEAD,
    QUEUE_REST,
    STATUS_INDEX,
    alerted_order,
    copy_id,
)

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef, QueryInputPaginateTypeDef

    from skyloop.aws.dynamodb import Attributes

PARALLEL_WRITES = 16
MOST_DUPLICATE_KEYS = 20
"""In an image's entry, which has room for 400 kB and is read and written whole."""

COPY: Literal["COPY"] = "COPY"
"""The status of an entry for one more copy of an image; its `queue_order` is the image's id. It is no image."""

MAX_UNANSWERED = 3
"""Labeling jobs that may return an image without labels before it is quarantined: every job costs people time."""


class Catalogue:
    """The table of all images. Methods that answer False changed nothing."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self.client = client
        self.table = table

    def get(self, image_id: str) -> CatalogueItem | None:
        """The entry, read consistently, or None."""
        answer = self.client.get_item(TableName=self.table, Key=_key(image_id), ConsistentRead=True)
        return _item(answer["Item"]) if "Item" in answer else None

    def add(self, item: CatalogueItem) -> bool:
        """Enter a new image. False: it is there already, and stays as it is."""
        return written(
            lambda: self.client.put_item(
                TableName=self.table,
                Item=_attributes(item),
                ConditionExpression="attribute_not_exists(image_id)",
            )
        )

    def add_refused(self, item: CatalogueItem) -> bool:
        """Enter a refused file, or a new reason for refusing it. False: it is there for the same reason."""
        return written(
            lambda: self.client.put_item(
                TableName=self.table,
                Item=_attributes(item),
                ConditionExpression="attribute_not_exists(image_id) OR reason <> :reason",
                ExpressionAttributeValues=to_attributes({":reason": item.reason}),
            )
        )

    def delete(self, image_id: str) -> None:
        """Remove an entry, if it is there."""
        self.client.delete_item(TableName=self.table, Key=_key(image_id))

    def add_duplicate_key(self, image_id: str, key: str, etag: str) -> bool:
        """Note that the same content also lies under `key`. False: that was known, or it is the entry's own key.

        The entry names the first ones, where its bytes are looked for when its own key has others. Each has an entry of
        its own (COPY) too, by which the sweep knows its object.
        """
        item = self.get(image_id)
        if item is None or item.key == key:
            return False
        named = written(
            lambda: self.client.update_item(
                TableName=self.table,
                Key=_key(image_id),
                UpdateExpression="ADD duplicate_keys :keys",
                ConditionExpression="#key <> :key AND NOT contains(duplicate_keys, :key)"
                " AND (attribute_not_exists(duplicate_keys) OR size(duplicate_keys) < :most)",
                ExpressionAttributeNames={"#key": "key"},
                ExpressionAttributeValues=to_attributes({":key": key, ":keys": {key}, ":most": MOST_DUPLICATE_KEYS}),
            )
        )
        return self._add_copy(image_id, key, etag) or named

    def _add_copy(self, image_id: str, key: str, etag: str) -> bool:
        copy = {"image_id": copy_id(key), "status": COPY, "queue_order": image_id, "key": key, "etag": etag}
        return written(
            lambda: self.client.put_item(
                TableName=self.table,
                Item=to_attributes(copy),
                ConditionExpression="attribute_not_exists(image_id) OR attribute_exists(replaced_at)"
                " OR queue_order <> :image OR etag <> :etag",
                ExpressionAttributeValues=to_attributes({":image": image_id, ":etag": etag}),
            )
        )

    def note_etag(self, image_id: str, key: str, etag: str) -> bool:
        """The same content was put under its key once more. False: the ETag is the same, or the key another."""
        return written(
            lambda: self.client.update_item(
                TableName=self.table,
                Key=_key(image_id),
                UpdateExpression="SET etag = :etag",
                ConditionExpression="#key = :key AND (attribute_not_exists(etag) OR etag <> :etag)",
                ExpressionAttributeNames={"#key": "key"},
                ExpressionAttributeValues=to_attributes({":key": key, ":etag": etag}),
            )
        )

    def move(self, item: CatalogueItem, to: CatalogueItem) -> bool:
        """A waiting image's bytes lie under the key of `to`. False: it waits no more, or was changed meanwhile."""
        return written(
            lambda: self.client.update_item(
                TableName=self.table,
                Key=_key(item.image_id),
                UpdateExpression="SET #key = :key, flight = :flight, etag = :etag DELETE duplicate_keys :keys",
                ConditionExpression="#status = :pending AND etag = :before",
                ExpressionAttributeNames={"#key": "key", "#status": "status"},
                ExpressionAttributeValues={
                    **to_attributes({":key": to.key, ":flight": to.flight, ":etag": to.etag, ":before": item.etag}),
                    **to_attributes({":pending": "PENDING", ":keys": {to.key}}),
                },
            )
        )

    def put_aside(self, item: CatalogueItem, reason: str, now: datetime) -> bool:
        """A waiting image's bytes lie nowhere any more: -> QUARANTINED. False: as for `move`.

        Its copies account for no object either, before it is put aside: of those that are there the sweep finds one,
        and then the image waits again.
        """
        with ThreadPoolExecutor(PARALLEL_WRITES) as pool:
            list(pool.map(lambda key: self._put_copy_aside(key, now), self._copies(item.image_id)))
        return self._change(
            item.image_id,
            "SET #status = :quarantined, reason = :reason, replaced_at = :now",
            "#status = :pending AND etag = :before",
            {
                ":quarantined": "QUARANTINED",
                ":pending": "PENDING",
                ":reason": kept_reason(reason),
                ":now": now.isoformat(),
                ":before": item.etag,
            },
        )

    def _copies(self, image_id: str) -> Iterator[str]:
        query = self._query(COPY)
        query["KeyConditionExpression"] = "#status = :status AND queue_order = :image"
        query["ExpressionAttributeValues"] = to_attributes({":status": COPY, ":image": image_id})
        return (raw["key"]["S"] for raw in self._pages(query))

    def _put_copy_aside(self, key: str, now: datetime) -> None:
        self.client.update_item(
            TableName=self.table,
            Key=_key(copy_id(key)),
            UpdateExpression="SET replaced_at = :now",
            ExpressionAttributeValues=to_attributes({":now": now.isoformat()}),
        )

    def take_up(self, item: CatalogueItem) -> bool:
        """The bytes of an entry that was put aside are there again: -> PENDING as `item`. False: it was not put aside.

        It counts as requeued, so that no labeling job gets the name of an earlier one.
        """
        changed = ("status", "key", "flight", "correlation_id", "queue_order", "catalogued_at", "etag")
        values = {f":{name}": value for name, value in item.plain().items() if name in changed}
        return written(
            lambda: self.client.update_item(
                TableName=self.table,
                Key=_key(item.image_id),
                UpdateExpression="SET attempts = attempts + :one, "
                + ", ".join(f"#{name} = :{name}" for name in changed)
                + " REMOVE reason, replaced_at, alerted_at",
                ConditionExpression="#status = :quarantined AND attribute_exists(replaced_at)",
                ExpressionAttributeNames={f"#{name}": name for name in changed},
                ExpressionAttributeValues=to_attributes({":quarantined": "QUARANTINED", ":one": 1, **values}),
            )
        )

    def claim(self, image_id: str, job_name: str) -> bool:
        """PENDING -> LABELING for `job_name`. False: another job has it, or it does not wait any more."""
        return self._change(
            image_id,
            "SET #status = :labeling, labeling_job = :job",
            "#status = :pending",
            {":labeling": "LABELING", ":pending": "PENDING", ":job": job_name},
        )

    def requeue(self, image_id: str, job_name: str, status: ImageStatus = "LABELING") -> bool:
        """`status` by `job_name` -> PENDING, one attempt more, in its old place of the queue. False: not that job's."""
        return self._change(
            image_id,
            "SET #status = :pending, attempts = attempts + :one REMOVE labeling_job",
            "#status = :before AND labeling_job = :job",
            {":before": status, ":pending": "PENDING", ":job": job_name, ":one": 1},
        )

    def requeue_all(self, image_ids: Iterable[str], job_name: str, status: ImageStatus = "LABELING") -> int:
        """`requeue` each, many at once; how many it was true for."""
        with ThreadPoolExecutor(PARALLEL_WRITES) as pool:
            return sum(pool.map(lambda image_id: self.requeue(image_id, job_name, status), image_ids))

    def requeue_unlabeled(self, image_id: str, job_name: str) -> bool:
        """A completed job has no labels for this image: requeue it, or quarantine it when that happened too often."""
        item = self.get(image_id)
        if item is not None and item.unanswered + 1 >= MAX_UNANSWERED:
            return self.quarantine(image_id, job_name, f"{MAX_UNANSWERED} labeling jobs returned it without labels")
        return self._change(
            image_id,
            "SET #status = :pending, attempts = attempts + :one, unanswered = unanswered + :one REMOVE labeling_job",
            "#status = :labeling AND labeling_job = :job",
            {":labeling": "LABELING", ":pending": "PENDING", ":job": job_name, ":one": 1},
        )

    def quarantine(self, image_id: str, job_name: str, reason: str) -> bool:
        """LABELING by `job_name` -> QUARANTINED with a reason. False: not that job's."""
        return self._change(
            image_id,
            "SET #status = :quarantined, reason = :reason",
            "#status = :labeling AND labeling_job = :job",
            {":labeling": "LABELING", ":quarantined": "QUARANTINED", ":job": job_name, ":reason": kept_reason(reason)},
        )

    def mark_labeled(self, image_id: str, job_name: str) -> bool:
        """The labels of `job_name` are written: -> LABELED.

        True also when they already were (a repeated delivery). False: the image now belongs to another job, or was
        never catalogued.
        """
        return self._change(
            image_id,
            "SET #status = :labeled",
            "labeling_job = :job AND (#status = :labeling OR #status = :labeled)",
            {":labeling": "LABELING", ":labeled": "LABELED", ":job": job_name},
        )

    def by_status(
        self, status: ImageStatus, *, newest_first: bool = False, priority: bool | None = None, limit: int | None = None
    ) -> Iterator[CatalogueItem]:
        """Entries with `status` in queue order, read page by page from the index (eventually consistent).

        `priority` narrows to the head (True) or the rest (False) of the queue.
        """
        query = self._query(status)
        if priority is not None:
            query["KeyConditionExpression"] = "#status = :status AND begins_with(queue_order, :place)"
            query["ExpressionAttributeValues"] = to_attributes(
                {":status": status, ":place": QUEUE_HEAD if priority else QUEUE_REST}
            )
        query["ScanIndexForward"] = not newest_first
        if limit is not None:
            query["PaginationConfig"] = {"PageSize": limit}
        return islice(self._items(query), limit)

    def count(self, status: ImageStatus | Literal["COPY"], at_most: int) -> int:
        """How many entries have `status`, counted up to `at_most` (eventually consistent).

        An index counts them, and none is sent; but DynamoDB reads what it counts, so a million would take minutes.
        """
        query = self._query(status)
        query["IndexName"] = OBJECTS_INDEX
        query["Select"] = "COUNT"
        query["PaginationConfig"] = {"PageSize": at_most}
        found = 0
        for page in self.client.get_paginator("query").paginate(**query):
            found += page["Count"]
            if found >= at_most:
                break
        return min(found, at_most)

    def unalerted(self) -> Iterator[CatalogueItem]:
        """Quarantined entries that no alert has named yet, in queue order (eventually consistent)."""
        query = self._query("QUARANTINED")
        query["KeyConditionExpression"] = "#status = :status AND queue_order < :alerted"
        query["ExpressionAttributeValues"] = to_attributes({":status": "QUARANTINED", ":alerted": QUEUE_ALERTED})
        # Those that were alerted by an earlier version are still in their old place.
        return self._items({**query, "FilterExpression": "attribute_not_exists(alerted_at)"})

    def mark_alerted(self, item: CatalogueItem, now: datetime) -> bool:
        """An alert has named this quarantined entry. False: it was changed meanwhile."""
        return self._change(
            item.image_id,
            "SET alerted_at = :now, queue_order = :alerted",
            "#status = :quarantined AND queue_order = :before",
            {
                ":now": now.isoformat(),
                ":quarantined": "QUARANTINED",
                ":before": item.queue_order,
                ":alerted": alerted_order(item.queue_order),
            },
        )

    def claims(self, status: ImageStatus = "LABELING") -> Iterator[tuple[str, str]]:
        """(image id, labeling job) of a job's images with `status`; by default those that it still labels."""
        for raw in self._pages({**self._query(status), "IndexName": OBJECTS_INDEX}):
            if "labeling_job" in raw:
                yield raw["image_id"]["S"], raw["labeling_job"]["S"]

    def of_job(self, job_name: str, status: ImageStatus = "LABELING") -> list[str]:
        """Ids of the job's images with `status`: by default those that it has neither labeled nor given back."""
        return [image_id for image_id, job in self.claims(status) if job == job_name]

    def _query(self, status: ImageStatus | Literal["COPY"]) -> QueryInputPaginateTypeDef:
        """All entries with `status`, in queue order."""
        return {
            "TableName": self.table,
            "IndexName": STATUS_INDEX,
            "KeyConditionExpression": "#status = :status",
            "ExpressionAttributeNames": {"#status": "status"},
            "ExpressionAttributeValues": to_attributes({":status": status}),
        }

    def _pages(self, query: QueryInputPaginateTypeDef) -> Iterator[Attributes]:
        for page in self.client.get_paginator("query").paginate(**query):
            yield from page["Items"]

    def _items(self, query: QueryInputPaginateTypeDef) -> Iterator[CatalogueItem]:
        return map(_item, self._pages(query))

    def _change(self, image_id: str, update: str, condition: str, values: Mapping[str, object]) -> bool:
        return written(
            lambda: self.client.update_item(
                TableName=self.table,
                Key=_key(image_id),
                UpdateExpression=update,
                ConditionExpression=condition,
                ExpressionAttributeNames={"#status": "status"},
                ExpressionAttributeValues=to_attributes(values),
            )
        )


def _key(image_id: str) -> Attributes:
    return {"image_id": {"S": image_id}}


def _attributes(item: CatalogueItem) -> Attributes:
    # DynamoDB has no empty sets, so an image without duplicates has no such attribute.
    plain = item.plain()
    plain["duplicate_keys"] = set(item.duplicate_keys) or None
    return to_attributes(plain)


def _item(attributes: Mapping[str, AttributeValueTypeDef]) -> CatalogueItem:
    return CatalogueItem.model_validate(from_attributes(attributes))
