"""A model's archive, fetched and unpacked as SageMaker does before it starts a container."""

from __future__ import annotations

import io
import tarfile
import zlib
from gzip import BadGzipFile
from pathlib import Path
from typing import TYPE_CHECKING

from laptop.sagemaker.core import transfer
from laptop.sagemaker.endpoints.blue_green import Unhealthy

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def fetch(s3: S3Client, url: str, folder: Path) -> None:
    """Unpack the .tar.gz at a URL into a folder that exists.

    Raises Unhealthy where the archive is not there or is none; OSError and transfer.Unavailable for what may pass: a
    disk that is full, a bucket that cannot be reached.
    """
    try:
        archive = transfer.read(s3, url)
    except transfer.Unavailable:
        raise
    except transfer.TransferError as error:
        raise Unhealthy(
            f'Failed to download model data for container "container_1" from URL: "{url}". Please ensure that there '
            "is an object located at the URL and that the role passed to CreateModel has permissions to download the "
            "model."
        ) from error
    try:
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            tar.extractall(folder, filter="data")
    except (tarfile.TarError, BadGzipFile, zlib.error, EOFError) as error:
        raise Unhealthy(
            f'Failed to extract model data archive for container "container_1" from URL "{url}". Please ensure that '
            "the object located at the URL is a valid tar.gz archive."
        ) from error
