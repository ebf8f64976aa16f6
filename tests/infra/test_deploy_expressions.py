"""What deploy's JSONata makes of sample inputs is what the services take and what people read."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.infra import wiring
from tests.infra.expressions import SETTINGS, accepted, run, state, which
from tests.infra.samples import ALARMS, ERROR, RECORD, RECORDED, VARIABLES


def fleet(instances: int) -> wiring.JSON:
    """An endpoint's description with so many instances."""
    return {"ProductionVariants": [{"DesiredInstanceCount": instances}]}


@pytest.mark.parametrize(
    ("instances", "least", "most", "kind"),
    [
        # Without autoscaling the new config says how large the fleet is to be, whatever it is now.
        (1, 1, 1, "ALL_AT_ONCE"),
        (1, 2, 2, "CANARY"),
        (2, 1, 1, "ALL_AT_ONCE"),
        # With it, what it has made of the fleet is kept.
        (1, 1, 4, "ALL_AT_ONCE"),
        (3, 1, 4, "CANARY"),
    ],
)
def test_update_is_a_canary_where_half_the_fleet_is_an_instance(
    instances: int, least: int, most: int, kind: str
) -> None:
    variables = {"endpoint": fleet(instances), "config": "skyloop-dev-v2"}
    settings = {"EndpointInstanceCount": str(least), "EndpointMaxInstanceCount": str(most)}
    arguments = run(state("deploy", "UpdateEndpoint", **settings)["Arguments"], variables)
    assert arguments.get("RetainAllVariantProperties", False) is (most > least)
    accepted("sagemaker", "UpdateEndpoint", arguments)
    policy = arguments["DeploymentConfig"]["BlueGreenUpdatePolicy"]
    routing = policy["TrafficRoutingConfiguration"]
    assert routing["Type"] == kind
    assert routing["WaitIntervalInSeconds"] == (300 if kind == "CANARY" else 0)
    assert routing.get("CanarySize") == ({"Type": "CAPACITY_PERCENT", "Value": 25} if kind == "CANARY" else None)
    waits = routing["WaitIntervalInSeconds"] + policy["TerminationWaitInSeconds"]
    assert policy["MaximumExecutionTimeoutInSeconds"] >= max(600, waits)
    alarms = arguments["DeploymentConfig"]["AutoRollbackConfiguration"]["Alarms"]
    assert [alarm["AlarmName"] for alarm in alarms] == [SETTINGS["ErrorAlarmName"], SETTINGS["LatencyAlarmName"]]


@pytest.mark.parametrize("bake", ["0", "3600"])
def test_every_bake_time_that_the_template_takes_fits(bake: str) -> None:
    variables = {"endpoint": fleet(2), "config": "skyloop-dev-v2"}
    update = state("deploy", "UpdateEndpoint", BakeSeconds=bake, EndpointMaxInstanceCount="2")
    accepted("sagemaker", "UpdateEndpoint", run(update["Arguments"], variables))


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


@pytest.mark.parametrize(("config", "version"), [("skyloop-dev-v12", 12), ("made-by-hand", 0), ("a-v2-b", 0)])
def test_version_in_service_is_read_from_the_config(config: str, version: int) -> None:
    result = {"EndpointStatus": "InService", "EndpointConfigName": config}
    assign = run(state("deploy", "DescribeEndpoint")["Assign"], result=result)
    assert assign["serving_version"] == version
    assert assign["endpoint"] == result


