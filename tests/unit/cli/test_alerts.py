"""`alerts` and `status`: what others than Skyloop's machines say on the topic."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from cli import alerts, render
from cli.cloud import Cloud
from cli.output import Terminal

ALARM = {
    "AlarmName": "skyloop-dev-route-failed",
    "AlarmDescription": "An event started no execution; the sweep does its work later. Open route's execution.",
    "NewStateValue": "ALARM",
    "NewStateReason": "Threshold Crossed: 1 datapoint [1.0] was not less than the threshold (1.0).",
    "OldStateValue": "OK",
    "Trigger": {"MetricName": "ExecutionsFailed"},
}
OTHERS = {
    "rings": (ALARM, ("alarm", ALARM["AlarmName"], "The alarm rings", ALARM["AlarmDescription"], "why")),
    "is over": (ALARM | {"NewStateValue": "OK"}, ("alarm", ALARM["AlarmName"], "The alarm is over")),
    "has no data": (ALARM | {"NewStateValue": "INSUFFICIENT_DATA"}, (ALARM["AlarmName"], "too little data")),
    "has no description": (ALARM | {"AlarmDescription": None}, (ALARM["AlarmName"], "The alarm rings.")),
    "is an event": ({"detail-type": "Object Created", "detail": {"n": 1}}, ("message", "a subject", "Object Created")),
    "has no text": ({"what": 5}, ('{"what": 5}',)),
}


@pytest.mark.parametrize(("message", "words"), OTHERS.values(), ids=OTHERS)
def test_what_others_say_on_the_topic_is_told(invoke, cloud: Cloud, message: dict[str, Any], words) -> None:
    """CloudWatch writes JSON without `what`, which was shown as a blank row."""
    archived = {"alert": message, "message_id": "m", "published_at": "2026-03-01T12:00:00Z"}
    body = json.dumps(archived | {"mail_subject": "a subject"})
    cloud.client("s3").put_object(Bucket="skyloop-data", Key="monitoring/alerts/2026/03/01/m.json", Body=body)
    shown = invoke("alerts", "--days", "3650").stdout
    assert [word for word in words if word not in " ".join(shown.split())] == []
    text = io.StringIO()
    Terminal(file=text, width=200).print(render.alerts_table(alerts.latest(cloud, 1, days=3650)))
    assert [word for word in words[:3] if word not in text.getvalue()] == []
