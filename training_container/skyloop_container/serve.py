"""`serve`, the endpoint: GET /ping, and POST /invocations with an image's bytes, answered by JSON.

It imports no torch. Starlette, because FastAPI would double the time to the first response and cannot check the body
of an image. Contract: "Custom Inference Code with Hosting Services" in the SageMaker developer guide.
"""

import functools
import json
import math
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import cv2
import uvicorn
from skyloop.formats.pictures import ImageRefused
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .admission import Bodies, Overloaded, Pace, TooLarge, TooSlow, Workers, memory_limit
from .connections import BoundedProtocol
from .dataset import opened
from .engine_choice import EngineDiffers, verify
from .engines import REFERENCE, EngineMissing
from .environment import Environment, JobError, available_cores
from .inference import Detector
from .predictions import MAX_BODY, predict_image

BODY_SECONDS = 20.0  # in which a body must arrive; SageMaker's router has all of it before it calls the container
HEADER_SECONDS = 5.0  # that a request may wait for its header to be read, which usually takes milliseconds
QUEUE_SECONDS = 20.0  # that it may wait for a thread then: with its body and its work less than SageMaker's 60 s
STUCK_SECONDS = 60.0  # of work on one picture, after which the instance says that it is ill; SageMaker waits no longer
# As many requests may wait as large pictures allow, and more of small ones: a pause of the machine, which a start of
# other instances may be, is no reason to refuse what is done a moment later.
QUEUE_PER_WORKER = 8
SOON_SECONDS = 3.0
SLOW_MILLISECONDS = 2000  # of the model alone for one look; deployments say what their alarm on latencies says
# Of the memory, bodies may hold an eighth and pictures a half; the model and the runtime need the rest.
BODIES_SHARE, DECODING_SHARE = 1 / 8, 1 / 2
CUSTOM_ATTRIBUTES = "x-amzn-sagemaker-custom-attributes"


class RequestError(ValueError):
    """A request that cannot be answered. The text tells the caller why."""


# How an answer that is no prediction is given: what callers cause is 4xx, and never counts against the model. That
# includes more requests than can be answered: an alarm on 5xx takes versions out of service, which no crowd shall do.
STATUS: dict[type[Exception], int] = {
    RequestError: 400,
    ImageRefused: 400,
    TooSlow: 408,
    TooLarge: 413,
    Overloaded: 429,
}
TOO_SLOW = 503  # instead, where the model is slow: an alarm on latencies would hardly see a version that refuses most
RETRY = {429: {"Retry-After": "1"}, TOO_SLOW: {"Retry-After": "1"}}


def create_app(
    detector: Detector,
    workers: int,
    memory: int,
    slow_seconds: float,
    tell: Callable[[float], None] = lambda _: None,
) -> Starlette:
    """The endpoint's application around a loaded model.

    Args:
        detector: the model.
        workers: how many images are processed at once; a few others wait, and the rest is refused.
        memory: bytes that the process may use.
        slow_seconds: what the model takes for one look at a picture, or at a slice of it, where it is too slow.
        tell: is told every few seconds what it takes.
    """
    pace = Pace(workers, slow_seconds, tell)
    bodies = Bodies(max(round(memory * BODIES_SHARE), 2 * MAX_BODY), BODY_SECONDS)
    pictures = Workers(
        workers,
        round(memory * DECODING_SHARE),
        workers * QUEUE_PER_WORKER,
        QUEUE_SECONDS,
        SOON_SECONDS,
    )
    headers = Workers(1, 0, workers * QUEUE_PER_WORKER, HEADER_SECONDS, SOON_SECONDS)

    # Who finds a version out of service for its 503 looks into the logs for the reason; one line says it.
    tell_once = functools.cache(functools.partial(print, flush=True))

    async def ping(_: Request) -> JSONResponse:
        if max(pictures.longest(), headers.longest()) > STUCK_SECONDS:
            return JSONResponse({"status": "stuck"}, status_code=503)
        return JSONResponse({"status": "ok"})

    async def answer(request: Request, confidence: float | None) -> Response:
        body = await bodies.receive(request.stream(), MAX_BODY)
        held = len(body)
        try:
            picture = await headers.run(0, functools.partial(opened, body))
            body = b""  # the picture holds what of it is needed
            work = functools.partial(predict_image, detector, picture, confidence, pace.picture)
            prediction = await pictures.run(picture.memory, work)
        finally:
            bodies.release(held)
        return JSONResponse(prediction)

    async def invocations(request: Request) -> Response:
        if "origin" in request.headers:  # a port of this machine is open to each page in its user's browser
            return JSONResponse({"error": "Web pages cannot ask the container; ask the endpoint."}, 403)
        try:
            confidence = parse_confidence(request.headers.get(CUSTOM_ATTRIBUTES, ""))
            if pictures.full or headers.full:
                raise Overloaded("The endpoint has as many requests as it can answer; try again later.")
            return await answer(request, confidence)
        except tuple(STATUS) as error:
            status, sentence = STATUS[type(error)], _sentence(error)
            if isinstance(error, Overloaded) and pace.slow:
                status, sentence = TOO_SLOW, f"The model takes {slow_seconds:g} s or longer for most pictures."
                tell_once(sentence)
            return JSONResponse({"error": sentence}, status, RETRY.get(status))
        except ClientDisconnect:
            return Response(status_code=400)  # to nobody

    return Starlette(routes=[Route("/ping", ping), Route("/invocations", invocations, methods=["POST"])])


