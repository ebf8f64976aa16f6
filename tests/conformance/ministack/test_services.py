"""The services that MiniStack lacks answer on its port."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from laptop.ministack_patches.services import _content_type


def test_sagemaker_answers_by_its_own_errors(cloud: Any) -> None:
    with pytest.raises(ClientError, match="ValidationException"):
        cloud.client("sagemaker").describe_endpoint(EndpointName="no-such-endpoint")


def test_application_autoscaling_answers(cloud: Any) -> None:
    client = cloud.client("application-autoscaling")
    assert client.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"] == []
    with pytest.raises(client.exceptions.ObjectNotFoundException):
        client.deregister_scalable_target(
            ServiceNamespace="sagemaker",
            ResourceId="endpoint/none/variant/none",
            ScalableDimension="sagemaker:variant:DesiredInstanceCount",
        )


def test_an_endpoint_that_does_not_exist_cannot_be_invoked(cloud: Any) -> None:
    client = cloud.client("sagemaker-runtime")
    with pytest.raises(ClientError) as refused:
        client.invoke_endpoint(EndpointName="no-such-endpoint", Body=b"x")
    assert refused.value.response["Error"]["Code"] == "ValidationError"
    headers = refused.value.response["ResponseMetadata"]["HTTPHeaders"]
    assert headers["content-type"] == "application/json"


def test_a_models_answer_keeps_its_content_type() -> None:
    # Through a whole endpoint: tests/conformance/endpoints/test_endpoints.py. Here, that nothing is written over.
    written: list[str] = []

    def original(service: str, status: int, headers: dict[str, str]) -> None:
        written.append(service)

    _content_type(original, "sagemaker", 200, {"Content-Type": "application/json"})
    _content_type(original, "dynamodb", 200, {})
    assert written == ["dynamodb"]
