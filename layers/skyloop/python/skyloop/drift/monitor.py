"""Watching an endpoint for drift: window, baseline and state in; report, alert and images to label out.

One episode of drift gives one alert. The StateTable item `drift#<endpoint>` carries the state and a revision; every
change is conditional on the revision, so of two runs at once one wins and the other leaves. An alert is announced in
two steps (state changed, then `announced`), so that a run that dies in between is finished by a later one.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from skyloop import layout
from skyloop.alerts import Alert, publish
from skyloop.aws.catalogue import Catalogue
from skyloop.aws.settings import Settings
from skyloop.aws.state import StateTable
from skyloop.aws.storage import Storage
from skyloop.documents import DriftReport, DriftState, EndpointState, Judgment, ScoredRequest
from skyloop.drift.detector import BaselineTooSmall, detect, minimum_window
from skyloop.drift.report import render
from skyloop.drift.requeue import MAX_IMAGES, RequeueResult, most_unusual, requeue_images
from skyloop.drift.window import CapturedPrediction, CaptureReader
from skyloop.formats.profile import Baseline

# Longer than the function may run: who has claimed an announcement and not finished it by then is dead.
CLAIM_TIMEOUT = timedelta(minutes=6)
STRIDE = 5  # a window is judged anew when a fifth of it is new: each judgment is another chance of a false alarm


class NoBaseline(LookupError):
    """The model in service has no baseline to compare with; its package was not made by this loop."""


@dataclass(frozen=True)
class Outcome:
    """What a look at an endpoint came to. `judgment` is None where there was nothing (new) to judge."""

    what: str
    judgment: Judgment | None = None
    window: int = 0
    unusable: int = 0
    state: str = "OK"
    images_sent: int = 0
    unjudgeable: bool = False


class DriftMonitor:
    """`clients` are boto3 clients by service name: sagemaker, sns. The reader may be kept between invocations."""

    def __init__(
        self,
        *,
        storage: Storage,
        states: StateTable,
        catalogue: Catalogue,
        reader: CaptureReader,
        sagemaker: Any,
        sns: Any,
        settings: Settings,
    ) -> None:
        self.storage = storage
        self.states = states
        self.catalogue = catalogue
        self.reader = reader
        self.sagemaker = sagemaker
        self.sns = sns
        self.settings = settings

    def look(self, endpoint: str, *, now: datetime, eager: bool) -> Outcome:
        """Judge the endpoint's newest window if there is enough new in it, and act on what it says.

        `eager` (a schedule's tick) judges whatever is new; otherwise a fifth of the window must be. Raises NoBaseline,
        ProfileUnusable (the baseline is), ObjectMissing, and what AWS raises.
        """
        item = self.states.get(layout.endpoint_item(endpoint))
        if item is None:
            return Outcome(f"no model is in service on {endpoint}")
        serving = EndpointState.model_validate(item)
        before = DriftState.model_validate(self.states.get(layout.drift_item(endpoint)) or {})
        if not before.announced:
            if before.claimed_at and now - before.claimed_at < CLAIM_TIMEOUT:
                return Outcome("another run is announcing", state=before.state)
            claimed = self._change(endpoint, before, before.model_copy(update={"claimed_at": now}))
            if claimed is None:
                return Outcome("another run was first", state=before.state)
            before = self._announce(endpoint, claimed, now)
        metadata = self._package_metadata(serving.package_arn)
        window = self.reader.window(
            endpoint,
            size=self.settings.drift_window,
            since=serving.deployed_at.replace(microsecond=0),  # captured times have whole seconds
            now=now,
            training_job=metadata.get("training_job"),
        )
        counts = {"window": len(window.seen), "unusable": window.unusable, "state": before.state}
        needed = minimum_window(self.settings.drift_window)
        if len(window.seen) < needed:
            return Outcome(f"{len(window.seen)} of {needed} images seen since {serving.deployed_at}", **counts)
        digest = _digest(serving.config, window.seen)
        restarted = before.config != serving.config
        if not restarted and not self._enough_new(before, digest, window.seen, eager):
            return Outcome("too little is new since the last judgment", **counts)
        baseline = self._baseline(metadata, serving.package_arn)
        try:
            judgment = detect(baseline, [seen.profile for seen in window.seen], alpha=self.settings.drift_alpha)
        except BaselineTooSmall as error:
            # No message can be delivered again into a larger baseline, so this is an answer and no failure.
            return Outcome(str(error), unjudgeable=True, **counts)
        report, key = self._report(endpoint, serving, metadata["baseline_uri"], baseline, window.seen, judgment, now)
        after = self._next_state(before, serving, judgment, report, key, digest, now)
        after = self._change(endpoint, before, after)
        if after is None:
            return Outcome("another run was first", **counts)
        if not after.announced:
            after = self._announce(endpoint, after, now)
        elif after.state == "DRIFT":
            # The episode goes on: what is unusual in it still goes to people, up to its limit, without a new alert.
            sent = self._send_images(endpoint, after, report)
            after = self._change(endpoint, after, _counting(after, sent)) or after
        return Outcome(
            what="; ".join(judgment.reasons) or "nothing has moved",
            judgment=judgment,
            window=len(window.seen),
            unusable=window.unusable,
            state=after.state,
            images_sent=after.images_sent,
        )

    def _enough_new(self, before: DriftState, digest: str, seen: tuple[CapturedPrediction, ...], eager: bool) -> bool:
        if before.judged == digest:
            return False
        new = sum(before.judged_through is None or one.time > before.judged_through for one in seen)
        return eager or before.judged is None or new >= max(1, self.settings.drift_window // STRIDE)

    def _package_metadata(self, package_arn: str) -> dict[str, str]:
        package = self.sagemaker.describe_model_package(ModelPackageName=package_arn)
        return package.get("CustomerMetadataProperties", {})

    def _baseline(self, metadata: dict[str, str], package_arn: str) -> Baseline:
        uri = metadata.get("baseline_uri")
        if not uri:
            raise NoBaseline(f"{package_arn} names no baseline_uri in its CustomerMetadataProperties")
        return Baseline.parse(self.storage.read(self.storage.key_of(uri)).body)

    def _report(
        self,
        endpoint: str,
        serving: EndpointState,
        baseline_uri: str,
        baseline: Baseline,
        seen: tuple[CapturedPrediction, ...],
        judgment: Judgment,
        now: datetime,
    ) -> tuple[DriftReport, str]:
        """Write the window's report and its picture. The same window gives the same keys."""
        digest = _digest(serving.config, seen)
        stem = f"{layout.DRIFT_REPORTS}{endpoint}/{seen[-1].time:%Y%m%dT%H%M%S}-{digest[:8]}"
        report = DriftReport(
            endpoint=endpoint,
            config=serving.config,
            package_arn=serving.package_arn,
            dataset_id=baseline.dataset_id,
            baseline_uri=baseline_uri,
            correlation_id=f"drift-{endpoint}-{digest[:12]}",
            judged_at=now,
            window_from=seen[0].time,
            window_to=seen[-1].time,
            judgment=judgment,
            images=[
                ScoredRequest(
                    event_id=one.event_id, inference_id=one.inference_id, capture_key=one.capture_key, score=score
                )
                for one, score in zip(seen, judgment.scores, strict=True)
            ],
            html_key=f"{stem}.html",
        )
        page = render(
            judgment,
            baseline.statistics(),
            np.array([one.profile.statistics for one in seen]),
            title=f"Drift of {endpoint}",
            facts=[
                ("endpoint config", serving.config),
                ("model package", serving.package_arn),
                ("reference", f"{baseline_uri} (dataset {baseline.dataset_id})"),
                ("requests from", f"{seen[0].time:%Y-%m-%d %H:%M:%S} UTC"),
                ("requests to", f"{seen[-1].time:%Y-%m-%d %H:%M:%S} UTC"),
            ],
        )
        self.storage.write(report.html_key, page.encode(), content_type="text/html; charset=utf-8")
        self.storage.write_json(f"{stem}.json", report.plain())
        return report, f"{stem}.json"

    def _next_state(
        self,
        before: DriftState,
        serving: EndpointState,
        judgment: Judgment,
        report: DriftReport,
        report_key: str,
        digest: str,
        now: datetime,
    ) -> DriftState:
        """The state after this judgment; a change of it is not announced yet."""
        judged = {"config": serving.config, "judged_through": report.window_to, "judged": digest}
        drifting = before.state == "DRIFT"
        changed: dict[str, Any] = {}
        if judgment.decision == "DRIFT" and (not drifting or before.config != serving.config):
            # A new model has a new idea of what is usual: drift under it is an episode of its own.
            changed = {"state": "DRIFT", "images_sent": 0, "correlation_id": report.correlation_id}
        elif drifting and (judgment.clear or (before.config != serving.config and judgment.decision == "OK")):
            changed = {"state": "OK"}
        if changed:
            changed |= {"since": now, "report_key": report_key, "announced": False, "claimed_at": now}
        return before.model_copy(update={**judged, **changed})

    def _change(self, endpoint: str, before: DriftState, after: DriftState) -> DriftState | None:
        """Write `after` if nobody has changed the item since `before` was read; None if somebody has."""
        after = after.model_copy(update={"revision": before.revision + 1})
        expected = before.revision or None
        written = self.states.put_if(layout.drift_item(endpoint), after.plain(), attribute="revision", equals=expected)
        return after if written else None

    def _announce(self, endpoint: str, state: DriftState, now: datetime) -> DriftState:
        """Publish the alert of the state's change, as its report tells it; with drift, send the images back first."""
        report = DriftReport.model_validate(self.storage.read_json(state.report_key))
        if state.state == "DRIFT":
            sent = self._send_images(endpoint, state, report)
            alert = self._drift_alert(state, report, sent, now)
        else:
            sent, alert = RequeueResult(0, 0, 0), self._cleared_alert(state, report, now)
        publish(self.sns, self.settings.alert_topic_arn, alert, self.settings.prefix)
        announced = _counting(state, sent).model_copy(update={"announced": True, "claimed_at": None})
        # Whoever took the claim over meanwhile has announced it too and keeps the count.
        return self._change(endpoint, state, announced) or announced

    def _send_images(self, endpoint: str, state: DriftState, report: DriftReport) -> RequeueResult:
        chosen = most_unusual(report.images, MAX_IMAGES - state.images_sent)
        prefix = layout.drift_flight(endpoint, f"{state.since:%Y%m%d}")
        return requeue_images(self.storage, self.catalogue, chosen, prefix=prefix, correlation_id=state.correlation_id)

    def _links(self, state: DriftState, report: DriftReport) -> dict[str, str]:
        return {
            "report": self.storage.uri(report.html_key),
            "numbers": self.storage.uri(state.report_key or ""),
            "baseline": report.baseline_uri,
        }

    def _drift_alert(self, state: DriftState, report: DriftReport, sent: RequeueResult, now: datetime) -> Alert:
        judgment = report.judgment
        images = f"{sent.new + sent.known} of the most unusual images are at the head of the labeling queue"
        if sent.lost:
            images += f" ({sent.lost} more could not be recovered from the capture)"
        prefix = self.storage.uri(layout.drift_flight(report.endpoint, f"{state.since:%Y%m%d}"))
        return Alert(
            event="drift",
            severity="warning",
            stage=self.settings.stage,
            subject=report.endpoint,
            what=f"The images that {report.endpoint} is asked about have drifted from those that its model was judged "
            f"on: {'; '.join(judgment.reasons)}.",
            why=f"p = {judgment.p_value:.2g} for the {judgment.window} newest requests "
            f"({report.window_from:%Y-%m-%d %H:%M} to {report.window_to:%Y-%m-%d %H:%M} UTC) against "
            f"{judgment.reference} reference images of dataset {report.dataset_id}; the alarm is below "
            f"{judgment.alpha:g}.",
            kept=f"{report.endpoint} goes on serving {report.config}; {images}.",
            next_step="Look at the report. If these are images the model should handle, label them: retraining starts "
            "by itself when the labels are complete. If not, look at the camera and at who is sending them.",
            correlation_id=state.correlation_id,
            links={**self._links(state, report), "images": prefix},
            at=now,
        )

    def _cleared_alert(self, state: DriftState, report: DriftReport, now: datetime) -> Alert:
        judgment = report.judgment
        return Alert(
            event="drift-cleared",
            severity="info",
            stage=self.settings.stage,
            subject=report.endpoint,
            what=f"The images that {report.endpoint} is asked about are again like those that its model was judged on.",
            why=f"p = {judgment.p_value:.2g} for the {judgment.window} newest requests against {judgment.reference} "
            f"reference images of dataset {report.dataset_id}, under {report.config}.",
            kept=f"{report.endpoint} goes on serving {report.config}; images sent to labeling stay in the queue.",
            next_step="Nothing. The next drift will be announced anew.",
            correlation_id=state.correlation_id,
            links=self._links(state, report),
            at=now,
        )


def _counting(state: DriftState, sent: RequeueResult) -> DriftState:
    return state.model_copy(update={"images_sent": state.images_sent + sent.new})


def _digest(config: str, seen: tuple[CapturedPrediction, ...]) -> str:
    return hashlib.sha256("\n".join([config, *(one.event_id for one in seen)]).encode()).hexdigest()
