"""What every act needs: the cloud, the timeline to follow, and ways to wait for what a drop leads to."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from botocore.exceptions import ClientError

from cli import coco, detect, drop, flights, snapshot
from cli.cloud import Cloud
from cli.errors import error_code
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
    """What became of a drop: the retrain's job, the decision, the package if there is one, its deployment."""

    job: str
    decision: dict[str, Any]
    package: Package | None
    deployed: bool

    @property
    def approved(self) -> bool:
        return self.decision.get("decision") == "approve"

    @property
    def numbers(self) -> str:
        """The gate's numbers in a few words."""
        score = self.decision.get("map50")
        text = "no mAP50" if score is None else f"mAP50 {score:.3f}"
        if (champion := self.decision.get("champion_map50")) is not None:
            text += f" against the champion's {champion:.3f}"
        if interval := self.decision.get("difference_interval"):
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
    base: str = "not trained"  # what the first model was trained from
    rows: list[Row] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    artifacts: dict[str, str] = field(default_factory=dict)  # caption -> S3 key, copied beside the report

    def follow(self, done: Callable[[Snapshot], Found | None], what: str, timeout: float) -> Found:
        """Tell what happens until `done` gives something. DemoFailed when it does not within `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while True:
            for happening in self.timeline.look():
                self.narrator.tell(happening)
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
        """`epoch 7, mAP50 0.31` of the training that runs, empty when none does."""
        jobs = [run.name for run in now.running if run.machine == "retrain" and "train" in run.step.lower()]
        if not jobs:
            return ""
        try:
            job = self.cloud.client("sagemaker").describe_training_job(TrainingJobName=jobs[0])
        except ClientError as error:
            if error_code(error) in {
                "ValidationException",
                "ResourceNotFound",
            }:  # the step is entered, the job not made
                return ""
            raise
        metrics = {item["MetricName"]: item["Value"] for item in job.get("FinalMetricDataList", [])}
        return ", ".join(f"{name} {value:.3g}" for name, value in sorted(metrics.items()))

    def drop(self, folder: Path, labeled: bool = True) -> drop.DropReport:
        """What `skyloop drop FOLDER [--labels annotations.json]` does; each flight keeps its own name."""
        planned = flights.plan(folder)
        labels = coco.read(folder / "annotations.json") if labeled else None
        planned = _named_by_flight(planned)
        report = drop.drop(self.cloud, planned, labels, drop.new_correlation_id(), lambda items, *_: items)
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
            # Asked again: what `now` holds was fetched before the executions were, and may be from before their end.
            registered = snapshot.packages(self.cloud, 20)
            package = next((item for item in registered if item.training_job == job), None)
            if package is None or package.approval != "Approved":
                return job, package, False
            deployment = by_name.get(f"{self.cloud.prefix}-v{package.version}")
            if deployment is None or deployment.status == "RUNNING":
                return None
            return job, package, snapshot.endpoint(self.cloud).version == str(package.version)

        job, package, deployed = self.follow(ended, "the retrain to end", timeout)
        decision = self.document(f"model-artifacts/{job}/decision.json")
        if decision is None:
            latest = self.timeline.now.alerts[0] if self.timeline.now and self.timeline.now.alerts else {}
            raise DemoFailed(f"{job} came to no decision. Last alert: {latest.get('what')} {latest.get('why', '')}")
        return Outcome(job, decision, package, deployed)

    def labeling_jobs(self) -> set[str]:
        """Names of the labeling jobs there are now."""
        return {job.name for job in snapshot.labeling_jobs(self.cloud, 100)}

    def document(self, key: str) -> dict[str, Any] | None:
        """A JSON document of the data bucket, None when it is not there."""
        try:
            body = self.cloud.client("s3").get_object(Bucket=self.cloud.bucket, Key=key)["Body"].read()
        except ClientError as error:
            if error_code(error) in {"NoSuchKey", "404"}:
                return None
            raise
        return json.loads(body)

    def detect(self, paths: list[Path]) -> list[detect.Answer]:
        """Ask the endpoint about each image."""
        return [detect.ask(self.cloud, path) for path in paths]

    def row(self, what: str, outcome: str, where: str) -> None:
        """Add to the table at the end."""
        self.rows.append(Row(what, outcome, where))


def _named_by_flight(planned: flights.Drop) -> flights.Drop:
    """Flights by their own folders' names, without the drop's in front: a line keeps its name over all drops."""
    images = [flights.Image(image.path, image.path.parent.name, image.name) for image in planned.images]
    return flights.Drop(planned.root, images, planned.other_files)
