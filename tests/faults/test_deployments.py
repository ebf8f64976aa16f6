"""Versions of every kind are deployed while pictures come in, good ones and malformed ones: who notices?

The load is 60 % of what the endpoint was measured to answer. No valid request fails but those that are in flight on a
process which dies, and on a version that fails as many as it takes to ring the alarm and those that come until its
metric is published; the right version serves at the end; each cause brings one alert. Every version is made of one that
was really trained, with another card; see training_container/tests/stub_container.py.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import os
import signal
import tarfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from laptop.sagemaker.core.images import repository
from tests.faults.load import Load, capacity
from tests.fuzz.mutations import mutated
from tests.fuzz.targets import pictures
from tests.loop.driver import REPOSITORY, Loop
from tests.support.flights import write_flight
from tests.support.processes import containers

pytestmark = [pytest.mark.faults, pytest.mark.timeout(3600)]

FLIGHTS, FRAMES = 5, 12
PARAMETERS = {
    "Epochs": 40,  # it must be confident of some boxes, or nobody can tell that a version is blind
    "ImageSize": 128,
    "BatchSize": 4,
    "MinMap50": 0.05,
    "LabelingBatchSize": FLIGHTS * FRAMES,
    "LabelingQuietSeconds": 1,
    "BakeSeconds": 600,
    "SweepRate": "rate(1 hour)",
    "DriftRate": "rate(1 day)",
}
ALARM_THRESHOLD = 3  # answers of 5xx in a minute; template.yaml
UNTIL_ALARM_SECONDS = 2.0  # from an answer to the alarm and to the end of the canary's traffic
HANGS_SECONDS = 6.0  # after which the container says that its model does not come to an end; admission.py
HELD_BY_A_FLEET = 2 * 2 * (1 + 8)  # requests: instances, their threads, and those that wait for each
SHARE = 0.6  # of what was measured


class Field:
    """The cloud with its champion, and pictures to ask it about."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.loop = Loop(folder / "home")
        self.loop.up(**PARAMETERS)
        flights = [write_flight(folder / f"flight-{number}", FRAMES, seed=number) for number in range(FLIGHTS)]
        for flight in flights:
            self.loop.command("drop", flight.folder, "--labels", flight.annotations)
        self.loop.wait("version 1 in service", self.loop.in_service(1))
        self.valid = [path.read_bytes() for flight in flights for path in flight.images]
        self.malformed = [mutated(1, number, pictures()) for number in range(200)]
        self._package = self._describe(self.loop.packages()[0]["ModelPackageArn"])
        self._stub()
        self.deploy("", "deployed")  # the champion runs in the stub as well
        self.rate = SHARE * capacity(self.loop, self.valid)
        self._numbers = itertools.count()

    def _describe(self, arn: str) -> Any:
        return self.loop.cloud.client("sagemaker").describe_model_package(ModelPackageName=arn)

    def _stub(self) -> None:
        path = ":".join(str(REPOSITORY / part) for part in ("training_container", "layers/skyloop/python"))
        image = self.folder / "image"
        image.mkdir()
        (image / "stub_container.py").write_bytes(
            (REPOSITORY / "training_container/tests/stub_container.py").read_bytes()
        )
        (image / "Dockerfile").write_text(
            f'FROM scratch\nWORKDIR /opt/program\nENV PYTHONPATH={path}\nENTRYPOINT ["python3", "stub_container.py"]\n'
        )
        container = self._package["InferenceSpecification"]["Containers"][0]
        (self.loop.home / "images.json").write_text(json.dumps({repository(container["Image"]): str(image)}))

    @property
    def champion(self) -> int:
        """The version in service."""
        return int(self.loop.endpoint().version)

    def register(self, behavior: str, approval: str = "Approved", **card: object) -> int:
        """A package like the first, but for its card, as if that had been evaluated. Approving it deploys it.

        Returns its version.
        """
        container = self._package["InferenceSpecification"]["Containers"][0]
        bucket, _, key = container["ModelDataUrl"].removeprefix("s3://").partition("/")
        s3, made = self.loop.cloud.client("s3"), f"model-artifacts/made-{time.time_ns()}/output/model.tar.gz"
        original = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        body = with_card(original, {"behavior": behavior, **card})
        s3.put_object(Bucket=bucket, Key=made, Body=body)
        metadata = self._package["CustomerMetadataProperties"]
        sagemaker: Any = self.loop.cloud.client("sagemaker")
        arn = sagemaker.create_model_package(
            ModelPackageGroupName=self._package["ModelPackageGroupName"],
            InferenceSpecification={
                **self._package["InferenceSpecification"],
                "Containers": [{"Image": container["Image"], "ModelDataUrl": f"s3://{bucket}/{made}"}],
            },
            CustomerMetadataProperties={**metadata, "model_sha256": hashlib.sha256(body).hexdigest()},
            ModelApprovalStatus=approval,
        )["ModelPackageArn"]
        return int(arn.rpartition("/")[2])

    def approve(self, version: int) -> None:
        arn = self._package["ModelPackageArn"].rpartition("/")[0]
        self.loop.cloud.client("sagemaker").update_model_package(
            ModelPackageArn=f"{arn}/{version}", ModelApprovalStatus="Approved"
        )

    def deploy(self, behavior: str, alert: str, **card: Any) -> int:
        """Register a version and wait for what is said of it. Returns its number."""
        known = self.keys()
        version = self.register(behavior, **card)
        self.until(alert, known)
        return version

    def keys(self) -> set[str]:
        """Of all alerts so far."""
        return {alert["key"] for alert in self.loop.alerts()}

    def until(self, alert: str, known: set[str]) -> None:
        """Wait for an alert that is not known, and for the end of all that runs."""
        self.loop.wait(alert, lambda: any(one["key"] not in known for one in self.loop.alerts(alert)))
        self.rest()

    def rest(self) -> None:
        """Wait for the end of all that changes the endpoint."""
        machines = ("Deploy", "Rollback")
        self.loop.wait("rest", lambda: not any(self.loop.executions(name, "RUNNING") for name in machines))

    def alerts(self, known: set[str]) -> Counter[str]:
        """The events that were told and are not known."""
        return Counter(alert["event"] for alert in self.loop.alerts() if alert["key"] not in known)

    def load(self) -> Load:
        return Load(self.loop, self.valid, self.malformed, self.rate)

    def instances(self) -> list[psutil.Process]:
        """The processes that serve."""
        return containers(self.loop.home / "endpoints")


