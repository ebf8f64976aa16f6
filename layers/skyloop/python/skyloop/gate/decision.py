"""The gate: read evaluation and dataset, apply the rules, and write `decision.json` beside the model."""

from __future__ import annotations

import hashlib

from pydantic import ValidationError

from skyloop import layout
from skyloop.aws.storage import Storage
from skyloop.documents import DatasetDocument, Decision, GateRequest, GateVerdict, Thresholds
from skyloop.formats.evaluation import Evaluation
from skyloop.gate.rules import apply_rules

MAX_WARNINGS = 5  # in an alert; dataset.json has all


class GateInputMissing(LookupError):
    """The dataset document cannot be read: there is nothing to decide on."""


def decide_on_candidate(storage: Storage, request: GateRequest, thresholds: Thresholds) -> tuple[Decision, str, bool]:
    """Judge the evaluation and write the decision. Returns (decision, its URI, whether it is a new one).

    The same evaluation is judged by the same thresholds once: a second call returns the stored decision as it was
    written, time included. Raises ObjectMissing, EvaluationUnreadable or GateInputMissing.
    """
    body = storage.read(storage.key_of(request.evaluation_uri)).body
    digest = hashlib.sha256(body).hexdigest()
    key = layout.ModelArtifacts(request.training_job_name).decision
    stored = _stored(storage, key)
    if stored and stored.evaluation_sha256 == digest and stored.thresholds == thresholds:
        return stored, storage.uri(key), False
    dataset = _dataset(storage, request.dataset_uri)
    evaluation = Evaluation.parse(body)
    verdict = apply_rules(
        evaluation,
        thresholds,
        training_job=request.training_job_name,
        test_set_id=dataset.test_set_id,
        categories=dataset.categories,
    )
    decision = Decision(
        **{**dict(verdict), "reasons": [*verdict.reasons, *_warned(verdict, dataset)]},
        thresholds=thresholds,
        training_job=request.training_job_name,
        dataset_id=dataset.dataset_id,
        test_set_id=dataset.test_set_id,
        evaluation_uri=request.evaluation_uri,
        evaluation_sha256=digest,
        model_sha256=evaluation.model_sha256,
        golden_predictions_sha256=evaluation.golden_predictions_sha256,
        engine=evaluation.engine.name if evaluation.engine else None,
        evaluator=evaluation.evaluator,
        correlation_id=request.correlation_id,
        decided_at=request.now,
    )
    return decision, storage.write_json(key, decision.plain()), True


def _warned(verdict: GateVerdict, dataset: DatasetDocument) -> list[str]:
    """What the dataset's own checks warned of, after the reasons of a refusal: it may be what explains them."""
    warnings = [finding.message for finding in dataset.checks if finding.severity == "warning"]
    if verdict.decision == "approve" or not warnings:
        return []
    more = f"; and {len(warnings) - MAX_WARNINGS} more" if len(warnings) > MAX_WARNINGS else ""
    return [f"the dataset's own warnings: {'; '.join(warnings[:MAX_WARNINGS])}{more}"]


def _stored(storage: Storage, key: str) -> Decision | None:
    document = storage.read_json_if_there(key)
    try:
        return Decision.model_validate(document) if document is not None else None
    except ValidationError:
        return None  # written by another version of Skyloop: decide again


def _dataset(storage: Storage, uri: str) -> DatasetDocument:
    try:
        return DatasetDocument.model_validate(storage.read_json(storage.key_of(uri)))
    except ValidationError as error:
        raise GateInputMissing(f"{uri} is not a dataset document: {error}") from error
