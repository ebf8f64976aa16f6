"""A real subscriber to the alert topic: an HTTP server that confirms its SNS subscription and keeps what it is sent.

Protocol: https://docs.aws.amazon.com/sns/latest/dg/SendMessageToHttp.prepare.html. It listens on 127.0.0.1 only and
takes messages of its one topic; a subscriber on the internet would also verify SNS's signature.
"""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MAX_BODY_BYTES = 300_000  # an SNS message is at most 256 KiB


@dataclass
class Subscriber:
    """Start with `subscribe`; `received` fills with alert documents in the order of their arrival."""

    sns: Any
    topic_arn: str
    received: list[dict[str, Any]] = field(default_factory=list)
    confirmed: threading.Event = field(default_factory=threading.Event)
    _server: ThreadingHTTPServer | None = None

    def subscribe(self, timeout: float = 20) -> str:
        """Listen, subscribe, and wait for the confirmation. The endpoint's URL. TimeoutError without confirmation."""
        subscriber = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = min(int(self.headers.get("Content-Length", 0)), MAX_BODY_BYTES)
                status = subscriber.take(self.rfile.read(length))
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *arguments: Any) -> None:
                """Silent: the timeline tells what arrives."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True, name="sns-subscriber").start()
        url = f"http://127.0.0.1:{self._server.server_address[1]}/alerts"
        self.sns.subscribe(TopicArn=self.topic_arn, Protocol="http", Endpoint=url, ReturnSubscriptionArn=True)
        if not self.confirmed.wait(timeout):
            raise TimeoutError(f"SNS sent no confirmation to {url} within {timeout:.0f} s")
        return url

    def take(self, body: bytes) -> int:
        """Handle one POST; the HTTP status to answer with."""
        try:
            message = json.loads(body)
            kind, topic = message["Type"], message["TopicArn"]
        except (ValueError, KeyError, TypeError):
            return 400
        if topic != self.topic_arn:
            return 403
        if kind == "SubscriptionConfirmation":
            # By the API and not by its SubscribeURL: never fetch a URL that somebody sent.
            self.sns.confirm_subscription(TopicArn=topic, Token=message["Token"])
            self.confirmed.set()
        elif kind == "Notification":
            try:
                self.received.append(json.loads(message["Message"]))
            except ValueError:
                return 400
        return 200

    def wait_for(self, event: str, seen: int, timeout: float) -> dict[str, Any] | None:
        """The first alert of a kind after the first `seen`, None when it does not come in time."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            for alert in self.received[seen:]:
                if alert.get("event") == event:
                    return alert
            time.sleep(0.1)
        return None

    def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
