"""Requests to an endpoint at a steady rate, valid pictures among malformed ones, and what came of each."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from cli.cloud import Cloud
from laptop.account import client_settings, read_keys
from tests.loop.driver import Loop

CLIENTS = 64  # requests at once, at most


@dataclass(frozen=True)
class Answer:
    """One request: whether its picture was good, when it began (monotonic seconds), how long it took, what it got."""

    valid: bool
    began: float
    seconds: float
    status: str


@dataclass
class Load:
    """Sends as long as the context lasts; `share` of the requests are malformed."""

    loop: Loop
    valid: list[bytes]
    malformed: list[bytes]
    rate: float
    share: float = 0.3
    answers: list[Answer] = field(default_factory=list)

    def __post_init__(self) -> None:
        cloud: Cloud = self.loop.cloud
        config = Config(retries={"total_max_attempts": 1}, max_pool_connections=CLIENTS, read_timeout=70)
        settings: Any = client_settings(str(cloud.endpoint_url), read_keys(self.loop.home))
        self._client: Any = boto3.session.Session().client("sagemaker-runtime", config=config, **settings)
        self._endpoint = cloud.endpoint_name
        self._random = random.Random(0)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._send)
        self._pool = ThreadPoolExecutor(CLIENTS)

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._over.set()
        self._thread.join()
        self._pool.shutdown()

    def _send(self) -> None:
        due = time.monotonic()
        while not self._over.wait(max(0.0, due - time.monotonic())):
            due += 1 / self.rate
            valid = self._random.random() >= self.share
            self._pool.submit(self.ask, self._random.choice(self.valid if valid else self.malformed), valid)

    def ask(self, body: bytes, valid: bool) -> None:
        """One request, noted."""
        began = time.monotonic()
        try:
            answer = self._client.invoke_endpoint(EndpointName=self._endpoint, ContentType="image/jpeg", Body=body)
            answer["Body"].read()
            status = "200"
        except ClientError as error:
            status = str(error.response.get("OriginalStatusCode") or error.response["Error"]["Code"])
        except Exception as error:
            status = type(error).__name__
        self.answers.append(Answer(valid, began, time.monotonic() - began, status))

    def since(self, moment: float) -> tuple[Counter[str], Counter[str]]:
        """What valid and malformed pictures got that were sent after a moment."""
        chosen = [answer for answer in list(self.answers) if answer.began >= moment]
        return (
            Counter(answer.status for answer in chosen if answer.valid),
            Counter(answer.status for answer in chosen if not answer.valid),
        )


def capacity(loop: Loop, pictures: list[bytes], seconds: float = 6.0) -> float:
    """Requests a second that the endpoint answers to eight clients which never pause."""
    load = Load(loop, pictures, [], rate=1)
    end = time.monotonic() + seconds

    def client(number: int) -> None:
        while time.monotonic() < end:
            load.ask(pictures[number % len(pictures)], True)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(client, range(8)))
    return len(load.answers) / seconds
