"""UpdateEndpoint: blue/green, canary, alarms, rollback."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.conformance.conftest import wait_until

LONG = 600
"""Seconds of waits that a test ends itself, by an alarm: no machine is so slow that they pass first."""


def guardrails(kind: str, wait: int, alarms: tuple[str, ...] = (), **routing: Any) -> dict[str, Any]:
    traffic = {"Type": kind, "WaitIntervalInSeconds": wait, **routing}
    config: dict[str, Any] = {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": traffic}}
    if alarms:
        config["AutoRollbackConfiguration"] = {"Alarms": [{"AlarmName": name} for name in alarms]}
    return config


def canary(wait: int, *alarms: str) -> dict[str, Any]:
    return guardrails("CANARY", wait, alarms, CanarySize={"Type": "CAPACITY_PERCENT", "Value": 50})


@pytest.fixture
def pair(hosting: Any) -> Any:
    """An endpoint of two instances, and a new config: (name, old config, new config, old model, new model)."""
    old_model, new_model = hosting.model(), hosting.model()
    old, new = (hosting.config(hosting.variant(model, count=2)) for model in (old_model, new_model))
    return hosting.in_service(hosting.create(old)), old, new, old_model, new_model


def test_all_at_once_changes_the_model_without_a_failed_request(hosting: Any, pair: Any) -> None:
    name, _, new, old_model, new_model = pair
    served = [hosting.invoke(name)["model"]]
    hosting.api.update_endpoint(EndpointName=name, EndpointConfigName=new)

    def done() -> bool:
        served.append(hosting.invoke(name)["model"])  # raises if any request fails
        return hosting.describe(name)["EndpointStatus"] == "InService"

    wait_until(done)
    description = hosting.describe(name)
    assert description["EndpointConfigName"] == new
    assert "PendingDeploymentSummary" not in description
    assert served == sorted(served, key=[old_model, new_model].index)  # once the new one serves, the old one is done
    assert {hosting.invoke(name)["model"] for _ in range(6)} == {new_model}


def test_a_canary_splits_traffic_until_an_alarm(hosting: Any, pair: Any) -> None:
    name, old, new, old_model, new_model = pair
    alarm = make_alarm(hosting, name)
    hosting.api.update_endpoint(EndpointName=name, EndpointConfigName=new, DeploymentConfig=canary(LONG, alarm))

    def baking() -> Any:
        description = hosting.describe(name)
        pending = description.get("PendingDeploymentSummary", {}).get("ProductionVariants", [{}])[0]
        return description if pending.get("VariantStatus", [{}])[0].get("Status") == "Baking" else None

    description = wait_until(baking)
    assert description["EndpointStatus"] == "Updating"
    assert description["EndpointConfigName"] == old
    assert description["PendingDeploymentSummary"]["EndpointConfigName"] == new
    served = Counter(hosting.invoke(name)["model"] for _ in range(40))
    assert set(served) == {old_model, new_model}
    ring(hosting, alarm)
    assert hosting.until(name, "InService")["EndpointConfigName"] == old
    assert {hosting.invoke(name)["model"] for _ in range(10)} == {old_model}


def test_a_canary_that_nothing_stops_takes_all_traffic(hosting: Any, pair: Any, listener: Any) -> None:
    name, _, new, _, new_model = pair
    hosting.api.update_endpoint(EndpointName=name, EndpointConfigName=new, DeploymentConfig=canary(1))
    description = hosting.until(name, "InService")
    assert description["EndpointConfigName"] == new
    assert description["LastDeploymentConfig"] == canary(1)
    assert {hosting.invoke(name)["model"] for _ in range(10)} == {new_model}

    arn = description["EndpointArn"]
    events = wait_until(
        lambda: [
            event["detail"]
            for event in listener(lambda event: event["resources"] == [arn])
            if event["detail-type"] == "SageMaker Endpoint Deployment State Change"
        ]
    )
    phases = [
        event["PendingDeploymentSummary"]["ProductionVariants"][0]["VariantStatus"][0]["Status"]
        for event in sorted(events, key=lambda event: event["LastModifiedTime"])
    ]
    assert set(phases) == {"Creating", "ActivatingTraffic", "Baking", "Deleting"}
    assert {event["EndpointStatus"] for event in events} == {"UPDATING"}


def make_alarm(hosting: Any, name: str, period: int = 10) -> str:
    """An alarm on the 5XX rate of an endpoint; its name."""
    alarm = hosting.cloud.name("alarm")
    hosting.cloud.client("cloudwatch").put_metric_alarm(
        AlarmName=alarm,
        Namespace="AWS/SageMaker",
        MetricName="Invocation5XXErrors",
        Dimensions=[{"Name": "EndpointName", "Value": name}, {"Name": "VariantName", "Value": "AllTraffic"}],
        Statistic="Average",
        Period=period,
        EvaluationPeriods=1,
        Threshold=0.1,
        ComparisonOperator="GreaterThanThreshold",
        TreatMissingData="notBreaching",
        ActionsEnabled=False,
    )
    return alarm


def ring(hosting: Any, alarm: str) -> None:
    """Set an alarm off by hand."""
    hosting.cloud.client("cloudwatch").set_alarm_state(AlarmName=alarm, StateValue="ALARM", StateReason="by hand")


def test_an_alarm_in_the_bake_rolls_back_and_looks_like_success(hosting: Any, pair: Any) -> None:
    name, old, _, old_model, _ = pair
    alarm = make_alarm(hosting, name)
    bad = hosting.config(hosting.variant(hosting.model(BEHAVIOR="fails"), count=2))
    hosting.api.update_endpoint(EndpointName=name, EndpointConfigName=bad, DeploymentConfig=canary(LONG, alarm))
    failures = 0

    def rolled_back() -> bool:
        nonlocal failures
        try:
            hosting.invoke(name)
        except ClientError:
            failures += 1
        return hosting.describe(name)["EndpointStatus"] == "InService"

    wait_until(rolled_back)
    description = hosting.describe(name)
    assert failures > 0
    assert description["EndpointConfigName"] == old
    assert not description.get("FailureReason")
    assert "PendingDeploymentSummary" not in description
    assert {hosting.invoke(name)["model"] for _ in range(10)} == {old_model}


def test_an_alarm_set_by_hand_rolls_back_a_fleet_that_waits_to_be_ended(hosting: Any, pair: Any) -> None:
    name, old, new, old_model, new_model = pair
    alarm = make_alarm(hosting, name, period=60)
    config = guardrails("ALL_AT_ONCE", 0, (alarm,))
    config["BlueGreenUpdatePolicy"]["TerminationWaitInSeconds"] = LONG
    hosting.api.update_endpoint(EndpointName=name, EndpointConfigName=new, DeploymentConfig=config)
    wait_until(lambda: hosting.invoke(name)["model"] == new_model)
    ring(hosting, alarm)
    description = hosting.until(name, "InService")
    assert description["EndpointConfigName"] == old
    assert not description.get("FailureReason")
    assert hosting.invoke(name)["model"] == old_model


def test_a_fleet_that_never_gets_healthy_leaves_the_old_in_service(hosting: Any, pair: Any) -> None:
    name, old, _, old_model, _ = pair
    bad = hosting.config(hosting.variant(hosting.model(BEHAVIOR="crashes"), count=2))
    hosting.api.update_endpoint(EndpointName=name, EndpointConfigName=bad)
    description = hosting.until(name, "InService")
    assert description["EndpointConfigName"] == old
    assert {hosting.invoke(name)["model"] for _ in range(4)} == {old_model}


def test_linear_passes_through_its_steps(hosting: Any, pair: Any) -> None:
    name, _, new, _, new_model = pair
    step = {"Type": "INSTANCE_COUNT", "Value": 1}
    config = guardrails("LINEAR", 1, LinearStepSize=step)
    hosting.api.update_endpoint(EndpointName=name, EndpointConfigName=new, DeploymentConfig=config)
    assert hosting.until(name, "InService")["EndpointConfigName"] == new
    assert hosting.invoke(name)["model"] == new_model


def test_an_endpoint_that_is_updating_refuses_changes(hosting: Any, pair: Any) -> None:
    name, old, new, *_ = pair
    api = hosting.api
    alarm = make_alarm(hosting, name)
    api.update_endpoint(EndpointName=name, EndpointConfigName=new, DeploymentConfig=canary(LONG, alarm))
    message = f'Cannot update in-progress endpoint "{hosting.cloud.arn("sagemaker", f"endpoint/{name}")}".'
    desired = [{"VariantName": "AllTraffic", "DesiredInstanceCount": 1}]
    for refused in (
        lambda: api.update_endpoint(EndpointName=name, EndpointConfigName=old),
        lambda: api.delete_endpoint(EndpointName=name),
        lambda: api.update_endpoint_weights_and_capacities(EndpointName=name, DesiredWeightsAndCapacities=desired),
    ):
        with pytest.raises(ClientError) as caught:
            refused()
        assert caught.value.response["Error"] == {"Code": "ValidationException", "Message": message}
    ring(hosting, alarm)
    assert hosting.until(name, "InService")["EndpointConfigName"] == old


def test_variant_properties_are_retained_only_when_asked_to_be(hosting: Any, pair: Any) -> None:
    name, old, new, *_ = pair
    hosting.api.update_endpoint_weights_and_capacities(
        EndpointName=name,
        DesiredWeightsAndCapacities=[{"VariantName": "AllTraffic", "DesiredInstanceCount": 3, "DesiredWeight": 5}],
    )
    hosting.in_service(name)

    def variant(config: str, **members: Any) -> tuple[float, int]:
        hosting.api.update_endpoint(EndpointName=name, EndpointConfigName=config, **members)
        now = hosting.until(name, "InService")["ProductionVariants"][0]
        return now["CurrentWeight"], now["CurrentInstanceCount"]

    assert variant(new, RetainAllVariantProperties=True) == (5.0, 3)
    excluded = [{"VariantPropertyType": "DesiredInstanceCount"}]
    retained = {"RetainAllVariantProperties": True, "ExcludeRetainedVariantProperties": excluded}
    assert variant(old, **retained) == (5.0, 2)
    assert variant(new) == (1.0, 2)
