"""How deploy names endpoint configs, finds them again, and what it writes in them."""

from __future__ import annotations

import hashlib

import pytest

from tests.infra.expressions import accepted, run, state


def has_gpu(type_: str) -> bool:
    return bool(run(state("deploy", "Begin", EndpointInstanceType=type_)["Assign"]["has_gpu"]))


@pytest.mark.parametrize(("config", "version"), [("skyloop-dev-v12", 12), ("made-by-hand", 0), ("a-v2-b", 0)])
def test_version_in_service_is_read_from_the_config(config: str, version: int) -> None:
    result = {"EndpointStatus": "InService", "EndpointConfigName": config}
    assign = run(state("deploy", "DescribeEndpoint")["Assign"], result=result)
    assert assign["serving_version"] == version
    assert assign["endpoint"] == result


@pytest.mark.parametrize(
    ("type_", "count", "config"),
    [
        ("ml.m5.xlarge", 2, "skyloop-dev-v2"),
        ("ml.m5.xlarge", 1, "skyloop-dev-v2-OTHER"),
        ("ml.c5.xlarge", 2, "skyloop-dev-v2-OTHER"),
    ],
)
def test_other_instances_are_another_config(type_: str, count: int, config: str) -> None:
    former = {"ProductionVariants": [{"InstanceType": type_, "InitialInstanceCount": count}]}
    settings = {"EndpointInstanceType": "ml.m5.xlarge", "EndpointInstanceCount": "2"}
    read = state("deploy", "DescribeFormerConfig", **settings)["Assign"]["config"]
    made = run(read, {"first_config": "skyloop-dev-v2", "has_gpu": has_gpu("ml.m5.xlarge")}, result=former)
    digest = hashlib.sha256(b"2 ml.m5.xlarge").hexdigest()[:8]
    assert made == config.replace("OTHER", digest)
    serving = run(state("deploy", "DescribeEndpoint")["Assign"]["serving_version"], result={"EndpointConfigName": made})
    assert serving == 2


@pytest.mark.parametrize(
    ("type_", "ami"),
    [
        ("ml.g4dn.xlarge", "al2023-ami-sagemaker-inference-gpu-4-1"),
        ("ml.g5.2xlarge", "al2023-ami-sagemaker-inference-gpu-4-1"),
        ("ml.p3.2xlarge", None),  # CUDA 13 knows no GPU of it
        ("ml.p4d.24xlarge", "al2023-ami-sagemaker-inference-gpu-4-1"),
        ("ml.c7i.large", None),
        ("ml.inf2.xlarge", None),
    ],
)
def test_a_gpu_gets_the_driver_that_the_image_needs(type_: str, ami: str | None) -> None:
    made = state("deploy", "CreateEndpointConfig", EndpointInstanceType=type_, EndpointInstanceCount="2")["Arguments"]
    arguments = run(made, {"config": "skyloop-dev-v2", "correlation_id": "c-1", "has_gpu": has_gpu(type_)})
    accepted("sagemaker", "CreateEndpointConfig", arguments)
    (variant,) = arguments["ProductionVariants"]
    assert (variant["InstanceType"], variant["InitialInstanceCount"]) == (type_, 2)
    assert variant.get("InferenceAmiVersion") == ami


@pytest.mark.parametrize(("ami", "name"), [({}, "v-"), ({"InferenceAmiVersion": "al2023-x"}, "v")])
def test_a_gpu_config_without_its_driver_is_not_used_again(ami: dict[str, str], name: str) -> None:
    former = {"ProductionVariants": [{"InstanceType": "ml.g5.xlarge", "InitialInstanceCount": 2, **ami}]}
    settings = {"EndpointInstanceType": "ml.g5.xlarge", "EndpointInstanceCount": "2"}
    read = state("deploy", "DescribeFormerConfig", **settings)["Assign"]["config"]
    made = run(read, {"first_config": "v", "has_gpu": has_gpu("ml.g5.xlarge")}, result=former)
    assert made == (name if ami else name + hashlib.sha256(b"2 ml.g5.xlarge").hexdigest()[:8])


def test_a_config_is_found_by_its_whole_name() -> None:
    names = [{"EndpointConfigName": f"skyloop-dev-v{number}"} for number in (10, 12)]
    find = state("deploy", "FindFormerConfig")
    accepted("sagemaker", "ListEndpointConfigs", run(find["Arguments"], {"first_config": "skyloop-dev-v1"}))
    for name, found, there in (
        ("skyloop-dev-v1", names, False),
        ("skyloop-dev-v12", names, True),
        ("skyloop-dev-v1", [], False),
    ):
        result = {"EndpointConfigs": found}
        assert run(find["Assign"]["config_there"], {"first_config": name}, result=result) is there
