"""Every call that the loop makes fails once: does the loop end right all the same?

    python -m tests.faults.call_sites [--seed N] [--limit N] [--mode MODE …] [--site TEXT …] [--turn NAME …]
        [--out FOLDER]

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
import signal
import sys
import tarfile
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import track

import laptop.faults
from cli.snapshot import Execution
from laptop.sagemaker.core.images import repository
from tests.faults.turns import (
    ALL_MACHINES,
    DRIFT,
    FIRST,
    FIRST_FRAMES,
    FRAMES,
    ROLLBACK,
    TURNS,
    UPDATE,
    State,
    Turn,
    wrong_with,
)
from tests.loop.driver import REPOSITORY, Loop

PARAMETERS = {
    "Epochs": 2,
    "ImageSize": 64,
    "BatchSize": 4,
    "MinTrainImages": 4,
    "MinMap50": 0,
    "MinClassAp50": 0,
    "MaxMap50Drop": 1,
    "LabelingBatchSize": FIRST_FRAMES,
    "LabelingQuietSeconds": 1,
    "EndpointInstanceCount": 2,
    "EndpointMaxInstanceCount": 3,  # with autoscaling
    "BakeSeconds": 240,
    "PollSeconds": 1,
    "DriftWindow": 10,
    "SweepRate": "rate(1 minute)",
    "DriftRate": "rate(1 day)",
}
WITH_SERVICE = {"LabelingBatchSize": FRAMES}
# What drift requeues stays in the queue, also where a run that broke off is finished minutes later.
WATCHED = {"LabelingBatchSize": 1000, "LabelingMaxWaitHours": 24, "DriftRate": "rate(1 minute)"}
BAKE_SPEED = 1000  # alarms are none of what is looked at here
TURN_SECONDS = 600  # far beyond what any way to recover takes
VISIBILITY_SECONDS = 30  # of messages that a function which died had taken: the template's are up to half an hour
SWEEP_SECONDS = 20  # between two sweeps that the campaign asks for, as the schedule would
PREPARED = "prepared.json"
RENEW = 12  # turns, after which the cloud is as at first: what it holds makes every turn slower


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
    ended_badly: list[str]
    wrong: str


class Campaign:
    """The cloud, in a folder of its own, and the turns of its loop."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.loop = Loop(folder / "home")
        self.flights = 0
        self.sites: dict[str, int] = {}
        self._at: str | None = None  # the home whose turns may follow as things are; None: it needs one of those kept
        self._follows = 0

    def prepare(self) -> None:
        """Version 1 in service, trained by the product's own container, then version 2; homes on the way are kept."""
        self.loop.home.mkdir()
        (self.loop.home / "sagemaker.json").write_text(json.dumps({"bake_speed": BAKE_SPEED}))
        self._up(**PARAMETERS)
        self._keep(FIRST)
        self._pass(FIRST)
        self._stub_training()
        self._up(**WITH_SERVICE)
        self._keep(UPDATE)
        self._pass(UPDATE)
        self._keep(ROLLBACK)
        self._up(**WATCHED)
        self._keep(DRIFT)
        self._run_stub()

    def _run_stub(self) -> None:
        """Have the homes that were kept run the folder's own image."""
        images = json.loads((self.folder / ROLLBACK.home / "images.json").read_text())
        for turn in TURNS:
            content = json.dumps(dict.fromkeys(images, str(self.folder / "image")))
            (self.folder / turn.home / "images.json").write_text(content)

    def keep(self) -> None:
        """Record the sites, end the cloud, and leave all in the folder for other campaigns to begin from."""
        sites = {turn.name: names for turn, names in self.record().items()}
        self.loop.command("down")
        (self.folder / PREPARED).write_text(json.dumps({"flights": self.flights, "sites": sites}))

    def begin_from(self, prepared: Path) -> dict[Turn, list[str]]:
        """Begin from what another campaign has left in its folder. Returns the sites that it recorded."""
        for name in {"image", *(turn.home for turn in TURNS)}:
            shutil.copytree(prepared / name, self.folder / name, symlinks=True)
        self._run_stub()
        known = json.loads((prepared / PREPARED).read_text())
        self.flights = known["flights"]  # each has other pictures
        return {turn: known["sites"][turn.name] for turn in TURNS}

    def _pass(self, turn: Turn) -> None:
        if wrong := self._until(turn, self._start(turn)):
            raise AssertionError(f"{turn.name}, to begin with: {wrong}")

    def _up(self, **parameters: object) -> None:
        self.loop.up(**parameters)
        sqs = self.loop.cloud.client("sqs")
        for url in sqs.list_queues(QueueNamePrefix=self.loop.cloud.prefix)["QueueUrls"]:
            sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": str(VISIBILITY_SECONDS)})

    def _keep(self, turn: Turn) -> None:
        """Keep the home as what a turn begins from."""
        self.loop.command("down")
        shutil.copytree(self.loop.home, self.folder / turn.home, symlinks=True)
        self._up()

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
        (job,) = self.loop.jobs("list_training_jobs")
        described = sagemaker.describe_training_job(TrainingJobName=job["TrainingJobName"])
        uris = (container["Image"], described["AlgorithmSpecification"]["TrainingImage"])
        content = json.dumps({repository(uri): str(image) for uri in uris})
        (self.loop.home / "images.json").write_text(content)

    def turn(self, turn: Turn, fault: Fault | None = None) -> Outcome:
        """One way through the loop, in which the call of `fault` fails."""
        self._go_to(turn)
        self.loop.faults(fail={fault.site: fault.mode} if fault else {}, lose=turn.lose)
        began = time.monotonic()
        before = self._start(turn)
        stuck = self._until(turn, before)
        seconds = round(time.monotonic() - began, 1)
        came = self.loop.faults()["before"]
        wrong = [stuck] if stuck else wrong_with(self.loop, turn, before, undisturbed=fault is None)
        after = State.take(self.loop)
        alerts = sorted(alert["event"] for alert in self.loop.alerts() if alert["key"] not in before.alerts)
        self.sites = came["sites"]
        if wrong or not turn.again:
            self._at = None
        return Outcome(
            turn.name,
            fault.site if fault else "",
            fault.mode if fault else "",
            bool(came["failed"]),
            seconds,
            alerts,
            sorted(after.ended_badly - before.ended_badly),
            "; ".join(wrong),
        )

    def _go_to(self, turn: Turn) -> None:
        """Have the cloud as the turn begins from."""
        self._follows += 1
        if self._at == turn.home and self._follows < RENEW:
            return
        if self.loop.home.exists():
            self.loop.command("down")
            shutil.rmtree(self.loop.home)
        shutil.copytree(self.folder / turn.home, self.loop.home, symlinks=True)
        self._up()
        self._at, self._follows = turn.home, 0

    def _start(self, turn: Turn) -> State:
        before = State.take(self.loop)
        self.flights += 1
        turn.begin(self.loop, self.folder / f"flight-{self.flights}", self.flights)
        return before

    def _until(self, turn: Turn, before: State) -> str:
        """Wait until the turn has ended, with nothing left to do. Returns what there is instead where it never does."""
        began, swept = time.monotonic(), 0.0
        while time.monotonic() - began < TURN_SECONDS:
            if time.monotonic() - swept > SWEEP_SECONDS:
                swept = time.monotonic()
                machine = self.loop.cloud.outputs["SweepStateMachineArn"]
                self.loop.cloud.client("stepfunctions").start_execution(stateMachineArn=machine)
            if turn.ended(self.loop, before) and self._told(turn, before) and not self._running():
                return ""
            time.sleep(2.0)
        now, images = self.loop.endpoint(), Counter(entry.status for entry in State.take(self.loop).entries)
        steps = [f"{run.machine}: {run.name}" for run in self._running()]
        return f"stuck: {dict(images)}, {now.status} version {now.version}, running {steps}"

    def _told(self, turn: Turn, before: State) -> bool:
        return any(alert["key"] not in before.alerts for alert in self.loop.alerts(turn.told))

    def _running(self) -> list[Execution]:
        return [run for machine in ALL_MACHINES for run in self.loop.executions(machine, "RUNNING")]

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
    columns = ("turn", "site", "fault", "what became of it", "seconds", "alerts", "executions that failed")
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for result in sorted(results, key=lambda one: (not one.wrong, one.turn, one.site, one.mode)):
        became = result.wrong or ("ended right" if result.happened else "did not happen in this turn")
        alerts, failed = ", ".join(result.alerts), ", ".join(result.ended_badly)
        cells = (result.turn, result.site, result.mode, became, str(result.seconds), alerts, failed)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run the campaign; the process ends with 1 where a turn went wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=int, default=None, help="of faults")
    parser.add_argument("--mode", action="append", choices=laptop.faults.MODES, help="may be repeated")
    parser.add_argument("--site", action="append", default=[], help="only sites with this text; may be repeated")
    names = [turn.name for turn in TURNS]
    parser.add_argument("--turn", action="append", choices=names, help="may be repeated")
    parser.add_argument("--out", type=Path, default=Path(".cache") / "call-sites", help="its former content goes")
    arguments = parser.parse_args()
    shutil.rmtree(arguments.out, ignore_errors=True)
    arguments.out.mkdir(parents=True)
    campaign, console, results = Campaign(arguments.out.resolve()), Console(), []
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that no cloud stays behind
    try:
        campaign.prepare()
        sites = campaign.record()
        (arguments.out / "sites.json").write_text(
            json.dumps({turn.name: names for turn, names in sites.items()}, indent=1)
        )
        wanted = {
            turn: [site for site in names if not arguments.site or any(text in site for text in arguments.site)]
            for turn, names in sites.items()
            if not arguments.turn or turn.name in arguments.turn
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
    missed = [one for one in results if not one.happened]
    console.print(
        f"{len(results) - len(wrong)} of {len(results)} ended right ({len(missed)} of them did not come to the call "
        f"again); {arguments.out}/call-sites.md"
    )
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()
