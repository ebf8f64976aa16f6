"""The hyperparameters of a training job: types, defaults and bounds, checked before any work."""

import json

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from skyloop.formats.pictures import RadiometricWindow

from .environment import JobError

LEAST_SLICE = 64  # pixels: smaller ones would be thousands


class Hyperparameters(BaseModel):
    """A training job's hyperparameters. SageMaker passes strings; pydantic turns them into these types.

    Unknown names are refused: with a misspelled one, a job would train something else for hours.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    categories: list[str] = Field(
        min_length=1, max_length=1000, description="JSON list of names; the position is the class id"
    )
    epochs: int = Field(100, ge=1, le=10_000, description="the largest number of passes over the training images")
    imgsz: int = Field(640, ge=32, le=4096, multiple_of=32, description="side of the network's square input, pixels")
    slice_size: int = Field(
        0,
        ge=0,
        le=16384,
        description="side of slices of large pictures, 64 to 16384 pixels (no slices); 0: from the sizes of boxes",
    )
    max_slices: int = Field(
        12, ge=1, le=1000, description="slices that a picture of the median size may have, at most, if chosen so"
    )
    radiometric_window: str = Field(
        "",
        pattern="^([0-9]{1,5}-[0-9]{1,5})?$",
        description="counts of 16-bit gray that are black and white, 20000-24000; empty: from the training pictures",
    )
    batch: int = Field(16, ge=1, le=1024, description="images per step, of all GPUs together")
    freeze: int = Field(0, ge=0, le=23, description="the first n layers stay as they are; for use with a base model")
    seed: int = Field(0, ge=0, le=2**31 - 1, description="of weights, order and augmentation")
    patience: int = Field(50, ge=1, description="stop after this many epochs without a better validation mAP")
    weights: str = Field(
        "",
        description="without channels model and weights required: base weights by file name, or scratch: random ones",
    )
    val_period: int = Field(
        0, ge=0, description="validate every n-th epoch, and the last one; 0: about twenty times per run"
    )
    optimizer: str = Field(
        "auto",
        pattern="^(auto|SGD|MuSGD|Adam|AdamW|Adamax|NAdam|RAdam|RMSprop)$",
        description="auto: Ultralytics chooses it and lr0; from a champion AdamW, slower for fewer epochs",
    )
    lr0: float = Field(0.002, gt=0, le=1, description="initial learning rate; ignored with optimizer=auto")
    warmup_epochs: float = Field(3.0, ge=0, description="the learning rate rises over so many; at most a fifth of all")
    weight_decay: float = Field(0.0005, ge=0, le=1, description="L2 regularization")
    mosaic: float = Field(1.0, ge=0, le=1, description="share of training pictures that are mosaics of four")
    close_mosaic: int = Field(10, ge=0, description="train the last n epochs without mosaic; at most a fifth of all")
    dataset_id: str = Field("", description="recorded in model.json")
    correlation_id: str = Field("", description="recorded in model.json")

    @field_validator("categories", mode="before")
    @classmethod
    def _decode_categories(cls, value: object) -> object:
        return json.loads(value) if isinstance(value, str) else value

    @field_validator("slice_size")
    @classmethod
    def _large_enough(cls, value: int) -> int:
        if 0 < value < LEAST_SLICE:
            raise ValueError(f"is 0 or at least {LEAST_SLICE}")
        return value

    @field_validator("radiometric_window")
    @classmethod
    def _in_order(cls, value: str) -> str:
        if value:
            RadiometricWindow.from_text(value)
        return value

    @field_validator("categories")
    @classmethod
    def _distinct(cls, value: list[str]) -> list[str]:
        if len(set(value)) != len(value):
            raise ValueError("has a name twice")
        return value

    @property
    def effective_val_period(self) -> int:
        """Every epoch of a short run, about twenty times in a long one: a validation costs a good part of an epoch."""
        return self.val_period or max(round(self.epochs / 20), 1)

    @property
    def effective_warmup_epochs(self) -> float:
        """Warm-up is at most a fifth of the run: otherwise a short run would never reach its learning rate."""
        return min(self.warmup_epochs, self.epochs / 5)

    @property
    def effective_close_mosaic(self) -> int:
        """Epochs without mosaic at the end, at most a fifth of the run.

        The usual ten would switch mosaic off in the whole of a run of ten epochs.
        """
        return min(self.close_mosaic, self.epochs // 5)


def parse_hyperparameters(values: dict[str, str]) -> Hyperparameters:
    """Check the hyperparameters of a job.

    Raises:
        JobError: names every hyperparameter that is missing, unknown or out of bounds.
    """
    # The SageMaker SDK and tuning jobs add names of their own; they are ignored.
    ours = {name: value for name, value in values.items() if not name.startswith(("sagemaker_", "_"))}
    try:
        return Hyperparameters.model_validate(ours)
    except (ValidationError, ValueError) as error:
        if not isinstance(error, ValidationError):
            raise JobError(f"Hyperparameter 'categories' is not JSON: {error}.") from error
        faults = [f"'{'.'.join(map(str, e['loc']))}' {e['msg']} (got {e['input']!r})" for e in error.errors()]
        raise JobError("Bad hyperparameters: " + "; ".join(faults)[:900] + ".") from error


def table() -> str:
    """The hyperparameters as a Markdown table, for the README (a test keeps the two together)."""
    rows = ["| name | default | |", "|---|---|---|"]
    for name, field in Hyperparameters.model_fields.items():
        default = "required" if field.is_required() else f"`{field.default}`" if field.default != "" else "empty"
        rows.append(f"| `{name}` | {default} | {field.description} |")
    return "\n".join(rows)
