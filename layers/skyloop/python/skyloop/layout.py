"""The contract in one page: every key, prefix, metadata name, table item and index name that two places must agree on.

Functions, command line and demo import it. The rules for keys that users choose are here too.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from datetime import date, datetime
from urllib.parse import unquote_plus

# ── The data bucket ──────────────────────────────────────────────────────────────────────────────────────────────────

RAW_IMAGES = "raw-images/"
QUARANTINE = "quarantine/"
LABELING_JOBS = "ground-truth-jobs/"
LABELED_DATA = "labeled-data/"
LABELED_IMAGES = LABELED_DATA + "images/"
PROCESSED_DATA = "processed-data/"
MODEL_ARTIFACTS = "model-artifacts/"
CAPTURES = "monitoring/capture/"
DRIFT_REPORTS = "monitoring/drift/"
ALERTS = "monitoring/alerts/"
BASE_WEIGHTS = MODEL_ARTIFACTS + "base-weights/"
"""Weights that a user uploaded to start trainings from."""

UNUSABLE_MESSAGES = QUARANTINE + "messages/"
"""Messages of the uploads queue that name no upload, with the reason."""

UNUSABLE_LABELS = QUARANTINE + "labels/"
"""Lines of output manifests that cannot be used, with the reason: one folder per labeling job."""

DRIFT_FLIGHTS = RAW_IMAGES + "drift-"
"""The flights of images that drift detection sends to labeling; see `drift_flight`."""

LABEL_CATEGORIES = LABELING_JOBS + "label-categories.json"
KNOWN_BOXES = LABELING_JOBS + "known-boxes/"
"""Boxes that were dropped with the images, one COCO file per flight; the simulated workforce answers with them."""

NO_FLIGHT = "unsorted"
"""The flight of images dropped directly under raw-images/."""

MAX_KEY_BYTES = 1024  # S3's limit, in UTF-8
REASON_SUFFIX = ".reason.json"

# ── Metadata of an uploaded image (S3 user metadata, lower case) ─────────────────────────────────────────────────────

CORRELATION_METADATA = "correlation-id"
MD5_METADATA = "md5"
"""Hex MD5 of the content: in a bucket with KMS keys the ETag is not the MD5."""

PRIORITY_METADATA = "priority"
DRIFT_PRIORITY = "drift"
"""The value of the priority metadata that moves an image to the head of the labeling queue."""

# ── Tables ───────────────────────────────────────────────────────────────────────────────────────────────────────────

STATUS_INDEX = "status-index"
"""The catalogue's index by `status` and `queue_order`."""

OBJECTS_INDEX = "objects-index"
"""The catalogue's index by `status` and `key`, with little beside them: which objects are known."""

QUEUE_HEAD, QUEUE_REST, QUEUE_ALERTED = "0#", "1#", "2#"
"""How `queue_order` begins: for images with priority, for all others, and for what an alert has told of."""

LABELING_LOCK = "lock#labeling"
SWEEP_TOUR = "sweep#uploads"
"""How far the sweep's tour of the bucket is: `Tour`."""

SPLIT_ITEMS = "split#"
TRAINING_ITEMS = "training#"
"""How often a training on a labeling job's labels was asked for, and by which execution (`asked_by`, its name and a
number after `#`); the retrain machine alone writes these."""

ALERTED_ITEMS = "alerted#"
"""What a state machine has alerted about, so that it does not do so again; only the machines write and read these."""

STOPPED_ITEMS = "stopped#"
"""Of an endpoint, which update a person has stopped, and why; rollback writes it for the deployment to tell."""

# ── Requests to the endpoint ─────────────────────────────────────────────────────────────────────────────────────────

SMOKE_TEST_INFERENCE_PREFIX = "smoke-test-"
"""Inference ids with this prefix are test images, not traffic: drift detection skips them."""

MAX_WEIGHTS_NAME = 100
_NOT_IN_WEIGHTS_NAME = re.compile(r"[^A-Za-z0-9_.-]")

# What SageMaker takes as a tag value, less the characters that are not ASCII (models/tag: [\p{L}\p{Z}\p{N}_.:/=+\-@]*).
_NOT_IN_CORRELATION_ID = re.compile(r"[^A-Za-z0-9_.:/=+@-]")
MAX_CORRELATION_ID = 128


