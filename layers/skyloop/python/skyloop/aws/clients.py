"""The one place where boto3 clients are made: one per service and process, reused by warm invocations.

The clients' types come from boto3-stubs, a development dependency: the layer does not ship them, so they are imported
for the type checker alone.
"""

from __future__ import annotations

import os
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, overload

import boto3
from botocore.config import Config

if TYPE_CHECKING:
    from botocore.client import BaseClient
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sagemaker import SageMakerClient
    from mypy_boto3_sagemaker_runtime import SageMakerRuntimeClient
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_sqs import SQSClient

Service = Literal["dynamodb", "events", "s3", "sagemaker", "sagemaker-runtime", "sns", "sqs"]


@overload
def client(service: Literal["dynamodb"]) -> DynamoDBClient: ...
@overload
def client(service: Literal["events"]) -> EventBridgeClient: ...
@overload
def client(service: Literal["s3"]) -> S3Client: ...
@overload
def client(service: Literal["sagemaker"]) -> SageMakerClient: ...
@overload
def client(service: Literal["sagemaker-runtime"]) -> SageMakerRuntimeClient: ...
@overload
def client(service: Literal["sns"]) -> SNSClient: ...
@overload
def client(service: Literal["sqs"]) -> SQSClient: ...
def client(service: Service) -> BaseClient:
    """A client of `service` for this process's endpoint and region.

    Endpoint, region and credentials come from the environment (`AWS_ENDPOINT_URL`, …), as boto3 reads it.
    """
    return _client(service, os.environ.get("AWS_ENDPOINT_URL"), os.environ.get("AWS_REGION"))


@lru_cache(maxsize=32)
def _client(service: Service, _endpoint: str | None, region: str | None) -> BaseClient:
    # Standard retries cover throttling; six tries outlast a table's partition split without outlasting a function. What
    # is asked of an endpoint is timed, and a new fleet that answers nobody must be found in seconds: it is asked once.
    tries = 1 if service == "sagemaker-runtime" else 6
    config = Config(retries={"mode": "standard", "max_attempts": tries}, max_pool_connections=32, connect_timeout=5)
    return boto3.client(service, region_name=region, config=config)
