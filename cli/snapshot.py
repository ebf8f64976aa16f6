"""The state of one stack, fetched: what `status` shows and what `watch` follows. Rendering is in cli.render."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from boto3.dynamodb.types import TypeDeserializer
from botocore.exceptions import ClientError

from cli import alerts
from cli.cloud import Cloud
from cli.errors import error_code

IMAGE_STATUSES = ("PENDING", "LABELING", "LABELED", "QUARANTINED")
MACHINES = ("Label", "Retrain", "Deploy", "Rollback")
_deserialize = TypeDeserializer().deserialize


@dataclass(frozen=True)
class Quarantined:
    """One image that cannot be used, and why."""

    key: str
    reason: str


@dataclass(frozen=True)
class LabelingJob:
    """A Ground Truth job and how far it is."""

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
        return self.package_arn.rpartition("/")[2]


@dataclass(frozen=True)
class Snapshot:
    """Everything `skyloop status` shows, at one moment."""

    stack: str
    cloud: str
    images: dict[str, int]
    queued_uploads: int
    quarantined: list[Quarantined]
    labeling_jobs: list[LabelingJob]
    running: list[Execution]
    packages: list[Package]
    endpoint: Endpoint
    drift: dict[str, Any]
    alerts: list[dict[str, Any]] = field(default_factory=list)

    def as_document(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def idle(self) -> bool:
        """Nothing moves: no upload waits, no image is being labeled, nothing runs, the endpoint is at rest.

        Pending images do not count: below the batch size they wait for more.
        """
        moving = self.endpoint.status in {"Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting"}
        return not (self.queued_uploads or self.running or moving or self.images.get("LABELING"))


def count_images(cloud: Cloud) -> dict[str, int]:
    """Images by status.

    Counted against the direction in which images move on: one that moves meanwhile is missed, never counted twice.
    """
    pages = cloud.client("dynamodb").get_paginator("query")
    counts = {}
    for status in reversed(IMAGE_STATUSES):
        answer = pages.paginate(**_by_status(cloud, status), Select="COUNT")
        counts[status] = sum(page["Count"] for page in answer)
    return {status: counts[status] for status in IMAGE_STATUSES}


def _by_status(cloud: Cloud, status: str) -> dict[str, Any]:
    return {
        "TableName": cloud.outputs["CatalogueTableName"],
        "IndexName": "status-index",
        "KeyConditionExpression": "#status = :status",
        "ExpressionAttributeNames": {"#status": "status"},
        "ExpressionAttributeValues": {":status": {"S": status}},
    }


def images(cloud: Cloud, status: str, limit: int) -> list[dict[str, Any]]:
    """Catalogue entries of one status, head of the queue first."""
    answer = cloud.client("dynamodb").query(**_by_status(cloud, status), Limit=limit)
    return [{name: _deserialize(value) for name, value in item.items()} for item in answer["Items"]]


def quarantined(cloud: Cloud, limit: int) -> list[Quarantined]:
    """Unusable images with their reasons."""
    return [
        Quarantined(str(item.get("key", item["image_id"])), str(item.get("reason", "")))
        for item in images(cloud, "QUARANTINED", limit)
    ]


def queued_uploads(cloud: Cloud) -> int:
    """Uploads that no function has looked at yet (approximate, as SQS counts)."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    answer = cloud.client("sqs").get_queue_attributes(QueueUrl=cloud.outputs["UploadsQueueUrl"], AttributeNames=names)
    return sum(int(answer["Attributes"].get(name, 0)) for name in names)


def labeling_jobs(cloud: Cloud, limit: int) -> list[LabelingJob]:
    """This stack's labeling jobs, newest first."""
    answer = cloud.client("sagemaker").list_labeling_jobs(
        NameContains=f"{cloud.prefix}-", SortBy="CreationTime", SortOrder="Descending", MaxResults=limit
    )
    return [
        LabelingJob(
            item["LabelingJobName"],
            item["LabelingJobStatus"],
            sum(
                item["LabelCounters"].get(name, 0) for name in ("TotalLabeled", "Unlabeled", "FailedNonRetryableError")
            ),
            item["LabelCounters"].get("TotalLabeled", 0),
            item["CreationTime"],
        )
        for item in answer["LabelingJobSummaryList"]
    ]


