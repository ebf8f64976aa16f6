"""CloudWatch metric alarms, evaluated as CloudWatch documents it.

MiniStack's own evaluation averages over every dimension, knows no DatapointsToAlarm and no TreatMissingData, and looks
at an alarm only when somebody puts data: no rollback alarm would work with it. `evaluate` is the rule, `Watch`
applies it to MiniStack's alarms (`ministack_patches.alarms` puts it in the place of MiniStack's own and starts it).

Source: "Using Amazon CloudWatch alarms", sections "Evaluating an alarm" and "Configuring how CloudWatch alarms treat
missing data"; the tests are the tables of that page.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

Alarm = dict[str, Any]
OnChange = Callable[[Alarm, str, str, str], None]

logger = logging.getLogger(__name__)

_TICK_SECONDS = 1.0

_BREACHES: dict[str, Callable[[float, float], bool]] = {
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
    breaches = _BREACHES[alarm["ComparisonOperator"]]
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


def buckets(points: Sequence[dict[str, Any]], now: float, period: float, count: int) -> list[list[dict[str, Any]]]:
    """Data points by period, newest first.

    The periods end at `now`, where CloudWatch aligns them to the clock: an alarm here is as quick as its data, which
    is what a bake of a few seconds needs.
    """
    found: list[list[dict[str, Any]]] = [[] for _ in range(count)]
    for point in points:
        index = int((now - point["Timestamp"]) // period)
        if 0 <= index < count:
            found[index].append(point)
    return found


class Watch:
    """Keeps MiniStack 1.5.33's metric alarms in the state that their data calls for.

    `on_change(alarm, old_state, new_state, reason)` is called once for every change of state of a metric alarm,
    whether by data or by SetAlarmState. `look` is what `services.cloudwatch._evaluate_alarm` should do; `start` looks
    at every alarm once a second, since an alarm also changes when no data comes.
    """

    def __init__(self, on_change: OnChange, clock: Callable[[], float] = time.monotonic) -> None:
        self._on_change = on_change
        self._clock = clock
        self._seen: dict[str, str] = {}
        self._set_at: dict[str, float] = {}
        self._lock = threading.RLock()

    def look(self, alarm: Alarm) -> None:
        """Evaluate one alarm of MiniStack's table and bring its state up to date."""
        from ministack.services import cloudwatch

        name, arn, old = alarm["AlarmName"], alarm["AlarmArn"], alarm["StateValue"]
        with self._lock:
            known = self._seen.setdefault(arn, old)
            if known != old:  # SetAlarmState, which lasts until CloudWatch's next evaluation
                self._seen[arn] = old
                self._set_at[arn] = self._clock()
                self._on_change(alarm, known, old, alarm.get("StateReason", ""))
            if self._clock() - self._set_at.get(arn, float("-inf")) < float(alarm.get("Period", 60)):
                return
            if alarm.get("ComparisonOperator") not in _BREACHES or not alarm.get("MetricName"):
                return  # metric math and anomaly detection: the preflight refuses them
            values = self._values(alarm)
            new = evaluate(alarm, values, old)
            if new == old:
                return
            shown = [round(value, 4) for value in values if value is not None]
            reason = (
                f"Threshold Crossed: {len(shown)} datapoints {shown} for {alarm['ComparisonOperator']} "
                f"({alarm['Threshold']})"
                if shown
                else "Insufficient Data: no datapoints were received."
            )
            alarm.update(StateValue=new, StateReason=reason, StateUpdatedTimestamp=int(time.time()))
            self._seen[arn] = new
            self._set_at.pop(arn, None)
        cloudwatch._record_history(name, old, new, reason)
        cloudwatch._dispatch_alarm_actions(alarm, old, new, reason)
        cloudwatch._evaluate_parent_alarms(alarm)
        self._on_change(alarm, old, new, reason)

    def start(self) -> Callable[[], None]:
        """Look at every alarm of the default account and region each second; returns a function that stops it."""
        from ministack.services import cloudwatch

        stopped = threading.Event()

        def tick() -> None:
            while not stopped.wait(_TICK_SECONDS):
                for alarm in list(cloudwatch._alarms.values()):
                    try:
                        self.look(alarm)
                    except Exception:
                        logger.exception("alarm %s could not be evaluated", alarm.get("AlarmName"))

        threading.Thread(target=tick, name="alarms", daemon=True).start()
        return stopped.set

    def _values(self, alarm: Alarm) -> list[float | None]:
        from ministack.services import cloudwatch

        dimensions = {pair["Name"]: pair["Value"] for pair in alarm.get("Dimensions") or []}
        key = (alarm["Namespace"], alarm["MetricName"], cloudwatch._dims_key(dimensions))
        unit = alarm.get("Unit")
        points = [point for point in cloudwatch._metrics.get(key, []) if not unit or point.get("Unit") == unit]
        statistic = alarm.get("ExtendedStatistic") or alarm.get("Statistic") or "Average"
        values: list[float | None] = []
        for bucket in buckets(points, time.time(), float(alarm.get("Period", 60)), evaluation_range(alarm)):
            stats = cloudwatch._calc_stats(bucket)
            values.append(cloudwatch._stat_value(stats, statistic, bucket) if stats else None)
        return values
