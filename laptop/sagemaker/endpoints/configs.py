"""Endpoint configs: which models serve, on how many instances, with what weights, and what is captured."""

from __future__ import annotations

import time
from collections import Counter
from typing import ClassVar

from laptop.documents import Document
from laptop.sagemaker.core import errors, tags
from laptop.sagemaker.core.context import Context
from laptop.sagemaker.core.room import Operations, Room
from laptop.sagemaker.endpoints.kinds import Kinds

_UNSUPPORTED = (
    "AsyncInferenceConfig", "ExplainerConfig", "ShadowProductionVariants", "ExecutionRoleArn", "VpcConfig",
    "EnableNetworkIsolation", "MetricsConfig",
)  # fmt: skip
_UNSUPPORTED_IN_VARIANT = (
    "InstancePools", "AcceleratorType", "CoreDumpConfig", "ServerlessConfig", "ManagedInstanceScaling",
    "CapacityReservationConfig",
)  # fmt: skip


class Configs(Room):
    """Endpoint configs."""

    def __init__(self, context: Context, kinds: Kinds) -> None:
        super().__init__(context)
        self._kinds = kinds

    def create(self, request: Document) -> Document:
        """Create a config; its models must exist. Weights default to 1."""
        for member in _UNSUPPORTED:
            if request.get(member):
                raise errors.unsupported_operation(member)
        variants = request["ProductionVariants"]
        repeated = [
            name for name, count in Counter(variant["VariantName"] for variant in variants).items() if count > 1
        ]
        if repeated:
            raise errors.validation(f"Duplicate production variant names found: {', '.join(repeated)}.")
        for variant in variants:
            self._check_variant(variant)
        tags.check(request.get("Tags", []))
        capture = request.get("DataCaptureConfig")
        if capture:
            _check_capture(capture)
        arn = self._kinds.configs.arn(request["EndpointConfigName"])
        self._kinds.configs.create(
            {
                **request,
                "ProductionVariants": [{"InitialVariantWeight": 1.0, **variant} for variant in variants],
                "EndpointConfigArn": arn,
                "CreationTime": time.time(),
            }
        )
        return {"EndpointConfigArn": arn}

    def describe(self, request: Document) -> Document:
        """The whole record."""
        return self._kinds.configs.describe(request)

    def list_configs(self, request: Document) -> Document:
        """One page of configs."""
        return self._kinds.configs.list(request)

    def delete(self, request: Document) -> Document:
        """Remove a config. As on AWS, one that is in service may go, and its endpoint can then not be updated."""
        return self._kinds.configs.delete(request)

    def _check_variant(self, variant: Document) -> None:
        for member in _UNSUPPORTED_IN_VARIANT:
            if member in variant:
                raise errors.unsupported_operation(f"ProductionVariants.{member}")
        for member in ("ModelName", "InstanceType", "InitialInstanceCount"):
            if member not in variant:
                raise errors.validation(f"{member} must be specified for production variant {variant['VariantName']}.")
        strategy = variant.get("RoutingConfig", {}).get("RoutingStrategy", "RANDOM")
        if strategy not in ("RANDOM", "LEAST_OUTSTANDING_REQUESTS"):
            raise errors.unsupported_operation(f"RoutingStrategy {strategy}")
        self._kinds.models.get(variant["ModelName"])

    OPERATIONS: ClassVar[Operations] = {
        "CreateEndpointConfig": create,
        "DescribeEndpointConfig": describe,
        "ListEndpointConfigs": list_configs,
        "DeleteEndpointConfig": delete,
    }


def _check_capture(capture: Document) -> None:
    if not capture["DestinationS3Uri"].startswith("s3://"):
        raise errors.validation(f"DestinationS3Uri {capture['DestinationS3Uri']} must start with s3://.")
    modes = [option["CaptureMode"] for option in capture["CaptureOptions"]]
    if len(set(modes)) != len(modes):
        raise errors.validation("Duplicate capture modes found in CaptureOptions.")
