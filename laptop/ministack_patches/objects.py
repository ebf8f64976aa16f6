"""Objects are files: they are acknowledged once they are written, and served only if they are whole.

MiniStack writes an object's bytes into one file and its record into another beside it. A record that waits under its
temporary name while the bytes are replaced says what the bytes are (:mod:`laptop.repair` completes it). So bytes that
are not what the record says were damaged: by a power cut, or by hand. Their GET is answered 500, which is told from an
object that never was; HEAD says 404, so that who looks whether something is there puts it again.
"""

from __future__ import annotations

import contextvars
import hashlib
import json
import logging
import os
import re
from collections.abc import Iterator
from typing import Any
from xml.sax.saxutils import escape

from ministack.core.responses import get_account_id
from ministack.services import s3

from laptop import storing
from laptop.documents import Document
from laptop.ministack_patches.acknowledgements import home
from laptop.ministack_patches.keeper import KEEPER
from laptop.ministack_patches.notifications import holding
from laptop.ministack_patches.patching import Original, patch
from laptop.repair import SIDECAR, UNFINISHED

log = logging.getLogger(__name__)

_MD5 = re.compile(r'"[0-9a-f]{32}"')
_DAMAGED = "_damaged"  # members of a record in memory, never written down
_CHECKED = "_checked"
_NAMED = 5  # damaged objects that are named in a sentence


class ObjectDamaged(Exception):
    """An object's bytes are not those that its record says; the message names it."""


def prepare() -> None:
    """Look at the sizes of all objects, which MiniStack has just read the records of."""
    if damaged := sorted(_mark_damaged()):
        others = f" and {len(damaged) - _NAMED} others" if len(damaged) > _NAMED else ""
        KEEPER.found.append(
            f"The files of {len(damaged)} objects are damaged or gone, and they are not served: "
            f"{', '.join(damaged[:_NAMED])}{others}. Drop or write them again, or delete them."
        )


def _mark_damaged() -> Iterator[str]:
    """The names (`bucket/key`) of objects whose file is gone or has another size; they are marked."""
    for (account, name), bucket in s3._buckets._data.items():
        folder = os.path.join(s3.DATA_DIR, account, name)
        if not os.path.isdir(folder):
            continue
        there = set()
        for path, key in s3._persisted_key_files(folder, sidecars=False):
            there.add(path)
            record = bucket["objects"].get(key)
            if record is not None and os.stat(path).st_size != record["size"]:
                record[_DAMAGED] = True
                yield f"{name}/{key}"
        for sidecar, key in s3._persisted_key_files(folder, sidecars=True):
            if sidecar.removesuffix(SIDECAR) not in there and (record := _record_of_lost(sidecar)) is not None:
                bucket["objects"][key] = {**s3._object_record_from_version(record), _DAMAGED: True}
                s3._load_persisted_history(account, bucket, name, key, record)
                yield f"{name}/{key}"


def _record_of_lost(sidecar: str) -> Document | None:
    """The record of an object without bytes, as MiniStack's record of a version; None for a delete marker."""
    try:
        with open(sidecar, encoding="utf-8") as file:
            record = json.load(file)
        if record.get("is_delete_marker"):
            return None
        known = {"etag": record["etag"], "size": record["size"], "last_modified": record["last_modified"]}
    except (ValueError, KeyError, AttributeError):
        log.warning("%s cannot be read", sidecar)
        return None
    return {**record, **known, "version_id": record.get("version_id") or "null"}


def _check(record: Document, body: bytes, name: str) -> bool:
    """Whether bytes are those of a record, by size and MD5. Raises ObjectDamaged where they are not."""
    etag = str(record["etag"])
    same = len(body) == record["size"]
    if same and _MD5.fullmatch(etag):
        same = hashlib.md5(body, usedforsecurity=False).hexdigest() == etag.strip('"')
    if not same:
        raise ObjectDamaged(name)
    return True


@patch(
    "services.s3:_read_body",
    because="MiniStack serves what is left of an object's file, or nothing, as the object",
    proof="test_objects.py::test_a_damaged_object_is_not_served_and_is_named",
)
def _read_body(original: Original, bucket: str, key: str, record: Document) -> bytes:
    body: bytes = original(bucket, key, record)
    if record.get("body") is None and not record.get(_CHECKED):
        try:
            record[_CHECKED] = _check(record, body, f"{bucket}/{key}")
        except ObjectDamaged:
            record[_DAMAGED] = True
            raise
    return body


@patch(
    "services.s3:_version_body",
    because="MiniStack serves what is left of a version's file as the version",
    proof="test_objects.py::test_a_damaged_version_is_not_served",
)
def _version_body(original: Original, bucket: Document, name: str, key: str, version: Document) -> bytes | None:
    body: bytes | None = original(bucket, name, key, version)
    if body is None or version.get("data") is not None:
        return body
    try:
        _check(version, body, name)
    except ObjectDamaged:  # to MiniStack a version without bytes is not there: a delete that meets one goes on
        log.error("The version %s of %s/%s is not served: its file is damaged", version["version_id"], name, key)
        return None
    return body


