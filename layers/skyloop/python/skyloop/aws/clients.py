"""The one place where boto3 clients are made: one of each kind a process, reused by warm invocations."""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Any

import boto3
from botocore.config import Config


def client(service: str) -> Any:
    """A client of `service` for this process's endpoint and region.

    Endpoint, region and credentials come from the environment (`AWS_ENDPOINT_URL`, …), as boto3 reads it.
    """
    return _client(service, os.environ.get("AWS_ENDPOINT_URL"), os.environ.get("AWS_REGION"))


@lru_cache(maxsize=32)
def _client(service: str, _endpoint: str | None, region: str | None) -> Any:
    # Standard retries cover throttling; six tries outlast a table's partition split without outlasting a function.
    config = Config(retries={"mode": "standard", "max_attempts": 6}, max_pool_connections=32, connect_timeout=5)
    return boto3.client(service, region_name=region, config=config)
