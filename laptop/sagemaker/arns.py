"""Which resource a request of SageMaker or Application Auto Scaling is about, as an ARN.

A new operation whose request names its resource by a member that is not in the table below is authorized on `*`, so
that member belongs here.

Source: service authorization reference, "Actions, resources, and condition keys for Amazon SageMaker".
"""

from __future__ import annotations

from typing import Any

from laptop.documents import Document

# Resource of an action by the request member that names it.
_KINDS = {
    "LabelingJobName": "labeling-job",
    "TrainingJobName": "training-job",
    "ProcessingJobName": "processing-job",
    "ModelPackageGroupName": "model-package-group",
    "EndpointConfigName": "endpoint-config",
    "EndpointName": "endpoint",
    "ModelName": "model",
}
# Actions that are checked on another resource than the first that their request names.
_MAIN_KIND = {"CreateEndpoint": "endpoint", "UpdateEndpoint": "endpoint"}
_UNSCOPED = ("List", "Search")


def resource_of(service: str, operation: str, request: Document, region: str, account: str) -> str:
    """The ARN that an action is authorized on, `*` where it has none. Names in SageMaker's ARNs are lower case."""
    if service != "sagemaker":
        # Scalable targets' own ARNs are random ids; policies name them by a wildcard (arn:…:scalable-target/*).
        scopable = operation.startswith(("Register", "Put", "Deregister", "Delete", "Tag", "Untag", "ListTags"))
        return f"arn:aws:application-autoscaling:{region}:{account}:scalable-target/*" if scopable else "*"
    if operation.startswith(_UNSCOPED) and operation not in ("ListTags", "ListModelPackages"):
        return "*"
    base = f"arn:aws:sagemaker:{region}:{account}:"
    for member in ("ResourceArn", "ModelPackageArn"):
        if request.get(member):
            return str(request[member])
    if "ModelPackage" in operation and "Group" not in operation and operation != "ListModelPackages":
        if name := str(request.get("ModelPackageName") or ""):
            return name if name.startswith("arn:") else f"{base}model-package/{name.lower()}"
        return f"{base}model-package/{_plain(request.get('ModelPackageGroupName', ''))}/*"
    main_kind = _MAIN_KIND.get(operation)
    for member, kind in _KINDS.items():
        if request.get(member) and main_kind in (None, kind):
            return f"{base}{kind}/{_plain(request[member])}"
    return "*"


def _plain(name_or_arn: Any) -> str:
    return str(name_or_arn).rpartition("/")[2].lower()
