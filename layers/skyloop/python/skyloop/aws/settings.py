"""The settings that the template gives a function: the `SKYLOOP_*` environment variables, typed and bounded."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache

from pydantic import Field

from skyloop.documents import Thresholds

PREFIX = "SKYLOOP_"


class Settings(Thresholds):
    """One field per `SKYLOOP_*` variable of the template's Globals; the fields of `Thresholds` are the gate's.

    The bounds are no narrower than those of the template's parameters, which are for people.
    """

    project: str = Field(pattern=r"^[a-z][a-z0-9-]{0,30}$")
    stage: str = Field(pattern=r"^[a-z][a-z0-9]{0,15}$")
    data_bucket: str = Field(min_length=3)
    catalogue_table: str = Field(min_length=3)
    state_table: str = Field(min_length=3)
    idempotency_table: str = Field(min_length=3)
    alert_topic_arn: str
    uploads_queue_url: str
    endpoint_name: str = Field(pattern=r"^[a-z0-9](-*[a-z0-9]){0,62}$")
    model_package_group: str = Field(pattern=r"^[a-z0-9](-*[a-z0-9]){0,62}$")
    label_event_bus: str = "default"

    labeling_batch_size: int = Field(ge=1, le=100_000)
    labeling_max_wait_hours: float = Field(ge=0, le=720)
    labeling_quiet_seconds: int = Field(ge=0, le=86_400)
    min_train_images: int = Field(ge=1, le=1_000_000)

    drift_window: int = Field(ge=5, le=10_000, description="requests compared at once")
    drift_alpha: float = Field(gt=0, lt=1, description="chance of a false alarm per window")

    @property
    def thresholds(self) -> Thresholds:
        """The gate's thresholds alone, as a decision records them."""
        return Thresholds.model_validate(self.model_dump())

    @property
    def prefix(self) -> str:
        """`<project>-<stage>`: how every resource of this stack is named."""
        return f"{self.project}-{self.stage}"

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Read the settings from `environ` (the process's own by default).

        They are parsed once per distinct environment: a warm function does not parse again, and no process keeps
        settings that are not true any more. Raises pydantic's ValidationError, which names every variable that is
        missing or out of bounds.
        """
        source = os.environ if environ is None else environ
        return _parse(tuple(sorted((name, value) for name, value in source.items() if name.startswith(PREFIX))))


@lru_cache(maxsize=8)
def _parse(variables: tuple[tuple[str, str], ...]) -> Settings:
    return Settings.model_validate({name.removeprefix(PREFIX).lower(): value for name, value in variables})
