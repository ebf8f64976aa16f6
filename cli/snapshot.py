"""The state of one stack, fetched: what `status` shows and `watch` follows. cli.render turns it into text."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, get_args

from botocore.exceptions import ClientError
from skyloop import layout
from skyloop.aws.catalogue import COPY
from skyloop.documents import DriftState, EndpointState, ImageStatus, PackageMetadata
from skyloop.formats.evaluation import Evaluation

from cli import alerts
from cli.alerts import ArchivedAlert
from cli.cloud import Cloud
from cli.errors import error_code
from laptop.storing import shortage

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions.literals import ExecutionStatusType

IMAGE_STATUSES: tuple[ImageStatus, ...] = get_args(ImageStatus)  # in the direction in which images move on
MACHINES = ("Label", "Retrain", "Deploy", "Rollback")
MOST_COUNTED = 10_000
"""Images of a status that are counted. DynamoDB reads what it counts: a million would take a minute at each look."""


@dataclass(frozen=True)
class Quarantined:
    """One file that cannot be used, and why."""

    key: str
    reason: str


@dataclass(frozen=True)
class LabelingJob:
    """A labeling job and how far it is. `labeled` of `total` images have labels."""

    name: str
    status: str
    total: int
    labeled: int
    created: datetime


@dataclass(frozen=True)
class Execution:
    """A running or ended execution of a state machine; `step` is the state it is in."""

    machine: str
    name: str
    arn: str
    status: str
    started: datetime
    step: str = ""


@dataclass(frozen=True)
class Package:
    """A model package version; `map50` is the candidate's on the frozen test set."""

    version: int
    arn: str
    approval: str
    map50: float | None
    created: datetime
    dataset_id: str = ""
    training_job: str = ""
    correlation_id: str = ""


@dataclass(frozen=True)
class Endpoint:
    """The endpoint; `status` is NotDeployed when there is none."""

    name: str
    status: str
    config: str = ""
    package_arn: str = ""
    deployed_at: str = ""
    failure: str = ""

    @property
    def version(self) -> str:
        """The package version that serves, "" when it is not known."""
        return self.package_arn.rpartition("/")[2]


@dataclass(frozen=True)
class ServedEvaluation:
    """How the version in service was judged, and looks at pictures. `slice_side` in pixels, None: no slices.

    `cost` is the network's work for a test picture, in squares of its input; "" and None where nothing says so.
    """

    report: str
    engine: str
    slice_side: int | None
    cost: float | None
    map50: float | None
    map50_without_slices: float | None


@dataclass(frozen=True)
class Snapshot:
    """Everything `skyloop status` shows, at one moment. In `images` and `copies`, MOST_COUNTED is that many or more.

    `copies` are files with the bytes of an image that is counted already; `waiting` are jobs that have no machine yet;
    `shortage` says that the laptop's disk is full, or nearly; `evaluation` is there where it was asked for.
    """

    stack: str
    cloud: str
    images: dict[str, int]
    queued_uploads: int
    quarantined: list[Quarantined]
    labeling_jobs: list[LabelingJob]
    running: list[Execution]
    packages: list[Package]
    endpoint: Endpoint
    drift: DriftState | None
    alerts: list[ArchivedAlert] = field(default_factory=list)
    copies: int = 0
    waiting: list[str] = field(default_factory=list)
    shortage: str | None = None
    evaluation: ServedEvaluation | None = None

    def as_document(self) -> dict[str, object]:
        """The members, ready for JSON; of the drift what the state table has, {} before the first judgment."""
        drift = self.drift.model_dump(mode="json", exclude_unset=True) if self.drift else {}
        return asdict(self) | {"drift": drift, "images_counted_to": MOST_COUNTED}

    @property
    def idle(self) -> bool:
        """Nothing is going on: no upload waits, no image is being labeled, no machine runs, the endpoint is at rest.

        Pending images do not count: fewer than a batch of them wait for more.
        """
        moving = self.endpoint.status in {"Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting"}
        return not (self.queued_uploads or self.running or moving or self.images.get("LABELING"))


def count_images(cloud: Cloud) -> dict[str, int]:
    """Images by status, of each up to MOST_COUNTED.

    The statuses are counted one after the other, against the direction in which images move on: an image that moves
    in the meantime is missed, and never counted twice.
    """
    catalogue = cloud.catalogue
    counts = {status: catalogue.count(status, MOST_COUNTED) for status in reversed(IMAGE_STATUSES)}
    return {status: counts[status] for status in IMAGE_STATUSES}


