"""Processing jobs: CreateProcessingJob, DescribeProcessingJob, ListProcessingJobs, StopProcessingJob.

The folder is that of "Build Your Own Processing Container" (developer guide): inputs and outputs at their LocalPath
below `/opt/ml/processing`, the request in `/opt/ml/config/processingjobconfig.json`, the exit message in
`/opt/ml/output/message`.
"""

from __future__ import annotations

import json
import logging
import time
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from laptop.sagemaker.core import errors, events, roles, tags, transfer
from laptop.sagemaker.core.context import Context
from laptop.sagemaker.core.resources import JobKind
from laptop.sagemaker.core.room import InProgress, Operations, Room
from laptop.sagemaker.core.store import Record
from laptop.sagemaker.jobs import runner

log = logging.getLogger(__name__)

_ROOT = "/opt/ml/processing"
_DEFAULT_LIMIT_SECONDS = 86400
_IN_EVENT = (
    "ProcessingInputs", "ProcessingOutputConfig", "ProcessingJobName", "ProcessingResources", "StoppingCondition",
    "AppSpecification", "Environment", "NetworkConfig", "RoleArn", "ProcessingJobArn", "ProcessingJobStatus",
    "ExitMessage", "FailureReason",
)  # fmt: skip


class Processing(Room):
    """Processing jobs."""

    def __init__(self, context: Context, jobs: runner.Runner) -> None:
        super().__init__(context)
        self.kind = JobKind.of(
            context,
            "processing",
            "ProcessingJobSummaries",
            lambda name, _: errors.validation(f"Could not find requested job with name: {name}"),
        )
        self._jobs = jobs

    def create(self, request: Record) -> Record:
        """Queue a job. Raises ResourceInUse for a used name, ValidationException, ResourceLimitExceeded."""
        _check(self.context, request)
        record = self.kind.open({"StoppingCondition": {"MaxRuntimeInSeconds": _DEFAULT_LIMIT_SECONDS}, **request})
        self._emit(record)
        self._jobs.submit(ProcessingJob(self, record["ProcessingJobName"]))
        return {"ProcessingJobArn": record["ProcessingJobArn"]}

    def describe(self, request: Record) -> Record:
        """The whole record."""
        return self.kind.describe(request)

    def list_jobs(self, request: Record) -> Record:
        """One page of summaries, filtered and sorted."""
        return self.kind.list(request)

    def stop_job(self, request: Record) -> Record:
        """SIGTERM, then SIGKILL after the grace period."""
        name = self.kind.stop(request, lambda name: self.update(name, ProcessingJobStatus="Stopping"))
        self._jobs.request_stop(self.kind.name, name)
        return {}

    def in_progress(self) -> list[InProgress]:
        """The jobs that run or wait for their turn."""
        return self._jobs.in_progress(self.kind.name)

    def start(self) -> None:
        """Run the jobs again whose machine went away with an earlier cloud.

        Their inputs and outputs are in S3, and none is half.
        """
        for record in self.kind.unfinished():
            name = record["ProcessingJobName"]
            if record["ProcessingJobStatus"] == "Stopping":
                self.update(name, ProcessingJobStatus="Stopped", ProcessingEndTime=time.time())
            else:
                self._jobs.submit(ProcessingJob(self, name))

    def update(self, name: str, quiet: bool = False, **fields: Any) -> None:
        """Set fields of a job's record, which is an event unless it is done quietly."""
        record = self.kind.update(name, {**fields, "LastModifiedTime": time.time()})
        if not quiet:
            self._emit(record)

    def _emit(self, record: Record) -> None:
        times = ("CreationTime", "ProcessingStartTime", "ProcessingEndTime", "LastModifiedTime")
        # Numbers of epoch milliseconds, where the training event has strings. Not verified against a live account.
        detail = events.detail(record, _IN_EVENT, times, events.milliseconds)
        events.emit(self.context, "SageMaker Processing Job State Change", detail, record["ProcessingJobArn"])

    OPERATIONS: ClassVar[Operations] = {
        "CreateProcessingJob": create,
        "DescribeProcessingJob": describe,
        "ListProcessingJobs": list_jobs,
        "StopProcessingJob": stop_job,
    }


