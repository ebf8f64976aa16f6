"""Endpoints as clients see them: made, invoked, crashed, scaled, deleted."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil
import pytest
from botocore.exceptions import ClientError

from tests.conformance.conftest import settings_file, wait_until


def test_an_endpoint_serves_its_model(hosting: Any) -> None:
    model = hosting.model()
    name = hosting.create(hosting.config(hosting.variant(model)))
    assert hosting.describe(name)["EndpointStatus"] in ("Creating", "InService")
    description = hosting.until(name, "InService")
    assert description["EndpointArn"] == hosting.cloud.arn("sagemaker", f"endpoint/{name}")
    assert [
        (variant["VariantName"], variant["CurrentWeight"], variant["CurrentInstanceCount"])
        for variant in description["ProductionVariants"]
    ] == [("AllTraffic", 1.0, 1)]
    assert "FailureReason" not in description

    answer = hosting.answer(name, b"12345", ContentType="image/jpeg", Accept="application/json", CustomAttributes="a=1")
    assert answer["InvokedProductionVariant"] == "AllTraffic"
    assert answer["ContentType"] == "application/json"
    assert answer["CustomAttributes"] == "heard a=1"
    said = json.load(answer["Body"])
    del said["pid"]
    assert said == {
        "model": model,
        "weights": f"weights of {model}",
        "bytes": 5,
        "type": "image/jpeg",
        "accept": "application/json",
        "arguments": ["serve"],
        "region": "us-east-1",
    }


def test_its_log_reaches_cloudwatch(hosting: Any) -> None:
    name = hosting.serving()
    logs = hosting.cloud.client("logs")
    group = f"/aws/sagemaker/Endpoints/{name}"

    def messages() -> list[str]:
        try:
            return [event["message"] for event in logs.filter_log_events(logGroupName=group)["events"]]
        except logs.exceptions.ResourceNotFoundException:
            return []

    wait_until(lambda: any(message.startswith("serving model-") for message in messages()))
    stream = logs.describe_log_streams(logGroupName=group)["logStreams"][0]["logStreamName"]
    assert stream.startswith("AllTraffic/i-")


@pytest.fixture
def impatient(cloud: Any) -> Iterator[None]:
    """Containers must be healthy within a second: AWS's shortest limit is a minute, a long wait for a sure end."""
    settings_file(cloud, "sagemaker", {"container_startup_seconds": 1})
    yield
    settings_file(cloud, "sagemaker", {"container_startup_seconds": None})


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(("behavior", "count"), [("never healthy", 1), ("crashes", 2)])
def test_an_endpoint_that_never_gets_healthy_fails(hosting: Any, behavior: str, count: int) -> None:
    name = hosting.create(hosting.config(hosting.variant(hosting.model(BEHAVIOR=behavior), count=count)))
    description = hosting.until(name, "Failed")
    assert description["FailureReason"] == (
        "The primary container for production variant AllTraffic did not pass the ping health check. "
        "Please check CloudWatch logs for this endpoint."
    )
    with pytest.raises(ClientError, match=f"Endpoint {name} of account 000000000000 not found"):
        hosting.invoke(name)


def test_a_model_that_is_gone_fails_the_endpoint(hosting: Any) -> None:
    model = hosting.model()
    hosting.cloud.client("s3").delete_object(Bucket=hosting.bucket, Key=f"{model}.tar.gz")
    name = hosting.create(hosting.config(hosting.variant(model)))
    assert 'Failed to download model data for container "container_1"' in hosting.until(name, "Failed")["FailureReason"]


def test_a_crashed_instance_comes_back_while_the_other_serves(hosting: Any) -> None:
    name = hosting.serving(count=2)
    pids: set[int] = set()

    def both() -> bool:
        pids.add(hosting.invoke(name)["pid"])
        return len(pids) == 2

    wait_until(both)
    victim = min(pids)
    os.kill(victim, signal.SIGKILL)
    later: set[int] = set()

    def replaced() -> bool:
        with contextlib.suppress(hosting.cloud.client("sagemaker-runtime").exceptions.ModelError):
            later.add(hosting.invoke(name)["pid"])  # a request may meet the corpse before the router knows
        return len(later - pids) == 1

    wait_until(replaced)
    assert hosting.describe(name)["EndpointStatus"] == "InService"
    assert victim not in {hosting.invoke(name)["pid"] for _ in range(10)}


