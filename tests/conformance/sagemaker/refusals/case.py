"""How a refusal is written down: a good request, one thing made wrong, and what must be answered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

Request = dict[str, Any]
Change = Callable[[Request], None]
ONE_ERROR = "1 validation error detected: "


@dataclass(frozen=True)
class Case:
    """`code` and a part of the message that the operation must answer to the changed request."""

    id: str
    change: Change
    code: str
    message: str
    operation: str = ""


def of(operation: str, *cases: Case) -> list[Case]:
    """The cases, as the operation's."""
    return [replace(case, operation=operation) for case in cases]


def _reach(request: Request, path: str) -> tuple[Any, str | int]:
    """The container of a member and the member's key in it; the path is dotted, numbers are list indexes."""
    *parents, last = (int(step) if step.isdigit() else step for step in path.split("."))
    at: Any = request
    for step in parents:
        at = at[step]
    return at, last


def put(path: str, value: Any) -> Change:
    def change(request: Request) -> None:
        at, last = _reach(request, path)
        at[last] = value

    return change


def drop(path: str) -> Change:
    def change(request: Request) -> None:
        at, last = _reach(request, path)
        del at[last]

    return change


def both(*changes: Change) -> Change:
    def change(request: Request) -> None:
        for one in changes:
            one(request)

    return change


def invalid(id: str, change: Change, message: str) -> Case:
    return Case(id, change, "ValidationException", message)


def wrong_type(id: str, change: Change, message: str) -> Case:
    return Case(id, change, "SerializationException", message)


def pattern(value: str, where: str, expression: str) -> str:
    return (
        f"{ONE_ERROR}Value '{value}' at '{where}' failed to satisfy constraint: "
        f"Member must satisfy regular expression pattern: {expression}"
    )


def bound(value: Any, where: str, measure: str, side: str, limit: int) -> str:
    return (
        f"{ONE_ERROR}Value '{value}' at '{where}' failed to satisfy constraint: "
        f"Member must have {measure} {side} than or equal to {limit}"
    )


def null(where: str) -> str:
    return f"{ONE_ERROR}Value null at '{where}' failed to satisfy constraint: Member must not be null"


JOB_NAME = "[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}"
ELSEWHERE = "arn:aws:iam::111111111111:role/SageMaker"
LAMBDA = "arn:aws:lambda:us-east-1:432418664414:function:"
CHANNEL = {
    "ChannelName": "train",
    "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://bucket/train/"}},
}
METRIC = {"Name": "map50", "Regex": "map50=(.*)"}
TAG = {"Key": "Stage", "Value": "dev"}
