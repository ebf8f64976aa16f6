"""What deploy's JSONata makes of sample inputs is what the services take and what people read."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.infra import wiring
from tests.infra.expressions import run, state, which
from tests.infra.samples import ERROR, RECORD, RECORDED, SAGEMAKER_REASONS, VARIABLES

LONG_AGO = "2026-01-01T00:00:00Z"


def fleet(instances: int) -> wiring.JSON:
    """An endpoint's description with so many instances."""
    return {"ProductionVariants": [{"DesiredInstanceCount": instances}]}


@pytest.mark.parametrize(
    ("listed", "there", "leaving"),
    [
        ([], False, False),
        ([("skyloop-dev-two", "InService")], False, False),
        ([("skyloop-dev", "InService")], True, False),
        ([("skyloop-dev", "Deleting"), ("skyloop-dev-two", "InService")], True, True),
    ],
)
def test_endpoint_is_found_by_its_whole_name(listed: list[tuple[str, str]], there: bool, leaving: bool) -> None:
    result = {"Endpoints": [{"EndpointName": name, "EndpointStatus": status} for name, status in listed]}
    assign = run(state("deploy", "FindEndpoint")["Assign"], result=result)
    assert assign == {"endpoint_there": there, "leaving": leaving}


@pytest.mark.parametrize(
    ("status", "config", "last_good", "force", "goes"),
    [
        ("Updating", "skyloop-dev-v2", "", False, "WaitForEndpoint"),
        ("Failed", "skyloop-dev-v2", "", False, "DeleteFailedEndpoint"),
        ("InService", "skyloop-dev-v2", "skyloop-dev-v2", False, "Guard"),
        ("InService", "skyloop-dev-v2", "skyloop-dev-v1", False, "SmokeTest"),
        ("InService", "skyloop-dev-v3", "skyloop-dev-v3", False, "Done"),
        ("InService", "skyloop-dev-v3", "skyloop-dev-v3", True, "PlanUpdate"),
        ("InService", "skyloop-dev-v1", "skyloop-dev-v1", False, "PlanUpdate"),
        ("UpdateRollbackFailed", "skyloop-dev-v1", "skyloop-dev-v1", False, "PlanUpdate"),
    ],
)
def test_deployment_of_version_2(status: str, config: str, last_good: str, force: bool, goes: str) -> None:
    serving = run(
        state("deploy", "DescribeEndpoint")["Assign"]["serving_version"],
        result={"EndpointStatus": status, "EndpointConfigName": config},
    )
    variables = {
        "endpoint": {"EndpointStatus": status, "EndpointConfigName": config, "LastModifiedTime": LONG_AGO},
        "config": "skyloop-dev-v2",
        "last_good": {"config": last_good},
        "serving_version": serving,
        "version": 2,
        "force": force,
    }
    assert which("deploy", "CheckEndpointIdle", variables) == goes


@pytest.mark.parametrize(
    ("last_good", "changed", "goes"),
    [
        # The deployment of version 1 has not said yet what is to be restored.
        ("skyloop-dev-v0", datetime.now(UTC), "WaitForEndpoint"),
        ("", datetime.now(UTC), "WaitForEndpoint"),
        ("skyloop-dev-v1", datetime.now(UTC), "PlanUpdate"),
        # It never will.
        ("skyloop-dev-v0", datetime(2026, 1, 1, tzinfo=UTC), "PlanUpdate"),
    ],
)
def test_a_deployment_waits_for_the_test_of_what_serves(last_good: str, changed: datetime, goes: str) -> None:
    serving = {"EndpointStatus": "InService", "EndpointConfigName": "skyloop-dev-v1"}
    variables = {
        **VARIABLES["deploy"],
        "endpoint": {**serving, "LastModifiedTime": changed.isoformat()},
        "last_good": {"config": last_good},
    }
    assert which("deploy", "CheckEndpointIdle", variables) == goes
    # What was good is read again: it may be another by then.
    assert state("deploy", "WaitForEndpoint")["Next"] == "ReadLastGood"