@patch(
    "services.s3:_head_object",
    because="MiniStack says of an object that is damaged that it is there",
    proof="test_objects.py::test_a_damaged_object_is_not_served_and_is_named",
)
def _head_object(original: Original, bucket: str, key: str, headers: Document, query: Document) -> Any:
    answer = original(bucket, key, headers, query)
    record = (s3._buckets.get(bucket) or {"objects": {}})["objects"].get(key, {})
    if record.get(_DAMAGED) and "versionId" not in query:
        return 404, {"Content-Type": "application/xml"}, b""
    return answer


@patch(
    "services.s3:_preserve_null_version",
    because="MiniStack reads an object before it writes over it, so that a damaged one could not be put right",
    proof="test_objects.py::test_a_damaged_object_can_be_written_again",
)
def _preserve_null_version(original: Original, bucket: str, key: str, *rest: Any) -> None:
    try:
        original(bucket, key, *rest)
    except ObjectDamaged:
        log.warning("%s/%s was damaged; it is not kept as a version", bucket, key)


@patch(
    "services.s3:_persist_object",
    because="MiniStack writes the record after the bytes: what a kill leaves between cannot be told from damage; and "
    "it holds the bytes of every version in memory",
    proof="test_kills.py::test_nothing_acknowledged_is_lost_at_any_moment",
)
def _persist_object(original: Original, bucket: str, key: str, record: Document) -> None:
    body = record.get("body")
    if body is None:  # the file stays, and only its record is written
        original(bucket, key, record)
        return
    path = s3._object_disk_path(bucket, key)
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    document = {**s3._object_meta_from_record(record), **s3._key_history_meta(bucket, key), "key": key}
    waiting = {path: body, path + SIDECAR: json.dumps(document).encode()}
    try:
        for target, content in waiting.items():
            _write_new(target + UNFINISHED, content)
    except OSError as error:
        not_written().append(error)
        for target in waiting:
            _remove(target + UNFINISHED)
        raise
    for target in waiting:
        os.replace(target + UNFINISHED, target)
    record["body"] = None
    for version in s3._object_versions.get((bucket, key)) or []:
        if version["version_id"] == record.get("version_id"):
            version["data"] = None
    s3._remove_key_files(s3._other_key_disk_path(os.path.join(s3.DATA_DIR, get_account_id(), bucket), key, path))


def _write_new(path: str, content: bytes) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)


def _remove(path: str) -> None:
    if os.path.exists(path):
        os.remove(path)


_errors: contextvars.ContextVar[list[OSError]] = contextvars.ContextVar("errors")


def not_written() -> list[OSError]:
    """What this request could not write to disk so far: more than nothing, and it is refused."""
    return _errors.get([])


@patch(
    "services.s3:_atomic_write",
    because="MiniStack logs that an object could not be written to disk, and goes on",
    proof="test_kills.py::test_a_full_disk_refuses_and_damages_nothing",
)
def _atomic_write(original: Original, path: str, data: Any, **named: Any) -> None:
    try:
        original(path, data, **named)
    except OSError as error:
        not_written().append(error)
        raise


@patch(
    "services.s3:handle_request",
    because="MiniStack answers 200 for an object that it could not write to disk, and tells of it",
    proof="test_kills.py::test_a_full_disk_refuses_and_damages_nothing",
)
async def _handle_s3(
    original: Original, method: str, path: str, headers: Document, body: bytes, query: Document, **more: Any
) -> Any:
    errors: list[OSError] = []
    token = _errors.set(errors)
    bucket_name, _, key = path.lstrip("/").partition("/")
    bucket = s3._buckets.get(bucket_name) or {"objects": {}}
    object_before = bucket["objects"].get(key)
    versions_before = list(s3._object_versions.get((bucket_name, key)) or [])
    with holding() as tell:
        try:
            answer = await original(method, path, headers, body, query, **more)
        except OSError as error:
            errors.append(error)
        except ObjectDamaged as damaged:
            log.error("%s cannot be served: its file is damaged or gone", damaged)
            return _error(500, "InternalError", f"The file of {damaged} is damaged or gone.")
        finally:
            _errors.reset(token)
        if not errors:
            tell()
    if not errors:
        return answer
    log.error("%s %s could not be stored: %s", method, path, errors[0])
    if object_before is None:
        bucket["objects"].pop(key, None)
    else:
        bucket["objects"][key] = object_before
    if versions_before:
        s3._object_versions[(bucket_name, key)] = versions_before
    else:
        s3._object_versions.pop((bucket_name, key), None)
    return _error(503, "ServiceUnavailable", storing.refusal(home()))


def _error(status: int, code: str, message: str) -> tuple[int, dict[str, str], bytes]:
    document = f"<Error><Code>{code}</Code><Message>{escape(message)}</Message></Error>"
    return status, {"Content-Type": "application/xml"}, document.encode()
