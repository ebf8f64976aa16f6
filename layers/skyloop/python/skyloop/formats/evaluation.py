"""evaluation.json: what the evaluation job measured of candidate and champion on the frozen test set.

Scores are COCO's average precisions, 0..1, as faster-coco-eval computes them. A score that could not be measured (no
boxes, a broken evaluation) arrives as null or NaN; the document can be read anyway, and the gate says what it means.
"""

from __future__ import annotations

import math
from typing import TypeGuard

from pydantic import Field, ValidationError

from skyloop.documents import Document, JsonObject, Sha256


class EvaluationUnreadable(ValueError):
    """The evaluation document is not JSON or lacks what every evaluation has."""


class ClassScores(Document):
    """One class. `boxes` counts its ground-truth boxes in the test set; the fewer, the less its AP means."""

    ap50: float | None = None
    ap50_95: float | None = None
    boxes: int = Field(default=0, ge=0)


class PartScores(Document):
    """A part of the test set: the boxes of one size, or the pictures of one flight."""

    map50: float | None = None
    boxes: int = Field(default=0, ge=0)


class ModelScores(Document):
    """One model on the test set, on whole pictures. `test_set_id` is there where it may differ from the document's."""

    map50: float | None
    map50_95: float | None = None
    precision: float | None = None
    recall: float | None = None
    per_class: dict[str, ClassScores] = Field(default_factory=dict)
    by_size: dict[str, PartScores] = Field(default_factory=dict, description="COCO's small, medium, large")
    by_flight: dict[str, PartScores] = Field(default_factory=dict)
    test_set_id: str | None = None
    training_job: str | None = None


class Comparison(Document):
    """Candidate minus champion: positive is better. `interval` is the difference's bootstrap interval."""

    map50_difference: float | None
    interval: tuple[float | None, float | None]
    confidence: float = Field(default=0.95, gt=0, lt=1)
    resamples: int = Field(default=0, ge=0)
    method: str = ""
    categories: tuple[str, ...] | None = Field(default=None, description="the classes compared; null: all")


class Slicing(Document):
    """How the candidate looks at pictures, and what it finds of them as wholes. `side` in pixels; null: no slices.

    `cost` is the network's work for a picture of the test set, in squares of its input.
    """

    side: int | None
    overlap: float
    whole: bool
    cost: float
    map50_without: float | None


class MeasuredEngine(Document):
    """What runs the network, beside ONNX Runtime, on the machine that evaluated.

    `milliseconds` of a core for one look; `alike`, the share of detections that both make, 0..1; of a network in INT8
    that is fast enough its scores on labeled pictures of the validation flights, and ONNX Runtime's on the same; why it
    was `refused`, if it was.
    """

    milliseconds: float | None = None
    alike: float | None = None
    map50: float | None = None
    map50_reference: float | None = None
    map50_95: float | None = None
    map50_95_reference: float | None = None
    images: int | None = None
    boxes: int | None = None
    refused: str = ""


class ChosenEngine(Document):
    """What the candidate was judged with, and is to be served with. `measured` is empty where it was fixed."""

    name: str
    measured: dict[str, MeasuredEngine] = Field(default_factory=dict)


class DroppedImage(Document):
    """An image of the test set that could not be used. `name` is its path below `labeled-data/`."""

    name: str
    reason: str


class Evaluation(Document):
    """The whole document. `images` and `boxes` count the test set.

    The digests are those of the candidate's archive and of the golden predictions; null where an older image, or one of
    your own, computed none.
    """

    dataset_id: str
    test_set_id: str
    training_job: str
    images: int = Field(ge=0)
    boxes: int = Field(ge=0)
    candidate: ModelScores
    champion: ModelScores | None = None
    comparison: Comparison | None = None
    slicing: Slicing | None = Field(default=None, description="null where an image of your own says nothing of it")
    engine: ChosenEngine | None = Field(default=None, description="null likewise")
    dropped: tuple[DroppedImage, ...] = Field(default=(), description="of the test set, left out for both models")
    evaluator: str = "unknown"
    notes: tuple[str, ...] = ()
    model_sha256: Sha256 | None = None
    golden_predictions_sha256: Sha256 | None = None
    versions: JsonObject = Field(default_factory=dict)

    @classmethod
    def parse(cls, body: bytes) -> Evaluation:
        """Read evaluation.json. Raises EvaluationUnreadable, naming every field that is missing or of a wrong kind."""
        try:
            return cls.model_validate_json(body)
        except ValidationError as error:
            wrong = "; ".join(
                f"{'.'.join(map(str, item['loc'])) or 'document'}: {item['msg']}" for item in error.errors()
            )
            raise EvaluationUnreadable(f"the evaluation cannot be read: {wrong}") from error


def is_score(value: float | None) -> TypeGuard[float]:
    """Is `value` a measured score: a number, finite, 0..1?"""
    return value is not None and math.isfinite(value) and 0.0 <= value <= 1.0
