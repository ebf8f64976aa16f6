"""The ways through the loop that a fault campaign takes: how each begins, when it has ended right, what it leaves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from skyloop import layout
from skyloop.documents import CatalogueItem

from cli.snapshot import IMAGE_STATUSES, MACHINES
from tests.loop.driver import Loop
from tests.support.flights import write_flight

FRAMES = 6
FIRST_FRAMES = 60  # so many that the validation split can say what is usual
DARK_FRAMES = 12
ALL_MACHINES = (*MACHINES, "Sweep")
ENDED_BADLY = ("FAILED", "TIMED_OUT", "ABORTED")
FOUND_BY_THE_SWEEP = "sweep-found"
"""May be told several times in one turn: each time of other work."""


@dataclass(frozen=True)
class State:
    """What can be counted at one moment: it says what a turn has added."""

    counts: dict[str, int]
    entries: list[CatalogueItem]
    alerts: set[str]
    """By their keys in the archive."""
    ended_badly: set[str]
    """Executions, as `<machine>: <name>`."""

    @classmethod
    def take(cls, loop: Loop) -> State:
        """Ask the cloud."""
        packages = loop.packages()
        return cls(
            {
                "packages": len(packages),
                "rejected packages": sum(package["ModelApprovalStatus"] == "Rejected" for package in packages),
                "labeling jobs": len(loop.jobs("list_labeling_jobs")),
                "training jobs": len(loop.jobs("list_training_jobs")),
                "evaluations": len(loop.jobs("list_processing_jobs")),
            },
            [entry for status in IMAGE_STATUSES for entry in loop.images(status)],
            {alert["key"] for alert in loop.alerts()},
            {
                f"{run.machine}: {run.name}"
                for machine in ALL_MACHINES
                for status in ENDED_BADLY
                for run in loop.executions(machine, status)
            },
        )

    def images(self, status: str) -> int:
        """How many there are."""
        return sum(entry.status == status for entry in self.entries)


Begin = Callable[[Loop, Path, int], None]
"""Sets a turn going: the loop, a folder for its images, and a number that no other turn has."""
Ended = Callable[[Loop, State], bool]
"""Whether a turn that began at a state has come to its end."""


@dataclass(frozen=True)
class Turn:
    """A way through the loop.

    `home` is the state that it begins from, `told` the alert that it ends with. `models`, `images` and `rejected` are
    how many models, catalogue entries and rejected packages it adds; None where that is not known. `again`: another
    turn from the same home may begin where this one ended.
    """

    name: str
    home: str
    begin: Begin
    ended: Ended
    told: str
    models: int = 1
    images: int | None = FRAMES
    rejected: int = 0
    again: bool = True
    lose: tuple[str, ...] = ()
    """Events that are lost on the way, by their detail-types."""

    def grown(self, before: State) -> dict[str, int]:
        """What there should be after it, of what is counted."""
        expected = {name: count + self.models for name, count in before.counts.items()}
        return expected | {"rejected packages": before.counts["rejected packages"] + self.rejected}


def _drop(frames: int) -> Begin:
    def begin(loop: Loop, folder: Path, number: int) -> None:
        flight = write_flight(folder, frames, seed=number)
        loop.command("drop", flight.folder, "--labels", flight.annotations)

    return begin


def _next_version_serves(loop: Loop, before: State) -> bool:
    return loop.in_service(before.counts["packages"] + 1)() and not any(
        loop.images(status) for status in IMAGE_STATUSES if status in ("PENDING", "LABELING")
    )


def _roll_back(loop: Loop, folder: Path, number: int) -> None:
    loop.command("rollback", "--no-wait")


def _drop_no_image(loop: Loop, folder: Path, number: int) -> None:
    key = f"{layout.RAW_IMAGES}broken-{number}/notes-{number}.jpg"
    loop.cloud.client("s3").put_object(Bucket=loop.cloud.bucket, Key=key, Body=f"no image, {number}".encode())


def _quarantined(loop: Loop, before: State) -> bool:
    quarantined = loop.images("QUARANTINED")
    return len(quarantined) == before.images("QUARANTINED") + 1 and all(entry.alerted_at for entry in quarantined)


def _ask_in_the_dark(loop: Loop, folder: Path, number: int) -> None:
    for image in write_flight(folder, DARK_FRAMES, seed=number, brightness=0.3).images:
        loop.detect(image)


def _requeued(loop: Loop, before: State) -> bool:
    return any(entry.key.startswith(layout.DRIFT_FLIGHTS) for entry in loop.images("PENDING"))


_LOST = (
    "Object Created",
    "Images Catalogued",
    "SageMaker Ground Truth Labeling Job State Change",
    "SageMaker Model Package State Change",
)
UPDATE = Turn("update", "one version", _drop(FRAMES), _next_version_serves, "deployed")
FIRST = Turn(
    "first deployment", "empty", _drop(FIRST_FRAMES), _next_version_serves, "deployed", images=FIRST_FRAMES, again=False
)
ROLLBACK = Turn(
    "rollback",
    "two versions",
    _roll_back,
    lambda loop, _: loop.in_service(1)(),
    "rolled-back",
    models=0,
    images=0,
    rejected=1,
    again=False,
)
LOST_EVENTS = Turn("lost events", "one version", _drop(FRAMES), _next_version_serves, "deployed", lose=_LOST)
QUARANTINE = Turn("no image", "one version", _drop_no_image, _quarantined, "images-quarantined", models=0, images=1)
DRIFT = Turn("drift", "watched", _ask_in_the_dark, _requeued, "drift", models=0, images=None, again=False)
TURNS = (UPDATE, FIRST, ROLLBACK, LOST_EVENTS, QUARANTINE, DRIFT)


def wrong_with(loop: Loop, turn: Turn, before: State, *, undisturbed: bool) -> list[str]:
    """What is not as it should be after a turn that has ended; `undisturbed`: no call failed in it."""
    after = State.take(loop)
    wrong = [
        f"{after.counts[name]} {name} instead of {expected}"
        for name, expected in turn.grown(before).items()
        if after.counts[name] != expected
    ]
    grown = len(after.entries) - len(before.entries)
    if turn.images is not None and grown != turn.images:
        wrong.append(f"{grown} new catalogue entries instead of {turn.images}")
    keys = Counter(key for entry in after.entries for key in (entry.key, *entry.duplicate_keys))
    wrong += [f"{count} entries with the key {key}" for key, count in keys.items() if count > 1]
    wrong += _wrong_alerts(loop, turn, before, undisturbed=undisturbed)
    if undisturbed:
        wrong += [f"execution {name} ended badly" for name in sorted(after.ended_badly - before.ended_badly)]
    # The sweep that ends a turn may have started one more labeling, which finds nothing to do.
    if loop.cloud.state_table.get(layout.LABELING_LOCK) and not loop.executions("Label", "RUNNING"):
        wrong.append("the labeling lock is held")
    wrong += [f"{count} dead letters in {name}" for name, count in dead_letters(loop).items() if count]
    return wrong


def _wrong_alerts(loop: Loop, turn: Turn, before: State, *, undisturbed: bool) -> list[str]:
    new = [alert for alert in loop.alerts() if alert["key"] not in before.alerts]
    events = Counter(alert["event"] for alert in new if alert["event"] != FOUND_BY_THE_SWEEP)
    wrong = [f"{count} alerts {event}" for event, count in events.items() if count > 1]
    errors = [alert["event"] for alert in new if alert.get("severity") == "error"]
    if undisturbed:
        wrong += [f"an alert {event}" for event in events if event != turn.told]
    elif len(set(errors)) > 1:  # one fault is one cause
        wrong.append(f"one fault, alerts {', '.join(sorted(errors))}")
    return wrong


def dead_letters(loop: Loop) -> dict[str, int]:
    """Messages in each queue that takes what could not be delivered."""
    sqs = loop.cloud.client("sqs")
    urls = sqs.list_queues(QueueNamePrefix=loop.cloud.prefix).get("QueueUrls", [])
    return {
        url.rpartition("/")[2]: int(
            sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])["Attributes"][
                "ApproximateNumberOfMessages"
            ]
        )
        for url in urls
        if url.endswith("-dead")
    }
