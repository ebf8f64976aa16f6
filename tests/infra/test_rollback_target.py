"""What a rollback makes of the package that it goes back to: a tampered model goes into no service."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.infra import wiring
from tests.infra.expressions import accepted_by_task, run, state, which
from tests.infra.sample_results import RESULTS
from tests.infra.samples import ERROR, MODEL_SHA256, VARIABLES

PACKAGE = RESULTS["rollback.DescribeTarget"]
CAUSE = "s3://data/model.tar.gz has the SHA-256 0123456789ab…, what was evaluated had ba9876543210…"


def described(package: wiring.JSON) -> Any:
    return VARIABLES["rollback"] | run(state("rollback", "DescribeTarget")["Assign"], result=package)


def told(variables: wiring.JSON, name: str = "RolledBack") -> wiring.JSON:
    return run(state("rollback", name)["Assign"]["alert"], variables)


def test_the_model_that_it_loads_is_compared_before_the_endpoint_is_moved() -> None:
    leading = {
        path
        for path, one in wiring.states(wiring.machine("rollback"))
        if '"Next": "MoveEndpoint"' in json.dumps(one) or one.get("Default") == "MoveEndpoint"
    }
    assert leading - {"MoveEndpoint"} == {
        "CheckTarget", "DescribeTarget", "CheckDigests", "VerifyTarget", "CheckTargetArtifact",
    }  # fmt: skip
    assert which("rollback", "CheckTarget", VARIABLES["rollback"]) == "DescribeTarget"
    variables = described(PACKAGE)
    assert which("rollback", "CheckDigests", variables) == "VerifyTarget"
    arguments = run(state("rollback", "VerifyTarget")["Arguments"], variables)
    accepted_by_task(state("rollback", "VerifyTarget")["Resource"], arguments)
    served = PACKAGE["InferenceSpecification"]["Containers"][0]["ModelDataUrl"]
    assert arguments["Payload"]["artifacts"] == [{"uri": served, "sha256": MODEL_SHA256}]


def test_a_model_that_is_not_the_one_that_was_evaluated_is_not_loaded() -> None:
    (rule,) = state("rollback", "CheckTargetArtifact")["Choices"]
    variables = {**VARIABLES["rollback"], "verification": {"verified": False, "summary": CAUSE}}
    assert which("rollback", "CheckTargetArtifact", variables) == "DescribeFailure"
    alert = told({**variables, **run(rule["Assign"], variables)}, "DescribeFailure")
    assert "skyloop-dev-v1 is not the one that was evaluated" in alert["what"]
    assert alert["why"]["Cause"] == CAUSE
    assert "skyloop-dev-v2 still serves" in alert["kept"]
    assert "`skyloop deploy VERSION`" in alert["next_step"]


@pytest.mark.parametrize("name", ["DescribeTarget", "VerifyTarget"])
def test_a_check_that_cannot_be_made_stops_no_rollback(name: str) -> None:
    (catcher,) = state("rollback", name)["Catch"]
    assert catcher["Next"] == "MoveEndpoint"
    variables = VARIABLES["rollback"] | run(catcher["Assign"], errorOutput=ERROR)
    assert "could not be checked" in told(variables)["what"]
    assert "could not be checked" not in told(VARIABLES["rollback"])["what"]


@pytest.mark.parametrize("package", [{"ModelApprovalStatus": "Approved"}, None])
def test_a_package_without_digest_is_told(package: wiring.JSON | None) -> None:
    name = "CheckDigests" if package else "CheckTarget"
    variables = described(package) if package else {**VARIABLES["rollback"], "target_package_arn": ""}
    rule = next(one for one in state("rollback", name)["Choices"] if run(one["Condition"], variables))
    assert (rule["Next"], rule["Assign"]) == ("MoveEndpoint", {"checked": False})


@pytest.mark.parametrize("why", ["not sharp", None])
def test_a_package_that_somebody_rejected_is_told(why: str | None) -> None:
    package = {**PACKAGE, "ModelApprovalStatus": "Rejected", **({"ApprovalDescription": why} if why else {})}
    package = package if why else {name: value for name, value in package.items() if name != "ApprovalDescription"}
    assert f"Its package is rejected ({why or 'no reason was given'})." in told(described(package))["what"]
    assert "rejected (" not in told(described({**PACKAGE, "ModelApprovalStatus": "Approved"}))["what"]
