"""Objects and the parts of uploads are files: what was acknowledged survives, what is damaged is not served."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from botocore.exceptions import ClientError

from laptop.account import ACCOUNT_ID
from tests.support.homes import Home

pytestmark = pytest.mark.xdist_group("kills")

PART = os.urandom(5 << 20)


def file_of(home: Home, key: str, bucket: str = "bucket") -> Path:
    return home.folder / "s3" / ACCOUNT_ID / bucket / key


def refusal(ask: Callable[[], Any]) -> tuple[int, str]:
    with pytest.raises(ClientError) as refused:
        ask()
    response = refused.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"]


def begin_upload(s3: Any, key: str = "big") -> dict[str, str]:
    answer = s3.create_multipart_upload(Bucket="bucket", Key=key, Metadata={"of": "mine"})
    return {"Bucket": "bucket", "Key": key, "UploadId": answer["UploadId"]}


def put_part(s3: Any, upload: dict[str, str], number: int, body: bytes) -> dict[str, Any]:
    return {"PartNumber": number, "ETag": s3.upload_part(**upload, PartNumber=number, Body=body)["ETag"]}


def test_a_multipart_upload_survives_a_kill(home: Home) -> None:
    s3 = home.client("s3")
    s3.create_bucket(Bucket="bucket")
    s3.put_object(Bucket="bucket", Key="source", Body=PART)
    upload, given_up = begin_upload(s3), begin_upload(s3, "given up")
    put_part(s3, given_up, 1, PART)
    first = put_part(s3, upload, 1, PART[::-1])
    first = put_part(s3, upload, 1, PART)
    home.again()
    s3 = home.client("s3")
    source = {"Bucket": "bucket", "Key": "source"}
    copied = s3.upload_part_copy(**upload, PartNumber=2, CopySource=source)["CopyPartResult"]["ETag"]
    last = put_part(s3, upload, 3, b"end")
    home.again()
    s3 = home.client("s3")
    assert [part["PartNumber"] for part in s3.list_parts(**upload)["Parts"]] == [1, 2, 3]
    s3.abort_multipart_upload(**given_up)
    parts = {"Parts": [first, {"PartNumber": 2, "ETag": copied}, last]}
    etag = s3.complete_multipart_upload(**upload, MultipartUpload=parts)["ETag"]
    assert list((home.folder / "state" / "uploads").iterdir()) == []
    for _ in range(2):
        whole = s3.get_object(Bucket="bucket", Key="big")
        assert whole["Body"].read() == PART + PART + b"end"
        assert (whole["ETag"], whole["Metadata"]) == (etag, {"of": "mine"})
        home.again()
        s3 = home.client("s3")
    assert "Uploads" not in s3.list_multipart_uploads(Bucket="bucket")


def test_parts_of_an_upload_hold_no_memory(home: Home) -> None:
    s3 = home.client("s3")
    s3.create_bucket(Bucket="bucket")
    upload = begin_upload(s3)
    put_part(s3, upload, 1, PART)
    before = psutil.Process(home.pid).memory_info().rss
    for number in range(2, 32):
        put_part(s3, upload, number, PART)
    assert psutil.Process(home.pid).memory_info().rss - before < 10 * len(PART)


def test_objects_of_a_versioned_bucket_hold_no_memory(home: Home) -> None:
    s3 = home.client("s3")
    s3.create_bucket(Bucket="bucket")
    s3.put_bucket_versioning(Bucket="bucket", VersioningConfiguration={"Status": "Enabled"})
    version = s3.put_object(Bucket="bucket", Key="0", Body=PART)["VersionId"]
    before = psutil.Process(home.pid).memory_info().rss
    for number in range(30):
        s3.put_object(Bucket="bucket", Key=str(number), Body=PART)
    assert psutil.Process(home.pid).memory_info().rss - before < 10 * len(PART)
    assert s3.get_object(Bucket="bucket", Key="0", VersionId=version)["Body"].read() == PART


def test_a_part_that_finds_no_room_is_refused(home: Home, full_disk: Callable[[bool], None]) -> None:
    s3 = home.client("s3")
    s3.create_bucket(Bucket="bucket")
    upload = begin_upload(s3)
    first = put_part(s3, upload, 1, b"first")
    parts = {"Parts": [first]}
    full_disk(True)
    for ask in (
        lambda: put_part(s3, upload, 1, b"other"),
        lambda: put_part(s3, upload, 2, b"more"),
        lambda: begin_upload(s3),
        lambda: s3.complete_multipart_upload(**upload, MultipartUpload=parts),
        lambda: s3.complete_multipart_upload(**upload, MultipartUpload=parts),
    ):
        assert refusal(ask) == (503, "ServiceUnavailable")
    assert refusal(lambda: s3.get_object(Bucket="bucket", Key="big")) == (404, "NoSuchKey")
    full_disk(False)
    assert [part["ETag"] for part in s3.list_parts(**upload)["Parts"]] == [first["ETag"]]
    home.again()
    s3 = home.client("s3")
    assert len(s3.list_multipart_uploads(Bucket="bucket")["Uploads"]) == 1
    s3.complete_multipart_upload(**upload, MultipartUpload=parts)
    assert s3.get_object(Bucket="bucket", Key="big")["Body"].read() == b"first"


def test_a_damaged_part_has_to_be_uploaded_again(home: Home) -> None:
    s3 = home.client("s3")
    s3.create_bucket(Bucket="bucket")
    upload = begin_upload(s3)
    parts = {"Parts": [put_part(s3, upload, number, PART) for number in (1, 2, 3)]}
    folder = home.folder / "state" / "uploads" / upload["UploadId"]
    os.truncate(folder / "1", 1000)
    (folder / "2").write_bytes((folder / "2").read_bytes()[:-3] + b"xyz")
    home.again()
    s3 = home.client("s3")
    for number in (1, 2):
        complete = {**upload, "MultipartUpload": parts}
        assert refusal(lambda: s3.complete_multipart_upload(**complete)) == (400, "InvalidPart")  # noqa: B023
        put_part(s3, upload, number, PART)
    s3.complete_multipart_upload(**upload, MultipartUpload=parts)
    assert s3.get_object(Bucket="bucket", Key="big")["Body"].read() == PART * 3


@pytest.mark.parametrize("versioned", [False, True])
def test_a_damaged_object_is_not_served_and_is_named(home: Home, versioned: bool) -> None:
    s3 = home.client("s3")
    s3.create_bucket(Bucket="bucket")
    if versioned:
        s3.put_bucket_versioning(Bucket="bucket", VersioningConfiguration={"Status": "Enabled"})
    for key in ("whole", "cut", "grown", "gone", "changed", "a//b"):
        s3.put_object(Bucket="bucket", Key=key, Body=b"content", Metadata={"of": key})
    home.kill()
    os.truncate(file_of(home, "cut"), 3)
    file_of(home, "grown").write_bytes(b"content and more")
    file_of(home, "gone").unlink()
    file_of(home, "changed").write_bytes(b"CONTENT")
    os.truncate(next(file_of(home, ".ministack-keys").glob("*b")), 3)
    home.start()
    s3 = home.client("s3")
    [sentence] = [sentence for sentence in home.found if "damaged" in sentence]
    assert sentence.startswith("The files of 4 objects")
    for key in ("bucket/cut", "bucket/grown", "bucket/gone", "bucket/a//b"):
        assert key in sentence
    assert len(s3.list_objects_v2(Bucket="bucket")["Contents"]) == 6
    assert s3.get_object(Bucket="bucket", Key="whole")["Metadata"] == {"of": "whole"}
    for key in ("cut", "grown", "gone", "changed", "a//b"):
        assert refusal(lambda: s3.get_object(Bucket="bucket", Key=key)) == (500, "InternalError")  # noqa: B023
        assert refusal(lambda: s3.get_object(Bucket="bucket", Key=key, Range="bytes=0-1"))[0] == 500  # noqa: B023
        copy = {"Bucket": "bucket", "Key": f"copy of {key}", "CopySource": f"bucket/{key}"}
        assert refusal(lambda: s3.copy_object(**copy))[0] == 500  # noqa: B023
        assert refusal(lambda: s3.head_object(Bucket="bucket", Key=key))[0] == 404  # noqa: B023


@pytest.mark.parametrize("versioned", [False, True])
def test_a_damaged_object_can_be_written_again(home: Home, versioned: bool) -> None:
    s3 = home.client("s3")
    s3.create_bucket(Bucket="bucket")
    for key in ("again", "gone", "deleted", "read"):
        s3.put_object(Bucket="bucket", Key=key, Body=b"content")
    home.kill()
    for key in ("again", "deleted", "read"):
        os.truncate(file_of(home, key), 3)
    file_of(home, "gone").unlink()
    home.start()
    s3 = home.client("s3")
    if versioned:
        s3.put_bucket_versioning(Bucket="bucket", VersioningConfiguration={"Status": "Enabled"})
    refusal(lambda: s3.get_object(Bucket="bucket", Key="read"))
    s3.delete_object(Bucket="bucket", Key="deleted")
    for key in ("again", "gone", "read"):
        s3.put_object(Bucket="bucket", Key=key, Body=b"content")
    for _ in range(2):
        for key in ("again", "gone", "read"):
            assert s3.head_object(Bucket="bucket", Key=key)["ContentLength"] == 7
            assert s3.get_object(Bucket="bucket", Key=key)["Body"].read() == b"content"
        assert refusal(lambda: s3.get_object(Bucket="bucket", Key="deleted")) == (404, "NoSuchKey")  # noqa: B023
        home.again()
        s3 = home.client("s3")
    assert home.found == []


def test_a_damaged_version_is_not_served(home: Home) -> None:
    s3 = home.client("s3")
    s3.create_bucket(Bucket="bucket")
    s3.put_bucket_versioning(Bucket="bucket", VersioningConfiguration={"Status": "Enabled"})
    first = s3.put_object(Bucket="bucket", Key="key", Body=b"first")["VersionId"]
    s3.put_object(Bucket="bucket", Key="key", Body=b"second")
    home.kill()
    os.truncate(home.folder / "s3" / ".versions" / ACCOUNT_ID / "bucket" / first / "key", 2)
    home.start()
    s3 = home.client("s3")
    for _ in range(2):
        old = {"Bucket": "bucket", "Key": "key", "VersionId": first}
        assert refusal(lambda: s3.get_object(**old)) == (404, "NoSuchVersion")  # noqa: B023
        assert s3.get_object(Bucket="bucket", Key="key")["Body"].read() == b"second"
        home.again()
        s3 = home.client("s3")
