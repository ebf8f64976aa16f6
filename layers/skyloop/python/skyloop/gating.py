"""The gate's edge: read evaluation and dataset, judge, and leave `decision.json` beside the model."""

from __future__ import annotations

import hashlib
from typing import Literal

from pydantic import AwareDatetime, ValidationError

from skyloop.documents import DatasetDocument, Document, Request
from skyloop.evaluation import Evaluation
from skyloop.gate import Rule, Thresholds, judge
from skyloop.storage import Storage


class GateRequest(Request):
    """What retrain.asl asks."""

    evaluation_uri: str
    dataset_uri: str
    training_job_name: str
    correlation_id: str
    now: AwareDatetime


class GateAnswer(Document):
    """`map50` is null only where the evaluation did not measure one, which is always refused."""

    decision: Literal["approve", "refuse"]
    summary: str
    reasons: list[str]
    decision_uri: str
    map50: float | None
    champion_map50: float | None


class Decision(Document):
    """`model-artifacts/<training job>/decision.json`: the whole decision, for a person and for an audit."""

    decision: Literal["approve", "refuse"]
    summary: str
    reasons: list[str]
    rules: list[Rule]
    thresholds: Thresholds
    map50: float | None
    champion_map50: float | None
    map50_difference: float | None
    difference_interval: tuple[float, float] | None
    training_job: str
    dataset_id: str
    test_set_id: str
    evaluation_uri: str
    evaluation_sha256: str
    evaluator: str
    correlation_id: str
    decided_at: AwareDatetime


class GateInputMissing(LookupError):
    """The evaluation or the dataset document is not there or cannot be read: there is nothing to decide on."""


def decision_key(training_job: str) -> str:
    """Where a training job's decision lies in the data bucket."""
    return f"model-artifacts/{training_job}/decision.json"


def decide(storage: Storage, request: GateRequest, thresholds: Thresholds) -> tuple[Decision, str, bool]:
    """Judge the evaluation and write the decision. Answers (decision, its URI, whether it is a new one).

    The decision of the same evaluation by the same thresholds is made once: asked again, the stored one is returned
    as it was written, time included. Raises ObjectMissing, EvaluationUnreadable or GateInputMissing.
    """
    body = storage.read(storage.key_of(request.evaluation_uri)).body
    digest = hashlib.sha256(body).hexdigest()
    key = decision_key(request.training_job_name)
    stored = _stored(storage, key)
    if stored and stored.evaluation_sha256 == digest and stored.thresholds == thresholds:
        return stored, storage.uri(key), False
    dataset = _dataset(storage, request.dataset_uri)
    evaluation = Evaluation.parse(body)
    verdict = judge(
        evaluation,
        thresholds,
        training_job=request.training_job_name,
        test_set_id=dataset.test_set_id,
        categories=dataset.categories,
    )
    decision = Decision(
        **dict(verdict),
        thresholds=thresholds,
        training_job=request.training_job_name,
        dataset_id=dataset.dataset_id,
        test_set_id=dataset.test_set_id,
        evaluation_uri=request.evaluation_uri,
        evaluation_sha256=digest,
        evaluator=evaluation.evaluator,
        correlation_id=request.correlation_id,
        decided_at=request.now,
    )
    return decision, storage.write_json(key, decision.plain()), True


def _stored(storage: Storage, key: str) -> Decision | None:
    document = storage.read_json_if_there(key)
    try:
        return Decision.model_validate(document) if document is not None else None
    except ValidationError:
        return None  # written by another version: decided again rather than trusted half-read


def _dataset(storage: Storage, uri: str) -> DatasetDocument:
    try:
        return DatasetDocument.model_validate(storage.read_json(storage.key_of(uri)))
    except ValidationError as error:
        raise GateInputMissing(f"{uri} is not a dataset document: {error}") from error
