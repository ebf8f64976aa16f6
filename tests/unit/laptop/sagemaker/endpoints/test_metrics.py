"""The CloudWatch metrics of endpoints."""

from __future__ import annotations

from typing import Any

import pytest

from laptop.sagemaker.endpoints import metrics

AT = 1_700_000_000.25  # 2023-11-14T22:13:20.250Z


@pytest.mark.parametrize(
    ("status", "expected"),
    [(200, (0, 0, 0)), (404, (1, 0, 1)), (500, (0, 1, 1)), (0, (0, 0, 1)), (302, (0, 0, 1))],
)
def test_metrics_of_a_request(status: int, expected: tuple[int, int, int]) -> None:
    values = metrics.of_request(status, 0.25, 0.001, 4)
    names = ("Invocation4XXErrors", "Invocation5XXErrors", "InvocationModelErrors")
    assert tuple(values[name] for name in names) == expected
    assert values["ModelLatency"] == 250_000
    assert values["OverheadLatency"] == pytest.approx(1000)
    assert values["InvocationsPerInstance"] == 0.25


def test_metrics_are_published_together() -> None:
    published: list[dict[str, Any]] = []
    collector = metrics.Metrics(lambda namespace, data: published.extend(data), clock=lambda: AT)
    for status in (200, 500):
        collector.record("end", "v", "c", metrics.of_request(status, 0.1, 0.0, 1))
    assert collector.flush() == len(published) == 14
    by_name = {datum["MetricName"]: datum for datum in published if len(datum["Dimensions"]) == 2}
    of_the_config = {datum["MetricName"]: datum for datum in published if len(datum["Dimensions"]) == 3}
    assert of_the_config["Invocations"]["Dimensions"][2] == {"Name": "EndpointConfigName", "Value": "c"}
    assert of_the_config["Invocations"]["StatisticValues"] == by_name["Invocations"]["StatisticValues"]
    assert by_name["Invocation5XXErrors"]["StatisticValues"] == {
        "SampleCount": 2.0, "Sum": 1.0, "Minimum": 0.0, "Maximum": 1.0
    }  # fmt: skip
    assert by_name["ModelLatency"]["Values"] == [100_000, 100_000]
    assert by_name["ModelLatency"]["Unit"] == "Microseconds"
    assert by_name["Invocations"]["Dimensions"] == [
        {"Name": "EndpointName", "Value": "end"},
        {"Name": "VariantName", "Value": "v"},
    ]
    assert collector.flush() == 0


def test_many_latencies_are_cut_to_what_cloudwatch_takes() -> None:
    published: list[dict[str, Any]] = []
    collector = metrics.Metrics(lambda namespace, data: published.extend(data))
    for _ in range(301):
        collector.record("end", "v", "c", {"ModelLatency": 1.0})
    collector.flush()
    assert [len(datum["Values"]) for datum in published] == [150, 150, 1] * 2
