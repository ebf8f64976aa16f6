"""The label categories: one append-only list whose order gives the class ids.

`ground-truth-jobs/label-categories.json` is a Ground Truth label category configuration
(https://docs.aws.amazon.com/sagemaker/latest/dg/sms-label-cat-config-attributes.html). A name once in it keeps its
index for ever: models in production answer with that index.
"""

from __future__ import annotations

import json
from typing import Any

from botocore.exceptions import ClientError

from cli.cloud import Cloud
from cli.coco import MAX_CATEGORIES
from cli.errors import CliError, error_code

KEY = "ground-truth-jobs/label-categories.json"
DOCUMENT_VERSION = "2018-11-28"
ATTEMPTS = 8


def parse(body: bytes) -> list[str]:
    """Category names in order of their class ids. CliError when the document is not what it should be."""
    try:
        return [str(item["label"]) for item in json.loads(body)["labels"]]
    except (ValueError, KeyError, TypeError) as error:
        raise CliError(
            f"s3 object {KEY} is not a label category configuration: {error!r}",
            "Restore an earlier version of the object (the bucket keeps them all).",
        ) from error


def document(names: list[str]) -> bytes:
    """The configuration as stored."""
    labels = [{"label": name} for name in names]
    return json.dumps({"document-version": DOCUMENT_VERSION, "labels": labels}, ensure_ascii=False, indent=1).encode()


def appended(names: list[str], wanted: list[str]) -> list[str]:
    """`names` with those of `wanted` that are new at the end; an index never changes.

    CliError when a name is empty or differs from an existing one only in case or spaces: that is a typing mistake far
    more often than a new category, and could never be taken back.
    """
    result = list(names)
    folded = {" ".join(name.casefold().split()): name for name in names}
    for name in (item.strip() for item in wanted):
        if not name or any(ord(character) < 32 for character in name):
            raise CliError(f"{name!r} cannot be a category.", "Give a name of printable characters.")
        if name in result:
            continue
        if (same := folded.get(" ".join(name.casefold().split()))) is not None:
            raise CliError(
                f"The category {name!r} differs from {same!r} only in case or spaces.",
                f"Write {same!r}, or choose another name: categories are never removed.",
            )
        folded[" ".join(name.casefold().split())] = name
        result.append(name)
    if len(result) > MAX_CATEGORIES:
        raise CliError(
            f"That makes {len(result)} categories; Ground Truth takes {MAX_CATEGORIES} a labeling job.",
            "Merge categories before you drop.",
        )
    return result


def read(s3: Any, bucket: str) -> tuple[list[str], str | None]:
    """Names and the object's ETag; ([], None) when nothing was ever labeled."""
    try:
        answer = s3.get_object(Bucket=bucket, Key=KEY)
    except ClientError as error:
        if error_code(error) in {"NoSuchKey", "404"}:
            return [], None
        raise
    return parse(answer["Body"].read()), answer["ETag"]


def add(cloud: Cloud, wanted: list[str]) -> tuple[list[str], list[str]]:
    """Append names that are new; (all names, those added). Two people may do so at once: the write is conditional."""
    s3 = cloud.client("s3")
    for _ in range(ATTEMPTS):
        names, etag = read(s3, cloud.bucket)
        result = appended(names, wanted)
        if result == names:
            return names, []
        condition = {"IfMatch": etag} if etag else {"IfNoneMatch": "*"}
        try:
            s3.put_object(
                Bucket=cloud.bucket, Key=KEY, Body=document(result), ContentType="application/json", **condition
            )
        except ClientError as error:
            if error_code(error) in {"PreconditionFailed", "ConditionalRequestConflict", "412", "409"}:
                continue
            raise
        return result, result[len(names) :]
    raise CliError(
        "Others keep changing the categories at the same moment.",
        "Repeat the command; nothing was changed by this one.",
    )