@pytest.mark.parametrize(
    ("outcome", "previous", "goes", "failed"),
    [
        ("in-service", "skyloop-dev-v1", "SmokeTest", None),
        ("rolled-back", "skyloop-dev-v1", "FindWhoStopped", "RolledBack"),
        # Whoever changed the endpoint meanwhile says what became of it.
        ("overtaken", "skyloop-dev-v1", "Overtaken", None),
        # What could not even begin is not the package's fault.
        ("unguarded", "skyloop-dev-v1", "DescribeFailure", "Unguarded"),
        ("refused", "skyloop-dev-v1", "DescribeFailure", "Refused"),
        ("failed", "", "DeleteFirstEndpoint", "FirstEndpoint"),
        ("failed", "skyloop-dev-v1", "DescribeFailure", "EndpointBroken"),
        ("unknown", "skyloop-dev-v1", "MoveUnknown", None),
    ],
)
def test_how_a_deployment_ends(outcome: str, previous: str, goes: str, failed: str | None) -> None:
    variables = {"move": outcome, "previous": previous, "error": ERROR}
    assert which("deploy", "CheckMove", variables) == goes
    rule = [one for one in state("deploy", "CheckMove")["Choices"] if run(one["Condition"], variables)][:1]
    assert [one.get("Assign", {}).get("failed") for one in rule] == ([] if goes == "MoveUnknown" else [failed])


@pytest.mark.parametrize(("reason", "machines"), list(SAGEMAKER_REASONS.items()))
def test_a_fault_of_the_machine_is_not_the_packages(reason: str, machines: bool) -> None:
    variables = {
        **VARIABLES["deploy"],
        "move": "rolled-back",
        "error": {"Error": "RolledBack", "Cause": reason},
        "endpoint": {"EndpointConfigName": "skyloop-dev-v1"},
        "failed": "Unprovisioned",
        "restored": True,
    }
    assert which("deploy", "CheckMove", variables) == ("DescribeFailure" if machines else "FindWhoStopped")
    if machines:
        alert = run(state("deploy", "DescribeFailure")["Assign"]["alert"], variables)
        assert "skyloop-dev-v1 serves" in alert["what"]
        assert "the package stays approved" in alert["kept"]
        assert alert["why"]["Cause"] == reason


@pytest.mark.parametrize(
    ("config", "stopped_at", "stopped"),
    [
        ("skyloop-dev-v2", "2026-11-23T10:05:00Z", True),
        # Of another version, or of an earlier deployment of this one.
        ("skyloop-dev-v1", "2026-11-23T10:05:00Z", False),
        ("skyloop-dev-v2", "2026-11-23T09:05:00Z", False),
        (None, None, False),
    ],
)
def test_a_deployment_that_a_person_stopped_says_so(config: str | None, stopped_at: str | None, stopped: bool) -> None:
    """SageMaker knows only of the alarm by which it was stopped."""
    item = {"config": {"S": config}, "reason": {"S": "ugly boxes"}, "stopped_at": {"S": stopped_at}}
    variables = {**VARIABLES["deploy"], "config": "skyloop-dev-v2", "failed": "RolledBack"}
    found = run(state("deploy", "FindWhoStopped")["Assign"], variables, result={"Item": item} if config else {})
    (rule,) = state("deploy", "CheckStopped")["Choices"]
    assert run(rule["Condition"], {**variables, **found}) is stopped
    told = {**variables, **found, **(run(rule["Assign"], {**variables, **found}) if stopped else {})}
    alert = run(state("deploy", "DescribeFailure")["Assign"], told)["alert"]
    assert ("was stopped while it went into service" in alert["what"]) is stopped
    assert ("ugly boxes" in str(alert["why"])) is stopped


