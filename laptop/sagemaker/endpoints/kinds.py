"""The three kinds of resources that make an endpoint; List answers with the newest first."""

from __future__ import annotations

from laptop.sagemaker.core import errors
from laptop.sagemaker.core.context import Context
from laptop.sagemaker.core.resources import Kind


class Kinds:
    """Models, endpoint configs and endpoints of one cloud."""

    def __init__(self, context: Context) -> None:
        self.models = _kind(context, "model", "model", "ModelName", "Models")
        self.configs = _kind(
            context, "endpoint-config", "endpoint configuration", "EndpointConfigName", "EndpointConfigs"
        )
        self.endpoints = _kind(context, "endpoint", "endpoint", "EndpointName", "Endpoints", "EndpointStatus")


def _kind(context: Context, name: str, words: str, member: str, summaries: str, status: str = "") -> Kind:
    return Kind(
        context,
        name,
        member,
        summaries,
        taken=lambda arn: errors.validation(f'Cannot create already existing {words} "{arn}".'),
        missing=lambda _, arn: errors.validation(f'Could not find {words} "{arn}".'),
        status=status,
        default_order="Descending",
    )
