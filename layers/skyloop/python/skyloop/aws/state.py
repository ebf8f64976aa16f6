"""The StateTable edge: small named facts about the stack, plain data in and out. `skyloop.layout` has the names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from skyloop.aws.dynamodb import from_attributes, to_attributes, written
from skyloop.documents import JsonObject

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef, PutItemInputTypeDef

BATCH_GET_LIMIT = 100  # keys a BatchGetItem may name


class StateTable:
    """Items by their key `name`."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self.client = client
        self.table = table

    def get(self, name: str) -> JsonObject | None:
        """The item without its key, read consistently, or None."""
        answer = self.client.get_item(TableName=self.table, Key={"name": {"S": name}}, ConsistentRead=True)
        return _without_name(answer["Item"]) if "Item" in answer else None

    def get_many(self, names: Iterable[str]) -> dict[str, JsonObject]:
        """Those of `names` that exist, read consistently, by name.

        DynamoDB answers what fits in 16 MB or in the capacity that is left; the rest is asked for again.
        """
        wanted = sorted(set(names))
        found: dict[str, JsonObject] = {}
        while wanted:
            keys, wanted = [{"name": {"S": name}} for name in wanted[:BATCH_GET_LIMIT]], wanted[BATCH_GET_LIMIT:]
            answer = self.client.batch_get_item(RequestItems={self.table: {"Keys": keys, "ConsistentRead": True}})
            found |= {item["name"]["S"]: _without_name(item) for item in answer["Responses"].get(self.table, [])}
            left = answer.get("UnprocessedKeys", {}).get(self.table)
            wanted = wanted + [key["name"]["S"] for key in left["Keys"]] if left else wanted
        return found

    def put_if_absent(self, name: str, item: Mapping[str, object]) -> bool:
        """Write the item unless there is one. False: another writer was first, and its item stays."""
        request = self._writing(name, item)
        request["ConditionExpression"] = "attribute_not_exists(#name)"
        request["ExpressionAttributeNames"] = {"#name": "name"}
        return written(lambda: self.client.put_item(**request))

    def put_if(self, name: str, item: Mapping[str, object], *, attribute: str, equals: str | int | None) -> bool:
        """Write the item only while its `attribute` still equals `equals` (None: while there is no such attribute)."""
        request = self._writing(name, item)
        request["ConditionExpression"] = "attribute_not_exists(#attribute)"
        request["ExpressionAttributeNames"] = {"#attribute": attribute}
        if equals is not None:
            request["ConditionExpression"] = "#attribute = :expected"
            request["ExpressionAttributeValues"] = to_attributes({":expected": equals})
        return written(lambda: self.client.put_item(**request))

    def _writing(self, name: str, item: Mapping[str, object]) -> PutItemInputTypeDef:
        return {"TableName": self.table, "Item": to_attributes({**item, "name": name})}


def _without_name(item: Mapping[str, AttributeValueTypeDef]) -> JsonObject:
    plain = from_attributes(item)
    del plain["name"]
    return plain
