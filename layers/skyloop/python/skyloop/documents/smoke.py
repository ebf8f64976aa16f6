"""Golden predictions, and the endpoint's answers that the smoke test compares with them."""

from __future__ import annotations

from pydantic import Field

from skyloop.documents.base import Document, JsonObject, Request


class Detection(Document):
    """One detection, as the endpoint answers it. Box in pixels of the image, origin top left; confidence 0..1."""

    category: str
    category_id: int | None = None
    confidence: float = Field(default=1.0, ge=0, le=1)
    left: float = Field(allow_inf_nan=False)
    top: float = Field(allow_inf_nan=False)
    width: float = Field(ge=0, allow_inf_nan=False)
    height: float = Field(ge=0, allow_inf_nan=False)


class SmokeRequest(Request):
    """What deploy.asl asks."""

    endpoint_name: str
    golden_predictions_uri: str
    endpoint_config_name: str
    variant_name: str | None = None
    max_seconds: float | None = Field(default=None, gt=0, description="that a look may usually take")


class SmokeResponse(Document):
    """`matched` is the share of the `known` golden detections found again, 0..1; `checked` counts images.

    Where none is known, a model that sees nothing cannot be told from the one that was evaluated.
    """

    passed: bool
    summary: str
    checked: int = Field(ge=0)
    known: int = Field(ge=0)
    matched: float = Field(ge=0, le=1)


class GoldenPrediction(Document):
    """One test image and what the candidate detected on it.

    `looks` says what that took; one is the network's work on one picture of the size that it was trained on.
    """

    uri: str
    detections: tuple[Detection, ...]
    looks: float = Field(default=1.0, gt=0)


class GoldenPredictions(Document):
    """golden-predictions.json. `training_job`, if it is given, is the job whose model the endpoint must serve."""

    answers: tuple[GoldenPrediction, ...]
    training_job: str | None = None


class EndpointResponse(Document):
    """What the endpoint's JSON must hold at least."""

    detections: tuple[Detection, ...]
    image: dict[str, int]
    profile: JsonObject
    model: JsonObject = Field(default_factory=dict)
