"""The gate's thresholds, rules, request, response and decision."""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime, Field

from skyloop.documents.base import Document, Request, Sha256


class Thresholds(Document):
    """The template's gate parameters. `max_map50_drop` is an mAP50 difference, 0.02 = two points."""

    min_map50: float = Field(ge=0, le=1)
    min_class_ap50: float = Field(ge=0, le=1)
    min_class_boxes: int = Field(ge=0)
    max_map50_drop: float = Field(ge=0, le=1)


class Rule(Document):
    """One rule applied. `value` and `threshold` are null where there is no number to compare."""

    name: str
    subject: str | None = Field(default=None, description="the class a per-class rule is about")
    value: float | None = None
    threshold: float | None = None
    passed: bool | None = Field(description="null: not judged, `sentence` says why")
    sentence: str


class GateVerdict(Document):
    """What the gate says. `reasons` are the sentences that decided it: of the failed rules, or of the passed ones.

    In the decision on a refused candidate a last one has the dataset's own warnings, where it has any.
    """

    decision: Literal["approve", "refuse"]
    summary: str
    reasons: list[str]
    rules: list[Rule]
    map50: float | None
    champion_map50: float | None
    map50_difference: float | None = None
    difference_interval: tuple[float, float] | None = None


class GateRequest(Request):
    """What retrain.asl asks."""

    evaluation_uri: str
    dataset_uri: str
    training_job_name: str
    correlation_id: str
    now: AwareDatetime


class GateResponse(Document):
    """`map50` is null only where the evaluation did not measure one, which is always refused.

    The digests and the engine are the evaluation's, for the package to carry; null where it has none.
    """

    decision: Literal["approve", "refuse"]
    summary: str
    reasons: list[str]
    decision_uri: str
    map50: float | None
    champion_map50: float | None
    model_sha256: Sha256 | None
    golden_predictions_sha256: Sha256 | None
    engine: str | None


class Decision(GateVerdict):
    """`model-artifacts/<training job>/decision.json`: the whole decision, for a person and for an audit."""

    thresholds: Thresholds
    training_job: str
    dataset_id: str
    test_set_id: str
    evaluation_uri: str
    evaluation_sha256: str
    model_sha256: Sha256 | None = Field(default=None, description="of the model.tar.gz that was evaluated")
    golden_predictions_sha256: Sha256 | None = None
    engine: str | None = Field(default=None, description="that the model was evaluated with")
    evaluator: str
    correlation_id: str
    decided_at: AwareDatetime
