"""CloudWatch alarms over MiniStack, as clients see them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.conformance.conftest import wait_until


def test_an_alarm_sees_only_its_own_dimensions(cloud: Any) -> None:
    cloudwatch, name, namespace = cloud.client("cloudwatch"), cloud.name("alarm"), cloud.name("Space")
    cloudwatch.put_metric_alarm(
        AlarmName=name,
        Namespace=namespace,
        MetricName="Errors",
        Dimensions=[{"Name": "Endpoint", "Value": "mine"}],
        Statistic="Sum",
        Period=10,
        EvaluationPeriods=1,
        Threshold=0,
        ComparisonOperator="GreaterThanThreshold",
        TreatMissingData="notBreaching",
    )

    def state() -> str:
        return cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"][0]["StateValue"]

    def put(endpoint: str) -> None:
        datum = {"MetricName": "Errors", "Value": 1, "Dimensions": [{"Name": "Endpoint", "Value": endpoint}]}
        cloudwatch.put_metric_data(Namespace=namespace, MetricData=[datum])

    wait_until(lambda: state() == "OK")
    put("another")
    assert state() == "OK"
    put("mine")
    wait_until(lambda: state() == "ALARM")


def test_a_change_of_state_is_an_event(cloud: Any, caught_events: Any) -> None:
    cloudwatch, name = cloud.client("cloudwatch"), cloud.name("alarm")
    cloudwatch.put_metric_alarm(
        AlarmName=name,
        AlarmDescription="too slow",
        Namespace="AWS/SageMaker",
        MetricName="ModelLatency",
        Dimensions=[{"Name": "EndpointName", "Value": "skyloop"}],
        Statistic="Average",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="GreaterThanThreshold",
    )
    events = caught_events(
        {
            "source": ["aws.cloudwatch"],
            "detail-type": ["CloudWatch Alarm State Change"],
            "detail": {"alarmName": [name]},
        }
    )
    cloudwatch.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="by hand")
    event = wait_until(lambda: events())[0]
    assert event["resources"] == [cloud.arn("cloudwatch", f"alarm:{name}")]
    assert event["detail"]["state"]["value"] == "ALARM"
    assert event["detail"]["state"]["reason"] == "by hand"
    assert event["detail"]["previousState"]["value"] == "INSUFFICIENT_DATA"
    metric = event["detail"]["configuration"]["metrics"][0]["metricStat"]["metric"]
    assert metric == {"namespace": "AWS/SageMaker", "name": "ModelLatency", "dimensions": {"EndpointName": "skyloop"}}
    assert json.dumps(event)


BROKEN = "IF(errors - refused >= 3 AND 4 * (errors - refused) >= requests, 1, 0)"


def stat(namespace: str, id_: str, **more: Any) -> dict[str, Any]:
    metric = {"Namespace": namespace, "MetricName": id_.title(), "Dimensions": [{"Name": "Endpoint", "Value": "mine"}]}
    return {"Id": id_, "ReturnData": False, "MetricStat": {"Metric": metric, "Period": 10, "Stat": "Sum"}, **more}


@pytest.mark.parametrize("by_template", [False, True])
def test_an_alarm_computes_with_several_metrics(cloud: Any, stack: Any, caught_events: Any, by_template: bool) -> None:
    cloudwatch, name, namespace = cloud.client("cloudwatch"), cloud.name("alarm"), cloud.name("Space")
    alarm = {
        "AlarmName": name,
        "Metrics": [
            {"Id": "broken", "Label": "broken", "Expression": BROKEN},
            *(stat(namespace, one) for one in ("errors", "refused", "requests")),
        ],
        "EvaluationPeriods": 1,
        "Threshold": 1,
        "ComparisonOperator": "GreaterThanOrEqualToThreshold",
        "TreatMissingData": "notBreaching",
    }
    if by_template:
        stack(json.dumps({"Resources": {"Alarm": {"Type": "AWS::CloudWatch::Alarm", "Properties": alarm}}}))
    else:
        cloudwatch.put_metric_alarm(**alarm)

    def described() -> dict[str, Any]:
        (found,) = cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"]
        return dict(found)

    def put(**values: int) -> None:
        dimensions = [{"Name": "Endpoint", "Value": "mine"}]
        data = [{"MetricName": key.title(), "Value": value, "Dimensions": dimensions} for key, value in values.items()]
        cloudwatch.put_metric_data(Namespace=namespace, MetricData=data)

    wait_until(lambda: described()["StateValue"] == "OK")
    assert described()["Metrics"] == alarm["Metrics"]
    assert not {"MetricName", "Namespace", "Statistic", "Period"} & described().keys()
    put(errors=9, refused=7, requests=10)  # two broken
    put(errors=9, requests=40)  # without a third metric's data in some other second
    events = caught_events(
        {"source": ["aws.cloudwatch"], "detail": {"alarmName": [name], "state": {"value": ["ALARM"]}}}
    )
    put(errors=20, refused=0, requests=20)
    wait_until(lambda: described()["StateValue"] == "ALARM")
    metrics = wait_until(lambda: events())[0]["detail"]["configuration"]["metrics"]
    assert [one.get("expression") for one in metrics if one["returnData"]] == [BROKEN]
    assert {one["metricStat"]["metric"]["dimensions"]["Endpoint"] for one in metrics if "metricStat" in one} == {"mine"}
    cloudwatch.set_alarm_state(AlarmName=name, StateValue="OK", StateReason="by hand")
    assert described()["StateValue"] == "OK"
    cloudwatch.put_metric_alarm(**alarm)  # as a deployment points it anew
    assert described()["StateValue"] == "OK"


@pytest.mark.parametrize(
    "metrics",
    [
        [{"Id": "e", "Expression": "SEARCH('x', 'Sum')"}, stat("Space", "errors")],
        [{"Id": "e", "Expression": "errors - others"}, stat("Space", "errors")],
        [{"Id": "e", "Expression": "errors -"}, stat("Space", "errors")],
        [{"Id": "e", "Expression": "errors"}, {"Id": "f", "Expression": "errors"}, stat("Space", "errors")],
        [{"Id": "e", "Expression": "errors"}, stat("Space", "errors", ReturnData=True)],
        [stat("Space", "errors", ReturnData=True)],
    ],
)
def test_metrics_that_cannot_be_computed_are_refused(cloud: Any, metrics: Any) -> None:
    with pytest.raises(ClientError, match=r"laptop cloud|must not"):
        cloud.client("cloudwatch").put_metric_alarm(
            AlarmName=cloud.name("alarm"),
            Metrics=metrics,
            EvaluationPeriods=1,
            Threshold=1,
            ComparisonOperator="GreaterThanThreshold",
        )
