"""What every act needs: the cloud, the timeline to follow, and ways to wait for what a drop leads to."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from botocore.exceptions import ClientError
from skyloop.aws.storage import ObjectMissing
from skyloop.documents import Decision
from skyloop.layout import ModelArtifacts

from cli import flights, snapshot
from cli.actions import deployment_name
from cli.cloud import Cloud
from cli.detect import ImageDetections, detect_image
from cli.drop import DropReport, new_correlation_id, upload_drop
from cli.errors import error_code
from cli.labels import read_labels
from cli.snapshot import Package, Snapshot
from cli.timeline import Timeline
from demo.drops import Drops
from demo.narrator import Narrator
from demo.pictures import Picture
from demo.subscriber import Subscriber

LOOK_EVERY = 1.0
Found = TypeVar("Found")


class DemoFailed(Exception):
    """The story cannot go on; the message says why and where to look."""


@dataclass(frozen=True)
class Row:
    """One line of the table at the end."""

    what: str
    outcome: str
    where: str


@dataclass(frozen=True)
class Outcome:
    """What a drop led to: the retrain's job, the decision, the package if there is one, whether it was deployed."""

    job: str
    decision: Decision
    package: Package | None
    deployed: bool

    @property
    def artifacts(self) -> ModelArtifacts:
        """Where the files of the training are."""
        return ModelArtifacts(self.job)

    @property
    def approved(self) -> bool:
        """Whether the gate approved the model."""
        return self.decision.decision == "approve"

    @property
    def numbers(self) -> str:
        """The gate's numbers in a few words."""
        score = self.decision.map50
        text = "no mAP50" if score is None else f"mAP50 {score:.3f}"
        if (champion := self.decision.champion_map50) is not None:
            text += f" against the champion's {champion:.3f}"
        if interval := self.decision.difference_interval:
            text += f" (difference {interval[0]:+.3f} to {interval[1]:+.3f} at 95 %)"
        return text


@dataclass
class Play:
    """The state of one performance."""

    cloud: Cloud
    narrator: Narrator
    subscriber: Subscriber
    drops: Drops
    timeline: Timeline
    page: Path  # the report, written at the end
    base: str = "not trained"  # what the first model was trained from
    rows: list[Row] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    artifacts: dict[str, str] = field(default_factory=dict)  # caption -> S3 key, copied beside the report

    def follow(self, done: Callable[[Snapshot], Found | None], what: str, timeout: float) -> Found:
        """Tell what happens until `done` gives something, and return that.

        Raises DemoFailed when it gives nothing within `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        while True:
            for event in self.timeline.look():
                self.narrator.tell(event)
            now = self.timeline.now
            assert now is not None
            self.narrator.show(now, self.training_progress(now))
            if (answer := done(now)) is not None:
                return answer
            if time.monotonic() > deadline:
                logs = (self.cloud.home or Path()) / "logs"
                raise DemoFailed(f"Waited {timeout:.0f} s for {what}. `skyloop alerts` and {logs} say more.")
            time.sleep(LOOK_EVERY)

    def training_progress(self, now: Snapshot) -> str:
        """`epoch 7, mAP50 0.31` of the training that runs, "" when none does."""
        jobs = [run.name for run in now.running if run.machine == "retrain" and "train" in run.step.lower()]
        if not jobs:
            return ""
        try:
            job = self.cloud.client("sagemaker").describe_training_job(TrainingJobName=jobs[0])
        except ClientError as error:
            if error_code(error) in {"ValidationException", "ResourceNotFound"}:
                return ""  # the step has begun, but its job does not exist yet
            raise
        metrics = {item["MetricName"]: item["Value"] for item in job.get("FinalMetricDataList", [])}
        return ", ".join(f"{name} {value:.3g}" for name, value in sorted(metrics.items()))

    def drop(self, folder: Path, labeled: bool = True) -> DropReport:
        """Do what `skyloop drop FOLDER [--labels annotations.json]` does; each flight keeps its own name."""
        planned = _named_by_flight(flights.plan_drop(folder))
        labels = read_labels(folder / "annotations.json") if labeled else None
        report = upload_drop(self.cloud, planned, labels, new_correlation_id(), lambda items, what, total: items)
        boxes = f" with {report.boxes} known boxes" if report.boxes else ""
        self.narrator.say(
            f"dropped {report.uploaded} frames of {len(report.flights)} flights{boxes} ({report.correlation_id})"
        )
        return report

    def outcome(self, known_jobs: set[str], timeout: float) -> Outcome:
        """Follow a drop until its retrain, and the deployment it may lead to, have ended."""

        def ended(now: Snapshot) -> tuple[str, Package | None, bool] | None:
            fresh = [job for job in now.labeling_jobs if job.name not in known_jobs]
            by_name = {run.name: run for run in self.timeline.executions.values()}
            if not fresh:
                return None
            job = fresh[0].name
            retrain = by_name.get(job)
            if retrain is None or retrain.status == "RUNNING":
                return None
            # Fetched again: the packages in `now` are older than the executions, and may be from before their end.
            registered = snapshot.packages(self.cloud, 20)
            package = next((item for item in registered if item.training_job == job), None)
            if package is None or package.approval != "Approved":
                return job, package, False
            deployment = by_name.get(deployment_name(self.cloud, package))
            if deployment is None or deployment.status == "RUNNING":
                return None
            return job, package, snapshot.endpoint(self.cloud).version == str(package.version)

        job, package, deployed = self.follow(ended, "the retrain to end", timeout)
        try:
            decision = self.cloud.storage.read(ModelArtifacts(job).decision)
        except ObjectMissing:
            alerts = self.timeline.now.alerts if self.timeline.now else []
            newest = f"{alerts[0].get('what')} {alerts[0].get('why', '')}" if alerts else "none"
            raise DemoFailed(f"{job} came to no decision. Last alert: {newest}") from None
        return Outcome(job, Decision.model_validate_json(decision.body), package, deployed)

    def labeling_jobs(self) -> set[str]:
        """Names of the labeling jobs that exist now."""
        return {job.name for job in snapshot.labeling_jobs(self.cloud, 100)}

    def detect(self, paths: list[Path]) -> list[ImageDetections]:
        """Send each image to the endpoint."""
        return [detect_image(self.cloud, path) for path in paths]

    def row(self, what: str, outcome: str, where: str) -> None:
        """Add to the table at the end."""
        self.rows.append(Row(what, outcome, where))


def shown(path: Path) -> str:
    """A path as a person types it here: relative to the current folder when it is in it."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _named_by_flight(planned: flights.Drop) -> flights.Drop:
    """The drop with flights named by their own folders, without the drop's name in front.

    So a flight line has the same name in every drop.
    """
    images = [flights.Image(image.path, image.path.parent.name, image.name) for image in planned.images]
    return replace(planned, images=images)
