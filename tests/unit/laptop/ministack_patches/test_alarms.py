"""The tables of "Configuring how CloudWatch alarms treat missing data"."""

from __future__ import annotations

from typing import Any

import pytest
from ministack.services import cloudwatch

from laptop.ministack_patches import alarm_evaluation, alarms

RETAIN = "the state before"


def alarm(needed: int, treatment: str | None = None) -> dict[str, Any]:
    return {
        "EvaluationPeriods": 3,
        "DatapointsToAlarm": needed,
        "Threshold": 5.0,
        "ComparisonOperator": "GreaterThanThreshold",
        "TreatMissingData": treatment,
    }


def values(drawn: str) -> list[float | None]:
    """The page draws the oldest point first: 0 is not breaching, X breaching, - missing."""
    return [{"0": 1.0, "X": 9.0, "-": None}[point] for point in reversed(drawn)]


# (points, M of 3, missing, ignore, breaching, notBreaching)
TABLES = [
    ("0-X-X", 3, "OK", "OK", "OK", "OK"),
    ("0----", 3, "OK", "OK", "OK", "OK"),
    ("-----", 3, "INSUFFICIENT_DATA", RETAIN, "ALARM", "OK"),
    ("0XX-X", 3, "ALARM", "ALARM", "ALARM", "ALARM"),
    ("--X--", 3, "ALARM", RETAIN, "ALARM", "OK"),
    ("0-X-X", 2, "ALARM", "ALARM", "ALARM", "ALARM"),
    ("00X0X", 2, "ALARM", "ALARM", "ALARM", "ALARM"),
    ("0-X--", 2, "OK", "OK", "ALARM", "OK"),
    ("----0", 2, "OK", "OK", "ALARM", "OK"),
    ("---X-", 2, "ALARM", RETAIN, "ALARM", "OK"),
]


@pytest.mark.parametrize("state", ["OK", "ALARM", "INSUFFICIENT_DATA"])
@pytest.mark.parametrize("column", range(4))
@pytest.mark.parametrize("row", TABLES, ids=[f"{row[0]} {row[1]} of 3" for row in TABLES])
def test_missing_data(row: tuple[Any, ...], column: int, state: str) -> None:
    treatment = ("missing", "ignore", "breaching", "notBreaching")[column]
    expected = row[2 + column]
    assert alarm_evaluation.evaluate(alarm(row[1], treatment), values(row[0]), state) == (
        state if expected == RETAIN else expected
    )


@pytest.mark.parametrize(
    ("operator", "value", "state"),
    [
        ("GreaterThanThreshold", 5.0, "OK"),
        ("GreaterThanThreshold", 5.1, "ALARM"),
        ("GreaterThanOrEqualToThreshold", 5.0, "ALARM"),
        ("LessThanThreshold", 5.0, "OK"),
        ("LessThanThreshold", 4.9, "ALARM"),
        ("LessThanOrEqualToThreshold", 5.0, "ALARM"),
    ],
)
def test_operators(operator: str, value: float, state: str) -> None:
    strict = {"EvaluationPeriods": 1, "Threshold": 5, "ComparisonOperator": operator}
    assert alarm_evaluation.evaluate(strict, [value], "OK") == state


def test_the_range_looked_at_is_longer_than_the_periods() -> None:
    assert alarm_evaluation.evaluation_range(alarm(3)) == 5
    assert alarm_evaluation.evaluation_range({"EvaluationPeriods": 1}) == 1


def test_points_fall_into_periods_that_end_now() -> None:
    points = [{"Timestamp": at} for at in (100.0, 95.0, 90.0, 89.9, 70.0, 101.0)]
    buckets = alarm_evaluation.buckets(points, now=100.0, period=10.0, count=2)
    assert [[point["Timestamp"] for point in bucket] for bucket in buckets] == [[100.0, 95.0], [90.0, 89.9]]


class Watched:
    """One alarm in MiniStack's tables, and a Watch over it whose clock the tests move."""

    def __init__(self, name: str) -> None:
        self.now = 0.0
        self.changes: list[tuple[str, str]] = []
        self.watch = alarms.Watch(lambda _, old, new, __: self.changes.append((old, new)), clock=lambda: self.now)
        self.alarm = {
            **alarm(1, "notBreaching"),
            "EvaluationPeriods": 1,
            "AlarmName": name,
            "AlarmArn": f"arn:aws:cloudwatch:us-east-1:000000000000:alarm:{name}",
            "Namespace": name,
            "MetricName": "Errors",
            "Statistic": "Sum",
            "Period": 60,
            "Dimensions": [{"Name": "VariantName", "Value": "v"}],
            "StateValue": "INSUFFICIENT_DATA",
            "ActionsEnabled": False,
        }

    def put(self, value: float, variant: str = "v", unit: str = "None") -> str:
        """A data point now; the state after it."""
        cloudwatch.record_metric(self.alarm["Namespace"], "Errors", value, unit, {"VariantName": variant})
        return self.look()

    def look(self) -> str:
        self.watch.look(self.alarm)
        return self.alarm["StateValue"]


def test_an_alarm_follows_its_own_metric_only() -> None:
    watched = Watched("follows")
    assert watched.look() == "OK"
    assert watched.put(100, variant="other") == "OK"
    assert watched.put(3) == "OK"
    assert watched.put(3) == "ALARM"
    assert watched.changes == [("INSUFFICIENT_DATA", "OK"), ("OK", "ALARM")]


def test_a_unit_that_the_alarm_names_has_to_match() -> None:
    watched = Watched("units")
    watched.alarm["Unit"] = "Seconds"
    assert watched.put(100, unit="Count") == "OK"
    assert watched.put(100, unit="Seconds") == "ALARM"


def test_a_state_set_by_hand_outlasts_the_end_of_the_cloud() -> None:
    watched = Watched("by-hand-before")
    assert watched.look() == "OK"
    watched.alarm["StateValue"] = "ALARM"
    assert watched.look() == "ALARM"
    again = Watched("by-hand-before")
    again.alarm = watched.alarm
    assert again.look() == "ALARM"
    again.now = 60.0
    assert again.look() == "OK"
    assert again.changes == [("ALARM", "OK")]


@pytest.mark.parametrize("period", [60, 900])
def test_a_state_set_by_hand_lasts_until_the_next_evaluation_and_is_announced(period: int) -> None:
    watched = Watched(f"by-hand-{period}")
    watched.alarm["Period"] = period
    assert watched.look() == "OK"
    watched.alarm["StateValue"] = "ALARM"  # what SetAlarmState does
    assert watched.look() == "ALARM"
    watched.now = 59.0
    assert watched.look() == "ALARM"
    watched.now = 60.0
    assert watched.look() == "OK"
    assert watched.changes == [("INSUFFICIENT_DATA", "OK"), ("OK", "ALARM"), ("ALARM", "OK")]
