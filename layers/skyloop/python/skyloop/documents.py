"""The payloads of the functions and the documents they leave in S3 and DynamoDB, as typed models.

JSON is snake_case unless another service owns the shape (Step Functions' ItemBatcher, EventBridge).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
ImageStatus = Literal["PENDING", "LABELING", "LABELED", "QUARANTINED"]


class Document(BaseModel):
    """Something we wrote and may read back later: unknown fields are ignored, so that a newer writer is no fault."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    def plain(self) -> dict[str, Any]:
        """JSON-ready; fields without a value are null."""
        return self.model_dump(mode="json", by_alias=True)


class Request(BaseModel):
    """What a state machine asks of a function: unknown fields are refused, because they are typing errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


# ── Catalogue ────────────────────────────────────────────────────────────────────────────────────────────────────────


class ImageFacts(Document):
    """What a file says about itself. Sizes in stored pixels, before the EXIF orientation is applied."""

    image_id: str = Field(description="SHA-256 of the file's bytes, hex")
    width: int = Field(ge=1)
    height: int = Field(ge=1)
    bytes: int = Field(ge=1)
    format: Literal["JPEG", "PNG"]
    orientation: int = Field(default=1, ge=1, le=8, description="EXIF tag 274; 1 = stored upright")
    captured_at: str | None = Field(default=None, description="ISO 8601; without offset when the camera gave none")
    latitude: float | None = Field(default=None, ge=-90, le=90, description="degrees, WGS 84, north positive")
    longitude: float | None = Field(default=None, ge=-180, le=180, description="degrees, WGS 84, east positive")


class CatalogueItem(Document):
    """One image in the CatalogueTable. A quarantined file that is no image has only the key's facts and a reason."""

    image_id: str = Field(description="SHA-256 of the content, or quarantine#<SHA-256 of the key>")
    status: ImageStatus
    queue_order: str = Field(description="<0 priority|1>#<ISO time catalogued>#<first 8 of image_id>")
    key: str
    flight: str
    correlation_id: str
    catalogued_at: AwareDatetime
    attempts: int = Field(default=0, ge=0, description="labeling jobs that gave this image back")
    unanswered: int = Field(default=0, ge=0, description="of those, the jobs that completed without labeling it")
    width: int | None = None
    height: int | None = None
    bytes: int | None = None
    format: str | None = None
    orientation: int | None = None
    captured_at: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    labeling_job: str | None = None
    reason: str | None = None
    told_at: AwareDatetime | None = Field(default=None, description="when an alert told of its quarantine")
    duplicate_keys: frozenset[str] = frozenset()


class QuarantineRecord(Document):
    """Beside every file that could not be used: what it was and why (`quarantine/<original key>.reason.json`)."""

    key: str
    reason: str = Field(description="for a person")
    code: str = Field(description="for a program, e.g. not-an-image, truncated, too-many-pixels")
    size: int
    sha256: str | None = None
    correlation_id: str
    at: AwareDatetime


class ImagesCatalogued(Document):
    """Detail of the event `Images Catalogued` (source `skyloop`)."""

    stack: str = Field(description="<project>-<stage>; an account's stages share its event bus")
    new: int = Field(ge=1)
    pending_at_least: int = Field(ge=0)
    correlation_id: str


# ── Labeling ─────────────────────────────────────────────────────────────────────────────────────────────────────────


class SelectRequest(Request):
    """Are there images to label? `force` takes whatever is pending, without waiting for a batch."""

    now: AwareDatetime
    force: bool = False


class SelectWait(Document):
    """Enough images wait, but uploads are still arriving: ask again in `wait_seconds`."""

    decision: Literal["wait"] = "wait"
    wait_seconds: int = Field(ge=1)
    reason: str


class SelectIdle(Document):
    """Nothing to label now."""

    decision: Literal["idle"] = "idle"
    reason: str


