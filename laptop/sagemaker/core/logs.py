"""Output of processes, sent to a file and to CloudWatch Logs as SageMaker does."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from laptop.documents import Document

_FLUSH_SECONDS = 1.0
# PutLogEvents takes 10,000 events and 1,048,576 bytes, each event counting 26 bytes more than its message.
_BATCH_EVENTS = 1000
_BATCH_BYTES = 512 * 1024
_MESSAGE_BYTES = 64 * 1024


class LogStream:
    """One log stream: lines go to `file` at once and to CloudWatch Logs within about a second, in order.

    `client()` gives a CloudWatch Logs client. While it cannot be reached, lines are lost and the process goes on.
    """

    def __init__(self, client: Callable[[], Any], group: str, stream: str, file: Path) -> None:
        self._client = client
        self._group = group
        self._stream = stream
        file.parent.mkdir(parents=True, exist_ok=True)
        self._file = file.open("ab", buffering=0)
        self._events: list[Document] = []
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._created = False
        self._sender = threading.Thread(target=self._run, name=f"log-{stream}", daemon=True)
        self._sender.start()

    def write(self, line: bytes) -> None:
        """Add one line, with or without its newline."""
        # Closed: the last output of a process that is being ended. A full disk loses the line, not the process.
        with contextlib.suppress(ValueError, OSError):
            self._file.write(line if line.endswith(b"\n") else line + b"\n")
        text = line.decode("utf-8", "replace").rstrip("\r\n")
        if text:
            with self._lock:
                self._events.append({"timestamp": int(time.time() * 1000), "message": text[:_MESSAGE_BYTES]})

    def close(self) -> None:
        """Send what is left."""
        self._closed.set()
        self._sender.join(timeout=5.0)
        self._file.close()

    def _run(self) -> None:
        while not self._closed.wait(_FLUSH_SECONDS):
            self._send()
        self._send()

    def _send(self) -> None:
        with self._lock:
            events, self._events = self._events, []
        if not events:
            return
        with contextlib.suppress(ClientError, BotoCoreError):
            self._create()
            for batch in batches(events):
                self._client().put_log_events(logGroupName=self._group, logStreamName=self._stream, logEvents=batch)

    def _create(self) -> None:
        if self._created:
            return
        for create, names in (
            ("create_log_group", {"logGroupName": self._group}),
            ("create_log_stream", {"logGroupName": self._group, "logStreamName": self._stream}),
        ):
            try:
                getattr(self._client(), create)(**names)
            except ClientError as error:
                if error.response["Error"]["Code"] != "ResourceAlreadyExistsException":
                    raise
        self._created = True


def batches(events: list[Document]) -> list[list[Document]]:
    """Events in batches that PutLogEvents takes, in order."""
    cut: list[list[Document]] = []
    size = 0
    for event in events:
        length = len(event["message"].encode("utf-8")) + 26
        if not cut or len(cut[-1]) >= _BATCH_EVENTS or size + length > _BATCH_BYTES:
            cut.append([])
            size = 0
        cut[-1].append(event)
        size += length
    return cut
