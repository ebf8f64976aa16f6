"""What SageMaker moves between S3 and a job's folder: channels, manifests, checkpoints, archives, outputs."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, IncompleteReadError
from botocore.exceptions import ConnectionError as ConnectionFailed

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_PARALLEL = 4  # the cloud and the job share a laptop's cores


class TransferError(Exception):
    """Data that could not be moved; the text is what follows `ClientError: ` in a job's FailureReason."""


class Unavailable(TransferError):
    """S3 could not be reached, or failed for a reason of its own: the same may work a moment later."""


class Missing(TransferError):
    """There is no such object."""


def split(uri: str) -> tuple[str, str]:
    """`s3://bucket/key` -> (bucket, key). Raises TransferError."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not uri.startswith("s3://") or not bucket:
        raise TransferError(f"The S3 URI {uri!r} is not of the form s3://bucket/key")
    return bucket, key


def download(s3: S3Client, uri: str, data_type: str, target: Path) -> None:
    """Bring one channel: every object under a prefix (`S3Prefix`), or those a manifest lists (`ManifestFile`).

    Files keep their path below the prefix. A prefix that is itself an object lands as that one file, as with
    SageMaker. Raises TransferError when nothing is there, a listed object is missing or a path leaves the folder.
    """
    target.mkdir(parents=True, exist_ok=True)
    with _explained(uri):
        objects = list(_listed(s3, uri)) if data_type == "ManifestFile" else list(_under(s3, uri))
        if not objects:
            raise TransferError(
                f'No S3 objects found under S3 URL "{uri}" given in input data source. Please ensure that the bucket '
                "exists in the selected region, that objects exist under that S3 prefix, and that the role has "
                "s3:ListBucket permissions on the bucket."
            )
        _fetch(s3, objects, target)


def download_if_any(s3: S3Client, uri: str, target: Path) -> None:
    """Bring what lies under a prefix, which may be nothing: the checkpoints of a job that starts from the beginning."""
    target.mkdir(parents=True, exist_ok=True)
    with _explained(uri):
        _fetch(s3, list(_under(s3, uri)), target)


def holds_any(s3: S3Client, uri: str) -> bool:
    """Whether any object lies under a prefix. Raises TransferError."""
    with _explained(uri):
        return next(_under(s3, uri), None) is not None


def upload_folder(s3: S3Client, folder: Path, uri: str, only: Iterable[Path] | None = None) -> int:
    """Put the files below a folder (or `only` these of them) under a prefix; returns how many.

    A program may be at work in the folder: a file that it replaces meanwhile is put as it was, and one that it removes
    is left out.
    """
    bucket, prefix = split(uri)
    files = sorted(only if only is not None else (path for path in folder.rglob("*") if path.is_file()))
    put = 0
    with _explained(uri), tempfile.TemporaryDirectory(dir=folder.parent, prefix=".upload-") as held:
        for number, file in enumerate(files):
            link = Path(held) / str(number)
            try:
                os.link(file, link)  # the file itself, whatever its name stands for a moment later
            except FileNotFoundError:
                continue
            relative = file.relative_to(folder).as_posix()
            key = f"{prefix.rstrip('/')}/{relative}" if prefix.strip("/") else relative
            _put(s3, link, bucket, key)
            put += 1
    return put


def upload_archive(s3: S3Client, folder: Path, archive: Path, uri: str) -> bool:
    """Pack the content of a folder as .tar.gz and put it at a URI; False, and nothing put, when the folder is empty."""
    if not any(folder.rglob("*")):
        return False
    # Weights hardly compress: the fastest level costs a third of the time of the default for the same size.
    bucket, key = split(uri)
    with _explained(uri):
        with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
            for path in sorted(folder.iterdir()):
                tar.add(path, arcname=path.name)
        _put(s3, archive, bucket, key)
    return True


def read(s3: S3Client, uri: str) -> bytes:
    """The bytes of one object. Raises TransferError."""
    bucket, key = split(uri)
    with _explained(uri):
        return s3.get_object(Bucket=bucket, Key=key)["Body"].read()


def write(s3: S3Client, uri: str, body: bytes) -> None:
    """Put one object. Raises TransferError."""
    bucket, key = split(uri)
    with _explained(uri):
        s3.put_object(Bucket=bucket, Key=key, Body=body)


def _put(s3: S3Client, file: Path, bucket: str, key: str) -> None:
    """Put a file, in parts where it is large. `upload_file` would hide what S3 answered behind an error of its own."""
    with file.open("rb") as body:
        s3.upload_fileobj(body, bucket, key)


def _fetch(s3: S3Client, objects: list[tuple[str, str, str]], target: Path) -> None:
    """Bring objects, each as (bucket, key, path below the target)."""
    for _, _, relative in objects:
        if ".." in PurePosixPath(relative).parts or PurePosixPath(relative).is_absolute():
            raise TransferError(f"The object name {relative!r} leads out of the folder of its channel")

    def fetch(item: tuple[str, str, str]) -> None:
        bucket, key, relative = item
        file = target / relative
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            body = s3.get_object(Bucket=bucket, Key=key)["Body"]
        except ClientError as error:
            if error.response["Error"]["Code"] in ("NoSuchKey", "404"):
                raise TransferError(
                    f'No S3 objects found under S3 URL "s3://{bucket}/{key}" given in input data source'
                ) from error
            raise
        with file.open("wb") as out:
            for chunk in body.iter_chunks(1024 * 1024):
                out.write(chunk)

    with ThreadPoolExecutor(_PARALLEL) as pool:
        for _ in pool.map(fetch, objects):
            pass


def _under(s3: S3Client, uri: str) -> Iterator[tuple[str, str, str]]:
    bucket, prefix = split(uri)
    base = prefix if prefix.endswith("/") or not prefix else f"{prefix}/"
    parent = prefix.rpartition("/")[0]
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for item in page.get("Contents", []):
            key = item["Key"]
            if key.endswith("/"):
                continue  # the "folder" objects that consoles make
            yield bucket, key, key.removeprefix(base) if key.startswith(base) else key[len(parent) :].lstrip("/")


def _listed(s3: S3Client, uri: str) -> Iterator[tuple[str, str, str]]:
    """The objects of a ManifestFile: `[{"prefix": "s3://b/p/"}, "a", "b/c", …]` (API reference, S3DataSource)."""
    try:
        entries = json.loads(read(s3, uri))
    except ValueError as error:
        raise TransferError(f"The manifest {uri} is not valid JSON: {error}") from error
    if not isinstance(entries, list) or not entries or not isinstance(entries[0], dict) or "prefix" not in entries[0]:
        raise TransferError(f'The manifest {uri} does not start with {{"prefix": "s3://…"}}')
    if not all(isinstance(entry, str) for entry in entries[1:]):
        raise TransferError(f"The manifest {uri} holds an entry that is not a string")
    bucket, prefix = split(entries[0]["prefix"])
    for relative in entries[1:]:
        yield bucket, prefix + relative, relative.lstrip("/")


@contextlib.contextmanager
def _explained(uri: str) -> Iterator[None]:
    """Turn boto3's errors, and a full disk's, into a TransferError that names the address."""
    try:
        yield
    except (ConnectionFailed, HTTPClientError, IncompleteReadError) as error:
        raise Unavailable(f'Data transfer failed for S3 URL "{uri}": {error}') from error
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise Unavailable(f'Data transfer failed for S3 URL "{uri}": {error}') from error
    except (ClientError, BotoCoreError) as error:
        answer = error.response if isinstance(error, ClientError) else {}
        status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        code = answer.get("Error", {}).get("Code")
        # A program that writes over a file while it is put makes it shorter than was said, and S3 waits for the rest.
        passes = status == 429 or status >= 500 or code == "RequestTimeout"
        kind = Unavailable if passes else Missing if code == "NoSuchKey" else TransferError
        raise kind(f'Data transfer failed for S3 URL "{uri}": {error}') from error
