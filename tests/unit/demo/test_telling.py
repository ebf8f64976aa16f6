"""The demo's subscriber, its pictures and its page."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from rich.console import Console
from skyloop.aws.settings import Settings
from skyloop.documents import Decision, Detection

from cli.timeline import TimelineEvent
from demo import pictures, report
from demo.narrator import Narrator
from demo.pictures import Picture
from demo.play import Outcome, Row, shown
from demo.subscriber import Subscriber
from tests.support.account import ENVIRONMENT

TOPIC = "arn:aws:sns:us-east-1:000000000000:skyloop-dev-alerts"


def post(url: str, document: Any) -> int:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    request = urllib.request.Request(url, data=body, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


class Topic:
    """SNS as far as a subscriber sees it: asks for confirmation by POST, as the service does."""

    def __init__(self, confirms: bool = True) -> None:
        self.confirms = confirms
        self.confirmed: list[str] = []
        self.url = ""

    def subscribe(self, TopicArn: str, Protocol: str, Endpoint: str, ReturnSubscriptionArn: bool) -> None:
        self.url = Endpoint
        if self.confirms:
            message = {
                "Type": "SubscriptionConfirmation",
                "TopicArn": TopicArn,
                "Token": "t",
                "SubscribeURL": "http://x",
            }
            assert post(Endpoint, message) == 200

    def confirm_subscription(self, TopicArn: str, Token: str) -> None:
        self.confirmed.append(Token)


def test_a_subscriber_confirms_and_receives() -> None:
    topic = Topic()
    subscriber = Subscriber(topic, TOPIC)
    try:
        url = subscriber.subscribe()
        assert url.startswith("http://127.0.0.1:")
        assert topic.confirmed == ["t"]
        alert = {"event": "drift", "what": "The images look different."}
        assert post(url, {"Type": "Notification", "TopicArn": TOPIC, "Message": json.dumps(alert)}) == 200
        assert subscriber.received == [alert]
        assert post(url, {"Type": "Notification", "TopicArn": "arn:other", "Message": "{}"}) == 403
        assert post(url, b"not json") == 400
        assert post(url, {"Type": "Notification", "TopicArn": TOPIC, "Message": "not json"}) == 400
        assert subscriber.received == [alert]
    finally:
        subscriber.close()


def test_a_subscription_that_is_never_confirmed() -> None:
    subscriber = Subscriber(Topic(confirms=False), TOPIC)
    try:
        with pytest.raises(TimeoutError, match="no confirmation"):
            subscriber.subscribe(timeout=0.2)
    finally:
        subscriber.close()


def detection(left: float, top: float, confidence: float = 0.5) -> Detection:
    return Detection(category="tree", confidence=confidence, left=left, top=top, width=10, height=10)


@pytest.mark.parametrize(
    ("detections", "expected"),
    [
        ([], 0),
        ([detection(0, 0)], 1),
        ([detection(0, 0), detection(1, 0), detection(0, 1)], 1),  # one tree found thrice is one tree
        ([detection(6, 0)], 0),
        ([detection(0, 0), detection(101, 100)], 2),
    ],
)
def test_how_many_trees_were_found(detections: list[Detection], expected: int) -> None:
    assert pictures.trees_found(detections, [detection(0, 0), detection(100, 100)]) == expected


def test_pictures_are_drawn() -> None:
    ground = Image.new("RGB", (200, 300), "#224422")
    mapped = pictures.flight_map(ground, {1: ("#32d7ff", "line 1"), 3: ("#ff375f", "line 3")}, 100)
    assert mapped.getpixel((100, 5)) != mapped.getpixel((100, 150))
    both = pictures.compared(ground, [detection(20, 20)], [detection(50, 50)])
    assert both.size == (400, 600)
    assert both.getpixel((100, 110)) == (255, 255, 255)
    made = pictures.contact_sheet([ground] * 5, 2)
    assert made.size == (2 * 200 + 6, 3 * 300 + 2 * 6)


def test_the_page_needs_nothing_else_and_escapes_what_it_shows() -> None:
    narrator = Narrator(Console(quiet=True))
    narrator.act("1  An act")
    narrator.tell(TimelineEvent(datetime.now(UTC), "retrain", "create <training> job & more", "good"))
    page = report.render_page(
        narrator,
        [Row("flight lines 1", "v1 deployed", "model-artifacts/x/")],
        [Picture("1  An act", "A picture", Image.new("RGB", (8, 8)))],
        {"the decision": "documents/decision.json"},
        base="scratch (yolo11n.yaml)",
        failure="stopped <here>",
        made_at=datetime(2026, 3, 1, 12, 0),
    )
    assert "create &lt;training&gt; job &amp; more" in page
    assert "stopped &lt;here&gt;" in page
    assert "CC0 1.0" in page
    assert 'src="data:image/jpeg;base64,' in page
    references = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert [item for item in references if not item.startswith("data:")] == ["documents/decision.json"]


@pytest.mark.parametrize(
    ("decision", "says"),
    [
        ({"decision": "approve", "map50": 0.41, "champion_map50": None}, "mAP50 0.410"),
        (
            {"decision": "refuse", "map50": 0.3, "champion_map50": 0.4, "difference_interval": [-0.2, -0.05]},
            "mAP50 0.300 against the champion's 0.400 (difference -0.200 to -0.050 at 95 %)",
        ),
        ({"decision": "refuse", "map50": None}, "no mAP50"),
    ],
)
def test_the_gates_numbers_in_words(decision: dict[str, Any], says: str) -> None:
    thresholds = {**Settings.from_environment(ENVIRONMENT).thresholds.plain(), "min_map50": 0.2}
    facts: dict[str, Any] = {
        "summary": "",
        "reasons": [],
        "rules": [],
        "champion_map50": None,
        "thresholds": thresholds,
        "decided_at": datetime(2026, 3, 1, tzinfo=UTC),
        **dict.fromkeys(("training_job", "dataset_id", "test_set_id", "evaluation_uri", "evaluation_sha256"), "x"),
        **dict.fromkeys(("evaluator", "correlation_id"), "x"),
    }
    assert Outcome("job", Decision.model_validate(facts | decision), None, False).numbers == says


def test_the_table_names_the_page_where_it_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert shown(tmp_path / "demo-report" / "index.html") == "demo-report/index.html"
    assert shown(Path("mine/index.html")) == "mine/index.html"
    assert shown(tmp_path.parent / "index.html") == str(tmp_path.parent / "index.html")
