"""Every call that the loop makes fails once: does the loop end right all the same?

    python -m tests.faults.call_sites [--seed N] [--limit N] [--mode MODE …] [--site TEXT …] [--out FOLDER]

A cloud is made once, with a model in service that was really trained; from then on a training gives out that model
again (training_container/tests/stub_container.py), so that one turn of the loop takes seconds. A turn drops a flight
and waits until the next version serves, or rolls back and waits until the version before does. The first turns record
the sites of all calls; each of the others fails one call at one site, in one mode. What came of each is a line of
`call-sites.md`.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import shutil
import tarfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import track

import laptop.faults
from laptop.sagemaker.core.images import repository
from tests.loop.driver import REPOSITORY, Loop
from tests.support.flights import write_flight

FRAMES = 6
PARAMETERS = {
    "Epochs": 2,
    "ImageSize": 64,
    "BatchSize": 4,
    "MinTrainImages": 4,
    "MinMap50": 0,
    "MinClassAp50": 0,
    "MaxMap50Drop": 1,
    "LabelingBatchSize": FRAMES,
    "LabelingQuietSeconds": 1,
    "EndpointInstanceCount": 2,
    "EndpointMaxInstanceCount": 3,  # with autoscaling
    "BakeSeconds": 2,
    "PollSeconds": 1,
    "DriftWindow": 10,
    "SweepRate": "rate(1 minute)",
    "DriftRate": "rate(1 day)",
}
MACHINES = ("Label", "Retrain", "Deploy", "Rollback")
TURN_SECONDS = 900  # far beyond what any way to recover takes: the longest waits for a queue's visibility timeout
SWEEP_SECONDS = 10  # between two sweeps that the campaign asks for, as the schedule would
RENEW = 25  # turns, after which the cloud is as at first: what it holds makes every turn slower


@dataclass(frozen=True)
class Turn:
    """A way through the loop: the home that it begins from, and what it adds to each number that is counted."""

    name: str
    home: str
    grows: int
    alert: str
    again: bool
    """Whether the next turn of this kind may begin where this one ended."""


UPDATE = Turn("update", "one version", 1, "deployed", again=True)
FIRST = Turn("first deployment", "empty", 1, "deployed", again=False)
ROLLBACK = Turn("rollback", "two versions", 0, "rolled-back", again=False)
TURNS = (UPDATE, FIRST, ROLLBACK)


@dataclass(frozen=True)
class Fault:
    """One call that fails: in which turn, where, and how (see laptop/faults.py)."""

    turn: Turn
    site: str
    mode: str


@dataclass(frozen=True)
class Outcome:
    """What came of one turn; `wrong` is empty where the loop ended right. `seconds` from its begin to its end."""

    turn: str
    site: str
    mode: str
    happened: bool
    seconds: float
    alerts: list[str]
    wrong: str


class Campaign:
    """The cloud, in a folder of its own, and the turns of its loop."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.loop = Loop(folder / "home")
        self.flights = 0
        self.sites: dict[str, int] = {}
        self._at: Turn | None = None  # the turn that may follow as things are; None: it needs a home of those kept
        self._follows = 0

    def prepare(self) -> None:
        """Version 1 in service, trained by the product's own container, then version 2; homes on the way are kept."""
        self.loop.up(**PARAMETERS)
        self._keep(FIRST.home)
        self._until(FIRST, self._start(FIRST))
        self._stub_training()
        self._keep(UPDATE.home)
        self._until(UPDATE, self._start(UPDATE))
        self._keep(ROLLBACK.home)
        for turn in TURNS:
            shutil.copy(self.loop.home / "images.json", self.folder / turn.home)

    def _keep(self, name: str) -> None:
        self.loop.command("down")
        shutil.copytree(self.loop.home, self.folder / name, symlinks=True)
        self.loop.up()

    def _stub_training(self) -> None:
        sagemaker, image = self.loop.cloud.client("sagemaker"), self.folder / "image"
        package = sagemaker.describe_model_package(ModelPackageName=self.loop.packages()[0]["ModelPackageArn"])
        container = package["InferenceSpecification"]["Containers"][0]
        bucket, _, key = container["ModelDataUrl"].removeprefix("s3://").partition("/")
        body = self.loop.cloud.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
        with tarfile.open(fileobj=io.BytesIO(body)) as archive:
            archive.extractall(image / "model", filter="data")
        shutil.copy(REPOSITORY / "training_container/tests/stub_container.py", image)
        path = ":".join(str(REPOSITORY / part) for part in ("training_container", "layers/skyloop/python"))
        lines = [
            "FROM scratch",
            "WORKDIR /opt/program",
            f"ENV PYTHONPATH={path}",
            "ENV SKYLOOP_STUB_MODEL=/opt/program/model",
            'ENTRYPOINT ["python3", "stub_container.py"]',
        ]
        (image / "Dockerfile").write_text("\n".join(lines))
        (self.loop.home / "images.json").write_text(json.dumps({repository(container["Image"]): str(image)}))

    def turn(self, turn: Turn, fault: Fault | None = None) -> Outcome:
        """One way through the loop, in which the call of `fault` fails."""
        self._go_to(turn)
        self.loop.faults(fail={fault.site: fault.mode} if fault else {})
        began = time.monotonic()
        before = self._start(turn)
        wrong = self._until(turn, before)
        seconds = round(time.monotonic() - began, 1)
        answer = self.loop.faults()
        alerts = sorted(alert["event"] for alert in self.loop.alerts() if alert["key"] not in before.alerts)
        wrong = wrong or self._twice(turn, before, alerts)
        self.sites = answer["before"]["sites"]
        if wrong or not turn.again:
            self._at = None
        site, mode = (fault.site, fault.mode) if fault else ("", "")
        return Outcome(turn.name, site, mode, bool(answer["before"]["failed"]), seconds, alerts, wrong)

    def _go_to(self, turn: Turn) -> None:
        self._follows += 1
        if self._at == turn and self._follows < RENEW:
            return
        self.loop.command("down")
        shutil.rmtree(self.loop.home)
        shutil.copytree(self.folder / turn.home, self.loop.home, symlinks=True)
        self.loop.up()
        self._at, self._follows = turn, 0

    def _start(self, turn: Turn) -> Before:
        before = Before(self._counts(), len(self.loop.images("LABELED")), {one["key"] for one in self.loop.alerts()})
        if turn.grows:
            self.flights += 1
            flight = write_flight(self.folder / f"flight-{self.flights}", FRAMES, seed=self.flights)
            self.loop.command("drop", flight.folder, "--labels", flight.annotations)
        else:
            self.loop.command("rollback", "--no-wait")
        return before

    def _counts(self) -> dict[str, int]:
        return {
            "packages": len(self.loop.packages()),
            "labeling jobs": len(self.loop.jobs("list_labeling_jobs")),
            "training jobs": len(self.loop.jobs("list_training_jobs")),
            "evaluations": len(self.loop.jobs("list_processing_jobs")),
        }

    def _until(self, turn: Turn, before: Before) -> str:
        """Wait until the turn has ended, with nothing left to do. Returns what there is instead where it never does."""
        began = swept = time.monotonic()
        version = before.counts["packages"] + 1 if turn.grows else 1
        labeled = before.labeled + FRAMES * turn.grows
        while time.monotonic() - began < TURN_SECONDS:
            time.sleep(0.5)
            told = any(alert["key"] not in before.alerts for alert in self.loop.alerts(turn.alert))
            right = self.loop.in_service(version)() and len(self.loop.images("LABELED")) == labeled
            if told and right and not any(self.loop.executions(name, "RUNNING") for name in MACHINES):
                return ""
            if time.monotonic() - swept > SWEEP_SECONDS:
                swept = time.monotonic()
                machine = self.loop.cloud.outputs["SweepStateMachineArn"]
                self.loop.cloud.client("stepfunctions").start_execution(stateMachineArn=machine)
        statuses = {status: len(self.loop.images(status)) for status in ("PENDING", "LABELING", "LABELED")}
        now = self.loop.endpoint()
        running = [f"{run.machine}: {run.step}" for name in MACHINES for run in self.loop.executions(name, "RUNNING")]
        return f"stuck: {statuses}, {now.status} version {now.version}, running {running}, {self._counts()}"

    def _twice(self, turn: Turn, before: Before, alerts: list[str]) -> str:
        after = self._counts()
        grown = {name: after[name] - count for name, count in before.counts.items()}
        wrong = [f"{count} {name}" for name, count in grown.items() if count != turn.grows]
        wrong += [f"{alerts.count(event)} alerts {event}" for event in sorted(set(alerts)) if alerts.count(event) > 1]
        return f"twice: {', '.join(wrong)}" if wrong else ""

    def record(self) -> dict[Turn, list[str]]:
        """The sites of all calls that the turns make, each with the first turn that comes there."""
        found: dict[str, Turn] = {}
        for turn in TURNS:
            for _ in range(2 if turn.again else 1):
                outcome = self.turn(turn)
                assert not outcome.wrong, f"{turn.name}, without any fault: {outcome.wrong}"
                for site in self.sites:
                    found.setdefault(site, turn)
        return {turn: sorted(site for site, first in found.items() if first == turn) for turn in TURNS}