class ProcessingJob(runner.Job):
    """One processing job: inputs in, the program, outputs out."""

    kind = "processing-job"
    log_group = "/aws/sagemaker/ProcessingJobs"

    def __init__(self, room: Processing, name: str) -> None:
        super().__init__(room.context, name)
        self._room = room
        self._request = self.record
        self._role = self._request["RoleArn"]
        self._s3 = self.context.client("s3", self._role)
        self._sent: dict[Path, tuple[int, int]] = {}

    def work(self) -> None:
        """Inputs in, the program, outputs out."""
        specification = self._request["AppSpecification"]
        program = self.program(specification["ImageUri"])
        self._room.update(self.name, ProcessingStartTime=time.time())
        try:
            self._prepare()
            self.check_stop()
            status = self.execute(
                program,
                specification.get("ContainerArguments", []),
                entrypoint=specification.get("ContainerEntrypoint"),
                role=self._role,
                variables={
                    **self._request.get("Environment", {}),
                    "PROCESSING_JOB_NAME": self.name,
                    "PROCESSING_JOB_ARN": self._request["ProcessingJobArn"],
                },
                limit_seconds=self._request["StoppingCondition"]["MaxRuntimeInSeconds"],
                on_tick=self._upload_now_and_then,
            )
            self._keep_message()
            if status != 0:
                raise runner.JobFailed("AlgorithmError: See job logs for more information")
            for mode in ("Continuous", "EndOfJob"):
                self.patiently(partial(self._upload, mode), stoppable=False)
        except transfer.TransferError as problem:
            raise runner.JobFailed(f"ClientError: Data transfer failed: {problem}") from problem

    def end(self, status: str, reason: str | None = None, timed_out: bool = False) -> None:
        """The last status; a job that ran too long says so in its FailureReason."""
        fields: Record = {"ProcessingJobStatus": status, "ProcessingEndTime": time.time()}
        if timed_out:
            reason = "ClientError: The job ran longer than MaxRuntimeInSeconds and was stopped."
        if reason:
            fields["FailureReason"] = reason
        self._room.update(self.name, **fields)

    def _prepare(self) -> None:
        config = self.folder / "config"
        config.mkdir()
        (self.folder / "output").mkdir()
        machine = self._request["ProcessingResources"]["ClusterConfig"]["InstanceType"]
        documents = {
            "processingjobconfig": {key: value for key, value in self._request.items() if key != "Tags"},
            "resourceconfig": {"current_host": "algo-1", "current_instance_type": machine, "hosts": ["algo-1"]},
        }
        for name, document in documents.items():
            (config / f"{name}.json").write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
        for source in self._request.get("ProcessingInputs", []):
            given = source["S3Input"]
            target = self.local(given["LocalPath"])
            self.patiently(partial(transfer.download, self._s3, given["S3Uri"], given["S3DataType"], target))
            self.check_stop()
        for output in self._outputs():
            self.local(output["LocalPath"]).mkdir(parents=True, exist_ok=True)

    def _outputs(self) -> list[Record]:
        return [output["S3Output"] for output in self._request.get("ProcessingOutputConfig", {}).get("Outputs", [])]

    def _upload_now_and_then(self) -> None:
        try:
            self._upload("Continuous")
        except transfer.Unavailable as problem:  # the next round takes what this one could not
            log.warning("%s waits with its outputs: %s", self.name, problem)

    def _upload(self, mode: str) -> None:
        for output in self._outputs():
            if output["S3UploadMode"] == mode:
                folder = self.local(output["LocalPath"])
                fresh = runner.changed_files(folder, self._sent)
                transfer.upload_folder(self._s3, folder, output["S3Uri"], fresh)
                self._sent |= fresh

    def _keep_message(self) -> None:
        file = self.folder / "output" / "message"
        if file.is_file():
            self._room.update(
                self.name, quiet=True, ExitMessage=file.read_text(encoding="utf-8", errors="replace")[:1024]
            )


def _check(context: Context, request: Record) -> None:
    """The rules that the service model cannot say."""
    tags.check(request.get("Tags", []))
    runner.check_machine(
        request["ProcessingResources"]["ClusterConfig"], "processingResources.clusterConfig", "processing"
    )
    inputs = request.get("ProcessingInputs", [])
    outputs = request.get("ProcessingOutputConfig", {}).get("Outputs", [])
    for what, field, items in (("input", "InputName", inputs), ("output", "OutputName", outputs)):
        names = [item[field] for item in items]
        if len(set(names)) != len(names):
            raise errors.validation(f"Processing {what} names must be unique.")
    paths = [_check_s3(item, "S3Input", item["InputName"]) for item in inputs]
    paths += [_check_s3(item, "S3Output", item["OutputName"]) for item in outputs]
    if len(set(paths)) != len(paths):
        raise errors.validation("LocalPath must be unique across ProcessingInputs and ProcessingOutputs.")
    roles.check(context, request["RoleArn"])


def _check_s3(item: Record, field: str, name: str) -> str:
    """The local path of an input or output, once it is one that can be served."""
    given = item.get(field)
    if given is None:
        raise errors.validation(f"{name}: only {field} is available in this region.")
    if not given["S3Uri"].startswith("s3://"):
        raise errors.validation(f"The S3 URI {given['S3Uri']} of {name} must start with s3://")
    if given.get("S3InputMode", "File") != "File" or given.get("S3CompressionType", "None") != "None":
        raise errors.validation(f"{name}: Pipe input mode is not available here.")
    local = str(given.get("LocalPath", ""))
    if not local.startswith(f"{_ROOT}/") or ".." in local.split("/"):
        raise errors.validation(f"LocalPath {local!r} of {name} must be an absolute path that starts with {_ROOT}/")
    return local.rstrip("/")
