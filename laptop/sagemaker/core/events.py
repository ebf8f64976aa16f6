"""EventBridge events of SageMaker (source `aws.sagemaker`), in the shapes its developer guide shows.

Source: "Automating Amazon SageMaker AI with Amazon EventBridge". The casing and the way times are written differ from
one detail-type to the next, so each resource module composes its own detail with the helpers here.
"""

from __future__ import annotations

import json
from typing import Any

from laptop.sagemaker.core import context


def emit(detail_type: str, detail: dict[str, Any], resource_arn: str) -> None:
    """Put one `aws.sagemaker` event on the default bus; `detail` is written as given."""
    context.current().put_event(
        {
            "Source": "aws.sagemaker",
            "DetailType": detail_type,
            "Detail": json.dumps(detail, ensure_ascii=False),
            "Resources": [resource_arn],
        }
    )


def epoch_ms(seconds: float) -> str:
    """Epoch seconds as the string of epoch milliseconds that job events carry ("1583831889050")."""
    return str(round(seconds * 1000))
