"""The label categories: one append-only list whose order gives the class ids.

They are stored as a Ground Truth label category configuration
(https://docs.aws.amazon.com/sagemaker/latest/dg/sms-label-cat-config-attributes.html). A name keeps its index for good:
models in production answer with that index.
"""

from __future__ import annotations

import json

from botocore.exceptions import ClientError
from skyloop.documents import parse_json
from skyloop.formats.groundtruth import MAX_CATEGORIES, categories_of, label_category_config
from skyloop.layout import LABEL_CATEGORIES

from cli.cloud import Cloud
from cli.errors import CliError, error_code

ATTEMPTS = 8


def parse_categories(body: bytes) -> list[str]:
    """Category names in order of their class ids. Raises CliError when the document is not what it should be."""
    try:
        return list(categories_of(parse_json(body)))
    except ValueError as error:
        raise CliError(
            f"s3 object {LABEL_CATEGORIES} is not a label category configuration: {error}",
            "Restore an earlier version of the object (the bucket keeps them all).",
        ) from error


def category_document(names: list[str]) -> bytes:
    """The configuration as it is stored."""
    return json.dumps(label_category_config(names), ensure_ascii=False, indent=1).encode()


def append_categories(names: list[str], more: list[str]) -> list[str]:
    """`names`, and at the end those of `more` that are new; an index never changes.

    Raises CliError when a name is empty, or differs from an existing one only in case or spaces: that is far more often
    a typing mistake than a new category, and no category can be removed again.
    """
    result = list(names)
    folded = {" ".join(name.casefold().split()): name for name in names}
    for name in (item.strip() for item in more):
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
            f"That makes {len(result)} categories; Ground Truth takes {MAX_CATEGORIES} per labeling job.",
            "Merge categories before you drop.",
        )
    return result


def read_categories(cloud: Cloud) -> tuple[list[str], str | None]:
    """The names and the object's ETag; ([], None) when there are no categories yet."""
    try:
        response = cloud.client("s3").get_object(Bucket=cloud.bucket, Key=LABEL_CATEGORIES)
    except ClientError as error:
        if error_code(error) in {"NoSuchKey", "404"}:
            return [], None
        raise
    return parse_categories(response["Body"].read()), response["ETag"]


def add_categories(cloud: Cloud, more: list[str]) -> tuple[list[str], list[str]]:
    """Append names that are new; returns (all names, those added).

    Two people may do so at once: the write is conditional, and repeated on what the other wrote. Raises CliError as
    `append_categories` does, and when others keep changing the list.
    """
    for _ in range(ATTEMPTS):
        names, etag = read_categories(cloud)
        result = append_categories(names, more)
        if result == names:
            return names, []
        try:
            _write_categories(cloud, result, etag)
        except ClientError as error:
            if error_code(error) in {"PreconditionFailed", "ConditionalRequestConflict", "412", "409"}:
                continue
            raise
        return result, result[len(names) :]
    raise CliError(
        "Others keep changing the categories at the same moment.",
        "Repeat the command; nothing was changed by this one.",
    )


def _write_categories(cloud: Cloud, names: list[str], etag: str | None) -> None:
    """Write the list unless somebody changed it since `etag` was read (None: unless there is one)."""
    s3, body, content_type = cloud.client("s3"), category_document(names), "application/json"
    if etag:
        s3.put_object(Bucket=cloud.bucket, Key=LABEL_CATEGORIES, Body=body, ContentType=content_type, IfMatch=etag)
    else:
        s3.put_object(Bucket=cloud.bucket, Key=LABEL_CATEGORIES, Body=body, ContentType=content_type, IfNoneMatch="*")
