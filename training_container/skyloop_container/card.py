"""The model card, model.json: what a training says of its network, checked by one model when written and when read.

A damaged card is told in one sentence before anything is served or judged with it. Cards of before there were slices,
radiometric windows, engines or INT8 lack these members and are read as they were meant; other members are kept.
"""

import json
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from skyloop.formats.pictures import RadiometricWindow

from .environment import JobError, write_whole
from .slicing import SlicingPlan

FILE = "model.json"
_USUAL = SlicingPlan()


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, allow_inf_nan=False, extra="allow", frozen=True)


class _Slicing(_Part, extra="forbid"):
    """As `SlicingPlan`. A card of before coarse looks has no `coarse`, one of before that no `most`."""

    side: int | None = Field(_USUAL.side, ge=1, le=100_000)
    overlap: float = Field(_USUAL.overlap, ge=0, lt=1)
    whole: bool = _USUAL.whole
    most: int = Field(_USUAL.most, ge=1, le=10_000)
    coarse: float | None = Field(_USUAL.coarse, gt=0, lt=1)


class _Window(_Part, extra="forbid"):
    """As `RadiometricWindow`, which has the bounds."""

    low: int
    high: int

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        self.window()
        return self

    def window(self) -> RadiometricWindow:
        return RadiometricWindow(self.low, self.high)


class Probe(_Part):
    """What the network makes of a fixed picture: see `engine_choice.probe`."""

    detections: list[float]
    pooled: list[float]


class Int8(_Part):
    """The INT8 network beside model.onnx: what it makes of the picture, and the digests of its files by their names."""

    probe: Probe
    sha256: dict[str, str]


class Features(_Part):
    """The projection of pooled features: their mean (2 * channels,), and up to 16 orthonormal rows of as many."""

    mean: list[Annotated[float, Field(ge=-1e6, le=1e6)]]
    components: list[list[Annotated[float, Field(ge=-1.001, le=1.001)]]]

    @model_validator(mode="after")
    def _alike(self) -> Self:
        if any(len(row) != len(self.mean) for row in self.components):
            raise ValueError("mean and components differ in length")
        return self


class Card(_Part):
    """The content of model.json, as far as anything goes by it.

    categories: names, by class id. imgsz: side of the network's square input at training, pixels.
    confidence_default: from which on the endpoint reports boxes. probe: None of models from before there were engines.
    """

    categories: list[Annotated[str, Field(min_length=1)]] = Field(min_length=1)
    imgsz: int = Field(ge=32, le=4096)
    training_job: str
    dataset_id: str
    confidence_default: float = Field(ge=0, le=1)
    features: Features
    versions: dict[str, str] = {}
    slicing: _Slicing = _Slicing()
    radiometric_window: _Window | None = None
    probe: Probe | None = None
    int8: Int8 | None = None

    @property
    def plan(self) -> SlicingPlan:
        """How pictures are cut; models from before slicing look at them whole."""
        return SlicingPlan(**self.slicing.model_dump())

    @property
    def from_before_slicing(self) -> bool:
        """Whether the network takes nothing but squares of `imgsz`."""
        return "slicing" not in self.model_fields_set

    @property
    def window(self) -> RadiometricWindow | None:
        """None where the training had no such pictures, or was before there were windows."""
        return self.radiometric_window.window() if self.radiometric_window else None


def read(model_dir: Path) -> Card:
    """The card of the model in a folder, which need not run here.

    Raises:
        JobError: it is missing or damaged.
    """
    try:
        return Card.model_validate(json.loads((model_dir / FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError) as error:
        raise JobError(f"The model in {model_dir} cannot be loaded: {_told(error)}.") from error


def write(model_dir: Path, content: dict[str, Any]) -> None:
    """Write the card of a model, whole or not at all.

    Raises:
        JobError: `read` would not take it.
    """
    try:
        Card.model_validate(content)
    except ValidationError as error:
        raise JobError(f"The training made no usable model: {_told(error)}.") from error
    write_whole(model_dir / FILE, json.dumps(content, ensure_ascii=False).encode())


def _told(error: Exception) -> str:
    """In one sentence, of several faults the first."""
    if not isinstance(error, ValidationError):
        return f"{FILE}: {error}" if isinstance(error, ValueError) else str(error)
    fault = error.errors()[0]
    got = "" if isinstance(fault["input"], dict | list) else f" (got {str(fault['input'])[:60]!r})"
    return f"{FILE}: '{'.'.join(map(str, fault['loc']))}' {fault['msg']}{got}"