def with_card(archive: bytes, changes: dict[str, object]) -> bytes:
    """A model.tar.gz whose card has these members too."""
    made = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(archive)) as old, tarfile.open(fileobj=made, mode="w:gz") as new:
        for member in old:
            extracted = old.extractfile(member)
            body = extracted.read() if extracted else b""
            if Path(member.name).name == "model.json":
                body = json.dumps({**json.loads(body), **changes}).encode()
                member.size = len(body)
            new.addfile(member, io.BytesIO(body))
    return made.getvalue()


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Field]:
    field = Field(tmp_path_factory.mktemp("field"))
    yield field
    field.loop.command("down")


@pytest.fixture
def under_load(field: Field) -> Callable[[Callable[[], None]], int]:
    """Runs something while pictures come in, and a while before and after; returns how many requests failed.

    What is malformed may be a picture still, and then is answered or fails like any other.
    """

    def run(action: Callable[[], None]) -> int:
        with field.load() as load:
            field.loop.wait("answers", lambda: len(load.answers) > 20)
            action()
            seen = len(load.answers)
            field.loop.wait("more answers", lambda: len(load.answers) > seen + 50)
        valid, malformed = load.since(0)
        print(f"{field.rate:.1f} a second; valid {dict(valid)}, malformed {dict(malformed)}")
        answered = sum(malformed[status] for status in ("200", "400", "413"))
        return valid.total() - valid["200"] + malformed.total() - answered

    return run


def test_a_good_version_goes_out_without_a_failed_request(field: Field, under_load: Any) -> None:
    known = field.keys()
    assert under_load(lambda: field.deploy("", "deployed")) == 0
    assert field.champion == len(field.loop.packages())
    assert field.alerts(known) == {"deployed": 1}


