"""What the local SageMaker knows about the cloud that it is part of: its home, address, credentials and event bus."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import boto3
from botocore.config import Config

from laptop.account import ACCOUNT_ID, REGION
from laptop.documents import Document
from laptop.sagemaker.core.store import Store

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

RoleCredentials = Callable[[str], dict[str, str]]
PutEvent = Callable[[Document], None]


class Context:
    """What the service works with: one per cloud, given to each of its parts.

    `home` holds `state/sagemaker/` (records), `jobs/`, `endpoints/`, `logs/` and the settings files
    `sagemaker.json`, `images.json` and `workforce.json`, which are read again each time they are needed.
    `role_credentials(role_arn)` gives the environment variables of a session of a role, `put_event(entry)` puts one
    PutEvents entry with an `aws.*` source on the default bus. Both are the cloud's: the service does not know which
    emulator runs around it.
    """

    def __init__(
        self,
        home: Path,
        endpoint_url: str,
        *,
        role_credentials: RoleCredentials,
        put_event: PutEvent,
    ) -> None:
        self.home = home
        self.endpoint_url = endpoint_url
        self.account_id = ACCOUNT_ID
        self.region = REGION
        self.store = Store(home / "state" / "sagemaker")
        self.put_event = put_event
        self._role_credentials = role_credentials
        self._clients: dict[tuple[str, str | None], Any] = {}
        # One session for all clients: each session reads the service models again.
        self._new_client: Callable[..., Any] = boto3.session.Session().client
        self._lock = threading.Lock()

    def arn(self, kind: str, name: str) -> str:
        """The ARN of a SageMaker resource. AWS lower-cases the name in it (`endpoint/myendpoint` for `MyEndpoint`)."""
        return f"arn:aws:sagemaker:{self.region}:{self.account_id}:{kind}/{name.lower()}"

    @overload
    def client(self, service: Literal["s3"], role_arn: str | None = None) -> S3Client: ...

    @overload
    def client(self, service: str, role_arn: str | None = None) -> Any: ...

    def client(self, service: str, role_arn: str | None = None) -> Any:
        """A boto3 client of this cloud: as the account, or as a role when one is given. Cached."""
        key = (service, role_arn)
        with self._lock:
            if key not in self._clients:
                self._clients[key] = self._boto3_client(service, role_arn)
            return self._clients[key]

    def environment(self, role_arn: str | None) -> dict[str, str]:
        """The variables that let a process call this cloud as a role (as the account when None)."""
        return {
            **self._credentials(role_arn),
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
        }

    def settings(self, name: str = "sagemaker") -> Document:
        """`<home>/<name>.json` as it is now; empty when there is none."""
        file = self.home / f"{name}.json"
        settings: Document = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        return settings

    def _credentials(self, role_arn: str | None) -> dict[str, str]:
        if role_arn is not None:
            return self._role_credentials(role_arn)
        return {name: os.environ[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}

    def _boto3_client(self, service: str, role_arn: str | None) -> Any:
        keys = self._credentials(role_arn)
        return self._new_client(
            service,
            endpoint_url=self.endpoint_url,
            region_name=self.region,
            aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
            aws_session_token=keys.get("AWS_SESSION_TOKEN"),
            config=Config(retries={"mode": "standard", "max_attempts": 3}, max_pool_connections=16),
        )
