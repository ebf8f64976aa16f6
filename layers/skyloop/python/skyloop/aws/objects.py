"""Which objects of the bucket the catalogue knows: its entries by key, read for the keys that are asked about alone."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Literal, get_args

from skyloop import layout
from skyloop.aws.catalogue import COPY
from skyloop.aws.dynamodb import to_attributes
from skyloop.documents import ImageStatus

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import QueryInputTypeDef

    from skyloop.aws.dynamodb import Attributes

EntryStatus = ImageStatus | Literal["COPY"]
STATUSES: tuple[EntryStatus, ...] = ("LABELED", "PENDING", "LABELING", "QUARANTINED", COPY)
"""In the order in which an object's entry is looked for: most images of a large bucket are labeled."""

NEWEST = 500  # entries of each status that tell which folders are new
_AFTER_REST = layout.QUEUE_REST.replace("#", "$")  # the character after #


class KnownObjects:
    """The catalogue's entries as the sweep sees them."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self.client = client
        self.table = table

    def of(self, status: EntryStatus, keys: Sequence[str]) -> Iterator[tuple[str, str | None]]:
        """(key, ETag) of every object that entries with `status` account for, from the first to the last of `keys`.

        `keys` are sorted. ETag None: of which content is not known. An entry that was put aside accounts for none: if
        its bytes are back, nobody knows. What lies between two keys is skipped where it is more than a page: entries
        of objects that were deleted long ago cost little. Read from the index (eventually consistent).
        """
        at, start = 0, None
        while at < len(keys):
            # One more than the keys that are left, so that a page where each has an entry is seen to be the last.
            query: QueryInputTypeDef = {
                "TableName": self.table,
                "IndexName": layout.OBJECTS_INDEX,
                "KeyConditionExpression": "#status = :status AND #key BETWEEN :first AND :last",
                "ExpressionAttributeNames": {"#status": "status", "#key": "key"},
                "ExpressionAttributeValues": to_attributes(
                    {":status": status, ":first": keys[at], ":last": keys[-1]},
                ),
                "Limit": len(keys) - at + 1,
            }
            if start is not None:
                query["ExclusiveStartKey"] = start
            page = self.client.query(**query)
            for raw in page["Items"]:
                if "replaced_at" not in raw:
                    yield raw["key"]["S"], raw.get("etag", {}).get("S")
            last: Attributes | None = page.get("LastEvaluatedKey")
            if last is None:
                return
            at = bisect_left(keys, last["key"]["S"])
            # Several entries may name one key: the page may have ended between them.
            start = last if at < len(keys) and keys[at] == last["key"]["S"] else None

    def newest_folders(self, since: datetime) -> list[str]:
        """The folders of what was catalogued last, after `since`, newest first; what has priority is left out."""
        newest: dict[str, str] = {}
        for status in get_args(ImageStatus):
            page = self.client.query(
                TableName=self.table,
                IndexName=layout.STATUS_INDEX,
                KeyConditionExpression="#status = :status AND queue_order BETWEEN :since AND :end",
                ProjectionExpression="#key, queue_order",
                ExpressionAttributeNames={"#status": "status", "#key": "key"},
                ExpressionAttributeValues=to_attributes(
                    {":status": status, ":since": layout.queue_order(False, since, ""), ":end": _AFTER_REST}
                ),
                ScanIndexForward=False,
                Limit=NEWEST,
            )
            for raw in page["Items"]:
                folder, order = f"{raw['key']['S'].rpartition('/')[0]}/", raw["queue_order"]["S"]
                newest[folder] = max(order, newest.get(folder, ""))
        return sorted(newest, key=lambda folder: newest[folder], reverse=True)
