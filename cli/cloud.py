"""Which cloud a command talks to.

The laptop cloud by default, AWS when --profile, --region or --stack is given. Both are a boto3 session; on the laptop
the session's clients have an endpoint URL, which is the only difference. Names come from the stack's outputs.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from cli.errors import CliError, error_code

DEFAULT_STACK = "skyloop-dev"
REPOSITORY = Path(__file__).resolve().parent.parent
DEFAULT_HOME = REPOSITORY / ".skyloop"
_making_clients = threading.Lock()


@dataclass(frozen=True)
class Outputs:
    """The stack's outputs, by the names of template.yaml."""

    values: dict[str, str]

    def __getitem__(self, name: str) -> str:
        try:
            return self.values[name]
        except KeyError:
            raise CliError(
                f"The stack has no output {name}.",
                "It was deployed from another version of template.yaml: deploy this one (`skyloop up` on the laptop).",
            ) from None


@dataclass(frozen=True)
class Cloud:
    """A session on one cloud and the stack in it.

    `home` is the laptop cloud's folder, None on AWS; nothing but `describe()` and the laptop commands look at it.
    """

    session: boto3.Session
    stack_name: str
    endpoint_url: str | None = None
    home: Path | None = None

    @cached_property
    def _clients(self) -> dict[str, Any]:
        return {}

    def client(self, service: str) -> Any:
        """The client of a service, made once: clients may be shared between threads, making them may not."""
        with _making_clients:
            if service not in self._clients:
                settings = Config(retries={"max_attempts": 4, "mode": "standard"}, max_pool_connections=32)
                made = self.session.client(service, endpoint_url=self.endpoint_url, config=settings)
                self._clients[service] = made
            return self._clients[service]

    @cached_property
    def outputs(self) -> Outputs:
        """Outputs of the stack; CliError when there is no such stack."""
        try:
            stacks = self.client("cloudformation").describe_stacks(StackName=self.stack_name)["Stacks"]
        except ClientError as error:
            if error_code(error) == "ValidationError":
                raise CliError(
                    f"There is no stack {self.stack_name} {self.describe()}.",
                    "`skyloop up` deploys it on the laptop; on AWS run `sam build && sam deploy --guided`, "
                    "and pass its name with --stack.",
                ) from error
            raise
        return Outputs({item["OutputKey"]: item["OutputValue"] for item in stacks[0].get("Outputs", [])})

    @cached_property
    def parameters(self) -> dict[str, str]:
        """Parameters the stack was deployed with."""
        stack = self.client("cloudformation").describe_stacks(StackName=self.stack_name)["Stacks"][0]
        return {item["ParameterKey"]: item.get("ParameterValue", "") for item in stack.get("Parameters", [])}

    @property
    def bucket(self) -> str:
        return self.outputs["DataBucketName"]

    @property
    def prefix(self) -> str:
        """`<Project>-<Stage>`: what names of jobs, models and the endpoint begin with."""
        return self.outputs["ModelPackageGroupName"]

    @property
    def endpoint_name(self) -> str:
        return self.outputs["EndpointName"]

    def describe(self) -> str:
        """`on the laptop (http://127.0.0.1:4566)` or `on AWS (eu-central-1)`, for messages."""
        if self.endpoint_url:
            return f"on the laptop ({self.endpoint_url})"
        return f"on AWS ({self.session.region_name or 'no region'})"


@dataclass(frozen=True)
class Where:
    """What the command line says about the cloud."""

    profile: str | None = None
    region: str | None = None
    stack: str | None = None
    home: Path = DEFAULT_HOME

    def connect(self) -> Cloud:
        """A Cloud; nothing is called yet. CliError when no laptop cloud has been started."""
        if self.profile or self.region or self.stack:
            session = boto3.Session(profile_name=self.profile, region_name=self.region)
            return Cloud(session, self.stack or DEFAULT_STACK)
        return laptop_cloud(self.home)


def read_laptop(home: Path) -> dict[str, Any] | None:
    """laptop.json of a running or stopped laptop cloud, None when there is none."""
    try:
        return json.loads((home / "laptop.json").read_text())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise CliError(
            f"{home / 'laptop.json'} cannot be read: {error}", "Run `skyloop up`: it is written again."
        ) from error


def laptop_cloud(home: Path) -> Cloud:
    """The laptop cloud that lives in a folder. CliError when none was started there."""
    running = read_laptop(home)
    if running is None:
        raise CliError(
            f"No laptop cloud is running from {home}.",
            "Start it with `skyloop up`, or name a stack on AWS with --profile, --region or --stack.",
        )
    if running.get("pid") is None:
        raise CliError(f"The laptop cloud in {home} is stopped.", "Start it again with `skyloop up`.")
    url = running["endpoint_url"]
    if urlsplit(url).hostname not in {"127.0.0.1", "localhost", "::1"}:
        raise CliError(f"{home / 'laptop.json'} points at {url}, which is not this machine.", "Run `skyloop up`.")
    # The laptop cloud has one account; these are its root's, as laptop.account.client_settings says.
    session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name="us-east-1")
    return Cloud(session, running.get("stack_name") or DEFAULT_STACK, url, home)
