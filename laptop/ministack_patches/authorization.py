"""Role policies where MiniStack 1.5.33 does not check them: Step Functions' roles, PassRole, metric namespaces."""

from __future__ import annotations

import contextvars
import hashlib
import hmac
import json
import logging
import os
import re
from typing import Any
from urllib.parse import parse_qs

from ministack import app
from ministack.core import iam_actions, iam_evaluator, router
from ministack.core.responses import get_account_id, get_region
from ministack.services import stepfunctions, sts

from laptop.account import ACCOUNT_ID
from laptop.documents import Document
from laptop.door.signatures import Refused
from laptop.ministack_patches.actions import action_named, additional_checks
from laptop.ministack_patches.executions import CURRENT, failure
from laptop.ministack_patches.integrations import JOBS
from laptop.ministack_patches.operations import headers_of, input_shape, known_members
from laptop.ministack_patches.passed_roles import passed_roles, passed_to
from laptop.ministack_patches.patching import Original, patch
from laptop.sagemaker.arns import resource_of

log = logging.getLogger(__name__)
# Developer guide, "How Step Functions generates IAM policies for integrated services": the managed rule of each .sync.
_MANAGED_RULES = {job: f"StepFunctionsGetEventsForSageMaker{job}sRule" for job in JOBS}
_NESTED_RULE = "StepFunctionsGetEventsForStepFunctionsExecutionRule"
# What Step Functions calls the error of a refused call, by integration.
_DENIED = {
    "lambda": "Lambda.AWSLambdaException",
    "sns": "SNS.AuthorizationErrorException",
    "dynamodb": "DynamoDB.AmazonDynamoDBException",
    "sqs": "SQS.AmazonSQSException",
    "sagemaker": "SageMaker.AmazonSageMakerException",
    "states": "StepFunctions.AWSStepFunctionsException",
    "events": "EventBridge.AmazonEventBridgeException",
}


class _Origin:
    """Where a request came from, for policies: as it was, except that everything came over TLS.

    The laptop cloud speaks HTTP on the loopback interface only. To policies that refuse plain HTTP (those of the
    bucket and the queues) that has to count as the TLS it stands for, or nothing could be done at all.
    """

    def __init__(self) -> None:
        self._address: contextvars.ContextVar[str] = contextvars.ContextVar("address", default="127.0.0.1")

    def get(self) -> tuple[str, bool]:
        return self._address.get(), True

    def set(self, origin: tuple[str, bool]) -> None:
        self._address.set(origin[0])


def prepare() -> None:
    """Give MiniStack's policy evaluation the origin above (a module attribute rather than a function)."""
    iam_evaluator._request_origin = _Origin()


@patch(
    "core.iam_evaluator:_fnmatch_compile",
    because="MiniStack's * matches no line break, so the owner of a bucket may not read a key that has one",
    proof="test_authorization.py::test_a_wildcard_covers_every_key",
)
def _wildcards(original: Original, pattern: str, ignore_case: bool) -> re.Pattern[str]:
    compiled = original(pattern, ignore_case)
    return re.compile(compiled.pattern.removesuffix("$") + r"\Z", compiled.flags | re.DOTALL)


