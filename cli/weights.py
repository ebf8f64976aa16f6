"""Base weights: a file of this machine, a name, or the URI of an object that training may read."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from botocore.exceptions import ClientError
from skyloop import layout

from cli.cloud import Cloud
from cli.errors import CliError, error_code

_BY_NAME = re.compile(r"scratch|yolo11[nsmlx]\.pt")
"""Random weights, or a file of Ultralytics' that the training container knows the checksum of, and downloads."""


def local_weights(value: str | None, *, image_of_yours: bool = False) -> Path | None:
    """The file that --base-weights names; None when it is no file of this machine (a model name or an s3:// URI).

    `image_of_yours`: the training image may have weights of any name. Raises CliError when it looks like a path but
    there is no such file, when the file is not a .pt file, and for a name that nobody knows.
    """
    if value is None or value.startswith("s3://"):
        return None
    path = Path(value).expanduser()
    if path.is_file():
        if path.suffix != ".pt":
            raise CliError(
                f"{path} is not a .pt file.", "Base weights are an Ultralytics .pt file, a name, or an s3:// URI."
            )
        return path
    if path.name != value or not (image_of_yours or _BY_NAME.fullmatch(value)):
        name = "" if path.name != value else ", and no weights to download go by that name"
        raise CliError(
            f"There is no {path}{name}.",
            "Give a .pt file that exists, yolo11n.pt (or s, m, l, x for n), or an s3:// URI.",
        )
    return None


def upload_weights(cloud: Cloud, weights: Path) -> str:
    """Put a .pt file into the data bucket, under its content's hash; returns its s3:// URI."""
    body = weights.read_bytes()
    key = layout.base_weights_key(hashlib.sha256(body).hexdigest(), weights.name)
    return cloud.storage.write(key, body)


def weights_to_train_from(cloud: Cloud, value: str) -> str:
    """What a training is given for --base-weights; a file of this machine is uploaded.

    Raises CliError for a file that is not there or no .pt file, for a URI that training may not read or that names no
    object, and for a name that nobody knows on the laptop, whose image has no weights.
    """
    its_own = cloud.home is None or value == cloud.outputs["BaseWeights"]
    if (weights := local_weights(value, image_of_yours=its_own)) is not None:
        return upload_weights(cloud, weights)
    if not layout.may_train_from(value, cloud.bucket, cloud.outputs["BaseWeights"]):
        raise CliError(
            f"Training may not read {value}.",
            f"Give a .pt file of this machine, which is uploaded, or put it under "
            f"{cloud.storage.uri(layout.BASE_WEIGHTS)} yourself: `aws s3 cp {value} "
            f"{cloud.storage.uri(layout.BASE_WEIGHTS)}`.",
        )
    require_weights(cloud, value)
    return value


def require_weights(cloud: Cloud, value: str) -> None:
    """Look whether the object that an s3:// URI names is there; any other name passes, and so does what is hidden.

    Who asks may have no right to see what training has one to read. Raises CliError.
    """
    if not value.startswith("s3://"):
        return
    bucket, _, key = value.removeprefix("s3://").partition("/")
    try:
        cloud.client("s3").head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error_code(error) not in {"404", "NoSuchBucket", "NoSuchKey"}:
            return
        parameter = " (the parameter BaseWeights)" if value == cloud.outputs["BaseWeights"] else ""
        raise CliError(
            f"There is no {value}{parameter}.",
            "Put it there, or give --base-weights a .pt file of this machine, which is uploaded, or a name.",
        ) from error