def test_sagemaker_has_restored_what_it_rolled_back() -> None:
    variables = {"endpoint": {"EndpointConfigName": "skyloop-dev-v1"}, "previous": "skyloop-dev-v1"}
    assert which("deploy", "CheckPrevious", variables) == "DescribeFailure"


@pytest.mark.parametrize("there", [True, False])
def test_what_there_is_is_moved_with_its_fleet(there: bool) -> None:
    endpoint = {"ProductionVariants": [{"DesiredInstanceCount": 3}]} if there else {}
    serves = "skyloop-dev-v1" if there else ""
    variables = {**VARIABLES["deploy"], "endpoint_there": there, "endpoint": endpoint, "previous": serves}
    given = run(state("deploy", "MoveEndpoint")["Arguments"], variables)["Input"]
    assert (given["strategy"], given["instances"]) == (("CANARY", 3) if there else ("CREATE", 0))
    assert given["previous"] == serves


@pytest.mark.parametrize(
    ("outcome", "trouble"), [("in-service", {}), *((name, ERROR) for name in ("rolled-back", "refused", "failed"))]
)
def test_what_a_restore_comes_to(outcome: str, trouble: wiring.JSON) -> None:
    result = {"Output": {"outcome": outcome, "error": trouble, "endpoint": {}, "guarded": True}}
    assigned = run(state("deploy", "RestorePrevious")["Assign"], result=result)
    assert assigned == {"trouble": trouble, "guarded": True}
    goes = "RestoreFailed" if trouble else "DescribeFailure"
    assert which("deploy", "CheckRestore", assigned) == goes


@pytest.mark.parametrize(("previous", "goes"), [("", "DeleteFirstEndpoint"), ("skyloop-dev-v1", "RestorePrevious")])
def test_what_a_failed_smoke_test_leaves(previous: str, goes: str) -> None:
    variables = {"endpoint": {"EndpointConfigName": "skyloop-dev-v2"}, "previous": previous}
    assert which("deploy", "CheckPrevious", variables) == goes


@pytest.mark.parametrize(
    ("recorded", "before", "kept"),
    [
        ("", "", None),
        ("skyloop-dev-v1", "", "skyloop-dev-v1"),
        ("skyloop-dev-v1", "skyloop-dev-v0", "skyloop-dev-v1"),
        # Deployed again: what it replaced the first time is still the way back.
        ("skyloop-dev-v2", "skyloop-dev-v1", "skyloop-dev-v1"),
        ("skyloop-dev-v2", "", None),
    ],
)
def test_record_keeps_where_a_rollback_goes(recorded: str, before: str, kept: str | None) -> None:
    last_good = {
        "config": recorded,
        "package_arn": "package/1",
        "previous_config": before,
        "previous_package_arn": "package/1",
    }
    variables = {"config": "skyloop-dev-v2", "package_arn": "package/2", "last_good": last_good}
    item = run(state("deploy", "RecordDeployment")["Arguments"]["Item"], variables)
    assert item["config"] == {"S": "skyloop-dev-v2"}
    assert item.get("previous_config") == ({"S": kept} if kept else None)
    assert ("previous_package_arn" in item) == bool(kept)


@pytest.mark.parametrize(
    ("previous", "instances", "scaling", "says"),
    [
        ("", 1, {}, []),
        ("skyloop-dev-v1", 2, {}, ["skyloop-dev-v1 stays ready"]),
        ("skyloop-dev-v1", 1, {}, ["cannot canary"]),
        ("skyloop-dev-v1", 2, {"Error": "Denied", "Cause": "no role"}, ["Denied: no role"]),
    ],
)
def test_deployed_says_what_was_not_as_wished(previous: str, instances: int, scaling: Any, says: list[str]) -> None:
    variables = {
        "config": "skyloop-dev-v2",
        "previous": previous,
        "last_good": {"config": previous},
        "endpoint": fleet(instances),
        "scaling": scaling,
        "summary": "",
        "package_arn": "package/2",
        "golden_predictions_uri": "s3://data/golden-predictions.json",
        "smoke": {"passed": True, "known": 7 if previous else 0},
    }
    alert = run(state("deploy", "Deployed")["Assign"]["alert"], variables)
    text = json.dumps(alert)
    assert [phrase for phrase in says if phrase not in text] == []
    assert ("cannot canary" in text) == (instances < 2 and previous != "")
    assert ("Fix" in alert["next_step"]) == bool(scaling)
    assert ("saw nothing" in text) == (previous == "")


