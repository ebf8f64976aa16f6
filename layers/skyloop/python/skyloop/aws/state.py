"""The StateTable edge: small named facts about the stack, plain data in and out.

Items: `lock#labeling` {owner, expires_at}, `split#<group>` {split}, `endpoint#<endpoint>` {config, package_arn, …},
`drift#<endpoint>` {state, since, report_key, config}.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from botocore.exceptions import ClientError

from skyloop.aws.dynamodb import BATCH_GET_LIMIT, condition_failed, from_attributes, to_attributes


class StateTable:
    """`client` is a boto3 DynamoDB client; every item has the key `name`."""

    def __init__(self, client: Any, table: str) -> None:
        self.client = client
        self.table = table

    def get(self, name: str) -> dict[str, Any] | None:
        """The item without its key, read consistently, or None."""
        answer = self.client.get_item(TableName=self.table, Key={"name": {"S": name}}, ConsistentRead=True)
        return _without_name(answer["Item"]) if "Item" in answer else None

    def get_many(self, names: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Those of `names` that exist, read consistently, by name."""
        wanted = sorted(set(names))
        found: dict[str, dict[str, Any]] = {}
        while wanted:
            keys, wanted = [{"name": {"S": name}} for name in wanted[:BATCH_GET_LIMIT]], wanted[BATCH_GET_LIMIT:]
            answer = self.client.batch_get_item(RequestItems={self.table: {"Keys": keys, "ConsistentRead": True}})
            for item in answer["Responses"].get(self.table, []):
                found[item["name"]["S"]] = _without_name(item)
            # DynamoDB answers what fits in 16 MB or in the capacity left; the rest is asked for again.
            left = answer.get("UnprocessedKeys", {}).get(self.table, {}).get("Keys", [])
            wanted += [key["name"]["S"] for key in left]
        return found

    def put(self, name: str, item: dict[str, Any]) -> None:
        """Write the item, whatever was there."""
        self.client.put_item(TableName=self.table, Item=to_attributes({**item, "name": name}))

    def put_if_absent(self, name: str, item: dict[str, Any]) -> bool:
        """Write the item unless there is one. False: somebody else was first, and theirs stands."""
        try:
            self.client.put_item(
                TableName=self.table,
                Item=to_attributes({**item, "name": name}),
                ConditionExpression="attribute_not_exists(#name)",
                ExpressionAttributeNames={"#name": "name"},
            )
        except ClientError as error:
            if condition_failed(error):
                return False
            raise
        return True

    def put_if(self, name: str, item: dict[str, Any], *, attribute: str, equals: Any) -> bool:
        """Write the item only while its `attribute` still equals `equals` (None: while there is no such attribute)."""
        names = {"#attribute": attribute}
        request: dict[str, Any] = {"ConditionExpression": "attribute_not_exists(#attribute)"}
        if equals is not None:
            request = {
                "ConditionExpression": "#attribute = :expected",
                "ExpressionAttributeValues": to_attributes({":expected": equals}),
            }
        try:
            self.client.put_item(
                TableName=self.table,
                Item=to_attributes({**item, "name": name}),
                ExpressionAttributeNames=names,
                **request,
            )
        except ClientError as error:
            if condition_failed(error):
                return False
            raise
        return True


def _without_name(item: dict[str, Any]) -> dict[str, Any]:
    plain = from_attributes(item)
    del plain["name"]
    return plain
