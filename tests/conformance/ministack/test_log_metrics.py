"""Metrics that CloudWatch reads from logs: the embedded metric format, and metric filters."""

from __future__ import annotations

import datetime as dt
import json
import time
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.conformance.conftest import Cloud, wait_until

JSON = dict[str, Any]


def points(cloud: Cloud, namespace: str, name: str, **dimensions: str) -> list[float]:
    """Smallest value, largest value and number of values of a metric; empty where there is none."""
    now = dt.datetime.now(dt.UTC)
    found = cloud.client("cloudwatch").get_metric_statistics(
        Namespace=namespace,
        MetricName=name,
        Dimensions=[{"Name": key, "Value": value} for key, value in dimensions.items()],
        StartTime=now - dt.timedelta(minutes=5),
        EndTime=now + dt.timedelta(minutes=1),
        Period=3600,
        Statistics=["Minimum", "Maximum", "SampleCount"],
    )["Datapoints"]
    return [found[0][each] for each in ("Minimum", "Maximum", "SampleCount")] if found else []


def write(cloud: Cloud, group: str, *lines: str) -> None:
    logs, stream = cloud.client("logs"), cloud.name("stream")
    logs.create_log_stream(logGroupName=group, logStreamName=stream)
    now = int(time.time() * 1000)
    events = [{"timestamp": now, "message": line} for line in lines]
    logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=events)


def test_a_metric_filter_makes_metrics_of_lines(cloud: Cloud, stack: Any) -> None:
    name = cloud.name("Filtered")
    stack(f"""
        Resources:
          Group: {{Type: AWS::Logs::LogGroup, Properties: {{LogGroupName: /mine/{name}}}}}
          Filter:
            Type: AWS::Logs::MetricFilter
            Properties:
              LogGroupName: !Ref Group
              FilterName: {name}
              FilterPattern: "{{ $.look_ms = * }}"
              MetricTransformations:
                - MetricNamespace: {name}
                  MetricName: LookTime
                  MetricValue: $.look_ms
                  Unit: Milliseconds
                  Dimensions: [{{Key: EndpointConfigName, Value: $.config}}]
    """)
    cloud.client("cloudwatch").put_metric_alarm(
        AlarmName=name,
        Namespace=name,
        MetricName="LookTime",
        Dimensions=[{"Name": "EndpointConfigName", "Value": "v2"}],
        ExtendedStatistic="p50",
        Period=10,
        EvaluationPeriods=1,
        Threshold=100,
        ComparisonOperator="GreaterThanThreshold",
        TreatMissingData="notBreaching",
    )
    write(
        cloud,
        f"/mine/{name}",
        json.dumps({"look_ms": 40, "config": "v1"}),
        json.dumps({"look_ms": 60.5, "config": "v1", "more": [1]}),
        json.dumps({"look_ms": 400, "config": "v2"}),
        json.dumps({"look_ms": 5}),  # of no config
        json.dumps({"look_ms": "long", "config": "v1"}),
        json.dumps([{"look_ms": 5}]),
        '{"look_ms": 7, "config"',
        '{"look_ms": ' + "9" * 400 + ', "config": "v1"}',
        "[" * 100_000,
        "a line",
    )
    assert points(cloud, name, "LookTime", EndpointConfigName="v1") == [40, 60.5, 2]
    assert points(cloud, name, "LookTime", EndpointConfigName="v2") == [400, 400, 1]
    assert len(cloud.client("cloudwatch").list_metrics(Namespace=name)["Metrics"]) == 2

    def state() -> str:
        [alarm] = cloud.client("cloudwatch").describe_alarms(AlarmNames=[name])["MetricAlarms"]
        return str(alarm["StateValue"])

    wait_until(lambda: state() == "ALARM")


@pytest.mark.parametrize(
    ("pattern", "matched"),
    [
        ("", [1, 5, 9]),
        ("{ $.n = 5 }", [5]),
        ("{$.n!=5}", [1, 9]),
        ("{ $.n >= 5 }", [5, 9]),
        ('{ $.deep.word = "five" }', [5]),
        ("{ $.deep.word = * }", [5, 9]),
    ],
)
def test_a_pattern_compares_one_member(cloud: Cloud, pattern: str, matched: list[int]) -> None:
    name = cloud.name("Pattern")
    cloud.client("logs").create_log_group(logGroupName=name)
    cloud.client("logs").put_metric_filter(
        logGroupName=name,
        filterName="one",
        filterPattern=pattern,
        metricTransformations=[{"metricNamespace": name, "metricName": "N", "metricValue": "$.n"}],
    )
    lines: list[JSON] = [{"n": 1}, {"n": 5, "deep": {"word": "five"}}, {"n": 9, "deep": {"word": ["nine"]}}]
    write(cloud, name, *map(json.dumps, lines))
    assert points(cloud, name, "N") == [min(matched), max(matched), len(matched)]


@pytest.mark.parametrize("pattern", ["ERROR", "[a, b]", "{ $.a = 1 && $.b = 2 }", "{ $.a IS NULL }", "{ $.a = x* }"])
def test_what_is_not_read_is_refused(cloud: Cloud, pattern: str) -> None:
    name = cloud.name("Pattern")
    cloud.client("logs").create_log_group(logGroupName=name)
    with pytest.raises(ClientError, match="one comparison") as refused:
        cloud.client("logs").put_metric_filter(
            logGroupName=name,
            filterName="one",
            filterPattern=pattern,
            metricTransformations=[{"metricNamespace": name, "metricName": "N", "metricValue": "1"}],
        )
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501


def test_embedded_metrics_become_metrics(cloud: Cloud, function: Any) -> None:
    namespace = cloud.name("Space")
    source = f"""
        import json, time
        def handler(event, context):
            print(json.dumps({{
                "_aws": {{"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": [{{
                    "Namespace": "{namespace}", "Dimensions": [["service"]],
                    "Metrics": [{{"Name": "Images", "Unit": "Count"}}, {{"Name": "Seconds"}}]}}]}},
                "service": "skyloop", "Images": [3.0, 4.0], "Seconds": 1.5}}))
            print(json.dumps({{"_aws": "not of the format"}}))
    """
    cloud.client("lambda").invoke(FunctionName=function(source))
    metrics = cloud.client("cloudwatch").list_metrics(Namespace=namespace)["Metrics"]
    assert sorted(metric["MetricName"] for metric in metrics) == ["Images", "Seconds"]
    assert all(metric["Dimensions"] == [{"Name": "service", "Value": "skyloop"}] for metric in metrics)
    now = dt.datetime.now(dt.UTC)
    [point] = cloud.client("cloudwatch").get_metric_statistics(
        Namespace=namespace,
        MetricName="Images",
        Dimensions=[{"Name": "service", "Value": "skyloop"}],
        StartTime=now - dt.timedelta(minutes=5),
        EndTime=now + dt.timedelta(minutes=1),
        Period=3600,
        Statistics=["Sum", "SampleCount"],
    )["Datapoints"]
    assert (point["Sum"], point["SampleCount"]) == (7, 2)
