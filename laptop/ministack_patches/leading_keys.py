"""The condition key ``dynamodb:LeadingKeys``: the partition keys that a request to DynamoDB names.

Source: "Using IAM policy conditions for fine-grained access control" in the DynamoDB developer guide. Where AWS judges
the tables of a batch or transaction one by one, here a policy has to allow the keys of all of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from ministack.services import dynamodb

from laptop.documents import Document
from laptop.ministack_patches.patching import Original, patch

_EQUALITY = re.compile(r"([#\w.-]+)\s*=\s*(:\w+)")
_UNKNOWN = "\0"  # no pattern but * allows a key that could not be found out


@patch(
    "core.iam_actions:dynamodb_service_context",
    because="MiniStack never fills in dynamodb:LeadingKeys, so that a policy which names keys allows every key",
    proof="test_authorization.py::test_items_may_be_written_by_their_key_only",
)
def _context(original: Original, body: bytes) -> Document:
    context: Document = original(body)
    try:
        request = json.loads(body or b"{}")
        return {**context, "dynamodb:LeadingKeys": list(_leading_keys(request))}
    except (ValueError, TypeError, AttributeError, KeyError):  # no request that DynamoDB would take
        return {**context, "dynamodb:LeadingKeys": [_UNKNOWN]}


def _leading_keys(request: Document) -> Iterator[str]:
    for table, members in request.get("RequestItems", {}).items():
        if isinstance(members, dict):  # BatchGetItem
            yield from (_key_of(table, key) for key in members["Keys"])
        else:  # BatchWriteItem
            yield from (_written(table, each) for write in members for each in write.values())
    for item in request.get("TransactItems", []):
        yield from (_written(member["TableName"], member) for member in item.values())
    if "Key" in request or "Item" in request:
        yield _written(request["TableName"], request)
    elif "KeyConditionExpression" in request or "KeyConditions" in request:
        yield _queried(request)


def _written(table: str, request: Document) -> str:
    return _key_of(table, request["Key"] if "Key" in request else request["Item"])


def _key_of(table: str, item: Document) -> str:
    name = _table(table).get("pk_name")
    return _text(item[name]) if name in item else _UNKNOWN


def _queried(request: Document) -> str:
    """The partition key that a Query asks for, of the table or of the index that it names."""
    table = _table(request["TableName"])
    keys = table.get("KeySchema", [])
    for index in (*table.get("GlobalSecondaryIndexes", []), *table.get("LocalSecondaryIndexes", [])):
        if index["IndexName"] == request.get("IndexName"):
            keys = index["KeySchema"]
    hash_key = next((key["AttributeName"] for key in keys if key["KeyType"] == "HASH"), None)
    if hash_key in request.get("KeyConditions", {}):
        return _text(request["KeyConditions"][hash_key]["AttributeValueList"][0])
    names, values = request.get("ExpressionAttributeNames", {}), request.get("ExpressionAttributeValues", {})
    for name, value in _EQUALITY.findall(request.get("KeyConditionExpression", "")):
        if names.get(name, name) == hash_key and value in values:
            return _text(values[value])
    return _UNKNOWN


def _table(name: str) -> dict[str, Any]:
    found: dict[str, Any] = dynamodb._tables.get(dynamodb._normalize_table_name(name), {})
    return found


def _text(attribute: dict[str, str]) -> str:
    (value,) = attribute.values()
    return str(value)
