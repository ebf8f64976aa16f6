"""The one account of the laptop cloud: its number, its region, its keys, and how a client reaches it."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

ACCOUNT_ID = "000000000000"
REGION = "us-east-1"
KEYS_FILE = "credentials.json"
HEALTH = "/_skyloop/health"
"""Whoever asks this path is told how the cloud is."""


@dataclass(frozen=True)
class Keys:
    """The access keys of the account's root, as boto3 takes them. Who has them may do everything."""

    access_key_id: str
    secret_access_key: str

    def environment(self) -> dict[str, str]:
        """The variables by which AWS's tools take them."""
        return {"AWS_ACCESS_KEY_ID": self.access_key_id, "AWS_SECRET_ACCESS_KEY": self.secret_access_key}

    def document(self) -> dict[str, object]:
        """As a `credential_process` of the AWS CLI prints them (AWS SDKs and Tools reference guide)."""
        return {"Version": 1, "AccessKeyId": self.access_key_id, "SecretAccessKey": self.secret_access_key}


class KeysBroken(Exception):
    """The file of the keys cannot be used; the message says which and why."""


def read_keys(home: Path) -> Keys:
    """The keys of a home. Raises FileNotFoundError before the first `make_keys`, KeysBroken for a damaged file."""
    file = home / KEYS_FILE
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        return Keys(str(document["AccessKeyId"]), str(document["SecretAccessKey"]))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise KeysBroken(f"{file} does not hold the laptop cloud's keys ({type(error).__name__})") from error


def make_keys(home: Path) -> Keys:
    """The keys of a home, made at random where it has none, in a file that only this user may read."""
    try:
        return read_keys(home)
    except FileNotFoundError:
        keys = Keys("AKIA" + secrets.token_hex(8).upper(), secrets.token_urlsafe(30))
    partial = home / f"{KEYS_FILE}.partial"
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump(keys.document(), file)
    partial.replace(home / KEYS_FILE)
    return keys


def client_settings(endpoint_url: str, keys: Keys) -> dict[str, str]:
    """Arguments of boto3's `client` that reach a laptop cloud as its account's root."""
    return {
        "endpoint_url": endpoint_url,
        "region_name": REGION,
        "aws_access_key_id": keys.access_key_id,
        "aws_secret_access_key": keys.secret_access_key,
    }