class SelectLabel(Document):
    """A batch was claimed and its input manifest written: the arguments of CreateLabelingJob."""

    decision: Literal["label"] = "label"
    job_name: str
    input_manifest_uri: str
    output_uri: str
    label_category_config_uri: str
    ui_template_uri: str
    label_attribute_name: str
    image_count: int = Field(ge=1)
    correlation_id: str
    task_title: str = Field(max_length=128)
    task_description: str = Field(max_length=255)


class ReleaseRequest(Request):
    """Give the images of a job back to the queue: those it will not label, or those it has labeled wrongly."""

    job_name: str
    reason: str
    labeled: bool = Field(description="the images it has labeled: set its labels aside; else those it holds")


class ReleaseAnswer(Document):
    released: int = Field(ge=0)


class Box(Document):
    """One labeled object in pixels of the picture it lies on; the origin is the top left corner."""

    category: str
    class_id: int = Field(ge=0, description="the category's place in label-categories.json, as in the label file")
    left: float
    top: float
    width: float = Field(gt=0)
    height: float = Field(gt=0)


class LabeledImage(Document):
    """One picture ready for training: an upright image, or one tile of it (`labeled-data/<job>/records/*.json`)."""

    name: str = Field(description="file name stem: image_id[:16], and _<left>_<top> for a tile")
    image_id: str
    source_key: str
    flight: str
    job_name: str
    image_key: str
    label_key: str
    width: int = Field(ge=1)
    height: int = Field(ge=1)
    boxes: tuple[Box, ...] = ()
    labeled_at: str = Field(description="ISO 8601; orders two labels of one image")
    captured_at: str | None = None


class ConvertBatch(Request):
    """What ItemBatcher puts beside every batch."""

    job_name: str
    label_attribute_name: str
    correlation_id: str


class ConvertRequest(Request):
    """A batch of output manifest lines, in Step Functions' ItemBatcher shape."""

    items: list[Any] = Field(alias="Items")
    batch: ConvertBatch = Field(alias="BatchInput")


class ConvertAnswer(Document):
    converted: int = Field(ge=0, description="images that now have labels")
    boxes: int = Field(ge=0)
    quarantined: int = Field(ge=0, description="manifest lines that could not be used")
    unlabeled: int = Field(ge=0, description="images that nobody labeled, back in the queue")
    record_key: str


# ── Dataset ──────────────────────────────────────────────────────────────────────────────────────────────────────────


class AssembleRequest(Request):
    labeling_job_name: str
    correlation_id: str
    now: AwareDatetime


class SplitCounts(Document):
    images: int = Field(ge=0)
    boxes: int = Field(ge=0)


class AssembleAnswer(Document):
    """With decision `insufficient` the report says what is missing, and nothing may be trained on it."""

    decision: Literal["train", "insufficient"]
    reason: str
    dataset_id: str
    dataset_uri: str
    train_manifest_uri: str
    validation_manifest_uri: str
    test_manifest_uri: str
    report_uri: str
    categories: tuple[str, ...]
    counts: dict[Split, SplitCounts]
    test_set_id: str


class Check(Document):
    """One finding about a dataset. `error` means: do not train on it."""

    name: str
    severity: Literal["ok", "warning", "error"]
    message: str


class DatasetDocument(Document):
    """`processed-data/<dataset>/dataset.json`: an immutable dataset, complete enough to be audited."""

    dataset_id: str
    created_at: datetime
    labeling_job: str = Field(description="the job whose labels completed it")
    labeling_jobs: tuple[str, ...]
    correlation_id: str
    categories: tuple[str, ...]
    counts: dict[Split, SplitCounts]
    class_boxes: dict[Split, dict[str, int]]
    groups: dict[str, Split] = Field(description="which flight or block of frames lies in which split")
    guard_images: int = Field(ge=0, description="frames left out because they border on another split")
    test_set_id: str
    checks: tuple[Check, ...]


# ── Sweep ────────────────────────────────────────────────────────────────────────────────────────────────────────────


class SweepRequest(Request):
    now: AwareDatetime


class SweepAnswer(Document):
    requeued: int = Field(ge=0)
    released: int = Field(ge=0)
    examined: int = Field(ge=0)
    quarantined: int = Field(ge=0, description="refused files that an alert told of, for the first time")