def quarantined(cloud: Cloud, limit: int) -> list[Quarantined]:
    """Unusable files with their reasons."""
    return [Quarantined(item.key, item.reason or "") for item in cloud.catalogue.by_status("QUARANTINED", limit=limit)]


def queued_uploads(cloud: Cloud) -> int:
    """Uploads that no function has examined yet (approximate, as SQS counts)."""
    response = cloud.client("sqs").get_queue_attributes(
        QueueUrl=cloud.outputs["UploadsQueueUrl"],
        AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"],
    )
    return sum(int(count) for count in response["Attributes"].values())


def labeling_jobs(cloud: Cloud, limit: int) -> list[LabelingJob]:
    """This stack's labeling jobs, newest first."""
    response = cloud.client("sagemaker").list_labeling_jobs(
        NameContains=f"{cloud.prefix}-", SortBy="CreationTime", SortOrder="Descending", MaxResults=limit
    )
    return [
        LabelingJob(
            item["LabelingJobName"],
            item["LabelingJobStatus"],
            counters.get("TotalLabeled", 0) + counters.get("Unlabeled", 0) + counters.get("FailedNonRetryableError", 0),
            counters.get("TotalLabeled", 0),
            item["CreationTime"],
        )
        for item in response["LabelingJobSummaryList"]
        for counters in [item["LabelCounters"]]
    ]


def executions(cloud: Cloud, machine: str, status: ExecutionStatusType | None, limit: int) -> list[Execution]:
    """Executions of one state machine, newest first; `status` None for all."""
    client, arn = cloud.client("stepfunctions"), cloud.outputs[f"{machine}StateMachineArn"]
    response = (
        client.list_executions(stateMachineArn=arn, maxResults=limit, statusFilter=status)
        if status
        else client.list_executions(stateMachineArn=arn, maxResults=limit)
    )
    return [
        Execution(machine.lower(), item["name"], item["executionArn"], item["status"], item["startDate"])
        for item in response["executions"]
    ]


def current_step(cloud: Cloud, execution: Execution) -> str:
    """Name of the state that an execution entered last, "" before the first."""
    response = cloud.client("stepfunctions").get_execution_history(
        executionArn=execution.arn, reverseOrder=True, maxResults=50, includeExecutionData=False
    )
    for event in response["events"]:
        if detail := event.get("stateEnteredEventDetails"):
            return str(detail["name"])
    return ""


def running(cloud: Cloud) -> list[Execution]:
    """What runs now, with the step it is in."""
    found = [item for machine in MACHINES for item in executions(cloud, machine, "RUNNING", 20)]
    return [replace(item, step=current_step(cloud, item)) for item in found]


def waiting_jobs(cloud: Cloud) -> list[str]:
    """This stack's trainings and evaluations that have no machine yet: SageMaker has none, or the laptop's is taken."""
    sagemaker, prefix = cloud.client("sagemaker"), f"{cloud.prefix}-"
    trainings = sagemaker.list_training_jobs(NameContains=prefix, StatusEquals="InProgress")["TrainingJobSummaries"]
    evaluations = sagemaker.list_processing_jobs(NameContains=prefix, StatusEquals="InProgress")
    found = []
    for name in (job["TrainingJobName"] for job in trainings):
        if "TrainingStartTime" not in sagemaker.describe_training_job(TrainingJobName=name):
            found.append(name)
    for name in (job["ProcessingJobName"] for job in evaluations["ProcessingJobSummaries"]):
        if "ProcessingStartTime" not in sagemaker.describe_processing_job(ProcessingJobName=name):
            found.append(name)
    return found


