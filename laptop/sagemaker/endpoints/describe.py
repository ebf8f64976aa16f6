"""How an endpoint is shown: by DescribeEndpoint and by its EventBridge events.

Source of the events: "Events that Amazon SageMaker AI sends to Amazon EventBridge", endpoint state change and endpoint
deployment state change: statuses in capitals (`IN_SERVICE`, where the API says `InService`), times as epoch
milliseconds in a float.
"""

from __future__ import annotations

import re
import time
from typing import Any

from laptop.sagemaker.core import events
from laptop.sagemaker.core.context import Context
from laptop.sagemaker.core.store import Record
from laptop.sagemaker.endpoints.instances import Fleet


def variant(configured: Record, instances: int) -> Record:
    """A ProductionVariantSummary of a configured variant (its model resolved) that has so many instances now."""
    image = configured["_container"]["Image"]
    summary = {
        "VariantName": configured["VariantName"],
        # AWS resolves the tag to a digest; there is no registry here to ask.
        "DeployedImages": [{"SpecifiedImage": image, "ResolvedImage": image, "ResolutionTime": time.time()}],
        "CurrentWeight": configured["InitialVariantWeight"],
        "DesiredWeight": configured["InitialVariantWeight"],
        "CurrentInstanceCount": instances,
        "DesiredInstanceCount": configured["InitialInstanceCount"],
    }
    if "RoutingConfig" in configured:
        summary["RoutingConfig"] = configured["RoutingConfig"]
    return summary


def instance_counts(config: Record) -> dict[str, int]:
    """How many instances an endpoint config asks for, by variant."""
    return {variant["VariantName"]: variant["InitialInstanceCount"] for variant in config["ProductionVariants"]}


def in_service(fleet: Fleet) -> Record:
    """The fields of an endpoint's record that say which config is in service. None stands for a field to remove."""
    config = fleet.config
    fields: Record = {
        "EndpointConfigName": config["EndpointConfigName"],
        "_config": config,
        "ProductionVariants": [
            variant(configured, len(fleet.variants[configured["VariantName"]].instances))
            for configured in config["ProductionVariants"]
        ],
        "DataCaptureConfig": None,
    }
    if captured := config.get("DataCaptureConfig"):
        enabled = captured.get("EnableCapture", True)
        fields["DataCaptureConfig"] = {
            "EnableCapture": enabled,
            "CaptureStatus": "Started" if enabled else "Stopped",
            "CurrentSamplingPercentage": captured["InitialSamplingPercentage"],
            "DestinationS3Uri": captured["DestinationS3Uri"],
            "KmsKeyId": captured.get("KmsKeyId", ""),
        }
    return fields


def announce(context: Context, record: Record) -> None:
    """Emit "SageMaker Endpoint State Change" for an endpoint as it is now."""
    events.emit(context, "SageMaker Endpoint State Change", _detail(record), record["EndpointArn"])


def announce_deployment(context: Context, record: Record) -> None:
    """Emit "SageMaker Endpoint Deployment State Change" for the deployment in progress."""
    detail = {**_detail(record), "PendingDeploymentSummary": _in_milliseconds(record["PendingDeploymentSummary"])}
    events.emit(context, "SageMaker Endpoint Deployment State Change", detail, record["EndpointArn"])


def _detail(record: Record) -> Record:
    """The detail both events share. The status is written in capitals here, where the API writes `InService`."""
    members = ("EndpointName", "EndpointArn", "EndpointConfigName", "FailureReason")
    return {
        **events.detail(record, members, ("CreationTime", "LastModifiedTime"), _milliseconds),
        "ProductionVariants": _in_milliseconds(record.get("ProductionVariants", [])),
        "EndpointStatus": re.sub(r"(?<=[a-z])(?=[A-Z])", "_", record["EndpointStatus"]).upper(),
    }


def _milliseconds(seconds: float) -> float:
    return float(events.milliseconds(seconds))


def _in_milliseconds(value: Any) -> Any:
    """A copy of part of a record with its times as events write them."""
    if isinstance(value, dict):
        return {
            name: _milliseconds(item) if name.endswith("Time") else _in_milliseconds(item)
            for name, item in value.items()
        }
    return [_in_milliseconds(item) for item in value] if isinstance(value, list) else value