@dataclass(frozen=True)
class ModelArtifacts:
    """The keys of a training job's output under `model-artifacts/<job>/`, of its evaluation and its decision.

    `statemachines/retrain.asl.yaml` spells the same paths, because its jobs write there; a test compares the two.
    """

    training_job: str

    @property
    def folder(self) -> str:
        """The prefix of all of them, with `/` at its end."""
        return f"{MODEL_ARTIFACTS}{self.training_job}/"

    @property
    def model(self) -> str:
        """Where SageMaker puts what a training job leaves in /opt/ml/model."""
        return f"{self.folder}output/model.tar.gz"

    @property
    def checkpoints(self) -> str:
        """The prefix of the checkpoints that training resumes from."""
        return f"{self.folder}checkpoints/"

    @property
    def evaluation(self) -> str:
        """The scores of candidate and champion, an `Evaluation`."""
        return f"{self.folder}evaluation/evaluation.json"

    @property
    def report(self) -> str:
        """The evaluation as an HTML page."""
        return f"{self.folder}evaluation/report.html"

    @property
    def baseline(self) -> str:
        """The profiles of the validation split, a `Baseline`: what captured images are compared with."""
        return f"{self.folder}evaluation/baseline.json"

    @property
    def golden_predictions(self) -> str:
        """The candidate's detections on a few test images, as `GoldenPredictions`."""
        return f"{self.folder}evaluation/golden-predictions.json"

    @property
    def decision(self) -> str:
        """What the gate decided, a `Decision`."""
        return f"{self.folder}decision.json"


@dataclass(frozen=True)
class DatasetFiles:
    """The keys of one dataset under `processed-data/<dataset>/`."""

    dataset_id: str

    @property
    def folder(self) -> str:
        """The prefix of all of them, with `/` at its end."""
        return f"{PROCESSED_DATA}{self.dataset_id}/"

    @property
    def document(self) -> str:
        """A `DatasetDocument`, written last: where it exists, the dataset is complete."""
        return f"{self.folder}dataset.json"

    @property
    def report(self) -> str:
        """The dataset as an HTML page."""
        return f"{self.folder}report.html"

    def labels(self, split: str) -> str:
        """The boxes on every picture of a split, one line of JSON each."""
        return f"{self.folder}{split}.jsonl.gz"

    def manifest(self, split: str) -> str:
        """The SageMaker ManifestFile of `train`, `validation` or `test`."""
        return f"{self.folder}{split}.manifest"


def base_weights_key(sha256: str, file_name: str) -> str:
    """Where uploaded base weights lie: under their content's hash, so that two files of one name stay apart.

    Of the name stays what a model package's metadata takes.
    """
    return f"{BASE_WEIGHTS}{sha256[:16]}/{_NOT_IN_WEIGHTS_NAME.sub('-', file_name)[-MAX_WEIGHTS_NAME:]}"


def may_train_from(weights: str, bucket: str, parameter: str) -> bool:
    """May training read these base weights: by name, those of the stack's parameter, or artifacts in its bucket?"""
    return (
        not weights.startswith("s3://")
        or weights == parameter
        or weights.startswith(f"s3://{bucket}/{MODEL_ARTIFACTS}")
    )


def known_boxes_key(flight: str) -> str:
    """The key of a flight's known boxes, a COCO file."""
    return f"{KNOWN_BOXES}{flight}.json"


def drift_flight(endpoint: str, day: str) -> str:
    """The prefix of the images that an episode of drift requeues; `day` is yyyymmdd of its beginning."""
    return f"{DRIFT_FLIGHTS}{endpoint}-{day}/"


def alert_day(day: date) -> str:
    """The prefix of the alerts of one day: `monitoring/alerts/<yyyy>/<mm>/<dd>/`."""
    return f"{ALERTS}{day:%Y/%m/%d}/"


def endpoint_item(endpoint: str) -> str:
    """The state table's item that says what serves: `EndpointState`."""
    return f"endpoint#{endpoint}"


def drift_item(endpoint: str) -> str:
    """The state table's item that says whether the endpoint's images have drifted: `DriftState`."""
    return f"drift#{endpoint}"


def queue_order(priority: bool, catalogued_at: datetime, image_id: str) -> str:
    """An image's place in the labeling queue: drifted images first, then by arrival. Text order is queue order."""
    moment = catalogued_at.isoformat(timespec="microseconds")
    return f"{QUEUE_HEAD if priority else QUEUE_REST}{moment}#{image_id.removeprefix('quarantine#')[:8]}"


def alerted_order(queue_order: str) -> str:
    """The place of a quarantined entry that an alert has named: behind all that none has named yet."""
    return f"{QUEUE_ALERTED}{queue_order.partition('#')[2]}"


def content_hash(document: object) -> str:
    """12 hex digits of the SHA-256 of a JSON document; the order of keys does not matter."""
    return hashlib.sha256(
        json.dumps(document, sort_keys=True, ensure_ascii=False).encode(errors="backslashreplace")
    ).hexdigest()[:12]


