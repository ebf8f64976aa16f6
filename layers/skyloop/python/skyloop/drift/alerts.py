"""The alerts at the beginning and at the end of an episode of drift."""

from __future__ import annotations

from datetime import datetime

from skyloop.documents import Alert, DriftReport, DriftState
from skyloop.drift.requeue import RequeueResult


def drift_alert(
    report: DriftReport, state: DriftState, sent: RequeueResult, *, stage: str, links: dict[str, str], at: datetime
) -> Alert:
    """The alert for the beginning of an episode; `sent` are the images that have just gone to labeling."""
    judgment = report.judgment
    images = f"{sent.new + sent.known} of the most unusual images are at the head of the labeling queue"
    if sent.lost:
        images += (
            f" ({sent.lost} more cannot be labeled: the capture has no whole JPEG or PNG of them, and the bucket none "
            "that they came of)"
        )
    return Alert(
        event="drift",
        severity="warning",
        stage=stage,
        subject=report.endpoint,
        what=f"The images that {report.endpoint} is asked about have drifted from those that its model was judged "
        f"on: {'; '.join(judgment.reasons)}.",
        why=f"p = {judgment.p_value:.2g} for the {judgment.window} newest requests "
        f"({report.window_from:%Y-%m-%d %H:%M} to {report.window_to:%Y-%m-%d %H:%M} UTC) against "
        f"{judgment.reference} reference images of dataset {report.dataset_id}; the alarm is below "
        f"{judgment.alpha:g}.",
        kept=f"{report.endpoint} continues to serve {report.config}; {images}.",
        next_step="Open the report. If the model should handle such images, run `skyloop label`: they are labeled "
        "first, and retraining starts by itself when the labels are complete. If not, check the camera and who sends "
        "them.",
        correlation_id=state.correlation_id,
        links=links,
        at=at,
    )


def cleared_alert(report: DriftReport, state: DriftState, *, stage: str, links: dict[str, str], at: datetime) -> Alert:
    """The alert for the end of an episode."""
    judgment = report.judgment
    return Alert(
        event="drift-cleared",
        severity="info",
        stage=stage,
        subject=report.endpoint,
        what=f"The images that {report.endpoint} is asked about are again like those that its model was judged on.",
        why=f"p = {judgment.p_value:.2g} for the {judgment.window} newest requests against {judgment.reference} "
        f"reference images of dataset {report.dataset_id}, under {report.config}.",
        kept=f"{report.endpoint} continues to serve {report.config}; images sent to labeling stay in the queue.",
        next_step="Nothing. The next drift gets an alert of its own.",
        correlation_id=state.correlation_id,
        links=links,
        at=at,
    )