def session_credentials(role_arn: str, region: str, account: str, session: str) -> dict[str, str]:
    """The environment variables of a session of a role, the same ones each time in one home.

    They are the account's own where role policies are not enforced.
    """
    if not app.AUTH:
        return {name: os.environ[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    secret = os.environ["AWS_SECRET_ACCESS_KEY"].encode()

    def derive(what: str) -> str:
        text = f"{what}\n{region}\n{account}\n{session}\n{role_arn}"
        return hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()

    key = f"ASIA{derive('key')[:16].upper()}"
    granted = {"SecretAccessKey": derive("secret"), "SessionToken": derive("token")}
    role = role_arn.rpartition("/")[2]
    name = session[:64]
    arn = f"arn:aws:sts::{account}:assumed-role/{role}/{name}"
    sts.register_session(key, {"Arn": arn, "UserId": f"{role}:{name}", **granted})
    return {
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": granted["SecretAccessKey"],
        "AWS_SESSION_TOKEN": granted["SessionToken"],
    }


@patch(
    "services.lambda_svc:execution_credentials",
    because="it has the function below under a name of its own",
    proof="test_authorization.py::test_the_keys_of_a_function_cannot_be_guessed",
)
@patch(
    "core.lambda_runtime:execution_credentials",
    because="the keys that MiniStack gives a function can be computed by anyone who knows the function's name",
    proof="test_authorization.py::test_the_keys_of_a_function_cannot_be_guessed",
)
def _function_credentials(original: Original, config: Document) -> dict[str, str]:
    parts = str(config.get("FunctionArn", "")).split(":")
    region, account = (parts[3], parts[4]) if len(parts) > 4 else (get_region(), get_account_id())
    return session_credentials(str(config.get("Role", "")), region, account, str(config.get("FunctionName", "lambda")))


def session_secret(access_key_id: str, token: str) -> str:
    """The secret of a user's key or a role's session. Raises Refused for one that is unknown, expired or the root's."""
    found = iam_evaluator.resolve_credential(access_key_id, ACCOUNT_ID, token)
    if isinstance(found, iam_evaluator.CredentialResolutionError):
        raise Refused(found.code, str(found.message))
    if found.principal_type == "Root":  # MiniStack takes `test` and any account's number for root
        raise Refused("InvalidClientTokenId", "The security token included in the request is invalid.")
    return str(found.secret_access_key)


def caller(headers: dict[str, str], query: str) -> str:
    """The access key by whose policies MiniStack judges a request; it reads the request by rules of its own."""
    return str(router.extract_access_key_id(headers, parse_qs(query, keep_blank_values=True)))


def session_key(role_arn: str, session: str) -> str:
    """The access key of a session of a role, in the account and region of the request."""
    return session_credentials(role_arn, get_region(), get_account_id(), session)["AWS_ACCESS_KEY_ID"]


def refusal(access_key: str, action: str, resource: str, context: Document | None = None) -> str | None:
    """Why a caller may not do something, in AWS's words; None when it may (always None when AUTH is not true)."""
    if not app.AUTH:
        return None
    service = action.partition(":")[0]
    denied = iam_evaluator.enforce(access_key, action, service, get_region(), resource, context or {})
    if denied is None:
        return None
    if isinstance(denied, iam_evaluator.AuthError):
        return str(denied.message)
    log.warning("Refused: %s may not %s on %s", denied.principal_arn, action, resource)
    explicit = denied.decision == "Deny"
    return str(iam_actions.identity_denial_message(action, denied.principal_arn, resource, explicit))


def require(action: str, resource: str, context: Document | None = None, error: str = "") -> None:
    """Raise a task's error unless the role of the execution that this thread works for allows an action."""
    execution = CURRENT.get()
    if execution is None:
        return
    key = session_key(execution.role_arn, "states")
    if message := refusal(key, action, resource, context):
        raise failure(error or f"{action.partition(':')[0].capitalize()}.AccessDeniedException", message)


@patch(
    "services.stepfunctions:_invoke_resource",
    because="MiniStack does what a state machine asks without asking what its role allows",
    proof="test_authorization.py::test_a_state_machine_may_do_what_its_role_allows",
)
def _invoke(original: Original, resource: str, arguments: Any) -> Any:
    # `integrations` patches the same target. This patch is called first: importing that module, it is declared later.
    if CURRENT.get() is not None:
        for action, arn, context, error in _needs(resource, arguments if isinstance(arguments, dict) else {}):
            require(action, arn, context, error)
    return original(resource, arguments)


def service_error(resource: str, arguments: Any) -> str:
    """What a task ends with whose service fails."""
    return _needs(resource, arguments if isinstance(arguments, dict) else {})[0][3]


Need = tuple[str, str, Document, str]


def _needs(resource: str, arguments: Document) -> list[Need]:
    """What a task must be allowed: action, resource, condition keys, and the error it ends with when it is not."""
    region, account = get_region(), get_account_id()
    parts = resource.split(":")
    if not resource.startswith("arn:aws:states:::"):
        return [("lambda:InvokeFunction", resource, {}, _DENIED["lambda"])]
    if parts[5] == "aws-sdk":
        return _sdk_needs(parts[6], parts[7].partition(".")[0], arguments, region, account)
    service, (operation, _, pattern) = parts[5], parts[6].partition(".")
    denied = _DENIED.get(service, "")
    name = operation[0].upper() + operation[1:]
    if service == "lambda":
        function = str(arguments.get("FunctionName", ""))
        arn = function if function.startswith("arn:") else f"arn:aws:lambda:{region}:{account}:function:{function}"
        return [("lambda:InvokeFunction", arn, {}, denied)]
    if service == "sns":
        return [("sns:Publish", arguments.get("TopicArn") or "*", {}, denied)]
    if service == "sqs":
        queue = str(arguments.get("QueueUrl", "")).rpartition("/")[2]
        return [("sqs:SendMessage", f"arn:aws:sqs:{region}:{account}:{queue}", {}, denied)]
    if service == "states":
        machine = str(arguments.get("StateMachineArn", "*"))
        needs: list[Need] = [("states:StartExecution", machine, {}, denied)]
        if pattern:
            started = f"{machine.replace(':stateMachine:', ':execution:')}:{arguments.get('Name', '*')}"
            needs += [(f"states:{verb}Execution", started, {}, denied) for verb in ("Describe", "Stop")]
            needs += _rule_needs(_NESTED_RULE, region, account, denied)
        return needs
    if service == "sagemaker":
        return _sagemaker_needs(name, arguments, region, account, denied, sync=bool(pattern))
    return _request_needs(service, service, name, arguments, region, account, denied)


def _sdk_needs(sdk: str, operation: str, arguments: Document, region: str, account: str) -> list[Need]:
    service = stepfunctions._AWS_SDK_SERVICE_MAP.get(sdk, {}).get("service_key", sdk)
    prefix = stepfunctions._AWS_SDK_ERROR_PREFIX.get(sdk, sdk.capitalize())
    denied = f"{prefix}.{prefix}Exception"
    name = operation[0].upper() + operation[1:]
    if service == "sagemaker":
        return _sagemaker_needs(name, arguments, region, account, denied, sync=False)
    return _request_needs(service, sdk, name, arguments, region, account, denied)


def _request_needs(
    service: str, sdk: str, operation: str, arguments: Document, region: str, account: str, denied: str
) -> list[Need]:
    """What MiniStack itself would ask, were the same request to come over HTTP."""
    information = stepfunctions._AWS_SDK_SERVICE_MAP.get(sdk, {})
    request = arguments
    if information.get("protocol") == "json":
        request = stepfunctions._sdk_json_params(information, service, operation, arguments)
    known = known_members(input_shape(service, operation), request)
    body = json.dumps(known).encode()
    headers = {"x-amz-target": f"{information.get('target_prefix', service)}.{operation}"}
    query = {name: [value] for name, value in known.items() if isinstance(value, str)}
    path = f"/{arguments.get('Bucket')}/{arguments.get('Key', '')}" if service == "s3" else "/"
    arn = iam_actions.extract_resource_arn(service, "POST", path, headers, body, query, region, account)
    action = action_named(service, operation, version="VersionId" in arguments)
    keys = iam_actions.request_tag_context(service, action, body, query)
    if service == "dynamodb":
        keys = {**keys, **(iam_actions.dynamodb_service_context(body) or {})}
    judged = [(action, arn)]
    if service == "dynamodb":  # a batch or a transaction is about several tables
        judged = (
            iam_actions.dynamodb_transaction_checks(action, body, region, account)
            or [(action, table) for table in iam_actions.dynamodb_resource_arns(body, region, account)]
            or judged
        )
    if service == "s3":
        judged += additional_checks(operation, headers_of(input_shape(service, operation), arguments), arn)
    needs = [(each, on, keys, denied) for each, on in judged]
    return needs + _role_needs(service, operation, request, denied)


def _sagemaker_needs(
    operation: str, request: Document, region: str, account: str, denied: str, *, sync: bool
) -> list[Need]:
    arn = resource_of("sagemaker", operation, request, region, account)
    needs: list[Need] = [(f"sagemaker:{operation}", arn, {}, denied)]
    if request.get("Tags") and operation.startswith("Create"):
        needs.append(("sagemaker:AddTags", arn, {}, denied))
    needs += _role_needs("sagemaker", operation, request, denied)
    if sync:
        job = operation.removeprefix("Create")
        needs += [(f"sagemaker:{verb}{job}", arn, {}, denied) for verb in ("Describe", "Stop")]
        needs += _rule_needs(_MANAGED_RULES[job], region, account, denied)
    return needs


def _role_needs(service: str, operation: str, request: Document, denied: str) -> list[Need]:
    roles = passed_roles(service, operation, request)
    return [("iam:PassRole", role, passed_to(service), denied) for role in roles]


def _rule_needs(rule: str, region: str, account: str, denied: str) -> list[Need]:
    """What Step Functions does to hear of the end of what a `.sync` started."""
    arn = f"arn:aws:events:{region}:{account}:rule/{rule}"
    return [(f"events:{verb}", arn, {}, denied) for verb in ("PutTargets", "PutRule", "DescribeRule")]


@patch(
    "core.iam_actions:request_tag_context",
    because="MiniStack never fills in cloudwatch:namespace, events:source, events:detail-type and the keys of "
    "Application Auto Scaling, so every policy that names one denies",
    proof="test_authorization.py::test_events_may_be_put_by_their_source_only",
)
def _condition_keys(original: Original, service: str, action: str, body: bytes, query: Document) -> Document:
    keys: Document = original(service, action, body, query)
    if action == "cloudwatch:PutMetricData" and (namespace := _namespace(body, query)):
        keys = {**keys, "cloudwatch:namespace": namespace}
    if action == "events:PutEvents":
        keys = {**keys, **_event_keys(body)}
    if service == "application-autoscaling":
        keys = {**keys, **_scaling_keys(body)}
    return keys


def _scaling_keys(body: bytes) -> Document:
    """Source: service authorization reference, Application Auto Scaling, "Condition keys"."""
    try:
        request = json.loads(body)
    except ValueError:
        return {}
    members = {"service-namespace": "ServiceNamespace", "scalable-dimension": "ScalableDimension"}
    return {f"application-autoscaling:{key}": request[name] for key, name in members.items() if name in request}


def _event_keys(body: bytes) -> Document:
    """The keys that describe a PutEvents request; a list where its entries differ."""
    try:
        entries = json.loads(body)["Entries"]
        values_of = {
            "events:source": sorted({entry["Source"] for entry in entries}),
            "events:detail-type": sorted({entry["DetailType"] for entry in entries}),
        }
    except (ValueError, KeyError, TypeError):
        return {}
    return {name: values[0] if len(values) == 1 else values for name, values in values_of.items()}


def _namespace(body: bytes, query: Document) -> str:
    """The namespace in a form, which MiniStack adds to the query, or in a JSON body: a request has one of the two."""
    if "Action" in query:
        given = query.get("Namespace", "")
        return str(given[0] if isinstance(given, list) else given)
    try:
        return str(json.loads(body)["Namespace"])
    except (ValueError, KeyError):
        return ""


@patch(
    "core.iam_actions:access_denied_response",
    because="MiniStack does not log what it refuses, and a client may hide the answer",
    proof="test_authorization.py::test_what_is_refused_is_logged",
)
def _denied(original: Original, service: str, action: str, principal_arn: str, *rest: Any, **named: Any) -> Any:
    log.warning("Refused: %s may not %s on %s", principal_arn, action, named.get("resource_arn", "*"))
    return original(service, action, principal_arn, *rest, **named)