@pytest.mark.parametrize(
    ("status", "config", "last_good", "force", "goes"),
    [
        ("Updating", "skyloop-dev-v2", "", False, "WaitForEndpoint"),
        ("Failed", "skyloop-dev-v2", "", False, "DeleteFailedEndpoint"),
        ("InService", "skyloop-dev-v2", "skyloop-dev-v2", False, "Done"),
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
        "endpoint": {"EndpointStatus": status, "EndpointConfigName": config},
        "config": "skyloop-dev-v2",
        "last_good": {"config": last_good},
        "serving_version": serving,
        "version": 2,
        "force": force,
    }
    assert which("deploy", "CheckEndpointIdle", variables) == goes


@pytest.mark.parametrize(
    ("status", "config", "previous", "goes"),
    [
        ("Updating", "skyloop-dev-v1", "skyloop-dev-v1", "WaitForUpdate"),
        ("RollingBack", "skyloop-dev-v2", "skyloop-dev-v1", "WaitForUpdate"),
        ("InService", "skyloop-dev-v2", "skyloop-dev-v1", "SmokeTest"),
        # A rollback looks like success.
        ("InService", "skyloop-dev-v1", "skyloop-dev-v1", "RejectPackage"),
        ("Failed", "skyloop-dev-v2", "", "DeleteFirstEndpoint"),
        ("Failed", "skyloop-dev-v2", "skyloop-dev-v1", "EndpointBroken"),
        ("UpdateRollbackFailed", "skyloop-dev-v2", "skyloop-dev-v1", "EndpointBroken"),
    ],
)
def test_how_a_deployment_ends(status: str, config: str, previous: str, goes: str) -> None:
    variables = {
        "endpoint": {"EndpointStatus": status, "EndpointConfigName": config},
        "config": "skyloop-dev-v2",
        "previous": previous,
        "refused": {},
    }
    assert which("deploy", "CheckEndpoint", variables) == goes
    if goes == "RejectPackage":
        # What SageMaker would not even begin is not the package's fault.
        assert which("deploy", "CheckEndpoint", {**variables, "refused": ERROR}) == "GuardPrevious"
        assert which("deploy", "CheckPrevious", variables) == "GuardPrevious"


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
    }
    alert = run(state("deploy", "Deployed")["Assign"]["alert"], variables)
    text = json.dumps(alert)
    assert [phrase for phrase in says if phrase not in text] == []
    assert ("cannot canary" in text) == (instances < 2 and previous != "")
    assert ("Fix" in alert["next_step"]) == bool(scaling)


@pytest.mark.parametrize(
    ("approval", "force", "goes"),
    [
        ("Approved", False, "ReadLastGood"),
        ("Rejected", False, "Done"),
        ("PendingManualApproval", False, "Done"),
        ("Rejected", True, "ReadLastGood"),
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
        ("skyloop-dev-v1", {}, ["NOT restored: the endpoint is Failed on skyloop-dev-v2", "restores skyloop-dev-v1"]),
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
        ("InService", "skyloop-dev-v2", "RecordDeployment"),
        ("SystemUpdating", "skyloop-dev-v2", "RecordDeployment"),
        # A rollback began while the smoke test ran.
        ("Updating", "skyloop-dev-v2", "Done"),
        ("InService", "skyloop-dev-v1", "Done"),
    ],
)
def test_a_rollback_during_the_smoke_test_wins(status: str, config: str, goes: str) -> None:
    variables = {"config": "skyloop-dev-v2", "endpoint": {"EndpointStatus": status, "EndpointConfigName": config}}
    assert which("deploy", "CheckStillDeployed", variables) == goes


@pytest.mark.parametrize("machine", ["deploy", "rollback"])
@pytest.mark.parametrize("alarm", ALARMS, ids=lambda alarm: alarm["MetricName"])
def test_alarms_judge_one_config_by_what_the_template_says(machine: str, alarm: wiring.JSON) -> None:
    point = state(machine, "PointAlarms")["ItemProcessor"]["States"]["PointAlarm"]
    arguments = run(point["Arguments"], {"guarded": "skyloop-dev-v7"}, input=alarm)
    accepted("cloudwatch", "PutMetricAlarm", arguments)
    dimensions = {pair["Name"]: pair["Value"] for pair in arguments.pop("Dimensions")}
    assert dimensions == {
        "EndpointName": "skyloop-dev", "VariantName": "primary", "EndpointConfigName": "skyloop-dev-v7",
    }  # fmt: skip
    assert arguments == {key: value for key, value in alarm.items() if key in arguments}
    assert {"Threshold", "Period", "EvaluationPeriods", "TreatMissingData"} <= arguments.keys()


def test_nothing_goes_into_service_without_alarms() -> None:
    variables = {"config": "skyloop-dev-v2", "guarded": "skyloop-dev-v2"}
    assert which("deploy", "CheckGuarded", variables) == "CheckCreateOrUpdate"
    assert which("deploy", "CheckGuarded", {**variables, "guarded": "skyloop-dev-v1"}) == "DescribeFailure"


def test_a_smoke_test_that_could_not_be_made_rejects_nothing() -> None:
    (catcher,) = state("deploy", "SmokeTest")["Catch"]
    assert (catcher["Next"], catcher["Assign"]["failed"]) == ("CheckPrevious", "SmokeTestNotMade")
