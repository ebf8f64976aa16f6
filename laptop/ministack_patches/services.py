"""The services that MiniStack does not have: SageMaker and Application Auto Scaling, answered by `laptop.sagemaker`."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import unquote

from laptop.ministack_patches.registry import hook

_RUNTIME = re.compile(r"^/endpoints/([^/]+)/(async-)?invocations")
_QUEUE_URL_PORT = "4566"
_TARGETS = {"sagemaker": "SageMaker.", "application-autoscaling": "AnyScaleFrontendService."}

# Resource of an action by the request member that names it: SageMaker's page of the service authorization reference.
_SAGEMAKER_RESOURCES = (
    ("LabelingJobName", "labeling-job"),
    ("TrainingJobName", "training-job"),
    ("ProcessingJobName", "processing-job"),
    ("ModelPackageGroupName", "model-package-group"),
    ("EndpointConfigName", "endpoint-config"),
    ("EndpointName", "endpoint"),
    ("ModelName", "model"),
)
# Actions that are checked on another resource than the first that their request names.
_SAGEMAKER_MAIN_RESOURCE = {"CreateEndpoint": "endpoint", "UpdateEndpoint": "endpoint"}
_UNSCOPED = ("List", "Search")


def prepare() -> None:
    """Register both services with MiniStack's router and its IAM tables."""
    from ministack import app
    from ministack.core import iam_actions, router
    from ministack.services import sqs

    for name, target in _TARGETS.items():
        app.SERVICE_HANDLERS[name] = _handle_request
        router.SERVICE_PATTERNS[name] = {"target_prefixes": [target], "credential_scope": name}
        iam_actions.SERVICE_TO_IAM_NAMESPACE[name] = name
    # MiniStack keys queues by their URL, port included; a stack's queue URLs must outlive a change of port.
    sqs.DEFAULT_PORT = _QUEUE_URL_PORT


async def _handle_request(
    method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]
) -> tuple[int, dict[str, str], bytes]:
    """The local services, once the caller may pass the roles in its request (their other checks MiniStack makes)."""
    from laptop.ministack_patches import authorization
    from laptop.sagemaker import service

    if not _RUNTIME.match(path) and (message := authorization.pass_role_refusal(headers, body)):
        answer = json.dumps({"__type": "AccessDeniedException", "message": message}).encode()
        return 400, {"Content-Type": "application/x-amz-json-1.1", "x-amzn-ErrorType": "AccessDeniedException"}, answer
    return await service.handle_request(method, path, headers, body, query)


@hook(
    "app:fix_error_content_type",
    because="MiniStack writes over the Content-Type of a model's own answer",
    proof="test_services.py::test_a_models_answer_keeps_its_content_type",
)
@hook(
    "app:fix_success_content_type",
    because="MiniStack writes over the Content-Type of a model's own answer",
    proof="test_services.py::test_a_models_answer_keeps_its_content_type",
)
def _content_type(original: Any, service: str, status: int, headers: dict[str, str]) -> None:
    if service != "sagemaker":  # which gives every answer its type itself
        original(service, status, headers)


@hook(
    "core.iam_actions:extract_iam_action",
    because="SageMaker's runtime names its operation by path, which MiniStack cannot read for a service it lacks; "
    "and it asks for sqs:SendMessageBatch, an action that does not exist",
    proof="test_authorization.py::test_invoke_endpoint_needs_its_permission",
)
def _iam_action(
    original: Any, service: str, method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]
) -> str | None:
    if service in _TARGETS:
        if _RUNTIME.match(path):
            return "sagemaker:InvokeEndpoint"
        return f"{service}:{headers.get('x-amz-target', '').partition('.')[2]}"
    action = original(service, method, path, headers, body, query)
    # Service authorization reference, Amazon SQS: the batch operations are granted by the single ones' actions.
    return action.removesuffix("Batch") if service == "sqs" and action else action


@hook(
    "core.iam_actions:extract_resource_arn",
    because="MiniStack cannot know the resources of a service it lacks and would check every action against *; and it "
    "does so with DescribeAlarms, which AWS checks on the alarms",
    proof="test_authorization.py::test_sagemaker_actions_are_checked_on_their_resource",
)
def _resource_arn(
    original: Any,
    service: str,
    method: str,
    path: str,
    headers: dict[str, str],
    body: bytes,
    query: dict[str, Any],
    region: str,
    account: str,
) -> str:
    operation = headers.get("x-amz-target", "").rpartition(".")[2] or (query.get("Action") or [""])[0]
    if (service, operation) == ("monitoring", "DescribeAlarms"):
        return f"arn:aws:cloudwatch:{region}:{account}:alarm:*"
    if service not in _TARGETS:
        return original(service, method, path, headers, body, query, region, account)
    if endpoint := _RUNTIME.match(path):
        return f"arn:aws:sagemaker:{region}:{account}:endpoint/{unquote(endpoint[1]).lower()}"
    try:
        request = json.loads(body or b"{}")
    except ValueError:
        return "*"
    return resource_of(service, operation, request if isinstance(request, dict) else {}, region, account)


def resource_of(service: str, operation: str, request: dict[str, Any], region: str, account: str) -> str:
    """The ARN that a SageMaker or Application Auto Scaling action is authorized on, ``*`` where it has none.

    Names in SageMaker's ARNs are lower case.
    """
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
    kinds = dict(_SAGEMAKER_RESOURCES)
    wanted = _SAGEMAKER_MAIN_RESOURCE.get(operation)
    for member, kind in kinds.items():
        if request.get(member) and wanted in (None, kind):
            return f"{base}{kind}/{_plain(request[member])}"
    return "*"


def _plain(name_or_arn: Any) -> str:
    return str(name_or_arn).rpartition("/")[2].lower()
