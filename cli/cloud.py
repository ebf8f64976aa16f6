"""A connection to one stack, on the laptop cloud or on AWS.

Both are a boto3 session; the clients of the laptop cloud have an endpoint URL, which is the only difference. Names of
buckets, tables and machines come from the stack's outputs.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError
from skyloop.aws.catalogue import Catalogue
from skyloop.aws.state import StateTable
from skyloop.aws.storage import Storage

from cli.errors import CliError, error_code
from laptop.account import KEYS_FILE, KeysBroken, client_settings, read_keys
from laptop.running import ANSWER_SECONDS, RecordBroken, Running, read
from laptop.skyloop_plugin import DEFAULT_STACK_NAME

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_logs import CloudWatchLogsClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sagemaker import SageMakerClient
    from mypy_boto3_sagemaker_runtime import SageMakerRuntimeClient
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_stepfunctions import SFNClient

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
    """A session on one cloud, and the stack in it. `home` is the laptop cloud's folder, None on AWS."""

    session: boto3.Session
    stack_name: str
    endpoint_url: str | None = None
    home: Path | None = None

    @cached_property
    def _clients(self) -> dict[str, Any]:
        return {}

    @overload
    def client(self, service: Literal["cloudformation"]) -> CloudFormationClient: ...
    @overload
    def client(self, service: Literal["dynamodb"]) -> DynamoDBClient: ...
    @overload
    def client(self, service: Literal["logs"]) -> CloudWatchLogsClient: ...
    @overload
    def client(self, service: Literal["s3"]) -> S3Client: ...
    @overload
    def client(self, service: Literal["sagemaker"]) -> SageMakerClient: ...
    @overload
    def client(self, service: Literal["sagemaker-runtime"]) -> SageMakerRuntimeClient: ...
    @overload
    def client(self, service: Literal["sns"]) -> SNSClient: ...
    @overload
    def client(self, service: Literal["sqs"]) -> SQSClient: ...
    @overload
    def client(self, service: Literal["stepfunctions"]) -> SFNClient: ...

    def client(self, service: Any) -> Any:
        """The client of a service, created once: threads may share clients, but not create them at the same time."""
        with _making_clients:
            if service not in self._clients:
                settings = Config(retries={"max_attempts": 4, "mode": "standard"}, max_pool_connections=32)
                made = self.session.client(service, endpoint_url=self.endpoint_url, config=settings)
                self._clients[service] = made
            return self._clients[service]

    @property
    def catalogue(self) -> Catalogue:
        """The stack's table of images."""
        return Catalogue(self.client("dynamodb"), self.outputs["CatalogueTableName"])

    @property
    def state_table(self) -> StateTable:
        """The stack's table of small named facts: what serves, whether it drifts."""
        return StateTable(self.client("dynamodb"), self.outputs["StateTableName"])

    @property
    def storage(self) -> Storage:
        """The stack's data bucket."""
        return Storage(self.client("s3"), self.bucket)

    @cached_property
    def outputs(self) -> Outputs:
        """The stack's outputs. Raises CliError when there is no such stack."""
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

    @property
    def bucket(self) -> str:
        """The name of the data bucket."""
        return self.outputs["DataBucketName"]

    @property
    def prefix(self) -> str:
        """`<Project>-<Stage>`: what names of jobs, models and the endpoint begin with."""
        return self.outputs["ModelPackageGroupName"]

    @property
    def endpoint_name(self) -> str:
        """The name of the stack's endpoint, deployed or not."""
        return self.outputs["EndpointName"]

    def describe(self) -> str:
        """`on the laptop (http://127.0.0.1:4566)` or `on AWS (eu-central-1)`, for messages."""
        if self.endpoint_url:
            return f"on the laptop ({self.endpoint_url})"
        return f"on AWS ({self.session.region_name or 'no region'})"


def read_laptop(home: Path) -> Running | None:
    """laptop.json of a running or stopped laptop cloud, None when there is none. Raises CliError when it is broken."""
    try:
        return read(home)
    except RecordBroken as error:
        raise CliError(error.what, error.next_step) from error


def answering_laptop_cloud(home: Path) -> Cloud:
    """The laptop cloud whose state is in a folder, once it has answered. Raises CliError when it does not."""
    running = _running_laptop(home)
    cloud = _connected(running, home)
    if running.is_silent():
        raise CliError(
            f"The laptop cloud (pid {running.pid}) runs, but has not answered for {ANSWER_SECONDS:.0f} s.",
            f"If it is suspended, `kill -CONT {running.pid}` lets it go on; else `skyloop down`, then `skyloop up`.",
        )
    return cloud


def laptop_cloud(home: Path) -> Cloud:
    """The laptop cloud whose state is in a folder; nothing is called yet. Raises CliError when it does not run."""
    return _connected(_running_laptop(home), home)


def _running_laptop(home: Path) -> Running:
    running = read_laptop(home)
    if running is None:
        raise CliError(
            f"No laptop cloud is running from {home}.",
            "Start it with `skyloop up`, or name a stack on AWS with --profile, --region or --stack.",
        )
    if running.pid is None:
        raise CliError(f"The laptop cloud in {home} is stopped.", "Start it again with `skyloop up`.")
    if running.has_ended():
        raise CliError(
            f"The laptop cloud in {home} has ended: nobody stopped it, but its process is gone.",
            "`skyloop up` starts it again; what it acknowledged is kept.",
        )
    return running


def _connected(running: Running, home: Path) -> Cloud:
    url = running.endpoint_url
    try:
        settings = client_settings(url, read_keys(home))
    except (OSError, KeysBroken) as error:
        remove = f"remove {home / KEYS_FILE}, " if isinstance(error, KeysBroken) else ""
        raise CliError(
            f"The laptop cloud's keys cannot be read: {error}",
            f"Run `skyloop down`, {remove}then `skyloop up`, which makes new ones; the state stays.",
        ) from error
    session = boto3.Session(
        aws_access_key_id=settings["aws_access_key_id"],
        aws_secret_access_key=settings["aws_secret_access_key"],
        region_name=settings["region_name"],
    )
    return Cloud(session, running.stack_name or DEFAULT_STACK_NAME, url, home)
