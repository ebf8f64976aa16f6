"""What the local SageMaker knows about the cloud that it is part of: its home, address, credentials and event bus."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from laptop.sagemaker.core.store import Store

ClientFactory = Callable[[str, "str | None"], Any]
EventSink = Callable[[dict[str, Any]], None]


class Context:
    """The surroundings of the service: one an instance of the cloud, found by every module through `current()`.

    `home` holds `state/sagemaker/` (records), `jobs/`, `endpoints/`, `logs/` and the settings files
    `sagemaker.json`, `images.json` and `workforce.json`, each of which is read again whenever it is needed.
    `client_factory(service, role_arn)` and `event_sink(entry)` replace boto3 and the event bus in tests.
    """

    def __init__(
        self,
        home: Path,
        endpoint_url: str,
        *,
        account_id: str = "000000000000",
        region: str = "us-east-1",
        client_factory: ClientFactory | None = None,
        event_sink: EventSink | None = None,
    ) -> None:
        self.home = home
        self.endpoint_url = endpoint_url
        self.account_id = account_id
        self.region = region
        self.store = Store(home / "state" / "sagemaker")
        self._client_factory = client_factory or self._boto3_client
        self._event_sink = event_sink or _put_event
        self._clients: dict[tuple[str, str | None], Any] = {}
        self._session = boto3.session.Session()  # one for all clients: each session reads the service models anew
        self._lock = threading.Lock()

    def arn(self, kind: str, name: str) -> str:
        """The ARN of a SageMaker resource. AWS lower-cases the name in it (`endpoint/myendpoint` for `MyEndpoint`)."""
        return f"arn:aws:sagemaker:{self.region}:{self.account_id}:{kind}/{name.lower()}"

    def client(self, service: str, role_arn: str | None = None) -> Any:
        """A boto3 client of this cloud: as the account, or as a role when one is given. Cached."""
        key = (service, role_arn)
        with self._lock:
            if key not in self._clients:
                self._clients[key] = self._client_factory(service, role_arn)
            return self._clients[key]

    def environment(self, role_arn: str | None) -> dict[str, str]:
        """The variables that let a process call this cloud as a role (as the account when None)."""
        return {
            **self._credentials(role_arn),
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
        }

    def emit(self, entry: dict[str, Any]) -> None:
        """Put one PutEvents entry with an `aws.*` source on the default bus."""
        self._event_sink(entry)

    def settings(self, name: str = "sagemaker") -> dict[str, Any]:
        """`<home>/<name>.json` as it is now; empty when there is none."""
        file = self.home / f"{name}.json"
        return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}

    def _credentials(self, role_arn: str | None) -> dict[str, str]:
        account = {
            "AWS_ACCESS_KEY_ID": self.account_id,
            "AWS_SECRET_ACCESS_KEY": os.environ.get("AWS_SECRET_ACCESS_KEY", "test"),
        }
        if role_arn is None:
            return account
        # MiniStack 1.5.33, core.lambda_runtime.execution_credentials: a session of the role when AUTH=true, else the
        # account's own keys. It reads Role, FunctionArn (for the account and region) and FunctionName (session name).
        from ministack.core.lambda_runtime import execution_credentials

        granted = execution_credentials(
            {
                "Role": role_arn,
                "FunctionArn": f"arn:aws:lambda:{self.region}:{self.account_id}:function:SageMaker",
                "FunctionName": "SageMaker",
            }
        )
        return {name: value for name, value in granted.items() if value}

    def _boto3_client(self, service: str, role_arn: str | None) -> Any:
        keys = self._credentials(role_arn)
        return self._session.client(
            service,
            endpoint_url=self.endpoint_url,
            region_name=self.region,
            aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
            aws_session_token=keys.get("AWS_SESSION_TOKEN"),
            config=Config(retries={"mode": "standard", "max_attempts": 3}, max_pool_connections=16),
        )


def _put_event(entry: dict[str, Any]) -> None:
    # MiniStack 1.5.33, services.eventbridge._put_events: clients may not use an aws.* source, its own emitters may.
    from ministack.services import eventbridge

    eventbridge._put_events({"Entries": [entry]}, allow_aws_source=True)


_current: Context | None = None


def configure(context: Context) -> Context:
    """Make this the surroundings of every module of the service."""
    global _current
    _current = context
    return context


def current() -> Context:
    """The surroundings. Raises RuntimeError before `configure`."""
    if _current is None:
        raise RuntimeError("the local SageMaker has not been started: call laptop.sagemaker.service.start first")
    return _current
