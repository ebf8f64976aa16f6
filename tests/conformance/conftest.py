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

Result = TypeVar("Result")


def wait_until(condition: Callable[[], Result], seconds: float = 30, what: str = "the condition") -> Result:
    """The first true value of ``condition()``; fails the test when there was none within ``seconds``."""
    deadline = time.monotonic() + seconds
    while True:
        if result := condition():
            return result
        if time.monotonic() > deadline:
            pytest.fail(f"{what} did not come true within {seconds} s")
        time.sleep(0.02)


@dataclass(frozen=True)
class Cloud:
    """A running laptop cloud without a stack, with role policies enforced (``AUTH=true``)."""

    endpoint_url: str
    home: Path
    account: str = "000000000000"
    region: str = "us-east-1"

    @cache  # noqa: B019 (one cloud a session)
    def client(self, service: str, **credentials: str) -> Any:
        """A boto3 client: as the account's root, or with the given ``aws_access_key_id`` and so on."""
        settings = {**lifecycle.client_settings(self.endpoint_url), **credentials}
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


@pytest.fixture
def caught_events(cloud: Cloud) -> Iterator[Callable[[dict[str, Any]], Callable[[], list[dict[str, Any]]]]]:
    """``catch = caught_events(pattern)``; ``catch()`` then returns every event so far that the pattern matches."""
    sqs, events = cloud.client("sqs"), cloud.client("events")
    made: list[tuple[str, str]] = []

    def start(pattern: dict[str, Any]) -> Callable[[], list[dict[str, Any]]]:
        name = cloud.name("caught")
        arn = cloud.arn("sqs", name)
        statement = {
            "Effect": "Allow",
            "Principal": {"Service": "events.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": arn,
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        url = sqs.create_queue(QueueName=name, Attributes={"Policy": policy})["QueueUrl"]
        events.put_rule(Name=name, EventPattern=json.dumps(pattern))
        events.put_targets(Rule=name, Targets=[{"Id": "queue", "Arn": arn}])
        made.append((name, url))
        received: list[dict[str, Any]] = []

        def catch() -> list[dict[str, Any]]:
            while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
                received.extend(json.loads(message["Body"]) for message in messages)
            return list(received)

        return catch

    yield start
    for name, url in made:
        events.remove_targets(Rule=name, Ids=["queue"])
        events.delete_rule(Name=name)
        sqs.delete_queue(QueueUrl=url)