def _sentence(error: Exception) -> str:
    """What a caller is told; a refused picture has a code for programs too."""
    return f"The body cannot be used ({error.code}): {error}" if isinstance(error, ImageRefused) else str(error)


def parse_confidence(attributes: str) -> float | None:
    """The confidence in CustomAttributes, "confidence=0.3" among comma-separated pairs; None where it is not given.

    Other attributes belong to the caller and are ignored. A decimal comma ("confidence=0,3") would be read as 0 and a
    stray 3, which nobody means: it is refused.

    Raises:
        RequestError: it is not a number in 0..1, or is given twice.
    """
    pairs = [part.partition("=") for part in attributes.split(",")]
    given = [number for number, (name, _, _) in enumerate(pairs) if name.strip() == "confidence"]
    if not given:
        return None
    value = pairs[given[0]][2]
    after = pairs[given[0] + 1] if given[0] + 1 < len(pairs) else ("", "=", "")
    if len(given) > 1 or (not after[1] and after[0].strip().isdigit()):
        raise RequestError(f"The attribute confidence must be given once, with a point: {attributes!r}.")
    try:
        confidence = float(value.replace("_", "?"))  # Python would take 0_1 for 1
    except ValueError as error:
        raise RequestError(f"The attribute confidence is not a number: {value!r}.") from error
    if not 0 <= confidence <= 1:
        raise RequestError(f"The attribute confidence must be in 0..1, not {confidence}.")
    return confidence


def run(environment: Environment) -> None:
    """Serve until SIGTERM, then finish the requests that are being processed.

    Environment: SAGEMAKER_BIND_TO_PORT (8080), SKYLOOP_BIND_HOST (0.0.0.0), SKYLOOP_ENGINE (that the model was judged
    with, onnxruntime), SKYLOOP_INFERENCE_THREADS (the engine's for each of several images, 1; one that is alone gets
    all), SKYLOOP_INFERENCE_WORKERS (images at once; the default uses all cores), SKYLOOP_SLOW_MS (what the model takes
    for a look where it is too slow, 2000) and SKYLOOP_ENDPOINT_CONFIG (a name, under which the log says what a look
    takes).

    Raises:
        JobError: there is no usable model, or a setting is not a number.
    """
    threads = _setting("SKYLOOP_INFERENCE_THREADS", 1)
    workers = _setting("SKYLOOP_INFERENCE_WORKERS", max(available_cores() // threads, 1))
    cv2.setNumThreads(1)  # the workers already use all cores
    detector, engine = _load(environment.model_dir, threads, workers)
    serving = {"serving": detector.card.training_job, "engine": engine, "threads": threads, "workers": workers}
    print(json.dumps(serving), flush=True)
    slow_seconds = _milliseconds("SKYLOOP_SLOW_MS", SLOW_MILLISECONDS) / 1000
    uvicorn.run(
        create_app(detector, workers, memory_limit(), slow_seconds, _log_pace),
        http=BoundedProtocol,
        host=os.environ.get("SKYLOOP_BIND_HOST", "0.0.0.0"),
        port=_setting("SAGEMAKER_BIND_TO_PORT", 8080),
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=20,
    )


def _load(model_dir: Path, threads: int, workers: int) -> tuple[Detector, str]:
    """The model, with the engine that it was judged with, or else with ONNX Runtime and a line for an alarm.

    Raises:
        JobError: there is no usable model, or nothing here computes what it should.
    """
    refused: dict[str, str] = {}
    for engine in dict.fromkeys((os.environ.get("SKYLOOP_ENGINE") or REFERENCE, REFERENCE)):
        try:
            detector = Detector.load(model_dir, threads, workers, engine)
            verify(detector, engine)
        except (EngineMissing, EngineDiffers) as error:
            refused[engine] = str(error)
        else:
            for name, why in refused.items():
                print(json.dumps({"engine_refused": 1, "engine": name, "why": why}), flush=True)
            return detector, engine
    # The model is at fault and not an engine: nothing that serves is slower than it should be.
    raise JobError(f"The model cannot be served: {refused[REFERENCE]}.")


def _log_pace(seconds: float) -> None:
    """One line from which the template makes a metric of this endpoint config, which an alarm looks at."""
    if config := os.environ.get("SKYLOOP_ENDPOINT_CONFIG"):
        print(json.dumps({"look_ms": round(seconds * 1000, 2), "endpoint_config": config}), flush=True)


def _setting(name: str, default: int) -> int:
    value = os.environ.get(name, "")
    if value and not (value.isdigit() and int(value) > 0):
        raise JobError(f"{name} must be a positive whole number, not {value!r}.")
    return int(value) if value else default


def _milliseconds(name: str, default: int) -> float:
    value = os.environ.get(name) or str(default)
    with suppress(ValueError):
        if 0 < float(value) < math.inf:  # a parameter of CloudFormation may have decimals
            return float(value)
    raise JobError(f"{name} must be a number of milliseconds above 0, not {value!r}.")
