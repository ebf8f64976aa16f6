"""The S3 edge: objects of one bucket in and out, as bytes or JSON."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO, TypedDict, cast

from botocore.exceptions import ClientError

from skyloop.documents import parse_json
from skyloop.layout import check_name, unsafe_segments

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import ListObjectsV2RequestPaginateTypeDef

MAX_COPY_BYTES = 5 * 1024**3  # what one CopyObject takes
CHUNK_BYTES = 1 << 20
SPOOL_BYTES = 32 << 20  # of an object that is written bit by bit, in memory at most
MISSING_CODES = {"NoSuchKey", "404", "NotFound", "NoSuchVersion"}
CHANGED_CODES = {"PreconditionFailed", "412"}


class ObjectMissing(LookupError):
    """The object is not there (any more)."""


class ObjectChanged(LookupError):
    """Another object lies under the key by now."""


class ObjectTooLarge(ValueError):
    """The object is larger than the reader allows; nothing was read. `size` is in bytes."""

    def __init__(self, uri: str, size: int) -> None:
        super().__init__(f"{uri} has {size} bytes")
        self.size = size


@dataclass(frozen=True)
class Digest:
    """What an object's body is, and the ETag that it had when it was read."""

    sha256: str
    etag: str


@dataclass(frozen=True)
class StoredObject:
    """An object's body and its metadata. The keys of `metadata` are lower case, as S3 returns them."""

    key: str
    body: bytes
    content_type: str = "application/octet-stream"
    metadata: dict[str, str] = field(default_factory=dict)
    etag: str = ""


@dataclass(frozen=True)
class ObjectSummary:
    """An object without its body. `modified` is seconds since the epoch; `etag` changes with the content."""

    key: str
    size: int
    modified: float
    etag: str = ""


@dataclass(frozen=True)
class ListingPage:
    """What one call lists, in key order, and whether it is the end of the listing."""

    objects: list[ObjectSummary]
    is_last: bool


def parse_s3_uri(uri: str) -> tuple[str, str]:
    """Split `s3://bucket/key` into (bucket, key). The key is taken raw: `+`, `%` and `?` have no meaning in it.

    Raises ValueError when `uri` is not an S3 URI or names no bucket.
    """
    scheme, separator, rest = uri.partition("://")
    bucket, _, key = rest.partition("/")
    if scheme.lower() != "s3" or not separator or not bucket:
        raise ValueError(f"not an S3 URI: {uri!r}")
    return bucket, key


def s3_uri(bucket: str, key: str) -> str:
    """The inverse of `parse_s3_uri`."""
    return f"s3://{bucket}/{key}"


class _Condition(TypedDict, total=False):
    CopySourceIfMatch: str


