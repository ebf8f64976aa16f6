"""CloudWatch alarms: evaluated by `laptop.alarms`, and announced on EventBridge as CloudWatch does."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from typing import Any

from laptop.alarms import Watch
from laptop.ministack_patches.registry import hook


def _announce(alarm: dict[str, Any], old: str, new: str, reason: str) -> None:
    """Put "CloudWatch Alarm State Change" on the default bus.

    Source: CloudWatch user guide, "Alarm events and EventBridge", sample events for a single-metric alarm.
    """
    from ministack.services import eventbridge

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
    eventbridge._put_events({"Entries": [entry]}, allow_aws_source=True)


_watch = Watch(_announce)


def prepare() -> None:
    """Look at every alarm once a second: an alarm also changes state when no data comes."""
    _watch.start()


@hook(
    "services.cloudwatch:_evaluate_alarm",
    because="MiniStack mixes all dimensions of a metric and ignores DatapointsToAlarm and TreatMissingData",
    proof="test_alarms.py::test_an_alarm_sees_only_its_own_dimensions",
)
def _evaluate(original: Any, alarm: dict[str, Any]) -> None:
    _watch.look(alarm)


@hook(
    "services.cloudwatch:_set_alarm_state",
    because="MiniStack never announces a change of state on EventBridge; SetAlarmState is one",
    proof="test_alarms.py::test_a_change_of_state_is_an_event",
)
def _set_state(original: Any, params: Any, document: Any, is_cbor: bool, is_json: bool = False) -> Any:
    from ministack.services import cloudwatch

    answer = original(params, document, is_cbor, is_json)
    name = document.get("AlarmName", "") if is_cbor or is_json else cloudwatch._p(params, "AlarmName")
    if alarm := cloudwatch._alarms.get(name):
        _watch.look(alarm)
    return answer
