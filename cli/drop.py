"""Drop images: upload what is not there yet, its known boxes, and new categories."""

from __future__ import annotations

import hashlib
import mimetypes
import uuid
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar

from botocore.exceptions import ClientError
from skyloop import layout
from skyloop.aws.storage import MISSING_CODES, ObjectMissing, Storage
from skyloop.formats.coco import CocoFile, CocoRefused, merge_coco, read_coco
from skyloop.formats.pictures import ImageRefused, open_picture

from cli.categories import add_categories
from cli.cloud import Cloud
from cli.errors import CliError, error_code, translated
from cli.flights import Drop, Image
from cli.labels import JoinedLabels, join_labels, refused_labels

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

WORKERS = 8

Outcome = Literal["uploaded", "already there", "different"]
Sent = tuple[Outcome, str | None, str]
"""What became of an image, why the pipeline will not use it, and its MD5."""
Item = TypeVar("Item")


class Track(Protocol):
    """Wraps an iteration to show its progress, as `Output.track` does."""

    def __call__(self, items: Iterable[Item], what: str, total: int) -> Iterable[Item]:
        """The items again; `what` names the work and `total` counts it."""
        ...


@dataclass
class DropReport:
    """What a drop did. `different` are keys that hold other content; `suspicious` and `unreadable` map files to why.

    `joined`, `same_boxes` and `overlapping_boxes` are those of `JoinedLabels`.
    `same_picture` maps files to one before them in the drop that has the same bytes; `other_files` those that are no
    images to why.
    """

    correlation_id: str
    flights: list[str]
    uploaded: int = 0
    already_there: int = 0
    bytes: int = 0
    different: list[str] = field(default_factory=list)
    suspicious: dict[str, str] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)
    boxes: int = 0
    entries_without_image: list[str] = field(default_factory=list)
    images_without_entry: int = 0
    joined: list[str] = field(default_factory=list)
    same_boxes: int = 0
    overlapping_boxes: int = 0
    categories_added: list[str] = field(default_factory=list)
    same_picture: dict[str, str] = field(default_factory=dict)
    other_files: dict[str, str] = field(default_factory=dict)
    by_products: dict[str, int] = field(default_factory=dict)
    keys: list[str] = field(default_factory=list)

    def as_document(self) -> dict[str, object]:
        """The members, ready for JSON."""
        return asdict(self)


def new_correlation_id() -> str:
    """An id that follows a batch from this drop to the endpoint."""
    return f"drop-{uuid.uuid4().hex[:12]}"


def why_unusable(body: bytes) -> str | None:
    """Why the pipeline will not use a file, by its header; None when that is good. It is uploaded all the same."""
    try:
        open_picture(body)
    except ImageRefused as refused:
        return refused.reason
    return None


def _is_there(s3: S3Client, bucket: str, key: str, md5: str) -> bool | None:
    """True: with this content. False: with other content. None: nothing is there."""
    try:
        head = s3.head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error_code(error) in MISSING_CODES:
            return None
        raise
    # In a bucket with KMS keys the ETag is not the MD5: there the metadata has it.
    return md5 in (head["ETag"].strip('"'), head["Metadata"].get(layout.MD5_METADATA))


def upload_image(s3: S3Client, bucket: str, image: Image, body: bytes, md5: str, correlation_id: str) -> Outcome:
    """Put one image under its key, unless something is there; `different` when the key holds other content.

    Raw images are never changed, so `different` writes nothing. One PUT, never multi-part: so the ETag is the content's
    MD5, and a second drop sees that nothing changed.
    """
    there = _is_there(s3, bucket, image.key, md5)
    if there is None:
        s3.put_object(
            Bucket=bucket,
            Key=image.key,
            Body=body,
            ContentType=mimetypes.guess_type(image.name)[0] or "application/octet-stream",
            Metadata={layout.CORRELATION_METADATA: correlation_id, layout.MD5_METADATA: md5},
        )
        return "uploaded"
    return "already there" if there else "different"


