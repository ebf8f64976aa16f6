"""Base weights: a file of this machine, a name, or the URI of an object that training may read."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from skyloop import layout
from skyloop.aws.storage import ObjectMissing

from cli.cloud import Cloud
from cli.errors import CliError

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

    Raises CliError for a file that is not there or no .pt file, for a URI that training may not read, and for a name
    that nobody knows on the laptop, whose image has no weights.
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
    if value.startswith(cloud.storage.uri("")):
        try:
            cloud.storage.summary(cloud.storage.key_of(value))
        except (ObjectMissing, ValueError) as error:
            raise CliError(
                f"There is no {value}.", "Give a .pt file of this machine, which is uploaded, or a name."
            ) from error
    return value
