"""Drives one laptop cloud as its user does (the `skyloop` command) and waits for what should come of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from skyloop.documents import CatalogueItem, ImageStatus

from cli import alerts, snapshot
from cli.alerts import ArchivedAlert
from cli.cloud import Cloud, laptop_cloud
from laptop.account import read_keys
from tests.support.signed import SignedRequest

REPOSITORY = Path(__file__).resolve().parents[2]
PATIENCE = 900  # seconds, for what will never come: a slow machine must not reach it
Result = TypeVar("Result")


class Overdue(AssertionError):
    """What was waited for did not come; carries the state of the cloud."""


@dataclass
class Loop:
    """One cloud, by its home folder."""

    home: Path
    _cloud: Cloud | None = field(default=None, init=False, repr=False)

    def command(self, *arguments: object) -> Any:
        """Run `skyloop ARGUMENTS --json` and return its document. A non-zero exit fails with what it printed."""
        line = [sys.executable, "-m", "cli", *map(str, arguments), "--home", str(self.home), "--json"]
        done = subprocess.run(line, cwd=REPOSITORY, env=os.environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{' '.join(line[3:])}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return json.loads(done.stdout)

    def up(self, **parameters: object) -> Any:
        """`skyloop up` with template parameters. Training starts from random weights: there may be no network."""
        self._cloud = None  # it may listen elsewhere after a restart
        given = {"BaseWeights": "scratch", **parameters}
        return self.command("up", *(f"--parameter={name}={value}" for name, value in given.items()))

    @property
    def cloud(self) -> Cloud:
        """The running cloud, with its clients made once: making them costs more than the calls they wait with."""
        if self._cloud is None:
            self._cloud = laptop_cloud(self.home)
        return self._cloud

    def faults(self, **settings: object) -> Any:
        """Set faults, see laptop/faults.py. Returns those in force and, as `before`, what came of the former ones."""
        before = self._admin("GET")
        return {**self._admin("POST", json.dumps(settings).encode()), "before": before}

    def lost(self) -> list[str]:
        """Detail-types of the events dropped so far."""
        return [event["detail-type"] for event in self._admin("GET")["lost"]]

    def _admin(self, method: str, body: bytes = b"") -> Any:
        request = SignedRequest(str(self.cloud.endpoint_url), method, "/_skyloop/faults", body)
        answer = request.sign(read_keys(self.home)).send()
        assert answer.status == 200, answer.body
        return json.loads(answer.body)

    def wait(self, what: str, condition: Callable[[], Result]) -> Result:
        """The first true value of `condition()`. Raises Overdue with a picture of the cloud after PATIENCE."""
        deadline = time.monotonic() + PATIENCE
        while not (result := condition()):
            if time.monotonic() > deadline:
                state = json.dumps(snapshot.take(self.cloud, 20).as_document(), indent=1, default=str)
                raise Overdue(f"waited {PATIENCE} s for {what}\n{state}")
            time.sleep(0.5)
        return result

    def sweep(self) -> None:
        """What the schedule does every so often, now; returns when the sweep has ended well."""
        machine = self.cloud.outputs["SweepStateMachineArn"]
        client = self.cloud.client("stepfunctions")
        arn = client.start_execution(stateMachineArn=machine)["executionArn"]

        def ended() -> Any:
            found = client.describe_execution(executionArn=arn)
            return found if found["status"] != "RUNNING" else None

        found = self.wait("the sweep to end", ended)
        assert found["status"] == "SUCCEEDED", found.get("cause")

    def images(self, status: ImageStatus) -> list[CatalogueItem]:
        """Catalogue entries, head of the queue first."""
        return list(self.cloud.catalogue.by_status(status))

    def jobs(self, operation: str) -> list[dict[str, Any]]:
        """All summaries a SageMaker List operation gives: `list_training_jobs`, `list_labeling_jobs`, …"""
        answer = getattr(self.cloud.client("sagemaker"), operation)(MaxResults=100)
        return next(value for value in answer.values() if isinstance(value, list))

    def packages(self) -> list[Any]:
        """Summaries of the stack's model packages, newest first."""
        return self.cloud.client("sagemaker").list_model_packages(
            ModelPackageGroupName=self.cloud.outputs["ModelPackageGroupName"],
            SortOrder="Descending",
            MaxResults=100,
        )["ModelPackageSummaryList"]

    def executions(self, machine: str, status: Any = None) -> list[snapshot.Execution]:
        """Executions of a machine (Label, Retrain, Deploy, Rollback), newest first."""
        return snapshot.executions(self.cloud, machine, status, 100)

    def endpoint(self) -> snapshot.Endpoint:
        return snapshot.endpoint(self.cloud)

    def alerts(self, event: str | None = None) -> list[ArchivedAlert]:
        """Archived alerts, newest first."""
        return alerts.latest(self.cloud, 100, event)

    def in_service(self, version: int) -> Callable[[], bool]:
        """Whether the endpoint serves this version of the group."""

        def check() -> bool:
            found = self.endpoint()
            return found.status == "InService" and found.version == str(version)

        return check

    def detect(self, image: Path) -> Any:
        """The endpoint's answer for one image."""
        answer = self.cloud.client("sagemaker-runtime").invoke_endpoint(
            EndpointName=self.cloud.endpoint_name, ContentType="image/jpeg", Body=image.read_bytes()
        )
        return json.load(answer["Body"])


def overhead(loop: Loop, execution: str) -> tuple[float, float, float]:
    """Seconds of a finished retrain: wall clock, the jobs' own time (start to end of training and processing), rest."""
    sagemaker = loop.cloud.client("sagemaker")
    machine = loop.cloud.outputs["RetrainStateMachineArn"]
    arn = machine.replace(":stateMachine:", ":execution:") + f":{execution}"
    found = loop.cloud.client("stepfunctions").describe_execution(executionArn=arn)
    training = sagemaker.describe_training_job(TrainingJobName=execution)
    processing = sagemaker.describe_processing_job(ProcessingJobName=f"{execution}-eval")

    def seconds(start: datetime, end: datetime) -> float:
        return (end - start).total_seconds()

    wall = seconds(found["startDate"], found["stopDate"])
    jobs = seconds(training["TrainingStartTime"], training["TrainingEndTime"]) + seconds(
        processing["ProcessingStartTime"], processing["ProcessingEndTime"]
    )
    return wall, jobs, wall - jobs
