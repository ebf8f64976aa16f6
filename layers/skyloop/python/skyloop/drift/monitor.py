"""Watching an endpoint for drift: window, baseline and state in; report, alert and images to label out.

One episode of drift gives one alert. The StateTable item `drift#<endpoint>` carries the state and a revision; every
write is conditional on the revision, so of two runs at once one wins and the other stops. An alert is announced in two
writes (the state has changed; it is `announced`), so that a later run finishes what a run that died in between began.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np

from skyloop import layout
from skyloop.alerts import publish
from skyloop.aws.catalogue import Catalogue
from skyloop.aws.settings import Settings
from skyloop.aws.state import StateTable
from skyloop.aws.storage import Storage
from skyloop.documents import DriftReport, DriftState, EndpointState, Judgment, PackageMetadata, ScoredRequest
from skyloop.drift.alerts import cleared_alert, drift_alert
from skyloop.drift.detector import CannotCompare, detect, minimum_window
from skyloop.drift.episode import enough_is_new, next_state, window_digest
from skyloop.drift.report import render
from skyloop.drift.requeue import MAX_IMAGES, RequeueResult, most_unusual, requeue_images
from skyloop.drift.window import CapturedPrediction, CaptureReader, Window
from skyloop.formats.profile import Baseline

if TYPE_CHECKING:
    from mypy_boto3_sagemaker import SageMakerClient
    from mypy_boto3_sns import SNSClient

# Longer than the function may run: a run that has claimed an announcement and not finished it by then is dead.
CLAIM_TIMEOUT = timedelta(minutes=6)


class NoBaseline(LookupError):
    """The model in service has no baseline to compare with; its package was not made by this loop."""


@dataclass(frozen=True)
class DriftOutcome:
    """What one evaluation of an endpoint came to.

    `judgment` is None where there was nothing (new) to judge. `unjudgeable` says that there was, that it could not be
    judged, and that waiting does not change this.
    """

    what: str
    judgment: Judgment | None = None
    window: int = 0
    unusable: int = 0
    state: str = "OK"
    images_sent: int = 0
    unjudgeable: bool = False


@dataclass(frozen=True)
class _Service:
    """What serves on an endpoint: its state item, and what its model package says ("" where it names no baseline)."""

    endpoint: str
    config: str
    package_arn: str
    deployed_at: datetime
    training_job: str | None
    baseline_uri: str


class DriftMonitor:
    """Evaluates endpoints and acts on what it finds.

    An evaluation goes through these steps, and may end at each:

    1. Is a model in service at all?
    2. Has an earlier run left an announcement unfinished? Claim it and finish it.
    3. Is the window large enough, and enough of it new?
    4. Compare, write the report, and record the new state.
    5. Announce a change of state, or go on collecting images while an episode lasts.
    """

    def __init__(
        self,
        *,
        storage: Storage,
        states: StateTable,
        catalogue: Catalogue,
        reader: CaptureReader,
        sagemaker: SageMakerClient,
        sns: SNSClient,
        settings: Settings,
    ) -> None:
        """Use these edges. The reader may be kept between invocations, and remembers files that it has read."""
        self.storage = storage
        self.states = states
        self.catalogue = catalogue
        self.reader = reader
        self.sagemaker = sagemaker
        self.sns = sns
        self.settings = settings

    def evaluate(self, endpoint: str, *, now: datetime, scheduled: bool) -> DriftOutcome:
        """Judge the endpoint's newest window if there is enough new in it, and act on the judgment.

        A scheduled evaluation judges anything new; otherwise a fifth of the window must be. Raises NoBaseline,
        ProfileUnusable (for the baseline), ObjectMissing, and what AWS raises.
        """
        item = self.states.get(layout.endpoint_item(endpoint))
        if item is None:
            return DriftOutcome(f"no model is in service on {endpoint}")
        state = DriftState.model_validate(self.states.get(layout.drift_item(endpoint)) or {})
        if not state.announced:
            claimed = self._claim(endpoint, state, now)
            if claimed is None:
                return DriftOutcome("another run is announcing", state=state.state)
            state = self._announce(endpoint, claimed, now)
        service = self._service(endpoint, EndpointState.model_validate(item))
        window = self.reader.window(
            endpoint,
            size=self.settings.drift_window,
            since=service.deployed_at.replace(microsecond=0),  # captured times have whole seconds
            now=now,
            training_job=service.training_job,
        )
        waiting = self._waiting(service, state, window, scheduled=scheduled)
        return waiting or self._evaluate_window(service, state, window, now)

    def _waiting(self, service: _Service, state: DriftState, window: Window, *, scheduled: bool) -> DriftOutcome | None:
        """Why this window is not judged; None when it is."""
        size, seen, refused = self.settings.drift_window, len(window.seen), len(window.refused)
        needed = minimum_window(size)
        outcome = DriftOutcome("", window=seen, unusable=window.unusable, state=state.state)
        if seen < needed:
            what = f"{seen} of {needed} images seen since {service.deployed_at}"
            if seen + refused < needed:
                return replace(outcome, what=what)
            # There were images enough. Silence would look like "no drift".
            what += f"; {refused} more answers have a profile that cannot be used: {window.refused[-1]}"
            return replace(outcome, what=what, unjudgeable=True)
        if not enough_is_new(state, service.config, window.seen, size=size, scheduled=scheduled):
            return replace(outcome, what="too little is new since the last judgment")
        return None

    def _evaluate_window(self, service: _Service, state: DriftState, window: Window, now: datetime) -> DriftOutcome:
        """Compare the window with the baseline, record what came of it, and act on it."""
        outcome = DriftOutcome("", window=len(window.seen), unusable=window.unusable, state=state.state)
        baseline = self._baseline(service)
        profiles = [prediction.profile for prediction in window.seen]
        try:
            judgment = detect(baseline, profiles, alpha=self.settings.drift_alpha)
        except CannotCompare as error:
            # Delivering the message again does not change the baseline, so this is an answer and no failure.
            return replace(outcome, what=str(error), unjudgeable=True)
        report, report_key = self._write_report(service, baseline, window.seen, judgment, now)
        judged = window_digest(service.config, window.seen)
        after = next_state(state, report, report_key=report_key, judged=judged, now=now)
        recorded = self._change(service.endpoint, state, after)
        if recorded is None:
            return replace(outcome, what="another run was first")
        if not recorded.announced:
            recorded = self._announce(service.endpoint, recorded, now)
        elif recorded.state == "DRIFT":
            # The episode continues: its unusual images still go to people, up to its limit, without another alert.
            sent = self._send_images(service.endpoint, recorded, report)
            counted = _counting(recorded, sent)
            recorded = self._change(service.endpoint, recorded, counted) or recorded
        return replace(
            outcome,
            what="; ".join(judgment.reasons) or "nothing has moved",
            judgment=judgment,
            state=recorded.state,
            images_sent=recorded.images_sent,
        )

    def _service(self, endpoint: str, serving: EndpointState) -> _Service:
        package = self.sagemaker.describe_model_package(ModelPackageName=serving.package_arn)
        metadata = PackageMetadata.model_validate(package.get("CustomerMetadataProperties", {}))
        return _Service(
            endpoint=endpoint,
            config=serving.config,
            package_arn=serving.package_arn,
            deployed_at=serving.deployed_at,
            training_job=metadata.training_job or None,
            baseline_uri=metadata.baseline_uri,
        )

    def _baseline(self, service: _Service) -> Baseline:
        if not service.baseline_uri:
            raise NoBaseline(f"{service.package_arn} names no baseline_uri in its CustomerMetadataProperties")
        return Baseline.parse(self.storage.read(self.storage.key_of(service.baseline_uri)).body)

    def _write_report(
        self,
        service: _Service,
        baseline: Baseline,
        seen: tuple[CapturedPrediction, ...],
        judgment: Judgment,
        now: datetime,
    ) -> tuple[DriftReport, str]:
        """Write the window's report, as JSON and as a page, and return it with its key.

        The same window gives the same keys.
        """
        digest = window_digest(service.config, seen)
        stem = f"{layout.DRIFT_REPORTS}{service.endpoint}/{seen[-1].time:%Y%m%dT%H%M%S}-{digest[:8]}"
        report = DriftReport(
            endpoint=service.endpoint,
            config=service.config,
            package_arn=service.package_arn,
            dataset_id=baseline.dataset_id,
            baseline_uri=service.baseline_uri,
            correlation_id=f"drift-{service.endpoint}-{digest[:12]}",
            judged_at=now,
            window_from=seen[0].time,
            window_to=seen[-1].time,
            judgment=judgment,
            images=[
                ScoredRequest(
                    event_id=prediction.event_id,
                    inference_id=prediction.inference_id,
                    capture_key=prediction.capture_key,
                    score=score,
                )
                for prediction, score in zip(seen, judgment.scores, strict=True)
            ],
            html_key=f"{stem}.html",
        )
        names = [evidence.name for evidence in judgment.statistics]
        page = render(
            judgment,
            baseline.statistics(names),
            np.array([prediction.profile.select(names) for prediction in seen]),
            title=f"Drift of {service.endpoint}",
            facts=[
                ("endpoint config", service.config),
                ("model package", service.package_arn),
                ("reference", f"{report.baseline_uri} (dataset {baseline.dataset_id})"),
                ("requests from", f"{report.window_from:%Y-%m-%d %H:%M:%S} UTC"),
                ("requests to", f"{report.window_to:%Y-%m-%d %H:%M:%S} UTC"),
            ],
        )
        self.storage.write(report.html_key, page.encode(), content_type="text/html; charset=utf-8")
        self.storage.write_json(f"{stem}.json", report.plain())
        return report, f"{stem}.json"

    def _change(self, endpoint: str, before: DriftState, after: DriftState) -> DriftState | None:
        """Write `after` if the item is as it was when `before` was read; None when another run has changed it."""
        after = after.model_copy(update={"revision": before.revision + 1})
        expected = before.revision or None
        written = self.states.put_if(layout.drift_item(endpoint), after.plain(), attribute="revision", equals=expected)
        return after if written else None

    def _claim(self, endpoint: str, state: DriftState, now: datetime) -> DriftState | None:
        """Take over an announcement that was not finished; None when another run is at it."""
        if state.claimed_at and now - state.claimed_at < CLAIM_TIMEOUT:
            return None
        return self._change(endpoint, state, state.model_copy(update={"claimed_at": now}))

    def _announce(self, endpoint: str, state: DriftState, now: datetime) -> DriftState:
        """Publish the alert for the state's change, from its report; for drift, send the images to labeling first."""
        report_key = state.report_key or ""
        report = DriftReport.model_validate(self.storage.read_json(report_key))
        links = {
            "report": self.storage.uri(report.html_key),
            "numbers": self.storage.uri(report_key),
            "baseline": report.baseline_uri,
        }
        sent = RequeueResult(0, 0, 0)
        if state.state == "DRIFT":
            sent = self._send_images(endpoint, state, report)
            links["images"] = self.storage.uri(_flight(endpoint, state))
            alert = drift_alert(report, state, sent, stage=self.settings.stage, links=links, at=now)
        else:
            alert = cleared_alert(report, state, stage=self.settings.stage, links=links, at=now)
        publish(self.sns, self.settings.alert_topic_arn, alert, self.settings.prefix)
        announced = _counting(state, sent).model_copy(update={"announced": True, "claimed_at": None})
        # A run that has taken the claim over in the meantime has announced it too, and keeps the count.
        return self._change(endpoint, state, announced) or announced

    def _send_images(self, endpoint: str, state: DriftState, report: DriftReport) -> RequeueResult:
        chosen = most_unusual(report.images, MAX_IMAGES - state.images_sent)
        prefix = _flight(endpoint, state)
        return requeue_images(self.storage, self.catalogue, chosen, prefix=prefix, correlation_id=state.correlation_id)


def _flight(endpoint: str, state: DriftState) -> str:
    """The prefix of the episode's images."""
    return layout.drift_flight(endpoint, f"{state.since:%Y%m%d}")


def _counting(state: DriftState, sent: RequeueResult) -> DriftState:
    return state.model_copy(update={"images_sent": state.images_sent + sent.new})
