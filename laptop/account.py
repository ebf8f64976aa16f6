"""The one account of the laptop cloud: its number, its region, and how a client reaches it."""

from __future__ import annotations

ACCOUNT_ID = "000000000000"
REGION = "us-east-1"


def client_settings(endpoint_url: str) -> dict[str, str]:
    """Arguments of boto3's `client` that reach a laptop cloud as its account's root."""
    return {
        "endpoint_url": endpoint_url,
        "region_name": REGION,
        "aws_access_key_id": "test",
        "aws_secret_access_key": "test",
    }
