"""CloudWatch alarms over MiniStack, as clients see them."""

from __future__ import annotations

import json
from typing import Any

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
