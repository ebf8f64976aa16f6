"""What move_endpoint's JSONata makes of sample inputs is what SageMaker and CloudWatch take."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.infra import wiring
from tests.infra.expressions import SETTINGS, accepted, run, state, which
from tests.infra.samples import ALARMS, ERROR


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
    variables = {"strategy": "CANARY", "instances": instances, "config": "skyloop-dev-v2"}
    settings = {"EndpointInstanceCount": str(least), "EndpointMaxInstanceCount": str(most)}
    arguments = run(state("move_endpoint", "UpdateEndpoint", **settings)["Arguments"], variables)
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
    assert [alarm["AlarmName"] for alarm in alarms] == [
        SETTINGS[f"{kind}AlarmName"] for kind in ("Error", "Broken", "Latency")
    ]


@pytest.mark.parametrize("bake", ["240", "3600"])
def test_every_bake_time_that_the_template_takes_fits(bake: str) -> None:
    variables = {"strategy": "CANARY", "instances": 2, "config": "skyloop-dev-v2"}
    update = state("move_endpoint", "UpdateEndpoint", BakeSeconds=bake, EndpointMaxInstanceCount="2")
    accepted("sagemaker", "UpdateEndpoint", run(update["Arguments"], variables))


def test_back_to_what_was_good_it_goes_at_once_and_without_alarms() -> None:
    variables = {"strategy": "ALL_AT_ONCE", "instances": 3, "config": "skyloop-dev-v1"}
    arguments = run(state("move_endpoint", "UpdateEndpoint")["Arguments"], variables)
    accepted("sagemaker", "UpdateEndpoint", arguments)
    assert arguments["RetainAllVariantProperties"] is True
    policy = arguments["DeploymentConfig"]["BlueGreenUpdatePolicy"]
    assert policy["TrafficRoutingConfiguration"] == {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0}
    assert policy["TerminationWaitInSeconds"] == 0
    assert "AutoRollbackConfiguration" not in arguments["DeploymentConfig"]


PENDING = {"PendingDeploymentSummary": {"EndpointConfigName": "skyloop-dev-v2"}}


@pytest.mark.parametrize(
    ("status", "config", "more", "goes"),
    [
        ("Updating", "skyloop-dev-v1", {}, "WaitForEndpoint"),
        ("RollingBack", "skyloop-dev-v2", {}, "WaitForEndpoint"),
        ("InService", "skyloop-dev-v2", {}, "in-service"),
        # A rollback looks like success.
        ("InService", "skyloop-dev-v1", {}, "rolled-back"),
        ("Failed", "skyloop-dev-v2", {}, "EndpointFailed"),
        ("UpdateRollbackFailed", "skyloop-dev-v2", {}, "EndpointFailed"),
        # SageMaker would not begin; or its answer was lost, or another execution did it.
        ("InService", "skyloop-dev-v1", {"refused": ERROR}, "refused"),
        ("InService", "skyloop-dev-v2", {"refused": ERROR}, "in-service"),
        ("Updating", "skyloop-dev-v1", {"refused": ERROR}, "WaitForEndpoint"),
        # It was in service, and then another execution came.
        ("Updating", "skyloop-dev-v2", {"pending": "skyloop-dev-v3"}, "Overtaken"),
        ("Updating", "skyloop-dev-v2", {"pending": "skyloop-dev-v1"}, "Overtaken"),
        ("Updating", "skyloop-dev-v1", {"pending": "skyloop-dev-v2"}, "WaitForEndpoint"),
        ("InService", "skyloop-dev-v3", {}, "Overtaken"),
    ],
)
def test_what_became_of_the_move(status: str, config: str, more: Any, goes: str) -> None:
    endpoint: wiring.JSON = {"EndpointStatus": status, "EndpointConfigName": config}
    if pending := more.get("pending"):
        endpoint["PendingDeploymentSummary"] = {"EndpointConfigName": pending}
    serves = {"config": "skyloop-dev-v2", "previous": "skyloop-dev-v1"}
    variables = {"endpoint": endpoint, **serves, "refused": {}, **more}
    rules = state("move_endpoint", "CheckEndpoint")["Choices"]
    rule = next((one for one in rules if run(one["Condition"], variables)), {"Next": "EndpointFailed"})
    assert run(rule.get("Assign", {}), variables).get("outcome", rule["Next"]) == goes
    if goes in ("refused", "rolled-back"):  # the alarms judge what serves
        assert rule["Next"] == "ReadAlarms"
        assert run(rule["Assign"], variables)["guarded"] == config


def test_a_change_that_is_under_way_was_not_refused() -> None:
    endpoint = {"EndpointStatus": "Updating", "EndpointConfigName": "skyloop-dev-v1", **PENDING}
    variables = {"endpoint": endpoint, "config": "skyloop-dev-v2", "refused": ERROR}
    rule = state("move_endpoint", "CheckEndpoint")["Choices"][0]
    assert run(rule["Condition"], variables) is True
    assert run(rule["Condition"], {**variables, "config": "skyloop-dev-v3"}) is False
    assert (rule["Assign"], rule["Next"]) == ({"refused": {}}, "WaitForEndpoint")


@pytest.mark.parametrize("alarm", ALARMS, ids=lambda alarm: alarm["AlarmName"])
def test_alarms_judge_one_config_by_what_the_template_says(alarm: wiring.JSON) -> None:
    point = state("move_endpoint", "PointAlarms")["ItemProcessor"]["States"]["PointAlarm"]
    arguments = run(point["Arguments"], {"guarded": "skyloop-dev-v7"}, input=alarm)
    accepted("cloudwatch", "PutMetricAlarm", arguments)
    config = {"Name": "EndpointConfigName", "Value": "skyloop-dev-v7"}
    if "Metrics" in alarm:
        before, after = json.dumps(alarm["Metrics"]), arguments.pop("Metrics")
        assert after == json.loads(before.replace("skyloop-dev-v1", "skyloop-dev-v7"))
        assert json.dumps(after).count("skyloop-dev-v7") == 3
        assert not {"MetricName", "Namespace", "Statistic", "Period", "Dimensions"} & arguments.keys()
    else:
        assert arguments.pop("Dimensions") == [*alarm["Dimensions"][:-1], config]
    assert arguments == {key: value for key, value in alarm.items() if key in arguments}
    assert {"Threshold", "EvaluationPeriods", "TreatMissingData"} <= arguments.keys()
    assert ("Period" in arguments) == ("Metrics" not in alarm)


@pytest.mark.parametrize(
    ("strategy", "outcome", "goes", "unguarded"),
    [
        ("CREATE", "", "CreateEndpoint", "Unguarded"),
        ("CANARY", "", "UpdateEndpoint", "Unguarded"),
        # What was good may come back without them.
        ("ALL_AT_ONCE", "", "UpdateEndpoint", "UpdateEndpoint"),
        ("CANARY", "rolled-back", "Done", "Done"),
    ],
)
def test_nothing_new_goes_into_service_without_alarms(strategy: str, outcome: str, goes: str, unguarded: str) -> None:
    variables = {"strategy": strategy, "outcome": outcome}
    assert which("move_endpoint", "CheckGuarded", variables) == goes
    assert which("move_endpoint", "CheckUnguarded", variables) == unguarded


@pytest.mark.parametrize(
    ("strategy", "refused", "cause", "outcome"),
    [
        ("CREATE", ERROR, 'Could not find endpoint "arn:aws:sagemaker:…"', "refused"),
        ("CREATE", ERROR, "Rate exceeded", "unknown"),
        ("CREATE", {}, "Could not find endpoint", "unknown"),
        ("CANARY", ERROR, "Could not find endpoint", "unknown"),
    ],
)
def test_a_first_endpoint_that_is_not_there_was_refused(
    strategy: str, refused: wiring.JSON, cause: str, outcome: str
) -> None:
    (catcher,) = state("move_endpoint", "WatchEndpoint")["Catch"]
    variables = {"strategy": strategy, "refused": refused}
    found = run(catcher["Assign"], variables, errorOutput={"Error": "SageMaker.SageMakerException", "Cause": cause})
    assert found["outcome"] == outcome
    assert found["error"] == (refused or {"Error": "SageMaker.SageMakerException", "Cause": cause})


@pytest.mark.parametrize(
    ("strategy", "pointed", "goes"),
    [
        ("GUARD", ["skyloop-dev-v2", "skyloop-dev-v2"], "Done"),
        # As a change of the stack leaves them.
        ("GUARD", ["skyloop-dev-v2", "none-yet"], "PointAlarms"),
        ("GUARD", ["none-yet", "none-yet"], "PointAlarms"),
        ("CANARY", ["skyloop-dev-v2", "skyloop-dev-v2"], "PointAlarms"),
    ],
)
def test_alarms_that_judge_what_serves_are_left_as_they_are(strategy: str, pointed: list[str], goes: str) -> None:
    alarms = [
        {"Dimensions": [{"Name": "EndpointName", "Value": "e"}, {"Name": "EndpointConfigName", "Value": name}]}
        for name in pointed
    ]
    variables = {"strategy": strategy, "guarded": "skyloop-dev-v2", "alarms": alarms}
    assert which("move_endpoint", "CheckPointed", variables) == goes
    given = {"config": "skyloop-dev-v2", "previous": "", "strategy": strategy, "instances": 0, "correlation_id": "f"}
    begun = run(state("move_endpoint", "Begin")["Assign"], input=given)
    assert begun["outcome"] == ("in-service" if strategy == "GUARD" else "")


def test_what_serves_is_guarded_again_where_nothing_new_could_be() -> None:
    unguarded = state("move_endpoint", "Unguarded")
    assert unguarded["Next"] == "ReadAlarms"
    for previous, guarded in (("skyloop-dev-v1", "skyloop-dev-v1"), ("", "skyloop-dev-v2")):
        variables = {"config": "skyloop-dev-v2", "previous": previous, "unguarded": ERROR}
        assert run(unguarded["Assign"], variables)["guarded"] == guarded


@pytest.mark.parametrize(("unguarded", "guarded"), [({}, True), (ERROR, False)])
def test_the_end_says_whether_the_alarms_judge_what_serves(unguarded: wiring.JSON, guarded: bool) -> None:
    variables = {"outcome": "in-service", "error": {}, "endpoint": {}, "unguarded": unguarded}
    output = run(state("move_endpoint", "Done")["Output"], variables)
    assert (output["guarded"], output["error"]) == (guarded, unguarded)
