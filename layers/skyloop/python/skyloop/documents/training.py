"""What a person may ask of a retrain."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from skyloop.documents.base import Request

MAX_EPOCHS = 10_000
WEIGHTS = r"^(s3://[a-z0-9.-]{3,63}/[A-Za-z0-9_./ -]{1,180}[.]pt|[A-Za-z0-9_.-]{1,64})$"
"""What base weights may be called. They become metadata of a model package, which takes no more."""


class TrainingOptions(Request):
    """How to train this time; what is not given is as the stack's parameters say."""

    epochs: int | None = Field(default=None, ge=1, le=MAX_EPOCHS)
    start_from: Literal["champion", "weights", "scratch"] | None = Field(
        default=None,
        description="champion: the model in service, where there is one; weights: base_weights; scratch: none",
    )
    base_weights: str | None = Field(
        default=None,
        pattern=WEIGHTS,
        description="a name (yolo11n.pt), or an s3:// URI that training may read: see layout.may_train_from",
    )


class RetrainRequest(Request):
    """The input of the retrain machine. With `training`, even empty, a new attempt is made; without, there is one."""

    labeling_job_name: str
    training: TrainingOptions | None = None

    def as_input(self) -> str:
        """As JSON, without what is not given."""
        return self.model_dump_json(exclude_none=True)
