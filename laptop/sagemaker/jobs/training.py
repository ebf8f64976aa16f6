"""Training jobs: CreateTrainingJob, DescribeTrainingJob, ListTrainingJobs, StopTrainingJob.

The folder, its files and the way a container fails are those of "How Amazon SageMaker AI Runs Your Training Image"
(developer guide); the transitions those of the API reference's SecondaryStatusTransition.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
import time
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from laptop.sagemaker.core import errors, events, roles, tags, transfer
from laptop.sagemaker.core.context import Context
from laptop.sagemaker.core.resources import TERMINAL, JobKind
from laptop.sagemaker.core.room import InProgress, Operations, Room
from laptop.sagemaker.core.store import Record
from laptop.sagemaker.jobs import runner, warm_pools

log = logging.getLogger(__name__)

_CHECKPOINTS = "/opt/ml/checkpoints"
_DEFAULT_LIMIT_SECONDS = 86400
# Checkpoints of tens of megabytes change every few seconds here, and copying them to S3 takes the cores that train: at
# most this share of the time goes to it while the program runs.
_SYNCHRONIZATION_SHARE = 0.05
_IN_EVENT = (
    "TrainingJobName", "TrainingJobArn", "TrainingJobStatus", "SecondaryStatus", "FailureReason", "HyperParameters",
    "AlgorithmSpecification", "RoleArn", "InputDataConfig", "OutputDataConfig", "ResourceConfig", "VpcConfig",
    "StoppingCondition", "ModelArtifacts", "CheckpointConfig", "FinalMetricDataList", "Environment",
)  # fmt: skip
_MESSAGES = {
    "Starting": "Starting the training job",
    "Downloading": "Downloading input data",
    "Training": "Training image download completed. Training in progress.",
    "Uploading": "Uploading generated training model",
    "Stopping": "Stopping the training job",
    "Completed": "Training job completed",
    "Failed": "Training job failed",
    "Stopped": "Training job stopped",
    "Interrupted": "The laptop cloud was stopped while the job was running",
    "Restarting": "Restarting the training job",
    "MaxRuntimeExceeded": "Training job runtime exceeded MaxRuntimeInSeconds provided",
}


class Training(Room):
    """Training jobs."""

    def __init__(self, context: Context, jobs: runner.Runner) -> None:
        super().__init__(context)
        self.kind = JobKind.of(
            context, "training", "TrainingJobSummaries", lambda *_: errors.validation("Requested resource not found.")
        )
        self._jobs = jobs
        self.pools = warm_pools.WarmPools(context, self.kind)

    def create(self, request: Record) -> Record:
        """Queue a job. Raises ResourceInUse for a used name, ValidationException, ResourceLimitExceeded."""
        _check(self.context, request)
        record = self.kind.open(
            {
                "EnableNetworkIsolation": False,
                "EnableInterContainerTrafficEncryption": False,
                "EnableManagedSpotTraining": False,
                **request,
                "SecondaryStatus": "Starting",
                "SecondaryStatusTransitions": [_transition("Starting", time.time())],
            }
        )
        self._emit(record)
        self._jobs.submit(TrainingJob(self, record["TrainingJobName"]))
        return {"TrainingJobArn": record["TrainingJobArn"]}

    def describe(self, request: Record) -> Record:
        """The whole record."""
        self.pools.expire()
        return self.kind.describe(request)

    def list_jobs(self, request: Record) -> Record:
        """One page of summaries, filtered and sorted."""
        self.pools.expire()
        return self.kind.list(request)

    def stop_job(self, request: Record) -> Record:
        """SIGTERM, then SIGKILL after the grace period; what the program saves in it is kept."""
        name = self.kind.stop(request, lambda name: self.advance(name, "Stopping", TrainingJobStatus="Stopping"))
        self._jobs.request_stop(self.kind.name, name)
        return {}

    def in_progress(self) -> list[InProgress]:
        """The jobs that run or wait for their turn."""
        return self._jobs.in_progress(self.kind.name)

    def start(self) -> None:
        """Run the jobs again whose machine went away with an earlier cloud, as SageMaker does with an interrupted one.

        SageMaker restarts a managed spot job that was interrupted. A job goes on from its checkpoint, where it keeps
        any, and begins again where not. Its time begins anew too.
        """
        for record in self.kind.unfinished():
            name = record["TrainingJobName"]
            if record["TrainingJobStatus"] == "Stopping":
                self.advance(name, "Stopped", TrainingJobStatus="Stopped", TrainingEndTime=time.time())
                continue
            self.advance(name, "Interrupted")
            self.advance(name, "Restarting")
            job = TrainingJob(self, name)
            job.look_for_checkpoints()
            self._jobs.submit(job)

    def advance(self, name: str, secondary: str, **fields: Any) -> None:
        """Move to a secondary status, which closes the transition before it, and emit the event."""
        now = time.time()

        def change(record: Record) -> None:
            record.update(fields)
            record["SecondaryStatus"] = secondary
            record["LastModifiedTime"] = now
            record["SecondaryStatusTransitions"][-1].setdefault("EndTime", now)
            record["SecondaryStatusTransitions"].append(_transition(secondary, now))
            if record["TrainingJobStatus"] in TERMINAL:
                record["SecondaryStatusTransitions"][-1]["EndTime"] = now

        self._emit(self.kind.update(name, change))

    def _emit(self, record: Record) -> None:
        times = ("CreationTime", "TrainingStartTime", "TrainingEndTime", "LastModifiedTime")
        detail = events.detail(record, _IN_EVENT, times, events.milliseconds_text)
        detail["SecondaryStatusTransitions"] = [
            {
                key: events.milliseconds_text(value) if key.endswith("Time") else value
                for key, value in transition.items()
            }
            for transition in record["SecondaryStatusTransitions"]
        ]
        for metric in detail.get("FinalMetricDataList", []):
            metric["Timestamp"] = events.milliseconds_text(metric["Timestamp"])
        events.emit(self.context, "SageMaker Training Job State Change", detail, record["TrainingJobArn"])

    OPERATIONS: ClassVar[Operations] = {
        "CreateTrainingJob": create,
        "DescribeTrainingJob": describe,
        "ListTrainingJobs": list_jobs,
        "StopTrainingJob": stop_job,
    }


class TrainingJob(runner.Job):
    """One training job: channels in, `train`, model and output out."""

    kind = "training-job"
    log_group = "/aws/sagemaker/TrainingJobs"

    def __init__(self, room: Training, name: str) -> None:
        super().__init__(room.context, name)
        self._room = room
        request = self.record
        self._request = request
        self._role = request["RoleArn"]
        self._s3 = self.context.client("s3", self._role)
        self._metrics = runner.Metrics(request["AlgorithmSpecification"].get("MetricDefinitions", []))
        self._output = f"{request['OutputDataConfig']['S3OutputPath'].rstrip('/')}/{name}/output"
        self._found = False
        self._synchronized: dict[Path, tuple[int, int]] = {}
        self._next_synchronization = 0.0

    def work(self) -> None:
        """Channels in, `train`, model and output out."""
        algorithm = self._request["AlgorithmSpecification"]
        program = self.program(algorithm["TrainingImage"])
        self._room.advance(self.name, "Downloading", TrainingStartTime=time.time())
        try:
            self._prepare()
            self._room.advance(self.name, "Training")
            status, ended = self._train(program, algorithm)
            # What a stopped job saved in the grace period is kept, as on AWS; what a failed one left is not.
            if status == 0 or ended is not None:
                self.patiently(self._keep, stoppable=False)
        except transfer.TransferError as problem:
            raise runner.JobFailed(f"ClientError: Data transfer failed: {problem}") from problem
        if ended is not None:
            raise ended
        if status != 0:
            raise runner.JobFailed(f"AlgorithmError: {self._failure()}, exit code: {_exit_code(status)}")

    @property
    def has_checkpoint(self) -> bool:
        """Whether a checkpoint was found or brought at the start, or has been put to S3 since."""
        return self._found or bool(self._synchronized)

    def look_for_checkpoints(self) -> None:
        """Look whether an earlier cloud left a checkpoint; it is brought once this job has its turn."""
        if checkpoints := self._request.get("CheckpointConfig"):
            with contextlib.suppress(transfer.TransferError):
                self._found = transfer.holds_any(self._s3, checkpoints["S3Uri"])

    def end(self, status: str, reason: str | None = None, timed_out: bool = False) -> None:
        """The last transition, with times and metrics."""
        now = time.time()
        record = self.record
        started = record.get("TrainingStartTime")
        seconds = round(now - started) if started else 0
        fields: Record = {"TrainingJobStatus": status, "TrainingEndTime": now}
        if started:
            fields |= {"TrainingTimeInSeconds": seconds, "BillableTimeInSeconds": seconds}
        if metrics := self._metrics.final():
            fields["FinalMetricDataList"] = metrics
        if reason:
            fields["FailureReason"] = reason
        fields |= self._room.pools.leave(record, self.local(warm_pools.CACHE))
        self._room.advance(self.name, "MaxRuntimeExceeded" if timed_out else status, **fields)

    def _prepare(self) -> None:
        config = self.folder / "input" / "config"
        for folder in (config, self.folder / "model", self.folder / "output" / "data"):
            folder.mkdir(parents=True)
        self._room.pools.take(self.name, self.local(warm_pools.CACHE))
        channels = {}
        for channel in self._request.get("InputDataConfig", []):
            source = channel["DataSource"]["S3DataSource"]
            name = channel["ChannelName"]
            target = self.folder / "input" / "data" / name
            self.patiently(partial(transfer.download, self._s3, source["S3Uri"], source["S3DataType"], target))
            self.check_stop()
            channels[name] = {
                "TrainingInputMode": channel.get("InputMode", "File"),
                "S3DistributionType": source.get("S3DataDistributionType", "FullyReplicated"),
                "RecordWrapperType": channel.get("RecordWrapperType", "None"),
                **({"ContentType": channel["ContentType"]} if "ContentType" in channel else {}),
            }
        machine = self._request["ResourceConfig"]["InstanceType"]
        documents = {
            "hyperparameters": self._request.get("HyperParameters", {}),
            "inputdataconfig": channels,
            "resourceconfig": {
                "current_host": "algo-1",
                "current_instance_type": machine,
                "current_group_name": "homogeneousCluster",
                "hosts": ["algo-1"],
                "instance_groups": [
                    {"instance_group_name": "homogeneousCluster", "instance_type": machine, "hosts": ["algo-1"]}
                ],
                "network_interface_name": "lo",
            },
        }
        for name, document in documents.items():
            (config / f"{name}.json").write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
        if checkpoints := self._request.get("CheckpointConfig"):
            self.patiently(partial(transfer.download_if_any, self._s3, checkpoints["S3Uri"], self._checkpoints()))
            self._synchronized |= runner.changed_files(self._checkpoints(), self._synchronized)
            self.check_stop()

    def _train(self, program: Any, algorithm: Record) -> tuple[int, Exception | None]:
        try:
            status = self.execute(
                program,
                algorithm.get("ContainerArguments", ["train"]),
                entrypoint=algorithm.get("ContainerEntrypoint"),
                role=self._role,
                variables={
                    **self._request.get("Environment", {}),
                    "TRAINING_JOB_NAME": self.name,
                    "TRAINING_JOB_ARN": self._request["TrainingJobArn"],
                },
                limit_seconds=self._request["StoppingCondition"].get("MaxRuntimeInSeconds", _DEFAULT_LIMIT_SECONDS),
                on_line=self._metrics.read,
                on_tick=self._synchronize_now_and_then,
            )
        except (runner.Stopped, runner.TimedOut) as ended:
            return -15, ended
        finally:
            self.patiently(partial(self._synchronize, last=True), stoppable=False)
        return status, None

    def _keep(self) -> None:
        self._room.advance(self.name, "Uploading")
        model, output = self.folder / "model", self.folder / "output" / "data"
        if self._request["OutputDataConfig"].get("CompressionType") == "NONE":
            artifacts = f"{self._output}/model/"
            kept = transfer.upload_folder(self._s3, model, artifacts) > 0
            transfer.upload_folder(self._s3, output, f"{self._output}/data/")
        else:
            artifacts = f"{self._output}/model.tar.gz"
            kept = transfer.upload_archive(self._s3, model, self.folder / "model.tar.gz", artifacts)
            transfer.upload_archive(self._s3, output, self.folder / "output.tar.gz", f"{self._output}/output.tar.gz")
        if kept:
            self._room.kind.update(self.name, {"ModelArtifacts": {"S3ModelArtifacts": artifacts}})

    def _failure(self) -> str:
        file = self.folder / "output" / "failure"
        return file.read_text(encoding="utf-8", errors="replace")[:1024].strip() if file.is_file() else ""

    def _checkpoints(self) -> Path:
        return self.local(self._request["CheckpointConfig"].get("LocalPath", _CHECKPOINTS))

    def _synchronize_now_and_then(self) -> None:
        try:
            self._synchronize()
        except transfer.Unavailable as problem:  # the next round takes what this one could not
            log.warning("%s waits with its checkpoints: %s", self.name, problem)

    def _synchronize(self, last: bool = False) -> None:
        checkpoints = self._request.get("CheckpointConfig")
        if not checkpoints or not self._checkpoints().is_dir() or self.closing.is_set():
            return
        started = time.monotonic()
        if started < self._next_synchronization and not last:
            return
        fresh = runner.changed_files(self._checkpoints(), self._synchronized)
        transfer.upload_folder(self._s3, self._checkpoints(), checkpoints["S3Uri"], fresh)
        self._synchronized |= fresh
        now = time.monotonic()
        self._next_synchronization = now + (now - started) / _SYNCHRONIZATION_SHARE


def _check(context: Context, request: Record) -> None:
    """The rules that the service model cannot say."""
    tags.check(request.get("Tags", []))
    for field in ("AlgorithmSpecification", "ResourceConfig", "StoppingCondition"):
        if field not in request:
            raise errors.missing(field[0].lower() + field[1:])
    _check_algorithm(request["AlgorithmSpecification"])
    _check_channels(request.get("InputDataConfig", []), request["AlgorithmSpecification"]["TrainingInputMode"])
    runner.check_machine(request["ResourceConfig"], "resourceConfig", "training")
    stopping, spot = request["StoppingCondition"], request.get("EnableManagedSpotTraining", False)
    wait, runtime = stopping.get("MaxWaitTimeInSeconds"), stopping.get("MaxRuntimeInSeconds", _DEFAULT_LIMIT_SECONDS)
    if spot and (wait is None or wait < runtime):
        raise errors.validation(
            "Invalid MaxWaitTimeInSeconds. It must be present and be greater than or equal to MaxRuntimeInSeconds"
        )
    if not spot and wait is not None:
        raise errors.validation("MaxWaitTimeInSeconds above 0 is not allowed for non-Spot training jobs.")
    warm_pools.check(request)
    local = request.get("CheckpointConfig", {}).get("LocalPath", _CHECKPOINTS)
    if not re.fullmatch(r"/opt/ml/(?!input|model|output)[^.].*", local) or ".." in local:
        raise errors.validation(f"Invalid CheckpointConfig LocalPath {local}: it must lie under /opt/ml/checkpoints.")
    roles.check(context, request["RoleArn"])


def _check_algorithm(algorithm: Record) -> None:
    if ("TrainingImage" in algorithm) == ("AlgorithmName" in algorithm):
        raise errors.validation("You must specify exactly one of TrainingImage and AlgorithmName.")
    if "AlgorithmName" in algorithm:
        raise errors.validation(f"Algorithm {algorithm['AlgorithmName']} does not exist in this account.")
    names = [item["Name"] for item in algorithm.get("MetricDefinitions", [])]
    if len(set(names)) != len(names):
        raise errors.validation("Metric definition names must be unique.")
    for item in algorithm.get("MetricDefinitions", []):
        try:
            re.compile(item["Regex"])
        except re.error as error:
            raise errors.validation(f"Invalid regex {item['Regex']!r} of metric {item['Name']}: {error}") from error


def _check_channels(channels: list[Record], default_mode: str) -> None:
    names = [channel["ChannelName"] for channel in channels]
    if len(set(names)) != len(names):
        raise errors.validation("Duplicate channel names are not allowed in InputDataConfig.")
    for channel in channels:
        name = channel["ChannelName"]
        source = channel["DataSource"].get("S3DataSource")
        if source is None:
            raise errors.validation(f"Channel {name}: only S3DataSource is available in this region.")
        mode = channel.get("InputMode", default_mode)
        if source["S3DataType"] == "AugmentedManifestFile" and mode != "Pipe":
            raise errors.validation(f"Channel {name}: AugmentedManifestFile is supported with Pipe input mode only.")
        if mode == "Pipe" or source["S3DataType"] == "Converse":
            raise errors.validation(f"Channel {name}: {source['S3DataType']} in {mode} mode is not available here.")
        if channel.get("CompressionType", "None") != "None":
            raise errors.validation(f"Channel {name}: CompressionType Gzip is supported with Pipe input mode only.")
        if not source["S3Uri"].startswith("s3://"):
            raise errors.validation(f"The S3 URI {source['S3Uri']} of channel {name} must start with s3://")


def _transition(status: str, at: float) -> Record:
    return {"Status": status, "StartTime": at, "StatusMessage": _MESSAGES[status]}


def _exit_code(status: int) -> int:
    """As a container reports it: 128 + the signal for a process that died of one."""
    return 128 - status if status < 0 else status
