"""The smoke test of a new endpoint: does it answer known images as the model did when it was evaluated?

`golden-predictions.json` (written by the evaluation job) lists a few test images with the candidate's detections on
them. The comparison is pure; `ask` is the edge to the endpoint.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from pydantic import TypeAdapter, ValidationError

from skyloop.documents import (
    Detection,
    EndpointResponse,
    GoldenPrediction,
    GoldenPredictions,
    SmokeRequest,
    SmokeResponse,
)
from skyloop.formats.detections import match

# The same network on the same image: fp32 engines agree to IoU 1.0, int8 to 0.978, bf16 confidences to a few hundredths
# (measured with YOLO11n at 640 px). Anything beyond these is another model, other weights or other preprocessing.
MIN_IOU = 0.75
MAX_CONFIDENCE_DIFFERENCE = 0.15
MIN_MATCHED = 0.9  # share of the known detections that must be found again
MAX_SURPLUS = 0.2  # confident detections that are not known, as a share of the known ones

TRANSIENT = {"ThrottlingException", "ServiceUnavailable", "ModelNotReadyException", "InternalFailure"}
ATTEMPTS = 4
FIRST_PAUSE_SECONDS = 1.0


@dataclass(frozen=True)
class Reply:
    """What one invocation brought: a body, or an error sentence. `seconds` includes no pauses between attempts."""

    body: bytes = b""
    error: str | None = None
    seconds: float = 0.0
    attempts: int = 1


@dataclass(frozen=True)
class ImageCheck:
    """One known image compared. `faults` are sentences; none means that the endpoint answered as it should."""

    uri: str
    known: int
    matched: int
    faults: tuple[str, ...] = ()
    seconds: float = field(default=0.0, compare=False)


def check_prediction(known: GoldenPrediction, reply: Reply, *, training_job: str | None = None) -> ImageCheck:
    """Compare one reply with the known detections; every difference that matters becomes a sentence."""
    count = len(known.detections)
    if reply.error:
        return ImageCheck(known.uri, count, 0, (reply.error,), reply.seconds)
    try:
        answer = TypeAdapter(EndpointResponse).validate_json(reply.body)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "body"
        fault = f"the answer is not a detection answer: {where}: {first['msg']} (it begins {reply.body[:80]!r})"
        return ImageCheck(known.uri, count, 0, (fault,), reply.seconds)
    faults = []
    served = answer.model.get("training_job")
    if training_job and served != training_job:
        faults.append(f"the endpoint serves the model of {served}, not of {training_job}")
    matching = match(known.detections, answer.detections, min_iou=MIN_IOU)
    alike = [pair for pair in matching.pairs if _alike(pair.known, pair.found)]
    if len(alike) < MIN_MATCHED * count:
        other = len(matching.pairs) - len(alike)
        faults.append(
            f"{len(alike)} of {count} known detections found again ({len(matching.missed)} missing, {other} with "
            f"another confidence); the endpoint found {len(answer.detections)}"
        )
    # A known answer lists what the model was sure of; only a stranger that is as sure counts as one too many.
    least = min((detection.confidence for detection in known.detections), default=1.0) + MAX_CONFIDENCE_DIFFERENCE
    strangers = [detection for detection in matching.unexpected if detection.confidence >= least]
    if len(strangers) > max(1.0, MAX_SURPLUS * count):
        faults.append(f"{len(strangers)} confident detections that the evaluated model does not make")
    return ImageCheck(known.uri, count, len(alike), tuple(faults), reply.seconds)


def _alike(known: Detection, found: Detection) -> bool:
    return abs(known.confidence - found.confidence) <= MAX_CONFIDENCE_DIFFERENCE


def conclude(checks: list[ImageCheck], *, endpoint: str, config: str) -> SmokeResponse:
    """The verdict over all images: every one must be right, and there must be one."""
    about = f"endpoint {endpoint} on {config}"
    if not checks:
        return SmokeResponse(
            passed=False, summary=f"{about}: there are no known answers to check it by", checked=0, matched=0
        )
    known = sum(check.known for check in checks)
    matched = sum(check.matched for check in checks) / known if known else float(not any(c.faults for c in checks))
    faulty = [check for check in checks if check.faults]
    slowest = max(check.seconds for check in checks)
    if faulty:
        first = faulty[0]
        summary = (
            f"{about}: {len(faulty)} of {len(checks)} images answered wrongly; {first.uri}: {'; '.join(first.faults)}"
        )
    else:
        summary = (
            f"{about}: {len(checks)} images answered as evaluated, {matched:.0%} of {known} detections, slowest "
            f"{slowest:.2f} s"
        )
    return SmokeResponse(passed=not faulty, summary=summary, checked=len(checks), matched=matched)


def ask(
    runtime: Any,
    request: SmokeRequest,
    image: bytes,
    content_type: str,
    inference_id: str,
    *,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.perf_counter,
) -> Reply:
    """Invoke the endpoint with one image; `runtime` is a boto3 sagemaker-runtime client.

    A fleet that has just taken over may refuse for a moment, so errors that pass are tried again, ATTEMPTS times in
    all with doubling pauses. What the model itself answered with 4xx is final: the same image fails the same way.
    """
    arguments = {
        "EndpointName": request.endpoint_name,
        "ContentType": content_type,
        "Accept": "application/json",
        "Body": image,
        "InferenceId": inference_id,
    }
    if request.variant_name:
        arguments["TargetVariant"] = request.variant_name
    error = ""
    for attempt in range(1, ATTEMPTS + 1):
        started = clock()
        try:
            answer = runtime.invoke_endpoint(**arguments)
            return Reply(body=answer["Body"].read(), seconds=clock() - started, attempts=attempt)
        except ClientError as failure:
            error, passing = _told(failure)
        except BotoCoreError as failure:
            error, passing = f"the endpoint cannot be reached: {failure}", True
        if not passing:
            return Reply(error=error, seconds=clock() - started, attempts=attempt)
        if attempt < ATTEMPTS:
            sleep(FIRST_PAUSE_SECONDS * 2 ** (attempt - 1))
    return Reply(error=f"{error} (tried {ATTEMPTS} times)", seconds=clock() - started, attempts=ATTEMPTS)


def _told(failure: ClientError) -> tuple[str, bool]:
    """The failure as a sentence, and whether trying again can help."""
    code = failure.response["Error"]["Code"]
    message = failure.response["Error"].get("Message", "")
    if code == "ModelError":
        status = failure.response.get("OriginalStatusCode")
        said = failure.response.get("OriginalMessage") or message
        return f"the model answered HTTP {status}: {_short(said)}", not (status and 400 <= status < 500)
    return f"the endpoint refused: {code}: {_short(message)}", code in TRANSIENT


def _short(text: str) -> str:
    return text if len(text) <= 300 else text[:300] + "…"


def read_golden_predictions(body: bytes) -> GoldenPredictions:
    """Parse golden-predictions.json. Raises ValueError saying what is wrong with it."""
    try:
        return GoldenPredictions.model_validate(json.loads(body))
    except (ValidationError, ValueError) as error:
        raise ValueError(f"the known answers cannot be read: {error}") from error
