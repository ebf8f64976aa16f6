"""Requests to the endpoint, for `make fuzz`: whatever is sent, only the server's own fault is 5xx.

python -m training_container.tests.fuzz_requests [--seed N] [--inputs N | --seconds S]
"""

import asyncio
from collections.abc import Mapping
from contextlib import nullcontext
from functools import cache
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
from skyloop.formats.pictures import RadiometricWindow
from skyloop_container.inference import Detector, Prediction, letterbox
from skyloop_container.serve import create_app
from skyloop_container.slicing import SlicingPlan, View
from starlette.applications import Starlette

from tests.fuzz import campaign
from tests.fuzz.targets import Target, pictures


def request(body: bytes) -> str:
    """The first line is a request's attributes, the rest its body."""
    attributes, _, picture = body.partition(b"\n")
    runner, app = _server()
    status = runner.run(ask(app, picture, attributes))
    if status >= 500:
        raise AssertionError(f"HTTP {status}")
    return str(status)


@cache
def _server() -> tuple[asyncio.Runner, Starlette]:
    """One application for all requests of a process, as on an instance: what it keeps of them would swell it."""
    return asyncio.Runner(), create_app(detector(), 1, 2**32, 2.0)


async def ask(app: Starlette, body: bytes, attributes: bytes = b"", *headers: tuple[bytes, bytes]) -> int:
    """The status of the answer to one request. headers: further ones, with names in small letters."""
    statuses: list[int] = []
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "path": "/invocations",
        "raw_path": b"/invocations",
        "query_string": b"",
        "headers": [(b"content-type", b"image/jpeg"), (b"x-amzn-sagemaker-custom-attributes", attributes), *headers],
    }

    async def receive() -> Mapping[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(sent: Mapping[str, Any]) -> None:
        if sent["type"] == "http.response.start":
            statuses.append(sent["status"])

    await app(scope, receive, send)
    return statuses[0]


def detector() -> Detector:
    """A model that finds nothing, in a picture that was prepared for it."""

    plan = SlicingPlan(1000)

    def predict(image: np.ndarray, confidence: float | None, *, size: tuple[int, int]) -> Prediction:
        for view in views(*size):
            letterbox(image[view.top : view.bottom, view.left : view.right], view.scale, size=(view.width, view.height))
        return Prediction([], [])

    def views(width: int, height: int) -> list[View]:
        return plan.views(width, height, 64)

    def factor(width: int, height: int) -> int:
        return plan.factor(width, height, 640)

    card = SimpleNamespace(training_job="job", dataset_id="ds")
    parts = {"views": views, "factor": factor, "predict": predict, "picture": nullcontext}
    window = RadiometricWindow(9_000, 9_400)
    return cast(Detector, SimpleNamespace(card=card, plan=plan, size=64, window=window, **parts))


@cache
def targets() -> dict[str, Target]:
    """One."""
    heads = (b"", b"confidence=0.3", b"trace=7, confidence=0.5")
    return {"request": Target(request, tuple(head + b"\n" + body for head in heads for body in pictures()))}


if __name__ == "__main__":
    campaign.main(targets)
