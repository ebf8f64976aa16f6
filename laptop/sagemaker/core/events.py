"""EventBridge events of SageMaker (source `aws.sagemaker`), in the shapes that its developer guide shows.

Source: "Automating Amazon SageMaker AI with Amazon EventBridge". Case and times are written differently from one
detail-type to the next, so each resource module composes its own detail with these helpers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from laptop.documents import Document
from laptop.sagemaker.core.context import Context


def emit(context: Context, detail_type: str, detail: Document, resource_arn: str) -> None:
    """Put one `aws.sagemaker` event on the default bus; `detail` is written as given."""
    context.put_event(
        {
            "Source": "aws.sagemaker",
            "DetailType": detail_type,
            "Detail": json.dumps(detail, ensure_ascii=False),
            "Resources": [resource_arn],
        }
    )


def detail(record: Document, members: Iterable[str], times: Iterable[str], write: Callable[[float], Any]) -> Document:
    """The detail of an event: these members of a record, these times as `write` writes them, and the tags as a map."""
    return {
        **{member: record[member] for member in members if member in record},
        **{member: write(record[member]) for member in times if member in record},
        "Tags": {tag["Key"]: tag["Value"] for tag in record.get("Tags", [])},
    }


def milliseconds(seconds: float) -> int:
    """Epoch seconds as epoch milliseconds."""
    return round(seconds * 1000)


def milliseconds_text(seconds: float) -> str:
    """Epoch seconds as the text of epoch milliseconds ("1583831889050")."""
    return str(milliseconds(seconds))
