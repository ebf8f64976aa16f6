"""Compare an endpoint's answers with its model's golden predictions. Pure: replies in, faults out."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field

from pydantic import ValidationError

from skyloop.documents import Detection, EndpointResponse, GoldenPrediction, GoldenPredictions, SmokeResponse
from skyloop.formats.detections import match_detections
from skyloop.smoke.invocation import Reply

# The same network on the same image: fp32 engines agree to IoU 1.0, int8 to 0.978, bf16 confidences to a few hundredths
# (measured with YOLO11n at 640 px). Anything beyond these is another model, other weights or other preprocessing.
MIN_IOU = 0.75
MAX_CONFIDENCE_DIFFERENCE = 0.15
MIN_MATCHED = 0.9  # share of the golden detections that must be found again
MAX_SURPLUS = 0.2  # confident detections that are not golden, as a share of the golden ones


@dataclass(frozen=True)
class ImageCheck:
    """One image compared. `faults` are sentences; none means that the endpoint answered as it should.

    `seconds` are those of one look: a large picture is looked at in slices, and takes as much longer with any model.
    """

    uri: str
    known: int
    matched: int
    faults: tuple[str, ...] = ()
    seconds: float = field(default=0.0, compare=False)


def read_golden_predictions(body: bytes) -> GoldenPredictions:
    """Parse golden-predictions.json. Raises ValueError saying what is wrong with it."""
    try:
        return GoldenPredictions.model_validate_json(body)
    except ValidationError as error:
        raise ValueError(f"the golden predictions cannot be read: {error}") from error


def check_prediction(golden: GoldenPrediction, reply: Reply, *, training_job: str | None = None) -> ImageCheck:
    """Compare one reply with the golden detections; every difference that matters becomes a sentence."""
    count, seconds = len(golden.detections), reply.seconds / max(golden.looks, 1.0)
    if reply.error:
        return ImageCheck(golden.uri, count, 0, (reply.error,), seconds)
    try:
        answer = EndpointResponse.model_validate_json(reply.body)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "body"
        fault = f"the answer is not a detection answer: {where}: {first['msg']} (it begins {reply.body[:80]!r})"
        return ImageCheck(golden.uri, count, 0, (fault,), seconds)
    faults = []
    served = answer.model.get("training_job")
    if training_job and served != training_job:
        faults.append(f"the endpoint serves the model of {served}, not of {training_job}")
    matching = match_detections(golden.detections, answer.detections, min_iou=MIN_IOU)
    alike = [pair for pair in matching.pairs if _alike(pair.known, pair.found)]
    if len(alike) < MIN_MATCHED * count:
        other = len(matching.pairs) - len(alike)
        faults.append(
            f"{len(alike)} of {count} golden detections found again ({len(matching.missed)} missing, {other} with "
            f"another confidence); the endpoint found {len(answer.detections)}"
        )
    # Golden predictions list what the model was sure of; only an unexpected detection that is as sure counts.
    least = min((detection.confidence for detection in golden.detections), default=1.0) + MAX_CONFIDENCE_DIFFERENCE
    surplus = [detection for detection in matching.unexpected if detection.confidence >= least]
    if len(surplus) > max(1.0, MAX_SURPLUS * count):
        faults.append(f"{len(surplus)} confident detections that the evaluated model does not make")
    return ImageCheck(golden.uri, count, len(alike), tuple(faults), seconds)


def _alike(golden: Detection, found: Detection) -> bool:
    return abs(golden.confidence - found.confidence) <= MAX_CONFIDENCE_DIFFERENCE


def conclude_smoke_test(checks: list[ImageCheck], about: str, max_seconds: float | None) -> SmokeResponse:
    """The result over all images: every one must be right, there must be one, and the median must be quick enough.

    Args:
        checks: one for each image.
        about: what was tested, for the summary.
        max_seconds: that a look may usually take; None for any time. The median, because the first requests to an
            instance are slow, and so is one that meets a busy moment.
    """
    if not checks:
        summary = f"{about}: there are no golden predictions to check it by"
        return SmokeResponse(passed=False, summary=summary, checked=0, known=0, matched=0)
    known = sum(check.known for check in checks)
    matched = sum(check.matched for check in checks) / known if known else float(not any(c.faults for c in checks))
    faulty = [check for check in checks if check.faults]
    usual = statistics.median(check.seconds for check in checks)
    slow = max_seconds is not None and usual > max_seconds
    if faulty:
        first = faulty[0]
        summary = (
            f"{about}: {len(faulty)} of {len(checks)} images answered wrongly; {first.uri}: {'; '.join(first.faults)}"
        )
    elif slow:
        summary = f"{about}: a look takes {usual:.2f} s, and {max_seconds:g} s is the most that it may usually take"
    else:
        summary = (
            f"{about}: {len(checks)} images answered as in the evaluation, {matched:.0%} of {known} detections, "
            f"usually in {usual:.2f} s a look"
        )
    return SmokeResponse(
        passed=not (faulty or slow), summary=summary, checked=len(checks), known=known, matched=matched
    )
