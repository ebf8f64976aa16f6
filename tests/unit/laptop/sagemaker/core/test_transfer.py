"""laptop.sagemaker.core.transfer: what a job is told where S3 does not do as it is asked."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config
from botocore.stub import Stubber

from laptop.sagemaker.core import transfer

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

URI = "s3://bucket/output"
PART_BYTES = 8 * 1024 * 1024  # boto3's, from which on an upload goes in parts


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    return folder


@pytest.fixture
def s3() -> S3Client:
    """Of a cloud that cannot be reached, but where a stub answers in its place."""
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    once = Config(retries={"total_max_attempts": 1})
    return boto3.client("s3", endpoint_url="http://127.0.0.1:1", region_name="us-east-1", config=once, **keys)


def moves(s3: S3Client, folder: Path) -> dict[str, Any]:
    """Every way in which a job's data is put to S3."""
    return {
        "folder": lambda: transfer.upload_folder(s3, folder, URI),
        "archive": lambda: transfer.upload_archive(s3, folder, folder.parent / "model.tar.gz", f"{URI}/model.tar.gz"),
        "document": lambda: transfer.write(s3, f"{URI}/document.json", b"{}"),
    }


@pytest.mark.parametrize("move", ["folder", "archive", "document"])
@pytest.mark.parametrize(
    ("code", "status", "passes"),
    [
        ("ServiceUnavailable", 503, True),
        ("SlowDown", 429, True),
        ("InternalError", 500, True),
        ("RequestTimeout", 400, True),
        ("AccessDenied", 403, False),
    ],
)
def test_only_what_may_pass_is_unavailable(
    s3: S3Client, folder: Path, move: str, code: str, status: int, passes: bool
) -> None:
    (folder / "last.pt").write_bytes(b"weights")
    with Stubber(s3) as stub:
        stub.add_client_error("put_object", code, http_status_code=status)
        with pytest.raises(transfer.TransferError, match=f"{URI}.*{code}") as raised:
            moves(s3, folder)[move]()
    assert isinstance(raised.value, transfer.Unavailable) is passes


def test_the_parts_of_a_large_file_are_as_patient(s3: S3Client, folder: Path) -> None:
    (folder / "last.pt").write_bytes(bytes(PART_BYTES + 1))
    with Stubber(s3) as stub:
        stub.add_client_error("create_multipart_upload", "ServiceUnavailable", http_status_code=503)
        with pytest.raises(transfer.Unavailable):
            transfer.upload_folder(s3, folder, URI)


@pytest.mark.parametrize("move", ["folder", "archive"])
@pytest.mark.parametrize(("number", "passes"), [(errno.ENOSPC, True), (errno.EDQUOT, True), (errno.EROFS, False)])
def test_a_full_disk_of_the_job_passes_too(
    s3: S3Client, folder: Path, monkeypatch: pytest.MonkeyPatch, move: str, number: int, passes: bool
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number))

    (folder / "last.pt").write_bytes(b"weights")
    monkeypatch.setattr(transfer.tempfile, "TemporaryDirectory", full)
    monkeypatch.setattr(transfer.tarfile, "open", full)
    with pytest.raises(transfer.Unavailable if passes else OSError, match=os.strerror(number)):
        moves(s3, folder)[move]()


def test_a_cloud_that_cannot_be_reached_is_unavailable(s3: S3Client, folder: Path) -> None:
    (folder / "last.pt").write_bytes(b"weights")
    for move in moves(s3, folder).values():
        with pytest.raises(transfer.Unavailable):
            move()
