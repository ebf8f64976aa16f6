"""What the tests of hosting share: a container that tests steer, a bucket, a role, and short ways to make things."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.conformance.conftest import event_queue, settings_file, take, wait_until

CONTAINER = Path(__file__).parent / "container"
IMAGE = "000000000000.dkr.ecr.us-east-1.amazonaws.com/hosting-container:1"


@dataclass
class Hosting:
    """A cloud in which endpoints can be made."""

    cloud: Any
    role: str
    bucket: str
    endpoints: list[str] = field(default_factory=list)

    @property
    def api(self) -> Any:
        return self.cloud.client("sagemaker")

    def model(self, **environment: str) -> str:
        """A model of the container; its name is its MODEL_NAME, its one weight file says `weights of <name>`."""
        name = self.cloud.name("model")
        self.api.create_model(
            ModelName=name,
            ExecutionRoleArn=self.role,
            PrimaryContainer={
                "Image": IMAGE,
                "ModelDataUrl": self.data(f"{name}.tar.gz", weights=f"weights of {name}"),
                "Environment": {"MODEL_NAME": name, **environment},
            },
        )
        return name

    def data(self, key: str, weights: str) -> str:
        """A model.tar.gz in the bucket; its URI."""
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w:gz") as tar:
            item = tarfile.TarInfo("weights.txt")
            item.size = len(weights)
            tar.addfile(item, io.BytesIO(weights.encode()))
        self.cloud.client("s3").put_object(Bucket=self.bucket, Key=key, Body=archive.getvalue())
        return f"s3://{self.bucket}/{key}"

    def variant(self, model: str, name: str = "AllTraffic", count: int = 1, **members: Any) -> dict[str, Any]:
        """A ProductionVariant."""
        chosen = {"VariantName": name, "ModelName": model, "InitialInstanceCount": count, "InstanceType": "ml.m5.large"}
        return {**chosen, **members}

    def config(self, *variants: dict[str, Any], **members: Any) -> str:
        """An endpoint config; its name."""
        name = self.cloud.name("config")
        self.api.create_endpoint_config(EndpointConfigName=name, ProductionVariants=list(variants), **members)
        return name

    def create(self, config: str, **members: Any) -> str:
        """An endpoint that is being created; its name."""
        name = self.cloud.name("endpoint")
        self.endpoints.append(name)
        self.api.create_endpoint(EndpointName=name, EndpointConfigName=config, **members)
        return name

    def serving(self, count: int = 1, **environment: str) -> str:
        """An endpoint in service with one variant."""
        name = self.create(self.config(self.variant(self.model(**environment), count=count)))
        return self.in_service(name)

    def in_service(self, name: str) -> str:
        """Wait until an endpoint is InService."""
        self.until(name, "InService")
        return name

    def until(self, name: str, status: str) -> dict[str, Any]:
        """Wait for a status; the description then."""
        described: dict[str, Any] = {}

        def reached() -> bool:
            described.update(self.describe(name))
            return described["EndpointStatus"] == status

        wait_until(reached, what=f"{name} {status}")
        return self.describe(name)

    def describe(self, name: str) -> dict[str, Any]:
        return self.api.describe_endpoint(EndpointName=name)

    def invoke(self, name: str, body: bytes | str = b"hello", **members: Any) -> dict[str, Any]:
        """What the container answers, parsed."""
        return json.load(self.answer(name, body, **members)["Body"])

    def answer(self, name: str, body: bytes | str = b"hello", **members: Any) -> dict[str, Any]:
        """What InvokeEndpoint answers."""
        return self.cloud.client("sagemaker-runtime").invoke_endpoint(EndpointName=name, Body=body, **members)

    def gone(self, name: str) -> bool:
        try:
            self.describe(name)
        except ClientError as error:
            return "Could not find endpoint" in error.response["Error"]["Message"]
        return False


def make_hosting(cloud: Any) -> Hosting:
    """Prepare a cloud for hosting: image, quota, role, bucket. Deployments bake for as long as they are asked to."""
    settings_file(cloud, "images", {"hosting-container": str(CONTAINER)})
    settings_file(cloud, "sagemaker", {"endpoint_instances": 30, "bake_speed": 1})
    trust = {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}
    role = cloud.client("iam").create_role(
        RoleName=cloud.name("hosting"),
        AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}),
    )["Role"]
    bucket = cloud.name("hosting")
    cloud.client("s3").create_bucket(Bucket=bucket)
    cloud.client("s3").put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={"EventBridgeConfiguration": {}}
    )
    actions = ["s3:GetObject", "s3:PutObject"]
    allowed = {"Effect": "Allow", "Action": actions, "Resource": f"arn:aws:s3:::{bucket}/*"}
    actions = ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"]
    logs = {"Effect": "Allow", "Action": actions, "Resource": cloud.arn("logs", "log-group:/aws/sagemaker/Endpoints/*")}
    cloud.client("iam").put_role_policy(
        RoleName=role["RoleName"],
        PolicyName="read",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [allowed, logs]}),
    )
    return Hosting(cloud, role["Arn"], bucket)


@pytest.fixture(scope="session")
def prepared(cloud: Any) -> Hosting:
    return make_hosting(cloud)


@pytest.fixture
def hosting(prepared: Hosting) -> Iterator[Hosting]:
    """Hosting whose endpoints are deleted after the test: each of their instances is a process of this machine."""
    prepared.endpoints.clear()
    yield prepared
    for name in prepared.endpoints:
        if not prepared.gone(name):
            status = prepared.describe(name)["EndpointStatus"]
            wait_until(lambda name=name: not _in_progress(prepared, name), what=f"{name} to settle (was {status})")
            prepared.api.delete_endpoint(EndpointName=name)
            wait_until(lambda name=name: prepared.gone(name), what=f"{name} to be deleted")


def _in_progress(hosting: Hosting, name: str) -> bool:
    return hosting.describe(name)["EndpointStatus"] in ("Creating", "Updating", "RollingBack", "Deleting")


@pytest.fixture(scope="session")
def listener(cloud: Any) -> Callable[[Callable[[dict[str, Any]], bool]], list[dict[str, Any]]]:
    """Every event of SageMaker and S3 since the session began: call it with a filter; oldest first."""
    queue = event_queue(cloud, {"source": ["aws.sagemaker", "aws.s3"]})
    seen: list[dict[str, Any]] = []

    def events(wanted: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
        seen.extend(take(cloud, queue))
        return [event for event in seen if wanted(event)]

    return events
