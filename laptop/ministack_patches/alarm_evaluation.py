"""CloudWatch metric alarms, evaluated as CloudWatch documents it.

MiniStack's own evaluation averages over every dimension, knows no DatapointsToAlarm and no TreatMissingData, and looks
at an alarm only when data comes: no rollback alarm would work with it. `evaluate` is the rule; `alarms` applies
it to MiniStack's alarms.

Source: "Using Amazon CloudWatch alarms", sections "Evaluating an alarm" and "Configuring how CloudWatch alarms treat
missing data"; the tests are the tables of that page.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from laptop.documents import Document

Alarm = Document

COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "GreaterThanOrEqualToThreshold": lambda value, threshold: value >= threshold,
    "GreaterThanThreshold": lambda value, threshold: value > threshold,
    "LessThanThreshold": lambda value, threshold: value < threshold,
    "LessThanOrEqualToThreshold": lambda value, threshold: value <= threshold,
}


def evaluation_range(alarm: Alarm) -> int:
    """How many periods are looked at: more than EvaluationPeriods, so that late points still count.

    CloudWatch does not publish the number; its tables look at five periods for three.
    """
    return 2 * int(alarm.get("EvaluationPeriods", 1)) - 1


def evaluate(alarm: Alarm, values: Sequence[float | None], state: str) -> str:
    """The state of an alarm: `OK`, `ALARM` or `INSUFFICIENT_DATA`.

    `values` are the statistic of each period, newest first, None where there is no data; `state` is the current state,
    which `TreatMissingData: ignore` keeps.
    """
    periods = int(alarm.get("EvaluationPeriods", 1))
    needed = int(alarm.get("DatapointsToAlarm") or periods)
    breaches = COMPARISONS[alarm["ComparisonOperator"]]
    threshold = float(alarm["Threshold"])
    known = [breaches(value, threshold) for value in values if value is not None][:periods]
    breaching, missing = sum(known), periods - len(known)
    treatment = alarm.get("TreatMissingData") or "missing"

    if treatment == "breaching":
        return "ALARM" if breaching + missing >= needed else "OK"
    if breaching >= needed:
        return "ALARM"
    if treatment == "notBreaching":
        return "OK"
    if not known:
        return state if treatment == "ignore" else "INSUFFICIENT_DATA"
    if missing and all(known):
        return state if treatment == "ignore" else "ALARM"
    return "OK"


def buckets(points: Sequence[Document], now: float, period: float, count: int) -> list[list[Document]]:
    """Data points by period, newest first.

    The periods end at `now`; CloudWatch aligns them to the clock. So an alarm of this cloud is as quick as its data,
    which a baking period of a few seconds needs.
    """
    periods: list[list[Document]] = [[] for _ in range(count)]
    for point in points:
        index = int((now - point["Timestamp"]) // period)
        if 0 <= index < count:
            periods[index].append(point)
    return periods
