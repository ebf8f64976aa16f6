"""One judged window of requests, and what the state table keeps of an endpoint between two of them."""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime, Field

from skyloop.documents.base import Document


class StatisticEvidence(Document):
    """One image statistic. `shift` is (median of window - median of reference) in reference standard deviations."""

    name: str
    ks: float = Field(ge=0, le=1, description="Kolmogorov-Smirnov D: the effect size")
    p_value: float
    p_adjusted: float = Field(description="Holm, over the statistics that were compared")
    effective_size: float = Field(description="independent images the window is worth for this statistic")
    median_reference: float
    median_window: float
    shift: float
    moved: bool = False
    sentence: str


class NoveltyEvidence(Document):
    """Distances to the reference. `outside`: share of the window beyond 95 % of the reference, 0.05 when nothing is."""

    name: Literal["novelty", "features"]
    ks: float = Field(ge=0, le=1, description="one-sided D+: the effect size")
    p_value: float
    effective_size: float
    outside: float = Field(ge=0, le=1)
    alarms: bool = False
    sentence: str


class Judgment(Document):
    """One window judged. `scores` is each window image's novelty, in the window's order; above 1 is unusual.

    `not_compared` says why a statistic (or "features") of the baseline or of the answers was left out, by name. Reports
    written before it was there have nothing in it.
    """

    decision: Literal["OK", "DRIFT"]
    clear: bool = Field(description="no sign of drift even at CLEAR_FACTOR * alpha")
    p_value: float = Field(ge=0, le=1, description="over all lines of evidence, Bonferroni")
    alpha: float
    window: int
    reference: int
    statistics: list[StatisticEvidence]
    novelty: list[NoveltyEvidence]
    not_compared: dict[str, str] = Field(default_factory=dict)
    reasons: list[str] = Field(description="sentences: what moved and how, the largest effect first")
    scores: list[float]


class ScoredRequest(Document):
    """One captured request of a judged window; `score` above 1 is unusual."""

    event_id: str
    inference_id: str | None
    capture_key: str
    score: float


class EndpointState(Document):
    """`endpoint#<endpoint>`, written by deploy and rollback when a config went into service.

    A rollback goes to `previous_config`. There is none after a first deployment, nor after a rollback, which records
    in `rolled_back_from` what it left. `recorded_by` is the rollback's execution: of two, one writes.
    """

    config: str
    package_arn: str
    deployed_at: AwareDatetime
    previous_config: str | None = None
    previous_package_arn: str | None = None
    rolled_back_from: str | None = None
    recorded_by: str | None = None


class DriftState(Document):
    """`drift#<endpoint>`. `announced` is false between a change of state and its alert."""

    state: Literal["OK", "DRIFT"] = "OK"
    since: AwareDatetime | None = None
    report_key: str | None = None
    config: str | None = None
    revision: int = 0
    announced: bool = True
    claimed_at: AwareDatetime | None = None
    judged_through: AwareDatetime | None = None
    judged: str | None = Field(default=None, description="digest of the last judged window")
    images_sent: int = 0
    correlation_id: str = ""


class DriftReport(Document):
    """`monitoring/drift/<endpoint>/<newest request>-<digest>.json`: one judged window."""

    endpoint: str
    config: str
    package_arn: str
    dataset_id: str
    baseline_uri: str
    correlation_id: str
    judged_at: AwareDatetime
    window_from: AwareDatetime
    window_to: AwareDatetime
    judgment: Judgment
    images: list[ScoredRequest]
    html_key: str
