"""DynamoDB's attribute values to plain values and back."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.exceptions import ClientError

BATCH_GET_LIMIT = 100  # keys a BatchGetItem may name


def to_attributes(item: dict[str, Any]) -> dict[str, Any]:
    """Plain values -> DynamoDB attribute values. Floats become numbers exactly as they print; None is left out."""
    serializer = TypeSerializer()
    return {name: serializer.serialize(_exact(value)) for name, value in item.items() if value is not None}


def from_attributes(item: dict[str, Any]) -> dict[str, Any]:
    """DynamoDB attribute values -> plain values: whole numbers as int, others as float."""
    deserializer = TypeDeserializer()
    return {name: _plain(deserializer.deserialize(value)) for name, value in item.items()}


def condition_failed(error: ClientError) -> bool:
    """Was the write refused because its condition did not hold (somebody else was first)?"""
    return error.response["Error"]["Code"] == "ConditionalCheckFailedException"


def _exact(value: Any) -> Any:
    if isinstance(value, float):
        return Decimal(repr(value))
    if isinstance(value, dict):
        return {key: _exact(inner) for key, inner in value.items() if inner is not None}
    return [_exact(inner) for inner in value] if isinstance(value, list | tuple) else value


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value
