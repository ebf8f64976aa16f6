"""The CatalogueTable edge: one entry per image.

All writes are conditional, so that the second of two racing writers changes nothing.

Key `image_id`; GSI `status-index` (`status`, `queue_order`) answers "what waits, in which order" without a scan.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Literal

from skyloop.aws.dynamodb import from_attributes, to_attributes, written
from skyloop.documents import CatalogueItem, ImageStatus, kept_reason
from skyloop.layout import QUEUE_HEAD, QUEUE_REST, STATUS_INDEX, copy_id

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
        """Note that the same content also lies under `key`. False: that was known."""
        if self._change_duplicates(
            image_id,
            key,
            "ADD duplicate_keys :keys",
            "(attribute_not_exists(duplicate_keys) OR size(duplicate_keys) < :most)",
            {":keys": {key}},
        ):
            return True
        full = self._change_duplicates(
            image_id, key, "SET more_copies = :true", "size(duplicate_keys) >= :most", {":true": True}
        )
        return full and self._add_copy(image_id, key, etag)

    def _change_duplicates(
        self, image_id: str, key: str, update: str, condition: str, values: Mapping[str, object]
    ) -> bool:
        """False: the entry has the key, or the condition does not hold."""
        return written(
            lambda: self.client.update_item(
                TableName=self.table,
                Key=_key(image_id),
                UpdateExpression=update,
                ConditionExpression=f"#key <> :key AND NOT contains(duplicate_keys, :key) AND {condition}",
                ExpressionAttributeNames={"#key": "key"},
                ExpressionAttributeValues=to_attributes({":key": key, ":most": MOST_DUPLICATE_KEYS, **values}),
            )
        )

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

        Its more copies account for no object either, before it is put aside: of those that are there the sweep finds
        one, and then the image waits again.
        """
        if item.more_copies:
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

    def count(self, status: ImageStatus) -> int:
        """How many entries have `status` (eventually consistent); the index counts them, none is read."""
        query = self._query(status)
        query["Select"] = "COUNT"
        return sum(page["Count"] for page in self.client.get_paginator("query").paginate(**query))

    def unalerted(self) -> Iterator[CatalogueItem]:
        """Quarantined entries that no alert has named yet, in queue order (eventually consistent)."""
        return self._items({**self._query("QUARANTINED"), "FilterExpression": "attribute_not_exists(alerted_at)"})

    def mark_alerted(self, image_id: str, now: datetime) -> bool:
        """An alert has named this quarantined entry. False: it is not quarantined any more."""
        return self._change(
            image_id,
            "SET alerted_at = :now",
            "#status = :quarantined",
            {":now": now.isoformat(), ":quarantined": "QUARANTINED"},
        )

    def known_objects(self, status: ImageStatus | Literal["COPY"]) -> Iterator[tuple[str, str | None]]:
        """(key, ETag) of every object that entries with `status` account for, duplicates included, page by page.

        None: of which content is not known; an entry does not say it of its duplicates, nor one of an older version. An
        entry that was put aside accounts for none: if its bytes are back, nobody knows.
        """
        query = self._query(status)
        query["FilterExpression"] = "attribute_not_exists(replaced_at)"
        query["ProjectionExpression"] = "#key, etag, duplicate_keys"
        query["ExpressionAttributeNames"] = {"#status": "status", "#key": "key"}
        for raw in self._pages(query):
            yield raw["key"]["S"], raw.get("etag", {}).get("S")
            yield from ((key, None) for key in raw.get("duplicate_keys", {}).get("SS", []))

    def of_job(self, job_name: str, status: ImageStatus = "LABELING") -> Iterator[CatalogueItem]:
        """The job's images with `status`: by default those that it has claimed and neither labeled nor given back."""
        return (item for item in self.by_status(status) if item.labeling_job == job_name)

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
