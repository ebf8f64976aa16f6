"""Multipart uploads are files: the parts that were acknowledged are there after a kill, and none holds memory.

An upload is a folder below `uploads` in the folder of the state, with what it was begun with in `upload.json` and a
file for each part: a line of JSON, then its bytes. Both are as MiniStack has them in memory.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from pathlib import Path
from typing import Any

from ministack.core import persistence
from ministack.core.responses import get_account_id
from ministack.services import s3

from laptop.documents import Document
from laptop.ministack_patches.keeper import KEEPER
from laptop.ministack_patches.objects import not_written
from laptop.ministack_patches.patching import Original, patch

log = logging.getLogger(__name__)

_RECORD = "upload.json"
_BECAUSE = "in MiniStack a multipart upload is gone when the process ends, and its parts are held in memory"
_PROOF = "test_objects.py::test_a_multipart_upload_survives_a_kill"


def prepare() -> None:
    """Bring back the uploads that were not completed."""
    lost = []
    for folder in _home().glob("*/"):
        try:
            record = json.loads((folder / _RECORD).read_bytes())
            account = record.pop("account")
            parts = {int(file.name): part for file in folder.glob("[0-9]*") if (part := _part(file)) is not None}
        except FileNotFoundError:  # its beginning was not acknowledged, or its end was
            shutil.rmtree(folder, ignore_errors=True)
        except (ValueError, KeyError, AttributeError):
            lost.append(folder.name)
        else:
            s3._multipart_uploads._data[(account, folder.name)] = {**record, "parts": parts}
    if lost:
        KEEPER.found.append(
            f"{len(lost)} multipart uploads cannot be read, and have to be begun again; they are kept in {_home()}: "
            f"{', '.join(lost)}."
        )


def _home() -> Path:
    return Path(persistence.STATE_DIR) / "uploads"


def _part(file: Path) -> Document | None:
    """A part as MiniStack has it, without its bytes; None where the file is damaged: the part was never uploaded."""
    try:
        with file.open("rb") as content:
            line = content.readline()
        part: Document = json.loads(line)
        whole = file.stat().st_size == len(line) + part["size"]
    except (ValueError, KeyError, TypeError):
        whole = False
    if not whole:
        log.warning("%s is damaged: the part has to be uploaded again", file)
    return {**part, "body": None} if whole else None


def _upload_of(query: Document) -> tuple[str, Document | None]:
    upload_id = s3._qp(query, "uploadId")
    return upload_id, s3._multipart_uploads.get(upload_id)


@patch("services.s3:_create_multipart_upload", because=_BECAUSE, proof=_PROOF)
def _create(original: Original, bucket: str, key: str, headers: Document) -> Any:
    before = set(s3._multipart_uploads)
    answer = original(bucket, key, headers)
    for upload_id in set(s3._multipart_uploads) - before:
        record = {name: value for name, value in s3._multipart_uploads[upload_id].items() if name != "parts"}
        try:
            (_home() / upload_id).mkdir(mode=0o700, parents=True)
            content = json.dumps({**record, "account": get_account_id()})
            s3._atomic_write(str(_home() / upload_id / _RECORD), content.encode())
        except OSError:
            del s3._multipart_uploads[upload_id]
            raise
    return answer


@patch("services.s3:_upload_part", because=_BECAUSE, proof=_PROOF)
def _upload_part(original: Original, bucket: str, key: str, body: bytes, query: Document, headers: Document) -> Any:
    return _kept(query, original, bucket, key, body, query, headers)


@patch("services.s3:_upload_part_copy", because=_BECAUSE, proof=_PROOF)
def _upload_part_copy(original: Original, bucket: str, key: str, query: Document, headers: Document) -> Any:
    return _kept(query, original, bucket, key, query, headers)


def _kept(query: Document, original: Original, *arguments: Any) -> Any:
    """What MiniStack answers to a part, once the part is in its file. Raises OSError where that is not possible."""
    upload_id, upload = _upload_of(query)
    if upload is None:
        return original(*arguments)
    before = dict(upload["parts"])
    answer = original(*arguments)
    for number, part in list(upload["parts"].items()):
        if (body := part["body"]) is None:
            continue
        line = json.dumps({name: value for name, value in part.items() if name != "body"})
        try:
            s3._atomic_write(str(_home() / upload_id / str(number)), line.encode() + b"\n" + body)
        except OSError:
            upload["parts"] = before
            raise
        part["body"] = None
    return answer


@patch("services.s3:_complete_multipart_upload", because=_BECAUSE, proof=_PROOF)
def _complete(original: Original, bucket: str, key: str, body: bytes, query: Document, *rest: Any) -> Any:
    upload_id, upload = _upload_of(query)
    if upload is None:
        return original(bucket, key, body, query, *rest)
    with_bodies = {number: {**part, "body": _body(upload_id, number)} for number, part in upload["parts"].items()}
    whole = {
        number: part
        for number, part in with_bodies.items()
        if f'"{hashlib.md5(part["body"], usedforsecurity=False).hexdigest()}"' == part["etag"]
    }
    s3._multipart_uploads[upload_id] = {**upload, "parts": whole}
    try:
        answer = original(bucket, key, body, query, *rest)
    finally:
        if not_written():  # a second try must not be answered that this one was well
            s3._completed_multipart_uploads.pop(upload_id, None)
        if not_written() or upload_id in s3._multipart_uploads:
            s3._multipart_uploads[upload_id] = upload
        else:
            shutil.rmtree(_home() / upload_id, ignore_errors=True)
    return answer


def _body(upload_id: str, number: int) -> bytes:
    """The bytes of a part; none where its file is gone."""
    try:
        return (_home() / upload_id / str(number)).read_bytes().partition(b"\n")[2]
    except FileNotFoundError:
        return b""


@patch("services.s3:_abort_multipart_upload", because=_BECAUSE, proof=_PROOF)
def _abort(original: Original, bucket: str, key: str, query: Document) -> Any:
    upload_id, upload = _upload_of(query)
    answer = original(bucket, key, query)
    if upload is not None and upload_id not in s3._multipart_uploads:
        shutil.rmtree(_home() / upload_id)
    return answer