def executions(cloud: Cloud, machine: str, status: str | None, limit: int) -> list[Execution]:
    """Executions of one state machine, newest first; `status` None for all."""
    chosen = {"statusFilter": status} if status else {}
    answer = cloud.client("stepfunctions").list_executions(
        stateMachineArn=cloud.outputs[f"{machine}StateMachineArn"], maxResults=limit, **chosen
    )
    return [
        Execution(machine.lower(), item["name"], item["executionArn"], item["status"], item["startDate"])
        for item in answer["executions"]
    ]


def current_step(cloud: Cloud, execution: Execution) -> str:
    """Name of the state an execution entered last, empty before the first."""
    answer = cloud.client("stepfunctions").get_execution_history(
        executionArn=execution.arn, reverseOrder=True, maxResults=50, includeExecutionData=False
    )
    for event in answer["events"]:
        if detail := event.get("stateEnteredEventDetails"):
            return str(detail["name"])
    return ""


def running(cloud: Cloud) -> list[Execution]:
    """What runs now, with the step it is in."""
    found = [item for machine in MACHINES for item in executions(cloud, machine, "RUNNING", 20)]
    return [Execution(**{**asdict(item), "step": current_step(cloud, item)}) for item in found]


def packages(cloud: Cloud, limit: int) -> list[Package]:
    """Versions in the model package group, newest first."""
    sagemaker = cloud.client("sagemaker")
    answer = sagemaker.list_model_packages(
        ModelPackageGroupName=cloud.outputs["ModelPackageGroupName"],
        SortBy="CreationTime",
        SortOrder="Descending",
        MaxResults=limit,
    )
    found = []
    for item in answer["ModelPackageSummaryList"]:
        detail = sagemaker.describe_model_package(ModelPackageName=item["ModelPackageArn"])
        facts = detail.get("CustomerMetadataProperties", {})
        found.append(
            Package(
                version=item["ModelPackageVersion"],
                arn=item["ModelPackageArn"],
                approval=item["ModelApprovalStatus"],
                map50=float(facts["map50"]) if facts.get("map50") else None,
                created=item["CreationTime"],
                dataset_id=facts.get("dataset_id", ""),
                training_job=facts.get("training_job", ""),
                correlation_id=facts.get("correlation_id", ""),
            )
        )
    return found


def state_item(cloud: Cloud, name: str) -> dict[str, Any]:
    """One item of the state table, {} when there is none."""
    answer = cloud.client("dynamodb").get_item(
        TableName=cloud.outputs["StateTableName"], Key={"name": {"S": name}}, ConsistentRead=True
    )
    return {key: _deserialize(value) for key, value in answer.get("Item", {}).items()}


def endpoint(cloud: Cloud) -> Endpoint:
    """The endpoint as SageMaker has it, with the package that the state table says it serves."""
    name = cloud.endpoint_name
    try:
        found = cloud.client("sagemaker").describe_endpoint(EndpointName=name)
    except ClientError as error:
        if "Could not find" in str(error) or error_code(error) in {"ResourceNotFound", "ResourceNotFoundException"}:
            return Endpoint(name, "NotDeployed")
        raise
    state = state_item(cloud, f"endpoint#{name}")
    return Endpoint(
        name,
        found["EndpointStatus"],
        found["EndpointConfigName"],
        str(state.get("package_arn", "")) if state.get("config") == found["EndpointConfigName"] else "",
        str(state.get("deployed_at", "")),
        found.get("FailureReason", ""),
    )


def take(cloud: Cloud, limit: int = 10) -> Snapshot:
    """A snapshot; the calls run side by side, so it takes as long as the slowest of them."""
    _ = cloud.outputs  # once, before the threads
    with ThreadPoolExecutor(8) as pool:
        parts = {
            "images": pool.submit(count_images, cloud),
            "queued_uploads": pool.submit(queued_uploads, cloud),
            "quarantined": pool.submit(quarantined, cloud, limit),
            "labeling_jobs": pool.submit(labeling_jobs, cloud, limit),
            "running": pool.submit(running, cloud),
            "packages": pool.submit(packages, cloud, limit),
            "endpoint": pool.submit(endpoint, cloud),
            "drift": pool.submit(state_item, cloud, f"drift#{cloud.endpoint_name}"),
            "alerts": pool.submit(alerts.latest, cloud, limit),
        }
        return Snapshot(cloud.stack_name, cloud.describe(), **{name: part.result() for name, part in parts.items()})