def packages(cloud: Cloud, limit: int) -> list[Package]:
    """Versions in the model package group, newest first."""
    sagemaker = cloud.client("sagemaker")
    response = sagemaker.list_model_packages(
        ModelPackageGroupName=cloud.outputs["ModelPackageGroupName"],
        SortBy="CreationTime",
        SortOrder="Descending",
        MaxResults=limit,
    )
    found = []
    for item in response["ModelPackageSummaryList"]:
        detail = sagemaker.describe_model_package(ModelPackageName=item["ModelPackageArn"])
        metadata = PackageMetadata.model_validate(detail.get("CustomerMetadataProperties", {}))
        found.append(
            Package(
                version=item["ModelPackageVersion"],
                arn=item["ModelPackageArn"],
                approval=item["ModelApprovalStatus"],
                map50=metadata.score,
                created=item["CreationTime"],
                dataset_id=metadata.dataset_id,
                training_job=metadata.training_job,
                correlation_id=metadata.correlation_id,
            )
        )
    return found


def endpoint(cloud: Cloud) -> Endpoint:
    """The endpoint as SageMaker describes it, with the package that the state table says it serves."""
    name = cloud.endpoint_name
    try:
        found = cloud.client("sagemaker").describe_endpoint(EndpointName=name)
    except ClientError as error:
        if "Could not find" in str(error) or error_code(error) in {"ResourceNotFound", "ResourceNotFoundException"}:
            return Endpoint(name, "NotDeployed")
        raise
    state = endpoint_state(cloud)
    return Endpoint(
        name,
        found["EndpointStatus"],
        found["EndpointConfigName"],
        state.package_arn if state and state.config == found["EndpointConfigName"] else "",
        state.plain()["deployed_at"] if state else "",
        found.get("FailureReason", ""),
    )


def endpoint_state(cloud: Cloud) -> EndpointState | None:
    """What the state table says of the endpoint, None before the first deployment."""
    item = cloud.state_table.get(layout.endpoint_item(cloud.endpoint_name))
    return None if item is None else EndpointState.model_validate(item)


def drift(cloud: Cloud) -> DriftState | None:
    """What the state table says of the endpoint's drift, None before the first judgment."""
    item = cloud.state_table.get(layout.drift_item(cloud.endpoint_name))
    return None if item is None else DriftState.model_validate(item)


def with_evaluation(cloud: Cloud, now: Snapshot) -> Snapshot:
    """The snapshot with the evaluation of the version in service, where it is one of its packages: one call more."""
    jobs = [item.training_job for item in now.packages if item.arn == now.endpoint.package_arn and item.training_job]
    if not jobs:
        return now
    artifacts = layout.ModelArtifacts(jobs[0])
    try:
        document = cloud.storage.read_json_if_there(artifacts.evaluation)
        judged = Evaluation.model_validate(document) if document is not None else None
    except ValueError:  # of an image of your own, which writes what it likes
        judged = None
    if judged is None:
        return now
    slicing = judged.slicing
    served = ServedEvaluation(
        report=cloud.storage.uri(artifacts.report),
        engine=judged.engine.name if judged.engine else "",
        slice_side=slicing.side if slicing else None,
        cost=slicing.cost if slicing else None,
        map50=judged.candidate.map50,
        map50_without_slices=slicing.map50_without if slicing else None,
    )
    return replace(now, evaluation=served)


def take(cloud: Cloud, limit: int = 10) -> Snapshot:
    """Fetch a snapshot; the calls run side by side, so it takes as long as the slowest of them."""
    _ = cloud.outputs  # once, before the threads
    with ThreadPoolExecutor(8) as pool:
        images = pool.submit(count_images, cloud)
        uploads = pool.submit(queued_uploads, cloud)
        unusable = pool.submit(quarantined, cloud, limit)
        jobs = pool.submit(labeling_jobs, cloud, limit)
        running_now = pool.submit(running, cloud)
        versions = pool.submit(packages, cloud, limit)
        serving = pool.submit(endpoint, cloud)
        drifting = pool.submit(drift, cloud)
        copies = pool.submit(cloud.catalogue.count, COPY, MOST_COUNTED)
        waiting = pool.submit(waiting_jobs, cloud)
        newest_alerts = pool.submit(alerts.latest, cloud, limit)
        return Snapshot(
            stack=cloud.stack_name,
            cloud=cloud.describe(),
            images=images.result(),
            queued_uploads=uploads.result(),
            quarantined=unusable.result(),
            labeling_jobs=jobs.result(),
            running=running_now.result(),
            packages=versions.result(),
            endpoint=serving.result(),
            drift=drifting.result(),
            alerts=newest_alerts.result(),
            copies=copies.result(),
            waiting=waiting.result(),
            shortage=shortage(cloud.home) if cloud.home else None,
        )
