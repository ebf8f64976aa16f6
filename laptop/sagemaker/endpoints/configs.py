"""Endpoint configs: which models serve, on how many instances, with what weights, and what is captured."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from laptop.sagemaker.core import context, errors, tags
from laptop.sagemaker.core.store import Record, page, select
from laptop.sagemaker.endpoints import models

KIND = "endpoint-config"

_UNSUPPORTED = (
    "AsyncInferenceConfig", "ExplainerConfig", "ShadowProductionVariants", "ExecutionRoleArn", "VpcConfig",
    "EnableNetworkIsolation", "MetricsConfig",
)  # fmt: skip
_UNSUPPORTED_IN_VARIANT = (
    "InstancePools", "AcceleratorType", "CoreDumpConfig", "ServerlessConfig", "ManagedInstanceScaling",
    "CapacityReservationConfig",
)  # fmt: skip


def create_endpoint_config(request: dict[str, Any]) -> dict[str, Any]:
    """Create a config; its models must exist. Weights default to 1."""
    here = context.current()
    for member in _UNSUPPORTED:
        if request.get(member):
            raise errors.unsupported_operation(member)
    variants = request["ProductionVariants"]
    repeated = [name for name, count in Counter(variant["VariantName"] for variant in variants).items() if count > 1]
    if repeated:
        raise errors.validation(f"Duplicate production variant names found: {', '.join(repeated)}.")
    for variant in variants:
        _check_variant(variant)
    tags.check(request.get("Tags", []))
    capture = request.get("DataCaptureConfig")
    if capture:
        _check_capture(capture)
    name = request["EndpointConfigName"]
    arn = here.arn("endpoint-config", name)
    record = {
        **request,
        "ProductionVariants": [{"InitialVariantWeight": 1.0, **variant} for variant in variants],
        "EndpointConfigArn": arn,
        "CreationTime": time.time(),
    }
    try:
        here.store.create(KIND, name, record)
    except KeyError as error:
        raise errors.validation(f'Cannot create already existing endpoint configuration "{arn}".') from error
    return {"EndpointConfigArn": arn}


def describe_endpoint_config(request: dict[str, Any]) -> dict[str, Any]:
    """The config as it was created."""
    return get(request["EndpointConfigName"])


def list_endpoint_configs(request: dict[str, Any]) -> dict[str, Any]:
    """One page of configs, newest first by default."""
    chosen = select(context.current().store.all(KIND), request, name="EndpointConfigName")
    return page(chosen, request, "EndpointConfigs")


def delete_endpoint_config(request: dict[str, Any]) -> dict[str, Any]:
    """Forget a config. As on AWS, one that is in service may be deleted, and its endpoint can then not be updated."""
    get(request["EndpointConfigName"])
    context.current().store.delete(KIND, request["EndpointConfigName"])
    return {}


def get(name: str) -> Record:
    """A config's record. Raises ValidationException."""
    here = context.current()
    record = here.store.get(KIND, name)
    if record is None:
        raise errors.validation(f'Could not find endpoint configuration "{here.arn("endpoint-config", name)}".')
    return record


def _check_variant(variant: dict[str, Any]) -> None:
    for member in _UNSUPPORTED_IN_VARIANT:
        if member in variant:
            raise errors.unsupported_operation(f"ProductionVariants.{member}")
    for member in ("ModelName", "InstanceType", "InitialInstanceCount"):
        if member not in variant:
            raise errors.validation(f"{member} must be specified for production variant {variant['VariantName']}.")
    strategy = variant.get("RoutingConfig", {}).get("RoutingStrategy", "RANDOM")
    if strategy not in ("RANDOM", "LEAST_OUTSTANDING_REQUESTS"):
        raise errors.unsupported_operation(f"RoutingStrategy {strategy}")
    models.get(variant["ModelName"])


def _check_capture(capture: dict[str, Any]) -> None:
    if not capture["DestinationS3Uri"].startswith("s3://"):
        raise errors.validation(f"DestinationS3Uri {capture['DestinationS3Uri']} must start with s3://.")
    modes = [option["CaptureMode"] for option in capture["CaptureOptions"]]
    if len(set(modes)) != len(modes):
        raise errors.validation("Duplicate capture modes found in CaptureOptions.")


OPERATIONS = {
    "CreateEndpointConfig": create_endpoint_config,
    "DescribeEndpointConfig": describe_endpoint_config,
    "ListEndpointConfigs": list_endpoint_configs,
    "DeleteEndpointConfig": delete_endpoint_config,
}