@pytest.mark.parametrize(
    ("recorded", "before", "there"),
    [
        ("", "", False),  # the first version
        ("skyloop-dev-v2", "", False),  # it once more
        ("skyloop-dev-v2", "skyloop-dev-v1", True),
        ("skyloop-dev-v1", "", True),
    ],
)
def test_deployed_advises_no_rollback_that_has_nowhere_to_go(recorded: str, before: str, there: bool) -> None:
    last_good = {"config": recorded, "previous_config": before}
    alert = run(state("deploy", "Deployed")["Assign"]["alert"], {**VARIABLES["deploy"], "last_good": last_good})
    assert ("`skyloop rollback`" in alert["next_step"]) == there
    assert ("no version to roll back to" in alert["next_step"]) == (not there)


@pytest.mark.parametrize(
    ("approval", "force", "goes"),
    [
        ("Approved", False, "FindFormerConfig"),
        ("Rejected", False, "Done"),
        ("PendingManualApproval", False, "Done"),
        ("Rejected", True, "FindFormerConfig"),
    ],
)
def test_only_an_approved_package_is_deployed(approval: str, force: bool, goes: str) -> None:
    assert which("deploy", "CheckApproval", {"approval": approval, "force": force}) == goes


@pytest.mark.parametrize("machine", ["deploy", "rollback"])
def test_what_was_never_recorded_is_empty(machine: str) -> None:
    read = state(machine, "ReadLastGood")["Assign"]["last_good"]
    assert run(read, result=RECORDED) == RECORD
    assert run(read, result={}) == dict.fromkeys(RECORD, "")
    first = {"Item": {"config": {"S": "skyloop-dev-v1"}, "package_arn": {"S": "package/1"}}}
    assert run(read, result=first) == {
        **dict.fromkeys(RECORD, ""),
        "config": "skyloop-dev-v1",
        "package_arn": "package/1",
    }


@pytest.mark.parametrize(
    ("previous", "trouble", "says"),
    [
        (
            "skyloop-dev-v1",
            {"Error": "EndpointFailed", "Cause": "no capacity"},
            ["NOT restored (EndpointFailed: no capacity)", "restores skyloop-dev-v1"],
        ),
        ("skyloop-dev-v1", ERROR, ["NOT restored (SageMaker.SageMakerException", "skyloop-dev-v2 may still serve"]),
        ("", ERROR, ["Nothing served before, so delete it by hand."]),
    ],
)
def test_an_alert_does_not_claim_a_restore_that_failed(previous: str, trouble: wiring.JSON, says: list[str]) -> None:
    variables = {
        **VARIABLES["deploy"],
        "failed": "SmokeTest",
        "restored": False,
        "trouble": trouble,
        "previous": previous,
        "endpoint": {"EndpointStatus": "Failed", "EndpointConfigName": "skyloop-dev-v2"},
    }
    alert = run(state("deploy", "DescribeFailure")["Assign"]["alert"], variables)
    text = f"{alert['kept']} {alert['next_step']}"
    assert [phrase for phrase in says if phrase not in text] == []
    assert "was restored" not in text


