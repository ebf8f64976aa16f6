"""CloudWatch alarms: evaluated by `alarm_evaluation`, and announced on EventBridge as CloudWatch does."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from ministack.services import cloudwatch

from laptop.documents import Document
from laptop.ministack_patches import alarm_evaluation, metric_math
from laptop.ministack_patches.alarm_evaluation import Alarm
from laptop.ministack_patches.events import put_event
from laptop.ministack_patches.patching import Original, patch

OnChange = Callable[[Alarm, str, str, str], None]

log = logging.getLogger(__name__)

_TICK_SECONDS = 1.0
_EVERY_SECONDS = 60  # CloudWatch's next evaluation of an alarm, also of one whose period is longer
# A member of an alarm in MiniStack's table, which is written down with it: what was set by hand ends the update that is
# under way, also where the cloud is killed before.
_BY_HAND = "StateSetByHand"


class Watch:
    """Keeps MiniStack 1.5.33's metric alarms in the state that their data calls for.

    `on_change(alarm, old_state, new_state, reason)` is called once for every change of state of a metric alarm,
    whether by data or by SetAlarmState. `look` is what `services.cloudwatch._evaluate_alarm` should do; `start` looks
    at every alarm once per second, since an alarm also changes when no data comes.
    """

    def __init__(self, on_change: OnChange, clock: Callable[[], float] = time.monotonic) -> None:
        self._on_change = on_change
        self._clock = clock
        self._seen: dict[str, str] = {}
        self._set_at: dict[str, float] = {}
        self.lock = threading.RLock()

    def look(self, alarm: Alarm) -> None:
        """Evaluate one alarm of MiniStack's table and bring its state up to date."""
        name, arn, old = alarm["AlarmName"], alarm["AlarmArn"], alarm["StateValue"]
        with self.lock:
            if arn not in self._seen:
                self._seen[arn] = old
                if alarm.get(_BY_HAND):
                    self._set_at[arn] = self._clock()  # its period begins anew with the cloud
            known = self._seen[arn]
            if known != old:  # SetAlarmState, which lasts until CloudWatch's next evaluation
                self._seen[arn] = old
                self._set_at[arn] = self._clock()
                alarm[_BY_HAND] = True
                self._on_change(alarm, known, old, alarm.get("StateReason", ""))
            rests = min(metric_math.stats_of(alarm)[0]["Period"], _EVERY_SECONDS)
            if self._clock() - self._set_at.get(arn, float("-inf")) < rests:
                return
            alarm.pop(_BY_HAND, None)
            if alarm.get("ComparisonOperator") not in alarm_evaluation.COMPARISONS:
                return  # anomaly detection: the preflight refuses it
            values = _values(alarm)
            new = alarm_evaluation.evaluate(alarm, values, old)
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
        stopped = threading.Event()

        def tick() -> None:
            while not stopped.wait(_TICK_SECONDS):
                for alarm in list(cloudwatch._alarms.values()):
                    try:
                        self.look(alarm)
                    except Exception:
                        log.exception("alarm %s could not be evaluated", alarm.get("AlarmName"))

        threading.Thread(target=tick, name="alarms", daemon=True).start()
        return stopped.set


def _values(alarm: Alarm) -> list[float | None]:
    """What an alarm looks at, by period, newest first; None where there is no data."""
    now, count = time.time(), alarm_evaluation.evaluation_range(alarm)
    series = {stat["Id"]: _series(stat, now, count) for stat in metric_math.stats_of(alarm)}
    if not alarm.get("Metrics"):
        (only,) = series.values()
        return only
    expression = metric_math.expression_of(alarm)
    periods = [dict(zip(series, values, strict=True)) for values in zip(*series.values(), strict=True)]
    return [
        None if None in period.values() else metric_math.compute(expression, {k: v or 0.0 for k, v in period.items()})
        for period in periods
    ]


def _series(stat: Document, now: float, count: int) -> list[float | None]:
    metric = stat["Metric"]
    dimensions = {pair["Name"]: pair["Value"] for pair in metric.get("Dimensions") or []}
    key = (metric["Namespace"], metric["MetricName"], cloudwatch._dims_key(dimensions))
    unit = stat.get("Unit")
    points = [point for point in cloudwatch._metrics.get(key, []) if not unit or point.get("Unit") == unit]
    values: list[float | None] = []
    for bucket in alarm_evaluation.buckets(points, now, float(stat["Period"]), count):
        stats = cloudwatch._calc_stats(bucket)
        values.append(cloudwatch._stat_value(stats, stat["Stat"], bucket) if stats else None)
    return values


