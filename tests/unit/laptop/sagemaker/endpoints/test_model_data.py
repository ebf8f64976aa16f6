"""Why a model could not be fetched: what will never work, and what may work a moment later."""

from __future__ import annotations

import errno
import gzip
import io
import tarfile
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.response import StreamingBody
from botocore.stub import Stubber

from laptop.sagemaker.core import transfer
from laptop.sagemaker.endpoints import model_data
from laptop.sagemaker.endpoints.blue_green import Unhealthy

URL = "s3://bucket/model.tar.gz"


@pytest.fixture
def s3() -> Any:
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    client = boto3.client("s3", region_name="us-east-1", **keys)
    with Stubber(client) as stub:
        client.stub = stub
        yield client


def holds(s3: Any, body: bytes) -> None:
    s3.stub.add_response("get_object", {"Body": StreamingBody(io.BytesIO(body), len(body))})


def archive(**files: bytes) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, content in files.items():
            item = tarfile.TarInfo(name)
            item.size = len(content)
            tar.addfile(item, io.BytesIO(content))
    return packed.getvalue()


def test_an_archive_is_unpacked(s3: Any, tmp_path: Path) -> None:
    holds(s3, archive(weights=b"w" * 1000))
    model_data.fetch(s3, URL, tmp_path)
    assert (tmp_path / "weights").read_bytes() == b"w" * 1000


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no archive",
        gzip.compress(b"no tar in it" * 100),
        archive(weights=b"w" * 100_000)[:-40],
        archive(weights=bytes(range(256)) * 4)[:60] + b"\xff" * 200,
        archive(**{"../outside": b"x"}),
    ],
)
def test_what_is_no_archive_will_never_be_one(s3: Any, tmp_path: Path, body: bytes) -> None:
    holds(s3, body)
    with pytest.raises(Unhealthy, match=r"valid tar\.gz archive"):
        model_data.fetch(s3, URL, tmp_path / "model")


def test_a_full_disk_says_nothing_about_the_archive(s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tarfile.TarFile, "makefile", full)
    holds(s3, archive(weights=b"w"))
    with pytest.raises(OSError, match="No space left"):
        model_data.fetch(s3, URL, tmp_path)


@pytest.mark.parametrize(
    ("code", "status", "expected", "words"),
    [
        ("SlowDown", 503, transfer.Unavailable, "SlowDown"),
        ("InternalError", 500, transfer.Unavailable, "InternalError"),
        ("TooManyRequests", 429, transfer.Unavailable, "TooManyRequests"),
        ("NoSuchKey", 404, Unhealthy, "an object located at the URL"),
        ("AccessDenied", 403, Unhealthy, "permissions to download"),
    ],
)
def test_only_what_may_pass_is_unavailable(
    s3: Any, tmp_path: Path, code: str, status: int, expected: type[Exception], words: str
) -> None:
    s3.stub.add_client_error("get_object", code, http_status_code=status)
    with pytest.raises(expected, match=words):
        model_data.fetch(s3, URL, tmp_path)


def test_a_cloud_that_cannot_be_reached_is_unavailable(tmp_path: Path) -> None:
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    nowhere = boto3.client("s3", endpoint_url="http://127.0.0.1:1", region_name="us-east-1", **keys)
    with pytest.raises(transfer.Unavailable):
        model_data.fetch(nowhere, URL, tmp_path)
