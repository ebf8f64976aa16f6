"""Decide whether a candidate may replace the champion. Called by retrain.asl after the evaluation job."""

from __future__ import annotations

from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext
from skyloop.aws.clients import client
from skyloop.aws.observability import logger, metrics, observed
from skyloop.aws.settings import Settings
from skyloop.aws.storage import Storage
from skyloop.documents import GateRequest, GateResponse, JsonObject
from skyloop.gate.decision import decide_on_candidate


@observed
def handler(event: JsonObject, context: LambdaContext) -> JsonObject:
    """A GateRequest in, a GateResponse out. Repeating it returns the decision that was made."""
    request, settings = GateRequest.model_validate(event), Settings.from_environment()
    logger.set_correlation_id(request.correlation_id)
    storage = Storage(client("s3"), settings.data_bucket)
    decision, uri, new = decide_on_candidate(storage, request, settings.thresholds)
    logger.info("decided", decision=decision.decision, summary=decision.summary, decision_uri=uri, new=new)
    metrics.add_dimension("ModelPackageGroup", settings.model_package_group)
    metrics.add_metric("GateDecisionsRepeated", MetricUnit.Count, int(not new))
    if new:  # a repeated call decides nothing and counts no decision
        metrics.add_metric("GateApproved", MetricUnit.Count, int(decision.decision == "approve"))
        metrics.add_metric("GateRefused", MetricUnit.Count, int(decision.decision == "refuse"))
        for name, value in (("CandidateMap50", decision.map50), ("ChampionMap50", decision.champion_map50)):
            if value is not None:
                metrics.add_metric(name, MetricUnit.NoUnit, value)
    return GateResponse(**dict(decision), decision_uri=uri).plain()
