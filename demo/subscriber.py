"""A real subscriber to the alert topic: an HTTP server that confirms its SNS subscription and keeps what it receives.

Protocol: https://docs.aws.amazon.com/sns/latest/dg/SendMessageToHttp.prepare.html. It listens on 127.0.0.1 only and
accepts messages of its one topic; a subscriber on the internet would also verify SNS's signature.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient

    from cli.alerts import ArchivedAlert

MAX_BODY_BYTES = 300_000  # an SNS message is at most 256 KiB


@dataclass
class Subscriber:
    """Start with `subscribe`; `received` fills with alert documents in the order of their arrival."""

    sns: SNSClient
    topic_arn: str
    received: list[ArchivedAlert] = field(default_factory=list)
    confirmed: threading.Event = field(default_factory=threading.Event)
    _server: ThreadingHTTPServer | None = None

    def subscribe(self, timeout: float = 20) -> str:
        """Listen, subscribe, and wait for the confirmation. Returns the URL that SNS sends to.

        Raises TimeoutError when no confirmation comes within `timeout` seconds.
        """
        subscriber = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = min(int(self.headers.get("Content-Length", 0)), MAX_BODY_BYTES)
                status = subscriber.handle(self.rfile.read(length))
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *arguments: object) -> None:
                """Silent: the timeline shows what arrives."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True, name="sns-subscriber").start()
        url = f"http://127.0.0.1:{self._server.server_address[1]}/alerts"
        self.sns.subscribe(TopicArn=self.topic_arn, Protocol="http", Endpoint=url, ReturnSubscriptionArn=True)
        if not self.confirmed.wait(timeout):
            raise TimeoutError(f"SNS sent no confirmation to {url} within {timeout:.0f} s")
        return url

    def handle(self, body: bytes) -> int:
        """Handle one POST; returns the HTTP status to respond with."""
        try:
            message = json.loads(body)
            kind, topic = message["Type"], message["TopicArn"]
        except (ValueError, KeyError, TypeError):
            return 400
        if topic != self.topic_arn:
            return 403
        if kind == "SubscriptionConfirmation":
            # By the API and not by its SubscribeURL: never fetch a URL from a message.
            self.sns.confirm_subscription(TopicArn=topic, Token=message["Token"])
            self.confirmed.set()
        elif kind == "Notification":
            try:
                self.received.append(json.loads(message["Message"]))
            except ValueError:
                return 400
        return 200

    def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
