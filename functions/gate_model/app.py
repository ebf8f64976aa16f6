"""Judge a candidate: may it replace the model in production? (retrain.asl, after the evaluation job)"""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext
from skyloop.clients import client
from skyloop.gate import Thresholds
from skyloop.gating import GateAnswer, GateRequest, decide
from skyloop.observability import logger, metrics, observed
from skyloop.settings import Settings
from skyloop.storage import Storage


@observed
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    request = GateRequest.model_validate(event)
    logger.set_correlation_id(request.correlation_id)
    settings = Settings.from_environment()
    thresholds = Thresholds(
        min_map50=settings.min_map50,
        min_class_ap50=settings.min_class_ap50,
        min_class_boxes=settings.min_class_boxes,
        max_map50_drop=settings.max_map50_drop,
    )
    decision, uri, new = decide(Storage(client("s3"), settings.data_bucket), request, thresholds)
    logger.info("decided", decision=decision.decision, summary=decision.summary, decision_uri=uri, new=new)
    metrics.add_dimension("ModelPackageGroup", settings.model_package_group)
    metrics.add_metric("GateDecisionsRepeated", MetricUnit.Count, int(not new))
    if new:  # a repeated call decides nothing, so it counts no decision
        metrics.add_metric("GateApproved", MetricUnit.Count, int(decision.decision == "approve"))
        metrics.add_metric("GateRefused", MetricUnit.Count, int(decision.decision == "refuse"))
        for name, value in (("CandidateMap50", decision.map50), ("ChampionMap50", decision.champion_map50)):
            if value is not None:
                metrics.add_metric(name, MetricUnit.NoUnit, value)
    return GateAnswer(
        decision=decision.decision,
        summary=decision.summary,
        reasons=decision.reasons,
        decision_uri=uri,
        map50=decision.map50,
        champion_map50=decision.champion_map50,
    ).plain()
