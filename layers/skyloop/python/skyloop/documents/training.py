"""What a person may ask of a retrain."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from skyloop.documents.base import Request


class TrainingOptions(Request):
    """How to train this time; what is not given is as the stack's parameters say."""

    epochs: int | None = Field(default=None, ge=1, le=1000)
    start_from: Literal["champion", "weights", "scratch"] | None = Field(
        default=None,
        description="champion: the model in service, where there is one; weights: base_weights; scratch: none",
    )
    base_weights: str | None = Field(default=None, min_length=1, description="a name (yolo11n.pt), or an s3:// URI")


class RetrainRequest(Request):
    """The input of the retrain machine. With `training`, even empty, a new attempt is made; without, there is one."""

    labeling_job_name: str
    training: TrainingOptions | None = None

    def as_input(self) -> str:
        """As JSON, without what is not given."""
        return self.model_dump_json(exclude_none=True)
