"""What a person may set going: approve, reject, retrain, deploy, roll back, label, relabel."""

from __future__ import annotations

import time
from typing import Any

from cli import snapshot
from cli.cloud import Cloud
from cli.errors import CliError
from cli.snapshot import Package

SEARCHED_PACKAGES = 100
SEARCHED_JOBS = 100


def find_package(cloud: Cloud, version: str | None, approval: str | None = None) -> Package:
    """A package by version number or ARN; None for the newest, of one approval status if given.

    CliError when there is none.
    """
    known = snapshot.packages(cloud, SEARCHED_PACKAGES)
    if version is None:
        for package in known:
            if approval in (None, package.approval):
                return package
        wanted = {"PendingManualApproval": "waits for approval", "Approved": "is approved"}.get(
            approval or "", "exists"
        )
        raise CliError(f"No model package {wanted}.", "`skyloop status` lists the versions there are.")
    for package in known:
        if version.removeprefix("v") == str(package.version) or version == package.arn:
            return package
    there = ", ".join(str(package.version) for package in known) or "none yet"
    raise CliError(f"There is no version {version}.", f"Versions there are: {there}.")


def find_labeling_job(cloud: Cloud, name: str | None) -> str:
    """A labeling job's name; None for the newest that is completed. CliError when there is none."""
    known = snapshot.labeling_jobs(cloud, SEARCHED_JOBS)
    completed = [job.name for job in known if job.status == "Completed"]
    if name is None and not completed:
        raise CliError("No labeling job is completed yet.", "`skyloop label --now` labels what is pending.")
    if name is not None and name not in {job.name for job in known}:
        raise CliError(f"There is no labeling job {name}.", f"Completed are: {', '.join(completed) or 'none'}.")
    return name or completed[0]


def set_approval(cloud: Cloud, package: Package, approval: str, comment: str | None) -> None:
    """Approve or reject a package. Approving raises the event that deploys it."""
    described = {"ApprovalDescription": comment} if comment else {}
    cloud.client("sagemaker").update_model_package(
        ModelPackageArn=package.arn, ModelApprovalStatus=approval, **described
    )


def start(cloud: Cloud, machine: str, name: str, request: str) -> dict[str, Any]:
    """Start an execution of a state machine by hand; its name says so and is new each time."""
    unique = f"{name}-by-hand-{time.time_ns() // 1_000_000}"[-80:]
    answer = cloud.client("stepfunctions").start_execution(
        stateMachineArn=cloud.outputs[f"{machine}StateMachineArn"], name=unique, input=request
    )
    return {"execution_arn": answer["executionArn"], "name": unique}


def wait(cloud: Cloud, execution_arn: str, timeout: float, every: float = 1.0) -> dict[str, Any]:
    """Wait for an execution to end; its DescribeExecution answer. CliError when it takes longer than `timeout` s."""
    deadline = time.monotonic() + timeout
    while True:
        answer = cloud.client("stepfunctions").describe_execution(executionArn=execution_arn)
        if answer["status"] != "RUNNING":
            return answer
        if time.monotonic() > deadline:
            raise CliError(f"It still runs after {timeout:.0f} s.", "`skyloop watch` follows it.")
        time.sleep(every)
