"""InvokeEndpoint: variants, errors, capture, metrics."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import time
from collections import Counter
from typing import Any

import pytest
from botocore.exceptions import ClientError

from laptop.account import read_keys
from tests.conformance.conftest import wait_until
from tests.support.signed import SignedRequest


@pytest.fixture
def two_variants(hosting: Any) -> Any:
    """(endpoint, model of variant a with weight 3, model of variant b with weight 1)"""
    a, b = hosting.model(), hosting.model()
    config = hosting.config(
        hosting.variant(a, "a", InitialVariantWeight=3), hosting.variant(b, "b", InitialVariantWeight=1)
    )
    return hosting.in_service(hosting.create(config)), a, b


def test_a_target_variant_is_obeyed(hosting: Any, two_variants: Any) -> None:
    name, a, b = two_variants
    for variant, model in (("a", a), ("b", b)):
        answers = [hosting.answer(name, TargetVariant=variant) for _ in range(8)]
        assert {answer["InvokedProductionVariant"] for answer in answers} == {variant}
        assert {json.load(answer["Body"])["model"] for answer in answers} == {model}


def test_weights_can_be_changed_in_service(hosting: Any, two_variants: Any) -> None:
    name, a, b = two_variants
    assert set(Counter(hosting.invoke(name)["model"] for _ in range(60))) == {a, b}
    hosting.api.update_endpoint_weights_and_capacities(
        EndpointName=name, DesiredWeightsAndCapacities=[{"VariantName": "a", "DesiredWeight": 0}]
    )
    description = hosting.until(name, "InService")
    assert [variant["CurrentWeight"] for variant in description["ProductionVariants"]] == [0.0, 1.0]
    assert {hosting.invoke(name)["model"] for _ in range(20)} == {b}


@pytest.mark.parametrize(("status", "side"), [(400, "client"), (418, "client"), (500, "server"), (302, "server")])
def test_a_container_that_refuses_is_a_model_error(hosting: Any, shared: str, status: int, side: str) -> None:
    with pytest.raises(ClientError) as caught:
        hosting.invoke(shared, f"status {status}")
    response = caught.value.response
    assert response["Error"]["Code"] == "ModelError"
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 424
    assert response["OriginalStatusCode"] == status
    assert response["OriginalMessage"] == '{"error": "as asked"}'
    group = f"/aws/sagemaker/Endpoints/{shared}"
    assert response["LogStreamArn"] == hosting.cloud.arn("logs", f"log-group:{group}")
    assert response["Error"]["Message"] == (
        f'Received {side} error ({status}) from primary with message "{{"error": "as asked"}}". See '
        f"https://us-east-1.console.aws.amazon.com/cloudwatch/home?region=us-east-1#logEventViewer:group={group} in "
        "account 000000000000 for more information."
    )


@pytest.fixture(scope="module")
def shared(prepared: Any) -> Any:
    """An endpoint that several tests only read."""
    name = prepared.serving()
    yield name
    prepared.api.delete_endpoint(EndpointName=name)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"TargetVariant": "other"}, "Variant other of endpoint .* not found"),
        ({"TargetModel": "m.tar.gz"}, "x-amzn-sagemaker-target-model is not implemented"),
        ({"InferenceId": "i" * 65}, "'inferenceId' failed to satisfy constraint: .* less than or equal to 64"),
        ({"CustomAttributes": "a" * 1025}, "'customAttributes' failed to satisfy constraint: .* equal to 1024"),
        ({"Body": b"x" * (25 * 1024 * 1024 + 1)}, "'body' failed to satisfy constraint: .* equal to 26214400"),
    ],
)
def test_requests_that_the_runtime_refuses(hosting: Any, shared: str, members: dict[str, Any], message: str) -> None:
    with pytest.raises(ClientError) as caught:
        hosting.answer(shared, **{"body": members.pop("Body", b"hello"), **members})
    assert caught.value.response["Error"]["Code"] == "ValidationError"
    assert re.search(message, caught.value.response["Error"]["Message"])


@pytest.mark.parametrize(
    ("header", "member"),
    [
        ("Accept", "accept"),
        ("Content-Type", "contentType"),
        ("X-Amzn-SageMaker-Custom-Attributes", "customAttributes"),
        ("X-Amzn-SageMaker-Inference-Id", "inferenceId"),
    ],
)
def test_headers_are_ascii(hosting: Any, shared: str, header: str, member: str) -> None:
    keys = read_keys(hosting.cloud.home)
    path = f"/endpoints/{shared}/invocations"
    request = SignedRequest(hosting.cloud.endpoint_url, "POST", path, b"hello", {header: "€"})
    request.sign(keys, "sagemaker").headers[header] = "€".encode()  # type: ignore[assignment]
    answer = request.send()
    assert answer.status == 400
    assert f"'{member}' failed to satisfy constraint: " in answer.body.decode()


def test_an_unknown_endpoint_is_refused(hosting: Any) -> None:
    with pytest.raises(ClientError) as caught:
        hosting.answer("nowhere")
    assert caught.value.response["Error"] == {
        "Code": "ValidationError",
        "Message": "Endpoint nowhere of account 000000000000 not found.",
    }


def test_metrics_reach_cloudwatch(hosting: Any) -> None:
    name = hosting.serving()
    for body in ("hello", "status 400", "status 500", "hello"):
        with contextlib.suppress(hosting.cloud.client("sagemaker-runtime").exceptions.ModelError):
            hosting.invoke(name, body)

    def sums() -> dict[str, float]:
        found = {}
        for metric in ("Invocations", "Invocation4XXErrors", "Invocation5XXErrors", "InvocationsPerInstance"):
            answer = hosting.cloud.client("cloudwatch").get_metric_statistics(
                Namespace="AWS/SageMaker",
                MetricName=metric,
                Dimensions=[{"Name": "EndpointName", "Value": name}, {"Name": "VariantName", "Value": "AllTraffic"}],
                StartTime=time.time() - 600,
                EndTime=time.time() + 60,
                Period=3600,
                Statistics=["Sum"],
            )
            found[metric] = sum(point["Sum"] for point in answer["Datapoints"])
        return found

    wait_until(lambda: sums()["Invocations"] == 4)
    assert sums() == {
        "Invocations": 4, "Invocation4XXErrors": 1, "Invocation5XXErrors": 1, "InvocationsPerInstance": 4
    }  # fmt: skip


def test_capture_is_written_as_sagemaker_writes_it(hosting: Any, listener: Any) -> None:
    capture = {
        "InitialSamplingPercentage": 100,
        "DestinationS3Uri": f"s3://{hosting.bucket}/monitoring/capture",
        "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
        "CaptureContentTypeHeader": {"JsonContentTypes": ["application/json"]},
    }
    config = hosting.config(hosting.variant(hosting.model()), DataCaptureConfig=capture)
    name = hosting.in_service(hosting.create(config))
    assert hosting.describe(name)["DataCaptureConfig"]["CaptureStatus"] == "Started"
    image = bytes(range(256))
    hosting.answer(name, image, ContentType="image/jpeg", InferenceId="raw-images/a/1.jpg", CustomAttributes="k=v")
    hosting.answer(name, b"{}", ContentType="application/json")
    s3 = hosting.cloud.client("s3")
    prefix = f"monitoring/capture/{name}/AllTraffic/"

    def lines() -> list[dict[str, Any]]:
        keys = [item["Key"] for item in s3.list_objects_v2(Bucket=hosting.bucket, Prefix=prefix).get("Contents", [])]
        bodies = [s3.get_object(Bucket=hosting.bucket, Key=key)["Body"].read().decode() for key in keys]
        return [json.loads(line) for body in bodies for line in body.splitlines()]

    first, second = wait_until(lambda: lines() if len(lines()) == 2 else None)
    assert first["captureData"]["endpointInput"] == {
        "observedContentType": "image/jpeg",
        "mode": "INPUT",
        "data": base64.b64encode(image).decode(),
        "encoding": "BASE64",
    }
    output = first["captureData"]["endpointOutput"]
    assert (output["observedContentType"], output["mode"], output["encoding"]) == ("application/json", "OUTPUT", "JSON")
    assert json.loads(output["data"])["bytes"] == 256
    assert first["eventMetadata"]["inferenceId"] == "raw-images/a/1.jpg"
    assert first["eventMetadata"]["customAttributes"] == ["k=v"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", first["eventMetadata"]["inferenceTime"])
    assert first["eventVersion"] == "0"
    assert second["captureData"]["endpointInput"]["data"] == "{}"

    def created() -> list[str]:
        events = listener(lambda event: event["detail-type"] == "Object Created")
        return [event["detail"]["object"]["key"] for event in events if prefix in event["detail"]["object"]["key"]]

    for key in wait_until(created):
        assert re.fullmatch(prefix + r"\d{4}/\d\d/\d\d/\d\d/\d\d-\d\d-\d{3}-[0-9a-f-]{36}\.jsonl", key)
