"""Arguments that an operation of AWS takes, made from botocore's model of it."""

from __future__ import annotations

from typing import Any

from botocore.model import ListShape, MapShape, OperationModel, Shape, StructureShape

_DEEP = 6
_NUMBERS = ("integer", "long", "float", "double")
ARN = "arn:aws:logs:us-east-1:000000000000:log-group:none"


def smallest(operation: OperationModel) -> dict[str, Any]:
    """What an operation needs, and nothing else; names are valid, and name nothing that is there."""
    shape = operation.input_shape
    return dict(_value(shape, "", 0)) if shape else {}


def _value(shape: Shape, name: str, depth: int) -> Any:
    if isinstance(shape, StructureShape):
        return _structure(shape, depth)
    if isinstance(shape, ListShape):
        return [_value(shape.member, name, depth + 1) for _ in range(max(1, shape.metadata.get("min", 1)))]
    if isinstance(shape, MapShape):
        return {_value(shape.key, "key", depth + 1): _value(shape.value, "value", depth + 1)}
    if shape.type_name == "string":
        return _text(shape, name)
    if shape.type_name in _NUMBERS:
        return max(1, shape.metadata.get("min", 1))
    return {"boolean": False, "blob": b"{}", "timestamp": 1700000000}[shape.type_name]


def _structure(shape: StructureShape, depth: int) -> dict[str, Any]:
    if depth > _DEEP:
        return {}
    names = list(shape.required_members)
    if getattr(shape, "is_tagged_union", False) and not names:
        names = list(shape.members)[:1]
    return {name: _value(shape.members[name], name, depth + 1) for name in names}


def _text(shape: Shape, name: str) -> str:
    if getattr(shape, "enum", None):
        return str(shape.enum[0])  # type: ignore[attr-defined]
    if "arn" in name.lower() or name == "Resource":
        return ARN
    if name == "QueueUrl":
        return "http://queue.test/000000000000/none"
    return "none" + "x" * max(0, shape.metadata.get("min", 0) - len("none"))
