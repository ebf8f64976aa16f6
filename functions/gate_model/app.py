"""Judge a candidate: may it replace the model in production? (retrain.asl, after the evaluation job)"""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext
from skyloop.aws.clients import client
from skyloop.aws.observability import logger, metrics, observed
from skyloop.aws.settings import Settings
from skyloop.aws.storage import Storage
from skyloop.documents import GateRequest, GateResponse
from skyloop.gate.record import decide


@observed
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    request = GateRequest.model_validate(event)
    logger.set_correlation_id(request.correlation_id)
    settings = Settings.from_environment()
    decision, uri, new = decide(Storage(client("s3"), settings.data_bucket), request, settings.thresholds)
    logger.info("decided", decision=decision.decision, summary=decision.summary, decision_uri=uri, new=new)
    metrics.add_dimension("ModelPackageGroup", settings.model_package_group)
    metrics.add_metric("GateDecisionsRepeated", MetricUnit.Count, int(not new))
    if new:  # a repeated call decides nothing, so it counts no decision
        metrics.add_metric("GateApproved", MetricUnit.Count, int(decision.decision == "approve"))
        metrics.add_metric("GateRefused", MetricUnit.Count, int(decision.decision == "refuse"))
        for name, value in (("CandidateMap50", decision.map50), ("ChampionMap50", decision.champion_map50)):
            if value is not None:
                metrics.add_metric(name, MetricUnit.NoUnit, value)
    return GateResponse(**dict(decision), decision_uri=uri).plain()
