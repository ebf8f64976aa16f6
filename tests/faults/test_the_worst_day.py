"""The cloud, or one of its processes, is killed in the middle of the loop: nothing is lost, and it ends by itself.

Each moment has a cloud of its own and one turn of the loop with a real, tiny training. `make test-faults` goes through
all of them; one is among the tests that always run.
"""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from botocore.exceptions import ClientError

from tests.loop.driver import Loop
from tests.support.flights import write_flight
from tests.support.processes import containers

FLIGHTS, FRAMES = 3, 8
IMAGES = FLIGHTS * FRAMES
FULL_SECONDS = 8.0  # for which the disk is full: longer than one attempt at anything
PARAMETERS = {
    "Epochs": 4,
    "ImageSize": 64,
    "BatchSize": 4,
    "MinTrainImages": 4,
    "MinMap50": 0,
    "MaxMap50Drop": 1,
    "MinClassAp50": 0,
    "MinClassBoxes": 100000,
    "LabelingBatchSize": IMAGES,
    "LabelingQuietSeconds": 1,
    "SweepRate": "rate(1 minute)",
    "DriftRate": "rate(1 day)",
}
ERRORS = {"labeling-failed", "training-failed", "evaluation-failed", "pipeline-failed", "deployment-failed"}


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[Loop]:
    """A cloud whose pictures are dropped."""
    loop = Loop(tmp_path / "home")
    loop.up(**PARAMETERS)
    for number in range(FLIGHTS):
        flight = write_flight(tmp_path / f"line-{number}", FRAMES, seed=number)
        loop.command("drop", flight.folder, "--labels", flight.annotations)
    yield loop
    loop.command("down")


# Each lasts from then on: a machine may be so fast that nobody sees what is in progress.
MOMENTS: dict[str, Callable[[Loop], bool]] = {
    "dropped": lambda loop: True,
    "catalogued": lambda loop: any(loop.images(status) for status in ("PENDING", "LABELING", "LABELED")),
    "labeling": lambda loop: bool(loop.jobs("list_labeling_jobs")),
    "converting": lambda loop: bool(loop.executions("Retrain")),
    "training": lambda loop: bool(loop.jobs("list_training_jobs")),
    "evaluating": lambda loop: bool(loop.jobs("list_processing_jobs")),
    "judged": lambda loop: bool(loop.packages()),
    "deploying": lambda loop: bool(loop.executions("Deploy")),
    "creating the endpoint": lambda loop: loop.endpoint().status != "NotDeployed",
    "in service": lambda loop: loop.in_service(1)(),
}


BEFORE_ALL_ARE_CLAIMED = {"dropped", "catalogued"}


def end_well(loop: Loop, moment: str = "") -> None:
    """Everything that was dropped is labeled, trained on and served, once, without anybody's doing."""
    loop.wait("all images labeled", lambda: len(loop.images("LABELED")) == IMAGES)
    jobs = loop.jobs("list_labeling_jobs")
    # Uploads whose function was stopped are taken up again minutes later, and may come too late for the others' job.
    assert len(jobs) <= (2 if moment in BEFORE_ALL_ARE_CLAIMED else 1)
    assert sum(job["LabelCounters"]["TotalLabeled"] for job in jobs) == IMAGES
    loop.wait(f"version {len(jobs)} in service", loop.in_service(len(jobs)))
    machines = ("Label", "Retrain", "Deploy", "Rollback")
    loop.wait("every execution to end", lambda: not any(loop.executions(name, "RUNNING") for name in machines))
    assert len(loop.jobs("list_training_jobs")) == len(jobs)
    assert len(loop.packages()) == len(jobs)
    assert [alert["event"] for alert in loop.alerts() if alert["event"] in ERRORS] == []
    loop.wait("the alerts", lambda: len(loop.alerts("deployed")) >= len(jobs))
    assert len(loop.alerts("deployed")) == len(jobs)


def server(loop: Loop) -> int:
    pid = loop.command("up")["pid"]
    assert isinstance(pid, int)
    return pid


def after_a_kill(loop: Loop, moment: str, number: signal.Signals) -> None:
    pid = server(loop)
    loop.wait(moment, lambda: MOMENTS[moment](loop))
    os.kill(pid, number)
    loop.wait("the end of the server", lambda: not psutil.pid_exists(pid))
    loop.up()
    end_well(loop, moment)


@pytest.mark.loop
@pytest.mark.xdist_group("beside the whole loop")  # on one worker, for that takes as long as both
@pytest.mark.timeout(3600)
def test_the_cloud_is_killed_while_it_trains(loop: Loop) -> None:
    after_a_kill(loop, "training", signal.SIGKILL)


@pytest.mark.faults
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["kill", "term"])
@pytest.mark.parametrize("moment", list(MOMENTS))
def test_the_cloud_ends_at_a_moment_of_the_loop(loop: Loop, moment: str, number: signal.Signals) -> None:
    after_a_kill(loop, moment, number)


@pytest.mark.faults
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("moment", list(MOMENTS))
def test_the_disk_is_full_at_a_moment_of_the_loop(loop: Loop, moment: str) -> None:
    pid, s3 = server(loop), loop.cloud.client("s3")
    bucket = loop.cloud.outputs["DataBucketName"]
    loop.wait(moment, lambda: MOMENTS[moment](loop))
    # No file of the cloud's process may grow: jobs and functions have disks of their own on AWS, and here others.
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    until = time.monotonic() + FULL_SECONDS
    try:
        with pytest.raises(ClientError) as refused:
            s3.put_object(Bucket=bucket, Key="elsewhere/file", Body=b"1")
        loop.wait("the end of the trouble", lambda: time.monotonic() > until)
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] in (500, 503)  # a client tries again
    end_well(loop, moment)
    assert server(loop) == pid


def process_of(loop: Loop, folder: str) -> psutil.Process:
    """The process that works in a folder of the home: a job's or an endpoint's."""

    return loop.wait(f"a process in {folder}", lambda: next(iter(containers(loop.home / folder)), None))


@pytest.mark.faults
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("folder", "event"), [("jobs/training-job", "training-failed"), ("jobs/processing-job", "evaluation-failed")]
)
def test_a_job_is_killed_and_trained_again_when_asked(loop: Loop, folder: str, event: str) -> None:
    process_of(loop, folder).kill()
    (alert,) = loop.wait(event, lambda: loop.alerts(event))
    job = loop.jobs("list_labeling_jobs")[0]["LabelingJobName"]
    assert f"skyloop retrain {job}" in alert["next_step"]
    loop.wait("the end of the retrain that said so", lambda: not loop.executions("Retrain", "RUNNING"))
    loop.command("retrain", job)
    loop.wait("version 1 in service", loop.in_service(1))
    assert len(loop.jobs("list_training_jobs")) == 2
    assert len(loop.packages()) == 1


@pytest.mark.faults
@pytest.mark.timeout(3600)
def test_an_instance_is_killed_and_replaced(loop: Loop) -> None:
    end_well(loop)
    process_of(loop, "endpoints").kill()
    loop.wait("the endpoint to answer again", lambda: loop.endpoint().status == "InService")
    process_of(loop, "endpoints")