def _announce(alarm: Document, old: str, new: str, reason: str) -> None:
    """Put "CloudWatch Alarm State Change" on the default bus.

    Source: CloudWatch user guide, "Alarm events and EventBridge", sample events for a single-metric alarm and for one
    of metric math.
    """
    at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "+0000"
    metrics: list[Document] = [
        {
            "id": stat["Id"],
            "metricStat": {
                "metric": {
                    "namespace": stat["Metric"]["Namespace"],
                    "name": stat["Metric"]["MetricName"],
                    "dimensions": {pair["Name"]: pair["Value"] for pair in stat["Metric"].get("Dimensions") or []},
                },
                "period": stat["Period"],
                "stat": stat["Stat"],
            },
            "returnData": not alarm.get("Metrics"),
        }
        for stat in metric_math.stats_of(alarm)
    ]
    if alarm.get("Metrics"):
        metrics.append({"id": "expression", "expression": metric_math.expression_of(alarm), "returnData": True})
    detail = {
        "alarmName": alarm["AlarmName"],
        "state": {"value": new, "reason": reason, "timestamp": at},
        "previousState": {"value": old, "timestamp": at},
        "configuration": {"description": alarm.get("AlarmDescription", ""), "metrics": metrics},
    }
    entry = {
        "Source": "aws.cloudwatch",
        "DetailType": "CloudWatch Alarm State Change",
        "Detail": json.dumps(detail),
        "Resources": [alarm["AlarmArn"]],
    }
    put_event(entry)


_watch = Watch(_announce)


def prepare() -> None:
    """Look at every alarm once per second: an alarm also changes state when no data comes."""
    _watch.start()


@patch(
    "services.cloudwatch:_evaluate_alarm",
    because="MiniStack mixes all dimensions of a metric and ignores DatapointsToAlarm and TreatMissingData",
    proof="test_alarms.py::test_an_alarm_sees_only_its_own_dimensions",
)
def _evaluate(original: Original, alarm: Document) -> None:
    _watch.look(alarm)


_PLACE = {"MetricName": "MetricMath", "Namespace": "MetricMath"}
_OF_ONE_METRIC = (*_PLACE, "Statistic", "ExtendedStatistic", "Period", "Unit", "Dimensions")


@patch(
    "services.cloudwatch:_put_metric_alarm",
    because="MiniStack drops an alarm's Metrics",
    proof="test_alarms.py::test_an_alarm_computes_with_several_metrics",
)
def _put_alarm(original: Original, params: Any, document: Any, is_cbor: bool, is_json: bool = False) -> Any:
    if not (is_cbor or is_json) and any(name.startswith("Metrics.") for name in params):
        return cloudwatch._error("ValidationError", "The laptop cloud takes Metrics in JSON alone.", 400)
    metrics = (document or {}).get("Metrics") if is_cbor or is_json else None
    if not metrics:
        return original(params, document, is_cbor, is_json)
    try:
        metric_math.check(metrics)
    except metric_math.Unsupported as error:
        return cloudwatch._error("ValidationError", str(error), 400, use_json=is_json, use_cbor=is_cbor)
    with _watch.lock:  # or it is looked at before it has its metrics
        answer = original(params, {**document, **_PLACE}, is_cbor, is_json)
        if alarm := cloudwatch._alarms.get(document["AlarmName"]):
            _of_metrics(alarm, metrics)
            _watch.look(alarm)
    return answer


def _of_metrics(alarm: Alarm, metrics: list[Document]) -> Alarm:
    for name in _OF_ONE_METRIC:
        alarm.pop(name, None)
    alarm["Metrics"] = metrics
    return alarm


@patch(
    "services.cloudformation.provisioners:_cw_metric_alarm_record",
    because="MiniStack refuses an alarm's Metrics in a template",
    proof="test_alarms.py::test_an_alarm_computes_with_several_metrics",
)
def _alarm_of_a_template(original: Original, name: str, properties: Document) -> Alarm:
    metrics = properties.get("Metrics")
    if not metrics:
        return original(name, properties)  # type: ignore[no-any-return]
    metric_math.check(metrics)
    others = {key: value for key, value in properties.items() if key != "Metrics"}
    return _of_metrics(original(name, {**others, **_PLACE}), metrics)


@patch(
    "services.cloudwatch:_set_alarm_state",
    because="MiniStack never announces a change of state on EventBridge; SetAlarmState is one",
    proof="test_alarms.py::test_a_change_of_state_is_an_event",
)
def _set_state(original: Original, params: Any, document: Any, is_cbor: bool, is_json: bool = False) -> Any:
    name = document.get("AlarmName", "") if is_cbor or is_json else cloudwatch._p(params, "AlarmName")
    if alarm := cloudwatch._alarms.get(name):
        _watch.look(alarm)  # the state before is what the change is seen by
    answer = original(params, document, is_cbor, is_json)
    if alarm := cloudwatch._alarms.get(name):
        _watch.look(alarm)
    return answer