@dataclass(frozen=True)
class Before:
    """What there was before a turn: counted things, labeled images, and the keys of the alerts."""

    counts: dict[str, int]
    labeled: int
    alerts: set[str]


def faults(sites: dict[Turn, list[str]], modes: tuple[str, ...], seed: int) -> list[Fault]:
    """Every site in every mode, turn by turn, in an order of the seed. A state machine has no process to kill."""
    chosen = []
    for turn, names in sites.items():
        of_turn = [Fault(turn, site, mode) for site in names for mode in modes]
        of_turn = [fault for fault in of_turn if fault.mode != "killed" or "." not in fault.site.partition(" ")[0]]
        random.Random(seed).shuffle(of_turn)
        chosen += of_turn
    return chosen


def table(results: list[Outcome]) -> str:
    """Markdown, a line each, what went wrong first."""
    lines = ["| turn | site | fault | what became of it | seconds | alerts |", "|---|---|---|---|---|---|"]
    for result in sorted(results, key=lambda one: (not one.wrong, one.turn, one.site, one.mode)):
        became = result.wrong or ("ended right" if result.happened else "did not happen in this turn")
        cells = (result.turn, result.site, result.mode, became, str(result.seconds), ", ".join(result.alerts))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run the campaign; the process ends with 1 where a turn went wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=int, default=None, help="of faults")
    parser.add_argument("--mode", action="append", choices=laptop.faults.MODES, help="may be repeated")
    parser.add_argument("--site", action="append", default=[], help="only sites with this text; may be repeated")
    parser.add_argument("--out", type=Path, default=Path(".cache") / "call-sites", help="its former content goes")
    arguments = parser.parse_args()
    shutil.rmtree(arguments.out, ignore_errors=True)
    arguments.out.mkdir(parents=True)
    campaign, console, results = Campaign(arguments.out.resolve()), Console(), []
    campaign.prepare()
    try:
        sites = campaign.record()
        wanted = {
            turn: [site for site in names if not arguments.site or any(text in site for text in arguments.site)]
            for turn, names in sites.items()
        }
        chosen = faults(wanted, tuple(arguments.mode or laptop.faults.MODES), arguments.seed)[: arguments.limit]
        console.print(f"{sum(map(len, sites.values()))} sites, {len(chosen)} faults, seed {arguments.seed}")
        for fault in track(chosen, "faults", console=console):
            outcome = campaign.turn(fault.turn, fault)
            results.append(outcome)
            if outcome.wrong:
                console.print(f"{outcome.site} {outcome.mode}: {outcome.wrong}", markup=False)
            (arguments.out / "call-sites.md").write_text(table(results))
            (arguments.out / "call-sites.json").write_text(json.dumps([asdict(one) for one in results], indent=1))
    finally:
        campaign.loop.command("down")
    wrong = [one for one in results if one.wrong]
    console.print(f"{len(results) - len(wrong)} of {len(results)} ended right; {arguments.out}/call-sites.md")
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()