def notification_key(encoded: str) -> str:
    """The real key of a classic S3 notification, which is form-encoded (`a+b` means `a b`, `%2B` means `+`).

    EventBridge events carry the key raw: decoding those would turn `a+b.jpg` into `a b.jpg`.
    """
    return unquote_plus(encoded)


def is_folder_marker(key: str) -> bool:
    """Is this an empty object that a console created to show a folder? Its key ends with `/`."""
    return key.endswith("/")


def unsafe_segments(key: str) -> list[str]:
    """The path segments `.` and `..` of a key.

    S3 takes them literally, but HTTP clients resolve them on the way, so such an object cannot be read reliably. A
    program that copies it into a file tree might write outside that tree.
    """
    return [segment for segment in key.split("/") if segment in {".", ".."}]


def check_name(what: str, name: str) -> None:
    """Raises ValueError where no object can have this key, and no key this part: the message begins with `what`.

    JSON can name half a surrogate pair, which UTF-8 cannot say; and S3 and DynamoDB take keys of one to two kilobytes.
    """
    try:
        length = len(name.encode())
    except UnicodeEncodeError as error:
        raise ValueError(f"{what} has half a surrogate pair") from error
    if not 1 <= length <= MAX_KEY_BYTES:
        raise ValueError(f"{what} has {length} bytes, not 1 to {MAX_KEY_BYTES}")


def flight_of(key: str) -> str:
    """The flight of a raw image: the first non-empty path segment after `raw-images/`, or `unsorted` without one.

    Raises ValueError for keys outside `raw-images/`.
    """
    if not key.startswith(RAW_IMAGES):
        raise ValueError(f"{key!r} is not under {RAW_IMAGES}")
    segments = [segment for segment in key.removeprefix(RAW_IMAGES).split("/") if segment]
    return segments[0] if len(segments) > 1 else NO_FLIGHT


def labeled_image_key(image_id: str, extension: str) -> str:
    """Where a labeled picture is kept, once for each content: raw keys may be overwritten, and old versions expire."""
    return f"{LABELED_IMAGES}{image_id}.{extension}"


def label_records(job_name: str) -> str:
    """The prefix of a labeling job's records: one object per converted batch, see skyloop.dataset.labels."""
    return f"{LABELED_DATA}{job_name}/records/"


def label_index_key(job_name: str) -> str:
    """The labels of a labeling job in one object, of each picture those that count."""
    return f"{LABELED_DATA}{job_name}/index.jsonl.gz"


def unusable_labels(job_name: str) -> str:
    """The prefix of a labeling job's lines that cannot be used: a JSON object for each, with the reason."""
    return f"{UNUSABLE_LABELS}{job_name}/"


def superseded_labels_key(job_name: str) -> str:
    """A labeling job's answers that do not count, because another one of the same picture does: lines of JSON."""
    return f"{unusable_labels(job_name)}superseded.jsonl"


def exclusion_key(job_name: str) -> str:
    """The key of the note that excludes a labeling job's labels from datasets."""
    return f"{LABELED_DATA}{job_name}/excluded.json"


def quarantine_key(key: str) -> str:
    """Where the copy of a refused file goes: `quarantine/<key>`.

    Segments `.` and `..` are percent-encoded, so that the copy can be read back. Where this key, or that of the reason
    record beside it, would be longer than S3 allows, the original key's hash replaces it.
    """
    safe = "/".join(segment.replace(".", "%2E") if segment in {".", ".."} else segment for segment in key.split("/"))
    target = QUARANTINE + safe
    if len((target + REASON_SUFFIX).encode()) > MAX_KEY_BYTES:
        return QUARANTINE + key_hash(key)
    return target


def reason_key(key: str) -> str:
    """Where the QuarantineRecord of a refused file goes."""
    return quarantine_key(key) + REASON_SUFFIX


def key_hash(key: str) -> str:
    """SHA-256 of the key's UTF-8, hex."""
    return hashlib.sha256(key.encode()).hexdigest()


def quarantine_id(key: str) -> str:
    """The catalogue id of a quarantined file: a hash of its key, because its content may be unreadable."""
    return f"quarantine#{key_hash(key)}"


def copy_id(key: str) -> str:
    """The catalogue id of one more copy of an image whose entry has no room for its key."""
    return f"copy#{key_hash(key)}"


def correlation_id_of(text: str) -> str:
    """`text` as a correlation id: ASCII that every service takes as a tag value, at most 128 characters.

    Text that has to be changed or cut gets a hash at its end, so that two flights never share an id by accident.
    """
    cleaned = _NOT_IN_CORRELATION_ID.sub("-", text)
    if cleaned == text and 0 < len(text) <= MAX_CORRELATION_ID:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return f"{cleaned[: MAX_CORRELATION_ID - 9]}-{digest}".lstrip("-")
