"""What happens, as it happens: polls the services and says what is new since the last look.

One way for both clouds: Step Functions' histories, SageMaker's lists and the alert archive. Nothing is missed between
two looks, because every look compares with all that was seen before.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from cli import snapshot
from cli.cloud import Cloud
from cli.snapshot import Execution, Snapshot

Level = Literal["info", "good", "warning", "error"]
MAPS = {"MapStateEntered", "ParallelStateEntered"}
SCHEDULED = {
    "TaskScheduled": "taskScheduledEventDetails",
    "LambdaFunctionScheduled": "lambdaFunctionScheduledEventDetails",
}
# Looking something up or noting it down is no news to people; what it leads to is.
UNTOLD_ACTIONS = ("describe", "get", "list", "query", "publish", "putItem", "updateItem", "deleteItem")
ENDED = {"FAILED": "failed", "TIMED_OUT": "timed out", "ABORTED": "was stopped"}
# Label runs once a batch of uploads and mostly finds nothing to do: its labeling jobs tell its story.
TOLD_BY_STEPS = ("Retrain", "Deploy", "Rollback")
ALERT_LEVELS: dict[str, Level] = {"error": "error", "warning": "warning", "info": "good"}


@dataclass(frozen=True)
class Happening:
    """One line of the timeline. `stage` is catalogue, label, retrain, deploy, rollback, registry, endpoint, alert."""

    at: datetime
    stage: str
    text: str
    level: Level = "info"
    subject: str = ""

    def as_document(self) -> dict[str, Any]:
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

    `look()` gives what is new; `now` is the last snapshot taken, `executions` every execution seen, by ARN.
    """

    cloud: Cloud
    now: Snapshot | None = None
    executions: dict[str, Execution] = field(default_factory=dict)
    _catalogued: int = 0
    _events_seen: dict[str, int] = field(default_factory=dict)
    _steps_told: dict[str, set[str]] = field(default_factory=dict)

    def look(self) -> list[Happening]:
        """What happened since the last look, in order. The first look only learns how things stand."""
        before, self.now = self.now, snapshot.take(self.cloud, limit=20)
        told = list(self._execution_news(first=before is None))
        if before is not None:
            told += compare(before, self.now)
            told += self._newly_catalogued(self.now)
        self._catalogued = max(self._catalogued, catalogued(self.now))
        return sorted(told, key=lambda happening: happening.at)

    def _newly_catalogued(self, now: Snapshot) -> Iterator[Happening]:
        # Images change their status while the statuses are counted one after the other: a dip is not a loss.
        if (fresh := catalogued(now) - self._catalogued) > 0:
            yield Happening(datetime.now(UTC), "catalogue", f"{fresh} images catalogued")

    def _execution_news(self, first: bool) -> Iterator[Happening]:
        for machine in snapshot.MACHINES:
            for execution in reversed(snapshot.executions(self.cloud, machine, None, 20)):
                known = self.executions.get(execution.arn)
                if known and known.status == execution.status != "RUNNING":
                    continue
                self.executions[execution.arn] = execution
                if first and execution.status != "RUNNING":
                    continue
                if machine in TOLD_BY_STEPS:
                    yield from self._steps(execution)
                if execution.status in ENDED:
                    text = f"{execution.machine} {execution.name} {ENDED[execution.status]}"
                    yield Happening(datetime.now(UTC), execution.machine, text, "error", execution.name)

    def _steps(self, execution: Execution) -> Iterator[Happening]:
        pages = self.cloud.client("stepfunctions").get_paginator("get_execution_history")
        events = [
            event
            for page in pages.paginate(executionArn=execution.arn, includeExecutionData=False)
            for event in page["events"]
        ]
        seen = self._events_seen.get(execution.arn, 0)
        self._events_seen[execution.arn] = len(events)
        told = self._steps_told.setdefault(execution.arn, set())
        for number, name in steps(events):
            if number >= seen and name not in told:
                told.add(name)  # a waiting loop enters its states again and again
                at = events[number]["timestamp"]
                yield Happening(at, execution.machine, spoken(name), subject=execution.name)