class Storage:
    """One bucket, reached through a boto3 client."""

    def __init__(self, client: S3Client, bucket: str) -> None:
        self.client = client
        self.bucket = bucket

    def uri(self, key: str) -> str:
        """`s3://<this bucket>/<key>`."""
        return s3_uri(self.bucket, key)

    def key_of(self, uri: str) -> str:
        """The key of an S3 URI in this bucket.

        Raises ValueError when the URI names another bucket, or no object that can be and be read.
        """
        bucket, key = parse_s3_uri(uri)
        if bucket != self.bucket:
            raise ValueError(f"{uri!r} is not in bucket {self.bucket!r}")
        check_name(f"the key of {uri!r}", key)
        if unsafe := unsafe_segments(key):
            raise ValueError(f"{uri!r} has the path segment {unsafe[0]!r}")
        return key

    def read(self, key: str, *, at_most: int | None = None) -> StoredObject:
        """Read an object. Raises ObjectMissing, and ObjectTooLarge for a body of more than `at_most` bytes."""
        try:
            answer = self.client.get_object(Bucket=self.bucket, Key=key)
        except ClientError as error:
            raise _missing(error, self.uri(key)) from error
        if at_most is not None and answer["ContentLength"] > at_most:
            answer["Body"].close()
            raise ObjectTooLarge(self.uri(key), answer["ContentLength"])
        return StoredObject(
            key=key,
            body=answer["Body"].read(),
            content_type=answer.get("ContentType", "application/octet-stream"),
            metadata=answer.get("Metadata", {}),
            etag=answer.get("ETag", ""),
        )

    def read_if_there(self, key: str) -> StoredObject | None:
        """As `read`, but None when there is no such object."""
        try:
            return self.read(key)
        except ObjectMissing:
            return None

    def lines(self, key: str) -> Iterator[bytes]:
        """The lines of an object as they arrive, one in memory at a time. Raises ObjectMissing at the first."""
        try:
            body = self.client.get_object(Bucket=self.bucket, Key=key)["Body"]
        except ClientError as error:
            raise _missing(error, self.uri(key)) from error
        yield from body.iter_lines(CHUNK_BYTES)

    def lines_of_part(self, key: str, part: int, parts: int) -> Iterator[bytes]:
        """The lines that begin in one of `parts` equal parts of an object's bytes, each whole; `part` counts from 0.

        Every line is in exactly one part. Only the part is read, and the rest of its last line. Raises ObjectMissing.
        """
        size = self.summary(key).size
        start, end = size * part // parts, size * (part + 1) // parts
        if start == end:
            return
        # One byte more in front: a line begins at `start` if that byte ends the one before.
        at = max(start - 1, 0)
        try:
            body = self.client.get_object(Bucket=self.bucket, Key=key, Range=f"bytes={at}-")["Body"]
        except ClientError as error:
            raise _missing(error, self.uri(key)) from error
        for line in _lines(body.iter_chunks(CHUNK_BYTES)):
            begins, at = at, at + len(line)
            if begins >= end:
                break
            if begins >= start:
                yield line.rstrip(b"\r\n")
        body.close()

    def read_json(self, key: str) -> object:
        """Read and parse a JSON object. Raises ObjectMissing, or ValueError naming the object when it is not JSON."""
        body = self.read(key).body
        try:
            document = parse_json(body)
        except ValueError as error:
            raise ValueError(f"{self.uri(key)} is not JSON: {error}") from error
        return document

    def read_json_if_there(self, key: str) -> object | None:
        """As `read_json`, but None when there is no such object."""
        try:
            return self.read_json(key)
        except ObjectMissing:
            return None

    def digest(self, key: str) -> Digest:
        """The SHA-256 of an object's body in hex, a chunk in memory at a time. Raises ObjectMissing.

        A body that breaks off raises botocore's IncompleteReadError or another of its errors: half an object has no
        digest.
        """
        try:
            answer = self.client.get_object(Bucket=self.bucket, Key=key)
        except ClientError as error:
            raise _missing(error, self.uri(key)) from error
        sha256 = hashlib.sha256()
        for chunk in answer["Body"].iter_chunks(CHUNK_BYTES):
            sha256.update(chunk)
        return Digest(sha256.hexdigest(), answer.get("ETag", ""))

    def summary(self, key: str) -> ObjectSummary:
        """Size, date and ETag of an object. Raises ObjectMissing."""
        try:
            answer = self.client.head_object(Bucket=self.bucket, Key=key)
        except ClientError as error:
            raise _missing(error, self.uri(key)) from error
        return ObjectSummary(key, answer["ContentLength"], answer["LastModified"].timestamp(), answer.get("ETag", ""))

    def has(self, key: str) -> bool:
        """Whether there is such an object."""
        try:
            self.summary(key)
        except ObjectMissing:
            return False
        return True

    def write(
        self,
        key: str,
        body: bytes,
        *,
        content_type: str = "application/octet-stream",
        metadata: dict[str, str] | None = None,
    ) -> str:
        """Write an object and return its URI."""
        self.client.put_object(
            Bucket=self.bucket, Key=key, Body=body, ContentType=content_type, Metadata=metadata or {}
        )
        return self.uri(key)

    def write_json(self, key: str, document: object) -> str:
        """Write `document` as UTF-8 JSON with sorted keys, so that equal documents are equal objects.

        Half a surrogate pair, which JSON can name and UTF-8 cannot, stays the escape that it was.
        """
        text = json.dumps(document, ensure_ascii=False, indent=1, sort_keys=True)
        body = text.encode(errors="backslashreplace")
        return self.write(key, body, content_type="application/json")

    def copy(self, source: str, target: str, *, etag: str | None = None) -> None:
        """Copy an object of at most MAX_COPY_BYTES within the bucket, metadata included.

        Raises ObjectMissing, and ObjectChanged where it has another ETag than `etag`.
        """
        condition: _Condition = {} if etag is None else {"CopySourceIfMatch": etag}
        try:
            self.client.copy_object(
                Bucket=self.bucket, Key=target, CopySource={"Bucket": self.bucket, "Key": source}, **condition
            )
        except ClientError as error:
            if error.response["Error"]["Code"] in CHANGED_CODES:
                raise ObjectChanged(self.uri(source)) from error
            raise _missing(error, self.uri(source)) from error

    @contextmanager
    def writing(self, key: str, content_type: str) -> Iterator[BinaryIO]:
        """A file whose content becomes an object when the context ends without an error.

        It may be larger than the memory: more than SPOOL_BYTES wait on the disk.
        """
        with tempfile.SpooledTemporaryFile(SPOOL_BYTES) as file:
            yield cast("BinaryIO", file)
            file.seek(0)
            self.client.upload_fileobj(cast("BinaryIO", file), self.bucket, key, {"ContentType": content_type})

    def listing(self, prefix: str) -> Iterator[ObjectSummary]:
        """Every object under `prefix`, in key order, page by page."""
        for page in self.pages(prefix):
            yield from page.objects

    def pages(self, prefix: str, after: str = "") -> Iterator[ListingPage]:
        """The objects under `prefix` with keys after `after`, a thousand in a page. Each page is a call of its own."""
        listing: ListObjectsV2RequestPaginateTypeDef = {"Bucket": self.bucket, "Prefix": prefix}
        if after:
            listing["StartAfter"] = after
        for page in self.client.get_paginator("list_objects_v2").paginate(**listing):
            objects = [
                ObjectSummary(item["Key"], int(item["Size"]), item["LastModified"].timestamp(), item.get("ETag", ""))
                for item in page.get("Contents", [])
            ]
            yield ListingPage(objects, is_last=not page["IsTruncated"])

    def folders(self, prefix: str) -> Iterator[str]:
        """The "folders" directly under `prefix`: key prefixes up to and with the next `/`."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix, Delimiter="/")
        for page in pages:
            for item in page.get("CommonPrefixes", []):
                yield item["Prefix"]


def _lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Lines with the newlines that end them."""
    rest: list[bytes] = []
    for chunk in chunks:
        *whole, last = chunk.split(b"\n")
        for line in whole:
            yield b"".join([*rest, line, b"\n"])
            rest = []
        rest.append(last)
    if line := b"".join(rest):
        yield line


def _missing(error: ClientError, uri: str) -> Exception:
    """ObjectMissing where S3 says that there is no such object; any other error as it came."""
    return ObjectMissing(uri) if error.response["Error"]["Code"] in MISSING_CODES else error
