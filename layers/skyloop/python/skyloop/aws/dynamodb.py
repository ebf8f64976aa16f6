"""DynamoDB's attribute values to plain values and back, and what both tables need of its API."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.exceptions import ClientError

from skyloop.documents import JsonObject

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

    Attributes = dict[str, AttributeValueTypeDef]


def to_attributes(item: Mapping[str, object]) -> Attributes:
    """Plain values -> DynamoDB attribute values. Floats become numbers exactly as they print; None is left out."""
    serializer = TypeSerializer()
    return {name: serializer.serialize(_exact(value)) for name, value in item.items() if value is not None}


def from_attributes(item: Mapping[str, AttributeValueTypeDef]) -> JsonObject:
    """DynamoDB attribute values -> plain values: whole numbers as int, others as float."""
    deserializer = TypeDeserializer()
    return {name: _plain(deserializer.deserialize(value)) for name, value in item.items()}


def written(write: Callable[[], object]) -> bool:
    """Make a conditional write. False: its condition did not hold, so nothing changed. Raises any other ClientError."""
    try:
        write()
    except ClientError as error:
        if error.response["Error"]["Code"] == "ConditionalCheckFailedException":
            return False
        raise
    return True


def _exact(value: object) -> object:
    if isinstance(value, float):
        return Decimal(repr(value))
    if isinstance(value, dict):
        return {key: _exact(inner) for key, inner in value.items() if inner is not None}
    return [_exact(inner) for inner in value] if isinstance(value, list | tuple) else value


def _plain(value: object) -> object:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value
