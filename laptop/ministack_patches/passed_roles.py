"""The roles that a request hands to a service, in any member of any operation: `iam:PassRole` is needed for each.

A role is recognized by the name of the member that holds it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from botocore.model import ListShape, MapShape, Shape, StructureShape
from ministack.services import iam

from laptop.documents import Document
from laptop.ministack_patches.operations import input_shape

_ROLE = re.compile(r"role(_?arn)?$", re.IGNORECASE)
# Those whose principal is not called as MiniStack calls the service.
_PRINCIPALS = {"ecs": "ecs-tasks"}


def passed_roles(service: str, operation: str, request: Any) -> list[str]:
    """The ARNs of the roles that a request hands on."""
    shape = input_shape(service, operation)
    if shape is None or _is_data(shape):
        return []
    found = _roles(shape, request)
    return [_arn(role) for role in dict.fromkeys(found) if role]


def passed_to(service: str) -> Document:
    """The condition keys of `iam:PassRole` for a service, by MiniStack's name of it."""
    return {"iam:PassedToService": f"{_PRINCIPALS.get(service, service)}.amazonaws.com"}


def _is_data(shape: Shape) -> bool:
    """Whether the body of an operation's request is no members, but what a person stores or sends."""
    payload = shape.serialization.get("payload")
    return payload is not None and shape.members[payload].type_name in ("blob", "string")  # type: ignore[attr-defined]


def _roles(shape: Shape | None, value: Any, name: str = "") -> Iterator[str]:
    if isinstance(value, str) and _ROLE.search(name):
        yield value
    elif isinstance(value, list):
        of_items = shape.member if isinstance(shape, ListShape) else None
        for item in value:
            yield from _roles(of_items, item, name)
    elif isinstance(shape, MapShape) and isinstance(value, dict):  # its keys are data: an environment, tags
        for item in value.values():
            yield from _roles(shape.value, item)
    elif isinstance(value, dict):
        members = shape.members if isinstance(shape, StructureShape) else {}
        by_name = {member.serialization.get("name", key): member for key, member in members.items()}
        for key, item in value.items():
            yield from _roles(by_name.get(key) or members.get(key), item, key)


def _arn(role: str) -> str:
    """The ARN of the role that MiniStack uses, which goes by the last part of whatever it is given."""
    found = iam._roles.get(role.rpartition("/")[2])
    return str(found["Arn"]) if found else role
