"""One laptop cloud for each test worker: tests keep apart by names (`cloud.name(...)`), not by servers."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import boto3
import pytest
from botocore.config import Config

from laptop import lifecycle
from laptop.account import ACCOUNT_ID, REGION, client_settings, read_keys

Result = TypeVar("Result")


def wait_until(condition: Callable[[], Result], seconds: float = 120, what: str = "the condition") -> Result:
    """The first true value of ``condition()``; fails the test when there was none within ``seconds``.

    The deadline is for what will never come: a slow machine must not reach it.
    """
    deadline = time.monotonic() + seconds
    while True:
        if result := condition():
            return result
        if time.monotonic() > deadline:
            pytest.fail(f"{what} did not come true within {seconds} s")
        time.sleep(0.02)


@dataclass(frozen=True)
class Cloud:
    """A running laptop cloud without a stack, with role policies enforced."""

    endpoint_url: str
    home: Path
    account: str = ACCOUNT_ID
    region: str = REGION

    @cache  # noqa: B019 (one cloud per session)
    def client(self, service: str, **credentials: str) -> Any:
        """A boto3 client: as the account's root, or with the given ``aws_access_key_id`` and so on."""
        settings = {**client_settings(self.endpoint_url, read_keys(self.home)), **credentials}
        return boto3.session.Session().client(service, config=Config(retries={"total_max_attempts": 1}), **settings)

    def name(self, stem: str) -> str:
        """A name that no other test uses: ``<stem>-<8 hex digits>``, lower case."""
        return f"{stem}-{uuid.uuid4().hex[:8]}"

    def arn(self, service: str, resource: str) -> str:
        """An ARN of this account and region."""
        return f"arn:aws:{service}:{self.region}:{self.account}:{resource}"


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """The worker's cloud. Its log is ``<home>/logs/server.log``."""
    home = tmp_path_factory.mktemp("cloud")
    running, process = lifecycle.start(home, port=0)
    yield Cloud(running.endpoint_url, home)
    lifecycle.stop(process)


def settings_file(cloud: Cloud, name: str, values: dict[str, Any]) -> None:
    """Merge values into ``<home>/<name>.json``."""
    file = cloud.home / f"{name}.json"
    now = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps({**now, **values}))


def event_queue(cloud: Cloud, pattern: dict[str, Any]) -> str:
    """The URL of a queue that gets every event that matches, by a rule of the same name."""
    name = cloud.name("events")
    arn = cloud.arn("sqs", name)
    service = {"Service": "events.amazonaws.com"}
    allow = {"Effect": "Allow", "Principal": service, "Action": "sqs:SendMessage", "Resource": arn}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
    url = cloud.client("sqs").create_queue(QueueName=name, Attributes={"Policy": policy})["QueueUrl"]
    events = cloud.client("events")
    events.put_rule(Name=name, EventPattern=json.dumps(pattern))
    events.put_targets(Rule=name, Targets=[{"Id": "queue", "Arn": arn}])
    return url


def take(cloud: Cloud, url: str) -> list[dict[str, Any]]:
    """The JSON bodies of all messages that wait in a queue. They are deleted: hidden ones would come again."""
    sqs, bodies = cloud.client("sqs"), []
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        for message in messages:
            bodies.append(json.loads(message["Body"]))
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return bodies


@pytest.fixture
def caught_events(cloud: Cloud) -> Iterator[Callable[[dict[str, Any]], Callable[[], list[dict[str, Any]]]]]:
    """``catch = caught_events(pattern)``; ``catch()`` then returns every event so far that the pattern matches."""
    urls: list[str] = []

    def start(pattern: dict[str, Any]) -> Callable[[], list[dict[str, Any]]]:
        url = event_queue(cloud, pattern)
        urls.append(url)
        received: list[dict[str, Any]] = []

        def catch() -> list[dict[str, Any]]:
            received.extend(take(cloud, url))
            return list(received)

        return catch

    yield start
    for url in urls:
        name = url.rpartition("/")[2]
        cloud.client("events").remove_targets(Rule=name, Ids=["queue"])
        cloud.client("events").delete_rule(Name=name)
        cloud.client("sqs").delete_queue(QueueUrl=url)
