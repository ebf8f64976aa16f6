"""Random requests, made from botocore's shapes: each gets a response, and none breaks the service."""

from __future__ import annotations

import random
from typing import Any

import pytest
from botocore.model import ListShape, MapShape, Shape, StructureShape

from laptop.sagemaker import service
from laptop.sagemaker.core import validation

REQUESTS = 40
MAX_DEPTH = 7
ODD: tuple[Any, ...] = (
    None, "", 0, -1, 1.5, 1e308, 2**70, True, [], {}, [None], [[]], {"a": None}, ["a", "a"], "x" * 3000,
    "ünï\x00", "..", "%2F", "\n", "s3://", "s3:///", "arn:aws:sagemaker:us-east-1:000000000000:training-job/x",
)  # fmt: skip
PLAIN: dict[str, tuple[Any, ...]] = {
    "integer": (0, 1, 2, 30, 3600, 10**6),
    "long": (0, 1, 600, 10**12),
    "float": (0, 0.5, 50.5),
    "double": (0, 0.5, 50.5),
    "boolean": (True, False),
    "timestamp": (0, 1.7e9, -1e18, "2026-11-23T10:00:00Z"),
    "blob": ("aGk=",),
    "string": (
        "a",
        "b-1",
        "train",
        "text/csv",
        "1",
        "s3://bucket/key",
        "/opt/ml/x",
        "arn:aws:iam::000000000000:role/r",
    ),
}


def made(chance: random.Random, shape: Shape, odd: float, depth: int = 0) -> Any:
    """A value of a shape, in which any part may be something else with probability `odd`."""
    if chance.random() < odd:
        return chance.choice(ODD)
    if isinstance(shape, StructureShape):
        share = {name: 0.97 if name in shape.required_members else 0.3 for name in shape.members}
        return {
            name: made(chance, member, odd, depth + 1)
            for name, member in shape.members.items()
            if depth < MAX_DEPTH and chance.random() < share[name]
        }
    if isinstance(shape, ListShape):
        return [made(chance, shape.member, odd, depth + 1) for _ in range(chance.choice((0, 1, 1, 2)))]
    if isinstance(shape, MapShape):
        return {key: made(chance, shape.value, odd, depth + 1) for key in chance.sample(("", "a", "b"), k=2)}
    values = getattr(shape, "enum", None) or PLAIN[shape.type_name]
    return chance.choice(values)


@pytest.mark.parametrize("operation", sorted(service.operations()["sagemaker"]))
def test_no_request_breaks_the_service(sagemaker: Any, operation: str) -> None:
    chance = random.Random(operation)
    shape = validation.operation_model("sagemaker", operation).input_shape
    for _ in range(REQUESTS):
        request = made(chance, shape, chance.choice((0, 0.01, 0.05, 0.2)))
        status, answer = sagemaker.post(operation, request)
        assert status in (200, 400, 501), (request, answer)
        assert status == 200 or (answer["__type"] and answer["message"]), (request, answer)
