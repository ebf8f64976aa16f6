"""laptop.ministack_patches.lambdas: whose failure it is when a function cannot run."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from laptop.ministack_patches import lambdas


def test_a_function_that_cannot_be_started_is_a_fault_of_the_service() -> None:
    """So the state machines' retries, which are for minutes, are for it: an error of the function is tried twice."""

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(lambdas.NotStarted, match="No space left") as raised:
        lambdas._invoke(full, None)

    def warm(*_: Any) -> dict[str, Any]:
        body = {"errorMessage": str(raised.value), "errorType": type(raised.value).__name__}
        return {"body": body, "error": True}

    assert lambdas._execute(warm, {}, {}, "id")["body"]["errorType"] == "Lambda.ServiceException"