def put_known_boxes(storage: Storage, labels: JoinedLabels) -> None:
    """Write each flight's boxes; a flight that is dropped in several parts keeps the boxes of the parts before.

    Raises CliError when the boxes that are stored cannot be read.
    """
    for flight, fresh in labels.by_flight.items():
        key = layout.known_boxes_key(flight)
        try:
            stored = read_coco(storage.read(key).body)
        except ObjectMissing:
            stored = None
        except CocoRefused as error:
            raise refused_labels(f"s3 object {key}", error) from error
        merged = merge_coco(stored, fresh)
        if merged != stored:
            storage.write(key, merged.body(), content_type="application/json")


def upload_drop(cloud: Cloud, planned: Drop, coco: CocoFile | None, correlation_id: str, track: Track) -> DropReport:
    """Upload a planned drop; doing it again uploads nothing.

    Boxes and categories go first: as soon as the first image arrives, the workforce may be asked about it. Raises
    CliError when the labels name none of the images, or contradict one another.
    """
    report = DropReport(
        correlation_id,
        planned.flights,
        other_files=planned.other_files,
        by_products=planned.by_products,
        unreadable=dict(planned.refused),
    )
    if coco is not None:
        _upload_labels(cloud, join_labels(coco, planned), coco.category_names, report)
    s3, first = cloud.client("s3"), dict[str, str]()
    with ThreadPoolExecutor(WORKERS) as pool:
        futures = [(image, pool.submit(_send, s3, cloud.bucket, image, correlation_id)) for image in planned.images]
        try:
            with translated():
                for image, future in track(futures, "Uploading", len(futures)):
                    _count(report, image, future, first)
        except CliError as error:
            pool.shutdown(cancel_futures=True)
            arrived = sum(_arrived(future) for _, future in futures)
            raise CliError(
                f"{error.what} {arrived} of {len(futures)} images are there.",
                f"{error.next_step} Then drop the same again: what is there is not sent twice.",
            ) from error
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return report


def _arrived(future: Future[Sent]) -> bool:
    return future.done() and not future.cancelled() and future.exception() is None and future.result()[0] != "different"


def _upload_labels(cloud: Cloud, labels: JoinedLabels, category_names: list[str], report: DropReport) -> None:
    if not labels.by_flight:
        raise CliError(
            "The labels name none of the images in the drop.",
            f"The files that they name look like {labels.entries_without_image[:2]}, relative to the folder.",
        )
    report.boxes = labels.boxes
    report.entries_without_image = labels.entries_without_image
    report.images_without_entry = labels.images_without_entry
    report.joined = labels.joined
    report.same_boxes = labels.same_boxes
    report.overlapping_boxes = labels.overlapping_boxes
    report.categories_added = add_categories(cloud, category_names)[1]
    put_known_boxes(cloud.storage, labels)


def _send(s3: S3Client, bucket: str, image: Image, correlation_id: str) -> Sent:
    body = image.path.read_bytes()
    md5 = hashlib.md5(body, usedforsecurity=False).hexdigest()
    return upload_image(s3, bucket, image, body, md5, correlation_id), why_unusable(body), md5


def _count(report: DropReport, image: Image, future: Future[Sent], first: dict[str, str]) -> None:
    try:
        outcome, unusable, md5 = future.result()
    except OSError as error:  # the file's, not the cloud's: botocore's errors are not OSErrors
        report.unreadable[str(image.path)] = error.strerror or str(error)
        return
    if (same := first.setdefault(md5, str(image.path))) != str(image.path):
        report.same_picture[str(image.path)] = same
    if outcome == "already there":
        report.already_there += 1
    elif outcome == "different":
        report.different.append(image.key)
    else:
        report.uploaded += 1
        report.bytes += image.path.stat().st_size
        report.keys.append(image.key)
        if unusable:
            report.suspicious[str(image.path)] = unusable
