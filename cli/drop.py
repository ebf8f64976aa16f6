"""Drop images: upload what is not there yet, its known boxes, and new categories."""

from __future__ import annotations

import hashlib
import json
import mimetypes
import uuid
import warnings
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

from botocore.exceptions import ClientError
from PIL import Image as PillowImage
from PIL import UnidentifiedImageError

from cli import categories
from cli.cloud import Cloud
from cli.coco import CocoFile, Match, match
from cli.errors import CliError, error_code
from cli.flights import Drop, Image

KNOWN_BOXES_PREFIX = "ground-truth-jobs/known-boxes/"
WORKERS = 8


@dataclass
class DropReport:
    """What a drop did."""

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
    categories_added: list[str] = field(default_factory=list)
    other_files: int = 0
    keys: list[str] = field(default_factory=list)

    def as_document(self) -> dict[str, Any]:
        return asdict(self)


def new_correlation_id() -> str:
    """An id that follows a batch from this drop to the endpoint."""
    return f"drop-{uuid.uuid4().hex[:12]}"


def suspicion(image: Image) -> str | None:
    """Why a file looks unusable, None when its header reads well. It is uploaded all the same: the pipeline judges."""
    try:
        if image.path.stat().st_size == 0:
            return "is empty"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PillowImage.DecompressionBombWarning)
            with PillowImage.open(image.path):
                return None
    except UnidentifiedImageError:
        return "is not an image that Pillow knows"
    except PillowImage.DecompressionBombError:
        return "claims far more pixels than a photograph has"
    except Exception as error:  # Pillow's readers raise whatever a malformed header leads them to
        return f"cannot be opened ({error})"


def _is_there(s3: Any, bucket: str, key: str, md5: str) -> bool | None:
    """True: with this content. False: with other content. None: nothing is there."""
    try:
        head = s3.head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error_code(error) in {"404", "NoSuchKey", "NotFound"}:
            return None
        raise
    # A bucket with KMS keys has ETags that are no MD5: the metadata says it there.
    return md5 in (head["ETag"].strip('"'), head.get("Metadata", {}).get("md5"))


def upload(s3: Any, bucket: str, image: Image, correlation_id: str) -> str:
    """Put one image under its key: `uploaded`, `already there`, or `different` when the key holds other content.

    raw-images/ is never changed, so `different` writes nothing. One PUT, never multi-part: the ETag is then the
    content's MD5, and a second drop sees that nothing changed.
    """
    body = image.path.read_bytes()
    md5 = hashlib.md5(body, usedforsecurity=False).hexdigest()
    there = _is_there(s3, bucket, image.key, md5)
    if there is None:
        s3.put_object(
            Bucket=bucket,
            Key=image.key,
            Body=body,
            ContentType=mimetypes.guess_type(image.name)[0] or "application/octet-stream",
            Metadata={"correlation-id": correlation_id, "md5": md5},
        )
        return "uploaded"
    return "already there" if there else "different"


def put_known_boxes(s3: Any, bucket: str, matched: Match) -> None:
    """Write each flight's boxes; a flight dropped in several parts keeps the boxes of the parts before."""
    for flight, fresh in matched.by_flight.items():
        key = f"{KNOWN_BOXES_PREFIX}{flight}.json"
        try:
            stored = json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
        except ClientError as error:
            if error_code(error) not in {"NoSuchKey", "404"}:
                raise
            stored = {"images": [], "annotations": [], "categories": []}
        merged = merge_boxes(stored, fresh)
        if merged != stored:
            body = json.dumps(merged, ensure_ascii=False).encode()
            s3.put_object(Bucket=bucket, Key=key, Body=body, ContentType="application/json")


def merge_boxes(stored: dict[str, Any], fresh: dict[str, Any]) -> dict[str, Any]:
    """Two COCO documents of one flight as one: an image named in `fresh` takes all its boxes from there.

    Images are sorted by name and ids count from 0, so that merging the same again gives the same document.
    """
    names = list(dict.fromkeys(item["name"] for part in (stored, fresh) for item in part["categories"]))
    by_file: dict[str, tuple[dict[str, Any], list[dict[str, Any]]]] = {}
    for part in (stored, fresh):
        part_names = {item["id"]: item["name"] for item in part["categories"]}
        of_image: dict[Any, list[dict[str, Any]]] = {image["id"]: [] for image in part["images"]}
        for item in part["annotations"]:
            of_image[item["image_id"]].append({**item, "category_id": names.index(part_names[item["category_id"]])})
        by_file |= {image["file_name"]: (image, of_image[image["id"]]) for image in part["images"]}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, (_, (image, boxes)) in enumerate(sorted(by_file.items())):
        images.append({**image, "id": number})
        annotations += [{**box, "id": len(annotations) + i, "image_id": number} for i, box in enumerate(boxes)]
    labels = [{"id": index, "name": name} for index, name in enumerate(names)]
    return {"images": images, "annotations": annotations, "categories": labels}


def drop(
    cloud: Cloud,
    planned: Drop,
    coco: CocoFile | None,
    correlation_id: str,
    progress: Callable[[Any, str, int], Any],
) -> DropReport:
    """Upload a planned drop; doing it again uploads nothing.

    Boxes and categories go first: when the first image arrives, the workforce may be asked about it at once.
    `progress` wraps the iteration over images (see Output.track).
    """
    report = DropReport(correlation_id, planned.flights, other_files=planned.other_files)
    s3 = cloud.client("s3")
    if coco is not None:
        matched = match(coco, planned)
        if not matched.by_flight:
            raise CliError(
                "The COCO file names none of the images in the drop.",
                f"Its file_name entries look like {matched.entries_without_image[:2]}, relative to the folder.",
            )
        report.boxes = matched.boxes
        report.entries_without_image = matched.entries_without_image
        report.images_without_entry = matched.images_without_entry
        report.categories_added = categories.add(cloud, coco.category_names)[1]
        put_known_boxes(s3, cloud.bucket, matched)
    with ThreadPoolExecutor(WORKERS) as pool:
        futures = [(image, pool.submit(_send, s3, cloud.bucket, image, correlation_id)) for image in planned.images]
        try:
            for image, future in progress(futures, "Uploading", len(futures)):
                _count(report, image, future)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return report


def _send(s3: Any, bucket: str, image: Image, correlation_id: str) -> tuple[str, str | None]:
    return upload(s3, bucket, image, correlation_id), suspicion(image)


def _count(report: DropReport, image: Image, future: Future[tuple[str, str | None]]) -> None:
    try:
        outcome, suspected = future.result()
    except OSError as error:  # the file, not the cloud: botocore's errors are no OSErrors
        report.unreadable[str(image.path)] = error.strerror or str(error)
        return
    if outcome == "already there":
        report.already_there += 1
    elif outcome == "different":
        report.different.append(image.key)
    else:
        report.uploaded += 1
        report.bytes += image.path.stat().st_size
        report.keys.append(image.key)
        if suspected:
            report.suspicious[str(image.path)] = suspected
