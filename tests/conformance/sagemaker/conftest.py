"""What the tests of the local SageMaker share: a role, a bucket, a container, raw requests and a listener to events."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from laptop.account import read_keys
from tests.conformance.conftest import event_queue, settings_file, take
from tests.support.signed import SignedRequest

CONTAINERS = Path(__file__).parent / "containers"
WORKER = "000000000000.dkr.ecr.us-east-1.amazonaws.com/conformance-worker:1"


def make_role(cloud: Any, name: str, actions: list[str], principal: str = "sagemaker.amazonaws.com") -> str:
    """A role with these actions on everything, trusting one service."""
    iam = cloud.client("iam")
    trust = {"Effect": "Allow", "Principal": {"Service": principal}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=document)["Role"]
    allowed = {"Effect": "Allow", "Action": actions, "Resource": "*"}
    iam.put_role_policy(
        RoleName=name, PolicyName="all", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    )
    return role["Arn"]


@dataclass
class SageMaker:
    """The local SageMaker of the session's cloud, and what requests to it need."""

    cloud: Any
    role: str
    bucket: str
    _seen: list[dict[str, Any]] = field(default_factory=list)
    _queue: str = ""

    @property
    def api(self) -> Any:
        return self.cloud.client("sagemaker")

    @property
    def s3(self) -> Any:
        return self.cloud.client("s3")

    def post(self, operation: str, request: Any) -> tuple[int, dict[str, Any]]:
        """One request as it is, past boto3's own checks: (HTTP status, answer)."""
        body = request if isinstance(request, bytes) else json.dumps(request).encode()
        headers = {"X-Amz-Target": f"SageMaker.{operation}", "Content-Type": "application/x-amz-json-1.1"}
        answer = (
            SignedRequest(self.cloud.endpoint_url, "POST", "/", body, headers)
            .sign(read_keys(self.cloud.home), "sagemaker")
            .send()
        )
        return answer.status, json.loads(answer.body)

    def put(self, key: str, body: str | bytes) -> str:
        """An object in the bucket; its URI."""
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=body)
        return f"s3://{self.bucket}/{key}"

    def read(self, uri: str) -> bytes:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        return self.s3.get_object(Bucket=bucket, Key=key)["Body"].read()

    def archive(self, uri: str) -> dict[str, str]:
        """The text files of a .tar.gz."""
        with tarfile.open(fileobj=io.BytesIO(self.read(uri)), mode="r:gz") as tar:
            return {item.name: tar.extractfile(item).read().decode() for item in tar if item.isfile()}

    def events(self, arn: str, detail_type: str) -> list[dict[str, Any]]:
        """The events about a resource so far, oldest first."""
        self._seen.extend(take(self.cloud, self._queue))
        return [event for event in self._seen if event["resources"] == [arn] and event["detail-type"] == detail_type]


@pytest.fixture(scope="session")
def sagemaker(cloud: Any) -> SageMaker:
    settings_file(cloud, "images", {"conformance-worker": str(CONTAINERS / "worker")})
    settings_file(cloud, "sagemaker", {"stop_grace_seconds": 1.0, "concurrent_jobs": 2})
    role = make_role(cloud, cloud.name("sagemaker"), ["s3:*", "logs:*"])
    bucket = cloud.name("sagemaker")
    cloud.client("s3").create_bucket(Bucket=bucket)
    return SageMaker(cloud, role, bucket, _queue=event_queue(cloud, {"source": ["aws.sagemaker"]}))


