"""`serve`, the endpoint: GET /ping, and POST /invocations with an image's bytes, answered by JSON.

It imports no torch. Starlette, because FastAPI would double the time to the first response and cannot check the body
of an image. Contract: "Custom Inference Code with Hosting Services" in the SageMaker developer guide.
"""

import asyncio
import json
import os
from concurrent.futures import ThreadPoolExecutor

import cv2
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from .environment import Environment, JobError
from .images import ImageError
from .inference import Detector
from .predictions import predict_image

MAX_BODY = 25 * 1024 * 1024  # bytes: SageMaker's own limit for a real-time invocation
CUSTOM_ATTRIBUTES = "x-amzn-sagemaker-custom-attributes"


class RequestError(ValueError):
    """A request that cannot be answered. The text tells the caller why."""


def create_app(detector: Detector, workers: int) -> Starlette:
    """The endpoint's application around a loaded model.

    Args:
        detector: the model.
        workers: how many images are processed at once; the others wait.
    """
    pool = ThreadPoolExecutor(workers, thread_name_prefix="detect")

    async def ping(_: Request) -> JSONResponse:
        return JSONResponse({"status": "ok"})

    async def invocations(request: Request) -> JSONResponse:
        try:
            _check_content_type(request.headers.get("content-type", ""))
            confidence = parse_confidence(request.headers.get(CUSTOM_ATTRIBUTES, ""))
            body = await _read_body(request)
            loop = asyncio.get_running_loop()
            prediction = await loop.run_in_executor(pool, predict_image, detector, body, confidence)
        except (RequestError, ImageError) as error:
            return JSONResponse({"error": str(error)}, status_code=400)
        return JSONResponse(prediction)

    return Starlette(routes=[Route("/ping", ping), Route("/invocations", invocations, methods=["POST"])])


def parse_confidence(attributes: str) -> float | None:
    """The confidence in CustomAttributes, "confidence=0.3" among comma-separated pairs; None where it is not given.

    Other attributes belong to the caller and are ignored.

    Raises:
        RequestError: it is not a number in 0..1.
    """
    for pair in attributes.split(","):
        name, _, value = pair.partition("=")
        if name.strip() != "confidence":
            continue
        try:
            confidence = float(value)
        except ValueError as error:
            raise RequestError(f"The attribute confidence is not a number: {value!r}.") from error
        if not 0 <= confidence <= 1:
            raise RequestError(f"The attribute confidence must be in 0..1, not {confidence}.")
        return confidence
    return None


def run(environment: Environment) -> None:
    """Serve until SIGTERM, then finish the requests that are being processed.

    Environment: SAGEMAKER_BIND_TO_PORT (8080), SKYLOOP_BIND_HOST (0.0.0.0), SKYLOOP_INFERENCE_THREADS (the engine's
    threads per image, 1) and SKYLOOP_INFERENCE_WORKERS (images at once; the default uses all cores).

    Raises:
        JobError: there is no usable model, or a setting is not a number.
    """
    threads = _setting("SKYLOOP_INFERENCE_THREADS", 1)
    workers = _setting("SKYLOOP_INFERENCE_WORKERS", max(len(os.sched_getaffinity(0)) // threads, 1))
    cv2.setNumThreads(1)  # the workers already use all cores
    detector = Detector.load(environment.model_dir, threads)
    print(json.dumps({"serving": detector.card["training_job"], "threads": threads, "workers": workers}), flush=True)
    uvicorn.run(
        create_app(detector, workers),
        host=os.environ.get("SKYLOOP_BIND_HOST", "0.0.0.0"),
        port=_setting("SAGEMAKER_BIND_TO_PORT", 8080),
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=20,
    )


def _setting(name: str, default: int) -> int:
    value = os.environ.get(name, "")
    if value and not (value.isdigit() and int(value) > 0):
        raise JobError(f"{name} must be a positive whole number, not {value!r}.")
    return int(value) if value else default


def _check_content_type(content_type: str) -> None:
    kind = content_type.partition(";")[0].strip().lower()
    # SageMaker sends application/octet-stream when the caller names no type.
    if kind and not kind.startswith("image/") and kind != "application/octet-stream":
        raise RequestError(f"Send an image (Content-Type image/jpeg or image/png), not {kind}.")


async def _read_body(request: Request) -> bytes:
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > MAX_BODY:
            raise RequestError(f"The body is larger than {MAX_BODY // 2**20} MB.")
        parts.append(part)
    return b"".join(parts)
