"""An alert's reason is the work's own end, and never that a name was taken when a state was entered again."""

from __future__ import annotations

from typing import Any

import pytest

from tests.infra import wiring
from tests.infra.expressions import run, state, which
from tests.infra.samples import VARIABLES

TAKEN = {
    "training": {"Error": "SageMaker.ResourceInUseException", "Cause": "Training job names must be unique"},
    "labeling": {"Error": "SageMaker.ResourceInUseException", "Cause": "Labeling job names must be unique"},
    "model": {"Error": "SageMaker.SageMakerException", "Cause": "Cannot create already existing model"},
    "endpoint": {"Error": "SageMaker.SageMakerException", "Cause": "Cannot create already existing endpoint"},
}
REFUSED = {"Error": "SageMaker.ResourceLimitExceededException", "Cause": "the quota of ml.g5.xlarge is 0"}
UNKNOWN = {"Error": "SageMaker.SageMakerException", "Cause": "Rate exceeded"}
ENDS = {
    "a training failed": ("Training", "Failed", {"FailureReason": "out of memory"}, "TrainingFailed", "out of memory"),
    "a training failed for no reason": ("Training", "Failed", {}, "TrainingFailed", "no reason"),
    "a training was stopped": ("Training", "Stopped", {}, "TrainingStopped", "Somebody stopped it"),
    "a training took too long": (
        "Training",
        "Stopped",
        {"SecondaryStatus": "MaxRuntimeExceeded"},
        "TrainingMaxRuntimeExceeded",
        "TrainingMaxRuntimeSeconds",
    ),
    "a training gave nothing": ("Training", "Completed", {}, "TrainingCompleted", "without a model"),
    "an evaluation failed in its own words": (
        "Processing",
        "Failed",
        {"ExitMessage": "no test set", "FailureReason": "exit 1"},
        "EvaluationFailed",
        "no test set",
    ),
    "an evaluation failed": ("Processing", "Failed", {"FailureReason": "exit 1"}, "EvaluationFailed", "exit 1"),
    "an evaluation was stopped": ("Processing", "Stopped", {}, "EvaluationStopped", "Somebody stopped it"),
}


@pytest.mark.parametrize(("kind", "status", "more", "error", "cause"), ENDS.values(), ids=ENDS)
def test_the_reason_of_a_job_is_how_it_ended(kind: str, status: str, more: Any, error: str, cause: str) -> None:
    variables = {**VARIABLES["retrain"], "error": TAKEN["training"], "lost": 1}
    variables |= {"job": {f"{kind}JobStatus": status, **more}, "failed": "Train" if kind == "Training" else "Evaluate"}
    ended = which("retrain", "CheckTraining" if kind == "Training" else "CheckEvaluation", variables)
    variables |= run(state("retrain", ended).get("Assign", {}), variables)
    assert variables["error"]["Error"] == error
    assert cause in variables["error"]["Cause"]
    alert = run(state("retrain", "DescribeFailure")["Assign"]["alert"], variables)
    assert ("Nothing if that was meant" in alert["next_step"]) == error.endswith("Stopped")
    assert "`skyloop retrain" in alert["next_step"]


LOOKS = [
    ("retrain", "DescribeTraining", "training"),
    ("retrain", "DescribeEvaluation", "training"),
    ("deploy", "FindModel", "model"),
    ("deploy", "FindEndpointConfig", "model"),
    ("label", "FindLabelingJob", "labeling"),
]


@pytest.mark.parametrize(("machine", "name", "taken"), LOOKS)
def test_that_a_name_is_taken_is_no_reason_where_it_cannot_be_looked_up(machine: str, name: str, taken: str) -> None:
    [catch] = state(machine, name)["Catch"]

    def reason(first: wiring.JSON) -> Any:
        changed = run(catch.get("Assign", {}), {**VARIABLES[machine], "error": first}, errorOutput=UNKNOWN)
        return changed.get("error", first)

    assert reason(TAKEN[taken]) == UNKNOWN
    assert reason(REFUSED) == REFUSED


@pytest.mark.parametrize(("strategy", "refused", "error"), [
    ("CREATE", TAKEN["endpoint"], "EndpointFailed"), ("CANARY", REFUSED, REFUSED["Error"]),
])  # fmt: skip
def test_that_a_first_endpoint_is_there_is_not_why_it_failed(strategy: str, refused: wiring.JSON, error: str) -> None:
    variables = {"endpoint": {"EndpointStatus": "Failed"}, "refused": refused, "strategy": strategy}
    assert run(state("move_endpoint", "EndpointFailed")["Assign"]["error"], variables)["Error"] == error