def test_an_instance_that_hangs_fails_the_requests_in_flight_on_it_and_no_others(hosting: Any) -> None:
    name = hosting.serving(count=2)
    pids: set[int] = set()
    wait_until(lambda: len(pids) == 2 or pids.add(hosting.invoke(name)["pid"]))
    os.kill(min(pids), signal.SIGSTOP)
    callers, seen, failed = 4, set(pids), []

    def call_until_replaced() -> None:
        while len(seen) == 2:
            try:
                seen.add(hosting.invoke(name)["pid"])
            except ClientError as error:
                failed.append(error)

    with ThreadPoolExecutor(callers) as pool:
        for caller in [pool.submit(call_until_replaced) for _ in range(callers)]:
            caller.result()
    assert not psutil.pid_exists(min(pids))
    assert len(failed) <= callers


def test_a_container_that_dies_of_a_request_is_a_model_error(hosting: Any) -> None:
    name = hosting.serving(count=2)
    with pytest.raises(ClientError) as caught:
        hosting.invoke(name, "die")
    assert caught.value.response["Error"]["Code"] == "ModelError"
    assert wait_until(lambda: _pid(hosting, name))


def _pid(hosting: Any, name: str) -> int | None:
    try:
        return hosting.invoke(name)["pid"]
    except ClientError:
        return None


def test_capacities_change_the_number_of_processes(hosting: Any) -> None:
    name = hosting.serving()
    for count in (3, 1):
        desired = [{"VariantName": "AllTraffic", "DesiredInstanceCount": count}]
        hosting.api.update_endpoint_weights_and_capacities(EndpointName=name, DesiredWeightsAndCapacities=desired)
        variant = hosting.until(name, "InService")["ProductionVariants"][0]
        assert (variant["CurrentInstanceCount"], variant["DesiredInstanceCount"]) == (count, count)
        assert _processes(hosting, name) == count
    hosting.invoke(name)


def _processes(hosting: Any, name: str) -> int:
    """Serving programs of an endpoint that run now, found by the folder each was given."""
    folder = str(hosting.cloud.home / "endpoints" / name)
    found = 0
    for process in psutil.process_iter(["cmdline"]):
        try:
            command = process.info["cmdline"] or []
            serving = command[1:2] == ["program.py"]
            found += serving and process.environ().get("SAGEMAKER_BASE_DIR", "").startswith(folder)
        except psutil.Error:
            continue
    return found


def test_deleting_ends_the_processes(hosting: Any) -> None:
    name = hosting.serving(count=2)
    assert _processes(hosting, name) == 2
    hosting.api.delete_endpoint(EndpointName=name)
    wait_until(lambda: hosting.gone(name))
    assert _processes(hosting, name) == 0
    assert not (hosting.cloud.home / "endpoints" / name).exists()


def test_listing_filters_and_pages(hosting: Any) -> None:
    config = hosting.config(hosting.variant(hosting.model()))
    names = [hosting.in_service(hosting.create(config)) for _ in range(2)]
    listed = hosting.api.list_endpoints(NameContains=names[0], StatusEquals="InService")["Endpoints"]
    assert [item["EndpointName"] for item in listed] == [names[0]]
    first = hosting.api.list_endpoints(MaxResults=1, SortBy="CreationTime", SortOrder="Descending")
    assert [item["EndpointName"] for item in first["Endpoints"]] == [names[1]]
    second = hosting.api.list_endpoints(
        MaxResults=1, SortBy="CreationTime", SortOrder="Descending", NextToken=first["NextToken"]
    )
    assert [item["EndpointName"] for item in second["Endpoints"]] == [names[0]]


def test_state_changes_are_events(hosting: Any, listener: Any) -> None:
    name = hosting.serving()
    hosting.api.delete_endpoint(EndpointName=name)
    wait_until(lambda: hosting.gone(name))
    arn = hosting.cloud.arn("sagemaker", f"endpoint/{name}")

    def events() -> list[dict[str, Any]]:
        return listener(lambda event: event["resources"] == [arn])

    wait_until(lambda: len(events()) == 3)
    assert {event["detail-type"] for event in events()} == {"SageMaker Endpoint State Change"}
    by_status = {event["detail"]["EndpointStatus"]: event["detail"] for event in events()}
    assert set(by_status) == {"CREATING", "IN_SERVICE", "DELETING"}
    detail = by_status["IN_SERVICE"]
    assert detail["EndpointName"] == name
    assert detail["EndpointArn"] == arn
    assert isinstance(detail["CreationTime"], float)
    assert detail["LastModifiedTime"] >= detail["CreationTime"] > 1.6e12
    assert detail["ProductionVariants"][0]["CurrentInstanceCount"] == 1
