"""CloudWatch alarms: evaluated by `alarm_evaluation`, and announced on EventBridge as CloudWatch does."""

from __future__ import annotations

import json
import logging
import threading
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from ministack.services import cloudwatch

from laptop.documents import Document
from laptop.ministack_patches import alarm_evaluation
from laptop.ministack_patches.alarm_evaluation import Alarm
from laptop.ministack_patches.events import put_event
from laptop.ministack_patches.patching import Original, patch

OnChange = Callable[[Alarm, str, str, str], None]

log = logging.getLogger(__name__)

_TICK_SECONDS = 1.0
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
        self._lock = threading.RLock()

    def look(self, alarm: Alarm) -> None:
        """Evaluate one alarm of MiniStack's table and bring its state up to date."""
        name, arn, old = alarm["AlarmName"], alarm["AlarmArn"], alarm["StateValue"]
        with self._lock:
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
            if self._clock() - self._set_at.get(arn, float("-inf")) < float(alarm.get("Period", 60)):
                return
            alarm.pop(_BY_HAND, None)
            if alarm.get("ComparisonOperator") not in alarm_evaluation.COMPARISONS or not alarm.get("MetricName"):
                return  # metric math and anomaly detection: the preflight refuses them
            values = self._values(alarm)
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

    def _values(self, alarm: Alarm) -> list[float | None]:
        dimensions = {pair["Name"]: pair["Value"] for pair in alarm.get("Dimensions") or []}
        key = (alarm["Namespace"], alarm["MetricName"], cloudwatch._dims_key(dimensions))
        unit = alarm.get("Unit")
        points = [point for point in cloudwatch._metrics.get(key, []) if not unit or point.get("Unit") == unit]
        statistic = alarm.get("ExtendedStatistic") or alarm.get("Statistic") or "Average"
        values: list[float | None] = []
        for bucket in alarm_evaluation.buckets(
            points, time.time(), float(alarm.get("Period", 60)), alarm_evaluation.evaluation_range(alarm)
        ):
            stats = cloudwatch._calc_stats(bucket)
            values.append(cloudwatch._stat_value(stats, statistic, bucket) if stats else None)
        return values


def _announce(alarm: Document, old: str, new: str, reason: str) -> None:
    """Put "CloudWatch Alarm State Change" on the default bus.

    Source: CloudWatch user guide, "Alarm events and EventBridge", sample events for a single-metric alarm.
    """
    at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "+0000"
    metric = {
        "namespace": alarm.get("Namespace"),
        "name": alarm.get("MetricName"),
        "dimensions": {pair["Name"]: pair["Value"] for pair in alarm.get("Dimensions") or []},
    }
    statistic = alarm.get("ExtendedStatistic") or alarm.get("Statistic")
    detail = {
        "alarmName": alarm["AlarmName"],
        "state": {"value": new, "reason": reason, "timestamp": at},
        "previousState": {"value": old, "timestamp": at},
        "configuration": {
            "description": alarm.get("AlarmDescription", ""),
            "metrics": [
                {
                    "id": str(uuid.uuid4()),
                    "metricStat": {"metric": metric, "period": alarm.get("Period"), "stat": statistic},
                    "returnData": True,
                }
            ],
        },
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
