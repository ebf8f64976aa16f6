"""A clock that was set back between two starts: what is kept was written by a clock that was ahead."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from laptop.journal import FILE
from tests.conformance.conftest import wait_until
from tests.conformance.ministack.test_deliveries import bodies, make_queue
from tests.support.homes import Home

pytestmark = pytest.mark.xdist_group("kills")

AHEAD = 24 * 3600.0


def put_ahead(home: Home, changes: dict[str, Callable[[dict[str, Any]], None]]) -> None:
    """Make what a killed cloud wrote that of a clock which was a day ahead."""
    with closing(sqlite3.connect(home.folder / "state" / FILE)) as journal, journal:
        journal.execute("UPDATE clock SET seconds = seconds + ?", (AHEAD,))
        for service, change in changes.items():
            ((text,),) = journal.execute("SELECT state FROM snapshots WHERE service = ?", (service,))

            def each(value: dict[str, Any], change: Callable[[dict[str, Any]], None] = change) -> dict[str, Any]:
                change(value)
                return value

            state = json.dumps(json.loads(text, object_hook=each))
            journal.execute("UPDATE snapshots SET state = ? WHERE service = ?", (state, service))


def move(name: str, seconds: float) -> Callable[[dict[str, Any]], None]:
    def change(value: dict[str, Any]) -> None:
        if name in value:
            value[name] += seconds

    return change


def test_a_schedule_goes_on_after_the_clock_was_set_back(home: Home) -> None:
    events, queue = home.client("events"), make_queue(home, "queue")
    events.put_rule(Name="rule", ScheduleExpression="rate(1 minute)")
    events.put_targets(Rule="rule", Targets=[{"Id": "one", "Arn": queue}])
    home.kill()
    put_ahead(home, {"eventbridge": move("CreationTime", AHEAD - 60)})  # made a minute before the end
    home.start()
    assert any("before the last write" in sentence for sentence in home.found)
    assert wait_until(lambda: bodies(home, "queue"))[0]["detail-type"] == "Scheduled Event"


def test_a_message_comes_again_after_the_clock_was_set_back(home: Home) -> None:
    make_queue(home, "queue")
    sqs = home.client("sqs")
    url = sqs.get_queue_url(QueueName="queue")["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="{}")
    assert sqs.receive_message(QueueUrl=url, VisibilityTimeout=2)["Messages"]
    sqs.create_queue(QueueName="other")  # its answer waits until all this is written down
    home.kill()
    put_ahead(home, {"sqs": move("visible_at", AHEAD)})
    home.start()
    assert wait_until(lambda: bodies(home, "queue")) == [{}]
