"""What a person may start: approve, reject, retrain, deploy, roll back, label, relabel."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError
from skyloop import layout

from cli import snapshot
from cli.cloud import Cloud
from cli.errors import CliError
from cli.snapshot import Package

if TYPE_CHECKING:
    from mypy_boto3_sagemaker.literals import ModelApprovalStatusType
    from mypy_boto3_stepfunctions.type_defs import DescribeExecutionOutputTypeDef

SEARCHED_PACKAGES = 100
SEARCHED_JOBS = 100
CLAIM_SECONDS = 20.0
"""How long a person waits to hear whether a training is theirs; it takes two calls."""
ALREADY_RUNNING = "already running: "
"""How the outcome of `retrain.asl.yaml` begins that found another asking's training."""


@dataclass(frozen=True)
class Started:
    """An execution of a state machine that was started by hand."""

    execution_arn: str
    name: str

    def as_document(self) -> dict[str, object]:
        """The members, ready for JSON."""
        return {"execution_arn": self.execution_arn, "name": self.name}


def find_package(cloud: Cloud, version: str | None, approval: str | None = None) -> Package:
    """A package by version number or ARN; with None, the newest of that approval status (None: of any).

    Raises CliError when there is none.
    """
    packages = snapshot.packages(cloud, SEARCHED_PACKAGES)
    if version is None:
        for package in packages:
            if approval in (None, package.approval):
                return package
        condition = {"PendingManualApproval": "waits for approval", "Approved": "is approved"}.get(
            approval or "", "exists"
        )
        raise CliError(f"No model package {condition}.", "`skyloop status` lists the versions.")
    for package in packages:
        if version.removeprefix("v") == str(package.version) or version == package.arn:
            return package
    versions = ", ".join(str(package.version) for package in packages) or "none yet"
    raise CliError(f"There is no version {version}.", f"The versions are: {versions}.")


def why_rejected(cloud: Cloud, package_arn: str) -> str | None:
    """Why a package was rejected; None where it was not, where there is none (""), and where nobody knows.

    It may be deleted: no rollback needs it.
    """
    if not package_arn:
        return None
    try:
        package = cloud.client("sagemaker").describe_model_package(ModelPackageName=package_arn)
    except ClientError:
        return None
    if package.get("ModelApprovalStatus") != "Rejected":
        return None
    return package.get("ApprovalDescription") or "no reason was given"


def find_labeling_job(cloud: Cloud, name: str | None) -> str:
    """A labeling job's name; with None, the newest that is completed. Raises CliError when there is none."""
    jobs = snapshot.labeling_jobs(cloud, SEARCHED_JOBS)
    completed = [job.name for job in jobs if job.status == "Completed"]
    if name is None and not completed:
        raise CliError("No labeling job is completed yet.", "`skyloop label --now` labels what is pending.")
    if name is not None and name not in {job.name for job in jobs}:
        raise CliError(f"There is no labeling job {name}.", f"Completed are: {', '.join(completed) or 'none'}.")
    return name or completed[0]


def running_training(cloud: Cloud, labeling_job: str) -> str | None:
    """The name of a training on a labeling job's labels that is under way, or its evaluation; None without one."""
    sagemaker = cloud.client("sagemaker")
    trainings = sagemaker.list_training_jobs(NameContains=labeling_job[:53], StatusEquals="InProgress")
    evaluations = sagemaker.list_processing_jobs(NameContains=labeling_job[:53], StatusEquals="InProgress")
    names = [job["TrainingJobName"] for job in trainings["TrainingJobSummaries"]]
    names += [job["ProcessingJobName"] for job in evaluations["ProcessingJobSummaries"]]
    return names[0] if names else None


def start_training(cloud: Cloud, labeling_job: str, request: str) -> Started:
    """Ask for another training, and wait until the execution has its attempt, or too long to wait for that.

    The execution claims the attempt and not the command: of two that ask at once, one gets it. Raises CliError when
    another has it, and when the execution fails before.
    """
    started = start(cloud, "Retrain", labeling_job, request)
    deadline = time.monotonic() + CLAIM_SECONDS
    while time.monotonic() < deadline:
        item = cloud.state_table.get(layout.TRAINING_ITEMS + labeling_job) or {}
        if str(item.get("asked_by", "")).startswith(f"{started.name}#"):
            break
        execution = cloud.client("stepfunctions").describe_execution(executionArn=started.execution_arn)
        outcome = str((json.loads(execution.get("output") or "null") or {}).get("outcome", ""))
        if outcome.startswith(ALREADY_RUNNING):
            raise runs_already(outcome.removeprefix(ALREADY_RUNNING))
        if execution["status"] == "SUCCEEDED":
            break
        if execution["status"] != "RUNNING":
            raise CliError(
                f"No training was begun: {execution.get('cause') or execution['status']}",
                "`skyloop alerts` says what was kept.",
            )
        time.sleep(0.2)
    return started


def runs_already(name: str) -> CliError:
    """What a person reads who asks for a training while one is under way."""
    return CliError(f"The training {name} runs already.", "`skyloop watch` follows it; wait for its end.")


def set_approval(cloud: Cloud, package: Package, approval: ModelApprovalStatusType, comment: str | None) -> None:
    """Approve or reject a package. Approving raises the event that deploys it."""
    client = cloud.client("sagemaker")
    if comment:
        client.update_model_package(
            ModelPackageArn=package.arn, ModelApprovalStatus=approval, ApprovalDescription=comment
        )
    else:
        client.update_model_package(ModelPackageArn=package.arn, ModelApprovalStatus=approval)


def start(cloud: Cloud, machine: str, name: str, request: str) -> Started:
    """Start an execution of a state machine by hand; its name says so and is new each time."""
    unique = f"{name}-by-hand-{time.time_ns() // 1_000_000}"[-80:]
    response = cloud.client("stepfunctions").start_execution(
        stateMachineArn=cloud.outputs[f"{machine}StateMachineArn"], name=unique, input=request
    )
    return Started(response["executionArn"], unique)


def deployment_name(cloud: Cloud, package: Package) -> str:
    """The execution that deploys a package, as `statemachines/route.asl.yaml` names it."""
    return f"{cloud.prefix}-v{package.version}"


def wait(cloud: Cloud, execution_arn: str, timeout: float) -> DescribeExecutionOutputTypeDef:
    """Wait for an execution to end, and describe it. Raises CliError when it takes longer than `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        execution = cloud.client("stepfunctions").describe_execution(executionArn=execution_arn)
        if execution["status"] != "RUNNING":
            return execution
        if time.monotonic() > deadline:
            raise CliError(f"It still runs after {timeout:.0f} s.", "`skyloop watch` follows it.")
        time.sleep(1)
