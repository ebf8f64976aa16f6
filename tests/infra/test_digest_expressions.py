"""The digests' way: from the decision into the package, and from the package to what compares them at deployment."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.infra import wiring
from tests.infra.expressions import accepted, run, state, which
from tests.infra.sample_results import RESULTS
from tests.infra.samples import ERROR, GOLDEN_SHA256, MODEL_SHA256, VARIABLES

DIGESTS = {"model_sha256": MODEL_SHA256, "golden_predictions_sha256": GOLDEN_SHA256}
NONE = dict.fromkeys(DIGESTS, "")
CAUSE = "s3://data/model.tar.gz has the SHA-256 0123456789ab…, what was evaluated had ba9876543210…"


def described(package: wiring.JSON) -> Any:
    """What deploy keeps of a package."""
    return run(state("deploy", "DescribePackage")["Assign"], VARIABLES["deploy"], result=package)


@pytest.mark.parametrize("known", [DIGESTS, dict.fromkeys(DIGESTS), {"model_sha256": MODEL_SHA256}, {}])
def test_a_package_carries_the_digests_that_the_evaluation_gave(known: wiring.JSON) -> None:
    decision = {name: value for name, value in VARIABLES["retrain"]["decision"].items() if name not in DIGESTS}
    variables = {**VARIABLES["retrain"], "decision": {**decision, **known}}
    arguments = run(state("retrain", "RegisterPackage")["Arguments"], variables)
    accepted("sagemaker", "CreateModelPackage", arguments)
    metadata = arguments["CustomerMetadataProperties"]
    assert {name: metadata[name] for name in DIGESTS if name in metadata} == {k: v for k, v in known.items() if v}


@pytest.mark.parametrize(
    ("package", "known"),
    [
        (RESULTS["deploy.DescribePackage"], DIGESTS),
        ({"ModelApprovalStatus": "Approved"}, NONE),
        ({"ModelApprovalStatus": "Approved", "CustomerMetadataProperties": {"map50": "0.7"}}, NONE),
    ],
)
def test_a_package_without_digests_is_deployed_unchecked(package: wiring.JSON, known: wiring.JSON) -> None:
    variables = described(package)
    assert {name: variables[name] for name in DIGESTS} == known
    assert which("deploy", "CheckDigests", variables) == ("VerifyArtifacts" if known == DIGESTS else "CreateModel")
    alert = run(state("deploy", "Deployed")["Assign"]["alert"], {**VARIABLES["deploy"], **variables})
    assert ("could not be checked" in alert["what"]) == (known == NONE)


@pytest.mark.parametrize("engine", ["openvino-bf16", None])
def test_what_was_judged_with_an_engine_is_served_with_it(engine: str | None) -> None:
    decision = {**VARIABLES["retrain"]["decision"], "engine": engine}
    register = state("retrain", "RegisterPackage")["Arguments"]["CustomerMetadataProperties"]
    metadata = run(register, {**VARIABLES["retrain"], "decision": decision})
    assert metadata.get("engine") == engine
    package = {**RESULTS["deploy.DescribePackage"], "CustomerMetadataProperties": metadata}
    arguments = run(state("deploy", "CreateModel")["Arguments"], {**VARIABLES["deploy"], **described(package)})
    accepted("sagemaker", "CreateModel", arguments)
    assert arguments["PrimaryContainer"]["Environment"].get("SKYLOOP_ENGINE") == engine
    champion = run(state("retrain", "DescribeChampion")["Assign"]["champion"], {"champion": {}}, result=package)
    judged = run(state("retrain", "Evaluate")["Arguments"], {**VARIABLES["retrain"], "champion": champion})
    accepted("sagemaker", "CreateProcessingJob", judged)
    assert judged["Environment"].get("SKYLOOP_CHAMPION_ENGINE") == engine
    assert judged["Environment"]["SKYLOOP_ENGINE"] == "measured"


@pytest.mark.parametrize("missing", DIGESTS)
def test_what_has_a_digest_is_compared_and_what_has_none_is_told(missing: str) -> None:
    variables = {**VARIABLES["deploy"], missing: ""}
    assert which("deploy", "CheckDigests", variables) == "VerifyArtifacts"
    (artifact,) = run(state("deploy", "VerifyArtifacts")["Arguments"], variables)["Payload"]["artifacts"]
    assert artifact["sha256"] == (GOLDEN_SHA256 if missing == "model_sha256" else MODEL_SHA256)
    assert "could not be checked" in run(state("deploy", "Deployed")["Assign"]["alert"], variables)["what"]


def test_what_the_endpoint_loads_is_what_is_compared() -> None:
    package = RESULTS["deploy.DescribePackage"]
    variables = {**VARIABLES["deploy"], **described(package)}
    model, golden = run(state("deploy", "VerifyArtifacts")["Arguments"], variables)["Payload"]["artifacts"]
    served = package["InferenceSpecification"]["Containers"][0]["ModelDataUrl"]
    tested = package["CustomerMetadataProperties"]["golden_predictions_uri"]
    assert model == {"uri": served, "sha256": MODEL_SHA256}
    assert golden == {"uri": tested, "sha256": GOLDEN_SHA256}


def test_no_model_is_made_before_the_digests_were_looked_at() -> None:
    leading = {path for path, one in wiring.states(wiring.machine("deploy")) if '"CreateModel"' in json.dumps(one)}
    assert leading - {"CreateModel"} == {"CheckDigests", "CheckArtifacts"}


@pytest.mark.parametrize("previous", ["", "skyloop-dev-v1"])
def test_an_artifact_that_differs_rejects_the_package_and_touches_nothing(previous: str) -> None:
    (rule,) = state("deploy", "CheckArtifacts")["Choices"]
    verification = {"verified": False, "summary": CAUSE}
    assert which("deploy", "CheckArtifacts", {"verification": verification}) == "CheckPackage"
    variables = {**VARIABLES["deploy"], "previous": previous, "restored": True, "verification": verification}
    variables |= run(rule["Assign"], variables)
    assert which("deploy", "CheckPackage", variables) == "RejectPackage"
    accepted("sagemaker", "UpdateModelPackage", run(state("deploy", "RejectPackage")["Arguments"], variables))
    assert which("deploy", "CheckPrevious", variables) == "DescribeFailure"
    alert = run(state("deploy", "DescribeFailure")["Assign"]["alert"], variables)
    assert "is not the one that was evaluated" in alert["what"]
    assert alert["why"] == {"Error": "ArtifactDiffers", "Cause": CAUSE}
    assert (f"({previous}) still serves" if previous else "No model is in service") in alert["kept"]
    assert "`skyloop approve 2`" in alert["next_step"]


def test_what_could_not_be_read_rejects_nothing() -> None:
    (catcher,) = state("deploy", "VerifyArtifacts")["Catch"]
    assert catcher["Next"] == "DescribeFailure"
    assert which("deploy", "CheckArtifacts", {"verification": {"verified": True}}) == "CreateModel"
    variables = {**VARIABLES["deploy"], "restored": True, **run(catcher["Assign"], errorOutput=ERROR)}
    alert = run(state("deploy", "DescribeFailure")["Assign"]["alert"], variables)
    assert "could not be prepared: VerifyArtifacts failed" in alert["what"]
    assert "rejected" not in alert["kept"]
