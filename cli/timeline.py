"""What happens, as it happens: polls the services and reports what is new since the last look.

Both clouds are followed in one way: by Step Functions' histories, SageMaker's lists and the alert archive. Nothing is
missed between two looks, because every look compares with all that was seen before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from cli import snapshot
from cli.cloud import Cloud
from cli.snapshot import Execution, Snapshot

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions.type_defs import HistoryEventTypeDef

Level = Literal["info", "good", "warning", "error"]
MAPS = {"MapStateEntered", "ParallelStateEntered"}
SCHEDULED = {"TaskScheduled", "LambdaFunctionScheduled"}
# Reading something or writing it down is no news to people; what follows from it is.
QUIET_ACTIONS = ("describe", "get", "list", "query", "publish", "putItem", "updateItem", "deleteItem")
QUIET_STATES = {"PublishAlert"}  # the alert itself is a line of the timeline
ENDED = {"FAILED": "failed", "TIMED_OUT": "timed out", "ABORTED": "was stopped"}
# Label runs once per batch of uploads and mostly finds nothing to do: its labeling jobs are reported instead.
REPORTED_BY_STEPS = ("Retrain", "Deploy", "Rollback")
ALERT_LEVELS: dict[str, Level] = {"error": "error", "warning": "warning", "info": "good"}
ENDPOINT_LEVELS: dict[str, Level] = {"InService": "good", "Failed": "error", "RollingBack": "error"}


@dataclass(frozen=True)
class TimelineEvent:
    """One line of the timeline. `stage` is catalogue, label, retrain, deploy, rollback, registry, endpoint, alert."""

    at: datetime
    stage: str
    text: str
    level: Level = "info"
    subject: str = ""

    def as_document(self) -> dict[str, object]:
        """The members, ready for JSON."""
        return {
            "at": self.at.isoformat(),
            "stage": self.stage,
            "text": self.text,
            "level": self.level,
            "subject": self.subject,
        }


@dataclass
class Timeline:
    """Remembers what was seen.

    `look()` gives what is new; `now` is the last snapshot, `executions` every execution seen, by ARN.
    """

    cloud: Cloud
    now: Snapshot | None = None
    executions: dict[str, Execution] = field(default_factory=dict)
    _catalogued: int = 0
    _events_seen: dict[str, int] = field(default_factory=dict)
    _steps_reported: dict[str, set[str]] = field(default_factory=dict)

    def look(self) -> list[TimelineEvent]:
        """What happened since the last look, in order. The first look only learns how things are."""
        before, self.now = self.now, snapshot.take(self.cloud, limit=20)
        events = list(self._execution_events(first=before is None))
        if before is not None:
            events += changes(before, self.now)
            events += self._newly_catalogued(self.now)
        self._catalogued = max(self._catalogued, usable_images(self.now))
        return sorted(events, key=lambda event: event.at)

    def _newly_catalogued(self, now: Snapshot) -> Iterator[TimelineEvent]:
        # Images change their status while the statuses are counted one after the other: a lower sum is not a loss.
        # Where there are more than are counted, one that is requeued would look like a new one.
        fresh = usable_images(now) - self._catalogued
        if fresh > 0 and max(now.images.values()) < snapshot.MOST_COUNTED:
            yield TimelineEvent(datetime.now(UTC), "catalogue", f"{fresh} images catalogued")

    def _execution_events(self, first: bool) -> Iterator[TimelineEvent]:
        for machine in snapshot.MACHINES:
            for execution in reversed(snapshot.executions(self.cloud, machine, None, 20)):
                known = self.executions.get(execution.arn)
                if known and known.status == execution.status != "RUNNING":
                    continue
                self.executions[execution.arn] = execution
                if first and execution.status != "RUNNING":
                    continue
                if machine in REPORTED_BY_STEPS:
                    yield from self._steps(execution)
                if execution.status in ENDED:
                    text = f"{execution.machine} {execution.name} {ENDED[execution.status]}"
                    yield TimelineEvent(datetime.now(UTC), execution.machine, text, "error", execution.name)

    def _steps(self, execution: Execution) -> Iterator[TimelineEvent]:
        pages = self.cloud.client("stepfunctions").get_paginator("get_execution_history")
        history = [
            event
            for page in pages.paginate(executionArn=execution.arn, includeExecutionData=False)
            for event in page["events"]
        ]
        seen = self._events_seen.get(execution.arn, 0)
        self._events_seen[execution.arn] = len(history)
        reported = self._steps_reported.setdefault(execution.arn, set())
        for number, name in steps(history):
            if number >= seen and name not in reported:
                reported.add(name)  # a waiting loop enters its states again and again
                at = history[number]["timestamp"]
                yield TimelineEvent(at, execution.machine, words_of(name), subject=execution.name)


def steps(history: Iterable[HistoryEventTypeDef]) -> Iterator[tuple[int, str]]:
    """Index and state name of every event of a history that begins work: a map, or a task that does not only read."""
    names: dict[int, str] = {}
    last = ""
    for number, event in enumerate(history):
        if entered := event.get("stateEnteredEventDetails"):
            names[event["id"]] = last = entered["name"]
            if event["type"] in MAPS:
                yield number, last
        elif event["type"] in SCHEDULED:
            # Histories without the link have no parallel branches here: the state is the one entered last.
            name = names.get(event.get("previousEventId", 0), last)
            details = event.get("taskScheduledEventDetails") or event.get("lambdaFunctionScheduledEventDetails")
            # `putItem` on AWS, the whole ARN of the integration elsewhere
            action = details["resource"].rpartition(":")[2] if details else ""
            if name not in QUIET_STATES and not action.startswith(QUIET_ACTIONS):
                yield number, name


def words_of(name: str) -> str:
    """A name of a state or a status as words: `CreateTrainingJob` -> `create training job`."""
    words = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in name)
    return words.replace("  ", " ").strip()


def usable_images(now: Snapshot) -> int:
    """How many images are catalogued and not quarantined."""
    return sum(count for status, count in now.images.items() if status != "QUARANTINED")


def changes(before: Snapshot, after: Snapshot) -> list[TimelineEvent]:
    """What changed from one snapshot to the next, except for executions and the number of images."""
    moment = datetime.now(UTC)
    return [
        *_quarantine(before, after, moment),
        *_jobs(before, after, moment),
        *_packages(before, after, moment),
        *_endpoint(before, after, moment),
        *_alerts(before, after, moment),
    ]


def _quarantine(before: Snapshot, after: Snapshot, moment: datetime) -> Iterator[TimelineEvent]:
    if (more := after.images.get("QUARANTINED", 0) - before.images.get("QUARANTINED", 0)) > 0:
        reasons = {item.reason for item in after.quarantined} - {item.reason for item in before.quarantined}
        why = f": {'; '.join(sorted(reasons))}" if reasons else ""
        yield TimelineEvent(moment, "catalogue", f"{more} images quarantined{why}", "warning")


def _jobs(before: Snapshot, after: Snapshot, moment: datetime) -> Iterator[TimelineEvent]:
    known = {job.name: job.status for job in before.labeling_jobs}
    for job in reversed(after.labeling_jobs):
        if job.name not in known:
            text = f"labeling job {job.name} started, {job.total} images"
            yield TimelineEvent(moment, "label", text, subject=job.name)
        if known.get(job.name) != job.status and job.status in {"Completed", "Failed", "Stopped"}:
            level: Level = "info" if job.status == "Completed" else "error"
            text = f"labeling job {job.name} {job.status.lower()}, {job.labeled} of {job.total} labeled"
            yield TimelineEvent(moment, "label", text, level, job.name)


def _packages(before: Snapshot, after: Snapshot, moment: datetime) -> Iterator[TimelineEvent]:
    known = {package.arn: package.approval for package in before.packages}
    for package in reversed(after.packages):
        if known.get(package.arn) == package.approval:
            continue
        score = "" if package.map50 is None else f", mAP50 {package.map50:.3f}"
        news = "registered, " if package.arn not in known else ""
        level: Level = "good" if package.approval == "Approved" else "warning"
        text = f"version {package.version} {news}{words_of(package.approval)}{score}"
        yield TimelineEvent(moment, "registry", text, level, package.arn)


def _endpoint(before: Snapshot, after: Snapshot, moment: datetime) -> Iterator[TimelineEvent]:
    old, new = before.endpoint, after.endpoint
    if (old.status, old.config) == (new.status, new.config):
        return
    text = f"{new.name} {words_of(new.status)}" + (f", config {new.config}" if new.config else "")
    yield TimelineEvent(moment, "endpoint", text, ENDPOINT_LEVELS.get(new.status, "info"), new.name)


def _alerts(before: Snapshot, after: Snapshot, moment: datetime) -> Iterator[TimelineEvent]:
    known = {alert["key"] for alert in before.alerts}
    for alert in reversed(after.alerts):
        if alert["key"] not in known:
            level = ALERT_LEVELS.get(alert.get("severity", ""), "warning")
            why = f" {alert['why']}" if level != "good" and alert.get("why") else ""
            text = f"{alert['event']}: {alert.get('what')}{why}"
            yield TimelineEvent(moment, "alert", text, level, alert["subject"])