def steps(events: list[dict[str, Any]]) -> Iterator[tuple[int, str]]:
    """Index and state name of every event of a history that begins work: a map, or a task that is no mere look-up."""
    names: dict[int, str] = {}
    last = ""
    for number, event in enumerate(events):
        if detail := event.get("stateEnteredEventDetails"):
            names[event["id"]] = last = detail["name"]
            if event["type"] in MAPS:
                yield number, detail["name"]
        elif key := SCHEDULED.get(event["type"]):
            # Histories without the link have no parallel branches here: the state is the one entered last.
            name = names.get(event.get("previousEventId", 0), last)
            # `putItem` on AWS, the whole integration ARN elsewhere
            action = event.get(key, {}).get("resource", "").rpartition(":")[2]
            if not action.startswith(UNTOLD_ACTIONS):
                yield number, name


def spoken(state: str) -> str:
    """A state's name as words: `CreateTrainingJob` -> `create training job`."""
    words = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in state)
    return words.replace("  ", " ").strip()


def catalogued(now: Snapshot) -> int:
    """How many usable images there are."""
    return sum(count for status, count in now.images.items() if status != "QUARANTINED")


def compare(before: Snapshot, after: Snapshot) -> list[Happening]:
    """What changed from one snapshot to the next, apart from executions and the number of images."""
    moment = datetime.now(UTC)
    return [
        *_quarantine(before, after, moment),
        *_jobs(before, after, moment),
        *_packages(before, after, moment),
        *_endpoint(before, after, moment),
        *_alerts(before, after, moment),
    ]


def _quarantine(before: Snapshot, after: Snapshot, moment: datetime) -> Iterator[Happening]:
    if (bad := after.images.get("QUARANTINED", 0) - before.images.get("QUARANTINED", 0)) > 0:
        reasons = {item.reason for item in after.quarantined} - {item.reason for item in before.quarantined}
        why = f": {'; '.join(sorted(reasons))}" if reasons else ""
        yield Happening(moment, "catalogue", f"{bad} images quarantined{why}", "warning")


def _jobs(before: Snapshot, after: Snapshot, moment: datetime) -> Iterator[Happening]:
    known = {job.name: job.status for job in before.labeling_jobs}
    for job in reversed(after.labeling_jobs):
        if job.name not in known:
            yield Happening(moment, "label", f"labeling job {job.name} started, {job.total} images", subject=job.name)
        if known.get(job.name) != job.status and job.status in {"Completed", "Failed", "Stopped"}:
            level: Level = "info" if job.status == "Completed" else "error"
            text = f"labeling job {job.name} {job.status.lower()}, {job.labeled} of {job.total} labeled"
            yield Happening(moment, "label", text, level, job.name)


def _packages(before: Snapshot, after: Snapshot, moment: datetime) -> Iterator[Happening]:
    known = {package.arn: package.approval for package in before.packages}
    for package in reversed(after.packages):
        if known.get(package.arn) == package.approval:
            continue
        score = "" if package.map50 is None else f", mAP50 {package.map50:.3f}"
        news = "registered, " if package.arn not in known else ""
        level: Level = "good" if package.approval == "Approved" else "warning"
        text = f"version {package.version} {news}{spoken(package.approval)}{score}"
        yield Happening(moment, "registry", text, level, package.arn)


def _endpoint(before: Snapshot, after: Snapshot, moment: datetime) -> Iterator[Happening]:
    old, new = before.endpoint, after.endpoint
    if (old.status, old.config) == (new.status, new.config):
        return
    level: Level = {"InService": "good", "Failed": "error", "RollingBack": "error"}.get(new.status, "info")  # type: ignore[assignment]
    text = f"{new.name} {spoken(new.status)}" + (f", config {new.config}" if new.config else "")
    yield Happening(moment, "endpoint", text, level, new.name)


def _alerts(before: Snapshot, after: Snapshot, moment: datetime) -> Iterator[Happening]:
    known = {alert["key"] for alert in before.alerts}
    for alert in reversed(after.alerts):
        if alert["key"] not in known:
            level = ALERT_LEVELS.get(str(alert.get("severity")), "warning")
            why = f" {alert['why']}" if level != "good" and alert.get("why") else ""
            text = f"{alert['event']}: {alert.get('what')}{why}"
            yield Happening(moment, "alert", text, level, str(alert["subject"]))
