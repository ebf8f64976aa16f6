"""The three kinds of resources that make an endpoint; List answers with the newest first."""

from __future__ import annotations

from laptop.sagemaker.core import errors
from laptop.sagemaker.core.resources import Kind


def _kind(name: str, words: str, member: str, summaries: str, status: str = "") -> Kind:
    return Kind(
        name,
        member,
        summaries,
        taken=lambda arn: errors.validation(f'Cannot create already existing {words} "{arn}".'),
        missing=lambda _, arn: errors.validation(f'Could not find {words} "{arn}".'),
        status=status,
        default_order="Descending",
    )


MODELS = _kind("model", "model", "ModelName", "Models")
CONFIGS = _kind("endpoint-config", "endpoint configuration", "EndpointConfigName", "EndpointConfigs")
ENDPOINTS = _kind("endpoint", "endpoint", "EndpointName", "Endpoints", "EndpointStatus")