@pytest.mark.parametrize(
    ("behavior", "card", "seconds"),  # until it has failed as often as it takes; 0 where it fails no request
    [
        ("crashes", {}, 0.0),
        ("blind", {"confidence_default": 1.0}, 0.0),
        ("wrong classes", {"categories": ["sheep"]}, 0.0),
        ("slow", {}, UNTIL_ALARM_SECONDS),  # it refuses what it cannot answer soon
        ("hangs", {}, HANGS_SECONDS + UNTIL_ALARM_SECONDS),
        ("fails", {}, UNTIL_ALARM_SECONDS),
    ],
)
def test_a_bad_version_does_not_stay(
    field: Field, under_load: Any, behavior: str, card: dict[str, Any], seconds: float
) -> None:
    known, champion = field.keys(), field.champion
    failed = under_load(lambda: field.deploy(behavior, "deployment-failed", **card))
    assert failed <= (ALARM_THRESHOLD + field.rate / 2 * seconds + HELD_BY_A_FLEET if seconds else 0)
    assert field.champion == champion
    assert field.alerts(known) == {"deployment-failed": 1}
    newest = field._describe(field.loop.packages()[0]["ModelPackageArn"])
    assert newest["ModelApprovalStatus"] == "Rejected"


def test_a_version_that_dies_at_work_does_not_stay(field: Field, under_load: Any) -> None:
    """Broken connections are no 5xx to SageMaker. A smoke test passes where it is alone, or cannot be made."""
    known, champion = field.keys(), field.champion

    def told() -> set[str]:
        return set(field.alerts(known)) & {"deployment-failed", "rolled-back"}

    def die() -> None:
        field.register("dies of a crowd")
        field.loop.wait("its end", told)
        field.rest()

    under_load(die)
    assert field.champion == champion
    assert field.alerts(known) in ({"deployment-failed": 1}, {"deployed": 1, "rolled-back": 1})


def test_an_artifact_that_was_overwritten_never_serves(field: Field, under_load: Any) -> None:
    known, champion = field.keys(), field.champion

    def tamper() -> None:
        version = field.register("", approval="PendingManualApproval")
        package = field._describe(field.loop.packages()[0]["ModelPackageArn"])
        bucket, _, key = package["InferenceSpecification"]["Containers"][0]["ModelDataUrl"][5:].partition("/")
        field.loop.cloud.client("s3").put_object(Bucket=bucket, Key=key, Body=b"not what was evaluated")
        field.loop.command("approve", version)
        field.until("deployment-failed", known)

    assert under_load(tamper) == 0
    assert field.champion == champion
    assert field.alerts(known) == {"deployment-failed": 1}
    (alert,) = (one for one in field.loop.alerts("deployment-failed") if one["key"] not in known)
    assert "is not the one that was evaluated" in alert["what"]
    newest = field._describe(field.loop.packages()[0]["ModelPackageArn"])
    assert newest["ModelApprovalStatus"] == "Rejected"


def test_a_hung_instance_is_taken_out(field: Field, under_load: Any) -> None:
    known, champion = field.keys(), field.champion

    def hang() -> None:
        before = field.instances()
        os.kill(before[0].pid, signal.SIGSTOP)
        field.loop.wait(
            "another instance", lambda: not psutil.pid_exists(before[0].pid) and len(field.instances()) == len(before)
        )

    assert under_load(hang) <= HELD_BY_A_FLEET / 2 + field.rate * 2  # those that it had taken before it was missed
    assert field.champion == champion
    assert field.alerts(known) == {}


def test_a_hotfix_during_an_incident_goes_out(field: Field, under_load: Any) -> None:
    """It is approved at the first answer that fails: the alarm rings, and rolls back, while it goes out."""
    known, probe = field.keys(), field.load()
    trouble = field.folder / "trouble"

    def fails() -> bool:
        probe.ask(field.valid[0], True)
        return probe.answers[-1].status.startswith("5")

    def hotfix() -> None:
        field.deploy(f"fails {trouble}", "deployed")
        fix = field.register("", approval="PendingManualApproval")
        trouble.touch()
        field.loop.wait("the incident", fails)
        field.approve(fix)
        field.loop.wait("the fix in service", field.loop.in_service(fix))
        field.rest()

    under_load(hotfix)
    trouble.unlink()
    assert field.champion == len(field.loop.packages())
    told = field.alerts(known)
    assert told["deployed"] == 2
    assert told["rolled-back"] + told["endpoint-alarm"] <= 1
    assert not set(told) - {"deployed", "rolled-back", "endpoint-alarm"}