@pytest.fixture
def training_request(sagemaker: SageMaker) -> Callable[..., dict[str, Any]]:
    """A CreateTrainingJob request of the worker; keyword arguments replace members."""

    def make(**members: Any) -> dict[str, Any]:
        request = {
            "TrainingJobName": sagemaker.cloud.name("train"),
            "AlgorithmSpecification": {"TrainingImage": WORKER, "TrainingInputMode": "File"},
            "RoleArn": sagemaker.role,
            "OutputDataConfig": {"S3OutputPath": f"s3://{sagemaker.bucket}/models/"},
            "ResourceConfig": {"InstanceType": "ml.g4dn.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 10},
            "StoppingCondition": {"MaxRuntimeInSeconds": 600},
        }
        return {**request, **members}

    return make


@pytest.fixture
def processing_request(sagemaker: SageMaker) -> Callable[..., dict[str, Any]]:
    """A CreateProcessingJob request of the worker; keyword arguments replace members."""

    def make(**members: Any) -> dict[str, Any]:
        name = sagemaker.cloud.name("process")
        output = {
            "S3Uri": f"s3://{sagemaker.bucket}/evaluations/{name}/",
            "LocalPath": "/opt/ml/processing/output",
            "S3UploadMode": "EndOfJob",
        }
        request = {
            "ProcessingJobName": name,
            "AppSpecification": {"ImageUri": WORKER, "ContainerArguments": ["evaluate"]},
            "RoleArn": sagemaker.role,
            "ProcessingResources": {
                "ClusterConfig": {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 10}
            },
            "ProcessingOutputConfig": {"Outputs": [{"OutputName": "output", "S3Output": output}]},
            "StoppingCondition": {"MaxRuntimeInSeconds": 600},
        }
        return {**request, **members}

    return make


TEMPLATE = """<script src="https://assets.crowd.aws/crowd-html-elements.js"></script>
<crowd-form>
  <crowd-bounding-box name="annotatedResult" src="{{ task.input.taskObject | grant_read_access }}"
    header="Draw a box around each object" labels="{{ task.input.labels | to_json | escape }}">
    <full-instructions header="How to">Draw tight boxes.</full-instructions>
    <short-instructions>Draw tight boxes.</short-instructions>
  </crowd-bounding-box>
</crowd-form>
"""


def label(
    sagemaker: SageMaker,
    lines: list[dict[str, Any]] | str | None = None,
    categories: list[str] | None = None,
    workers: int = 1,
    **members: Any,
) -> dict[str, Any]:
    """A CreateLabelingJob request; `lines` and `categories` are put to S3, other arguments replace members."""
    name = sagemaker.cloud.name("label")
    if lines is None:  # an image that the workforce has heard of: a job over unknown images alone stays open
        lines = [{"source-ref": f"s3://{sagemaker.bucket}/raw-images/none/1.jpg"}]
        known = {
            "categories": [{"id": 1, "name": "tree"}],
            "images": [{"id": 1, "file_name": "1.jpg"}],
            "annotations": [],
        }
        sagemaker.put("ground-truth-jobs/known-boxes/none.json", json.dumps(known))
    text = lines if isinstance(lines, str) else "".join(json.dumps(line) + "\n" for line in lines)
    manifest = sagemaker.put(f"ground-truth-jobs/{name}/input.manifest", text)
    labels = [{"label": label} for label in categories or ["tree", "car"]]
    config = json.dumps({"document-version": "2018-11-28", "labels": labels})
    lambdas = "arn:aws:lambda:us-east-1:432418664414:function:"
    request = {
        "LabelingJobName": name,
        "LabelAttributeName": "boxes",
        "InputConfig": {"DataSource": {"S3DataSource": {"ManifestS3Uri": manifest}}},
        "OutputConfig": {"S3OutputPath": f"s3://{sagemaker.bucket}/ground-truth-jobs/"},
        "RoleArn": sagemaker.role,
        "LabelCategoryConfigS3Uri": sagemaker.put(f"ground-truth-jobs/{name}/categories.json", config),
        "HumanTaskConfig": {
            "WorkteamArn": sagemaker.cloud.arn("sagemaker", "workteam/private-crowd/us"),
            "UiConfig": {"UiTemplateS3Uri": sagemaker.put(f"ground-truth-jobs/{name}/instructions.liquid", TEMPLATE)},
            "PreHumanTaskLambdaArn": f"{lambdas}PRE-BoundingBox",
            "TaskTitle": "Draw boxes",
            "TaskDescription": "Draw a box around each object",
            "NumberOfHumanWorkersPerDataObject": workers,
            "TaskTimeLimitInSeconds": 600,
            "AnnotationConsolidationConfig": {"AnnotationConsolidationLambdaArn": f"{lambdas}ACS-BoundingBox"},
        },
    }
    return {**request, **members}


@pytest.fixture
def labeling_request(sagemaker: SageMaker) -> Callable[..., dict[str, Any]]:
    """`label` for the session's cloud."""
    return partial(label, sagemaker)


@pytest.fixture
def package_request(sagemaker: SageMaker) -> Callable[..., dict[str, Any]]:
    """A CreateModelPackage request in a group of its own; keyword arguments replace members."""

    def make(**members: Any) -> dict[str, Any]:
        group = sagemaker.cloud.name("group")
        sagemaker.api.create_model_package_group(ModelPackageGroupName=group)
        container = {"Image": WORKER, "ModelDataUrl": sagemaker.put("packages/model.tar.gz", b"weights")}
        request = {
            "ModelPackageGroupName": group,
            "InferenceSpecification": {
                "Containers": [container],
                "SupportedContentTypes": ["image/jpeg"],
                "SupportedResponseMIMETypes": ["application/json"],
            },
        }
        return {**request, **members}

    return make