@pytest.mark.parametrize(
    ("status", "config", "goes"),
    [
        ("InService", "skyloop-dev-v2", "CheckAnswers"),
        ("SystemUpdating", "skyloop-dev-v2", "CheckAnswers"),
        # A rollback began while the smoke test ran.
        ("Updating", "skyloop-dev-v2", "Overtaken"),
        ("InService", "skyloop-dev-v1", "Overtaken"),
    ],
)
def test_a_rollback_during_the_smoke_test_wins(status: str, config: str, goes: str) -> None:
    variables = {"config": "skyloop-dev-v2", "endpoint": {"EndpointStatus": status, "EndpointConfigName": config}}
    assert which("deploy", "CheckStillDeployed", variables) == goes


@pytest.mark.parametrize(
    ("smoke", "confirmed", "goes", "failed"),
    [
        ({"passed": True, "summary": ""}, True, "RecordDeployment", None),
        ({"passed": True, "summary": ""}, False, "DescribeFailure", None),
        ({"passed": False, "summary": "2 differ"}, True, "CheckPackage", "SmokeTest"),
        ({"passed": False, "summary": "2 differ"}, False, "CheckPackage", "SmokeTest"),
        # A test that could not be made rejects nothing.
        ({"passed": False, "made": False}, True, "CheckPrevious", "SmokeTestNotMade"),
        ({"passed": False, "made": False}, False, "CheckPrevious", "SmokeTestNotMade"),
    ],
)
def test_what_a_smoke_test_comes_to(smoke: wiring.JSON, confirmed: bool, goes: str, failed: str | None) -> None:
    variables = {"smoke": smoke, "failed": "SmokeTest" if confirmed else "ConfirmEndpoint", "unconfirmed": ERROR}
    assert which("deploy", "CheckAnswers", variables) == goes
    rule = [one for one in state("deploy", "CheckAnswers")["Choices"] if run(one["Condition"], variables)][:1]
    assert [one["Assign"].get("failed") for one in rule if "failed" in one["Assign"]] == ([failed] if failed else [])
    (catcher,) = state("deploy", "SmokeTest")["Catch"]
    assert (catcher["Next"], catcher["Assign"]["smoke"]) == ("ConfirmEndpoint", {"passed": False, "made": False})


@pytest.mark.parametrize(
    ("failed", "recorded", "goes"),
    [
        ("SmokeTest", "package/1", "RejectPackage"),
        # On other instances the same package serves.
        ("SmokeTest", "package/2", "CheckPrevious"),
        ("RolledBack", "package/2", "CheckPrevious"),
        ("ArtifactDiffers", "package/2", "RejectPackage"),
    ],
)
def test_instances_are_no_reason_to_reject_what_serves(failed: str, recorded: str, goes: str) -> None:
    variables = {"failed": failed, "package_arn": "package/2", "last_good": {**RECORD, "package_arn": recorded}}
    assert which("deploy", "CheckPackage", variables) == goes


def test_an_alert_says_that_nothing_guards_what_serves_and_what_became_of_the_package() -> None:
    variables = {**VARIABLES["deploy"], "failed": "SmokeTest", "restored": True}
    made = state("deploy", "DescribeFailure")["Assign"]["alert"]
    alert = run(made, {**variables, "guarded": False, "fate": "could not be rejected: run `skyloop reject 2`"})
    assert "could not be pointed at what serves now" in alert["what"]
    assert "could not be rejected: run `skyloop reject 2`" in alert["kept"]
    alert = run(made, {**variables, "guarded": True, "fate": "is rejected"})
    assert "could not be pointed" not in alert["what"]
    assert "the package is rejected" in alert["kept"]


@pytest.mark.parametrize(("guarded", "goes"), [(True, "Done"), (False, "GuardFailed")])
def test_a_version_in_service_is_guarded_again(guarded: bool, goes: str) -> None:
    given = run(state("deploy", "Guard")["Arguments"], VARIABLES["deploy"])["Input"]
    assert (given["strategy"], given["config"]) == ("GUARD", VARIABLES["deploy"]["config"])
    assert which("deploy", "CheckGuard", {"guarded": guarded}) == goes
