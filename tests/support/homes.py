"""A cloud without a stack that a test kills and starts again."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from laptop import lifecycle
from laptop.account import client_settings, read_keys
from laptop.journal import FILE
from laptop.running import Running


class Home:
    """The cloud, and the clients of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.running: Running | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.running, self._process = lifecycle.start(self.folder, port=0)

    def client(self, service: str, attempts: int = 1) -> Any:
        assert self.running
        settings = client_settings(self.running.endpoint_url, read_keys(self.folder))
        return boto3.client(service, config=Config(retries={"total_max_attempts": attempts}), **settings)

    @property
    def pid(self) -> int:
        assert self._process
        return self._process.pid

    def kill(self) -> None:
        assert self._process
        os.kill(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def again(self) -> None:
        self.kill()
        self.start()

    def stop(self) -> None:
        assert self._process
        lifecycle.stop(self._process)

    def parameter(self, name: str) -> str:
        """The value of a parameter of SSM: what a request left, told in one word."""
        return str(self.client("ssm").get_parameter(Name=name)["Parameter"]["Value"])

    def rows(self, query: str) -> list[Any]:
        """What a query finds in the journal."""
        with closing(sqlite3.connect(self.folder / "state" / FILE)) as journal:
            return journal.execute(query).fetchall()

    @property
    def found(self) -> list[str]:
        """What the last start found to put right."""
        assert self.running
        sentences: list[str] = lifecycle._health(self.running.endpoint_url)["found"]
        return sentences
