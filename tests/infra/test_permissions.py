"""Least privilege: no role may more, or less, than what uses it does."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.infra import wiring
from tests.infra.policies import ROLES, actions, documents, reference, statements

# What Step Functions itself asks of every role that logs and traces, and what each kind of call brings along.
# https://docs.aws.amazon.com/step-functions/latest/dg/cw-logs.html and .../sagemaker-iam.html
LOGS_AND_TRACES = {
    *(f"logs:{verb}LogDelivery" for verb in ("Create", "Get", "Update", "Delete")),
    "logs:ListLogDeliveries",
    "logs:PutResourcePolicy",
    "logs:DescribeResourcePolicies",
    "logs:DescribeLogGroups",
    *(f"xray:{verb}" for verb in ("PutTraceSegments", "PutTelemetryRecords", "GetSamplingRules", "GetSamplingTargets")),
}
DISTRIBUTED_MAP = {f"states:{verb}Execution" for verb in ("Start", "Describe", "Stop", "Redrive")}
MANAGED_RULE = {"events:PutTargets", "events:PutRule", "events:DescribeRule"}
# Application Auto Scaling acts with the caller's permissions on the alarms and on its service-linked role.
# https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-auto-scaling-prerequisites.html
AUTOSCALING = {
    "sagemaker:UpdateEndpointWeightsAndCapacities",
    "iam:CreateServiceLinkedRole",
    "cloudwatch:DescribeAlarms",
    "cloudwatch:PutMetricAlarm",
    "cloudwatch:DeleteAlarms",
}
IAM_NAMES = {"sfn": "states", "applicationautoscaling": "application-autoscaling"}


@pytest.fixture(scope="module")
def parliament() -> Iterator[types.ModuleType]:
    """parliament 1.6.4 asks setuptools for pkg_resources, which is gone; all that it wants of it is a path."""
    stand_in = types.ModuleType("pkg_resources")

    def resource_filename(package: str, name: str) -> str:
        return str(Path(importlib.util.find_spec(package).origin).with_name(name))

    stand_in.resource_filename = resource_filename
    missing = sys.modules.get("pkg_resources") is None
    if missing:
        sys.modules["pkg_resources"] = stand_in
    import parliament

    yield parliament
    if missing:
        del sys.modules["pkg_resources"]


@pytest.mark.parametrize("role", ROLES)
def test_parliament_finds_nothing(role: str, parliament: types.ModuleType) -> None:
    for document in documents(role):
        findings = parliament.analyze_policy_string(json.dumps(document)).findings
        # Executions of express machines have ARNs of another form; there are no such machines here.
        assert [f"{item.issue}: {item.detail}" for item in findings if ":express:" not in str(item.detail)] == []


def test_parliament_sees_what_is_wrong(parliament: types.ModuleType) -> None:
    wrong = {"Effect": "Allow", "Action": "s3:PetObject", "Resource": "arn:aws:s3:::a/*"}
    findings = parliament.analyze_policy_string(json.dumps({"Version": "2012-10-17", "Statement": [wrong]})).findings
    assert [item.issue for item in findings] == ["UNKNOWN_ACTION"]


@pytest.mark.parametrize("role", ROLES)
def test_every_resource_that_can_be_named_is_named(role: str, parliament: types.ModuleType) -> None:
    """``*`` only for actions that AWS's service authorization reference gives no resource type."""
    services = {service["prefix"]: service for service in parliament.iam_definition}
    for statement in statements(role):
        assert statement["Effect"] == "Allow"
        for action in statement["Action"]:
            assert "*" not in action, action
            if statement["Resource"] == ["*"]:
                service, _, name = action.partition(":")
                privilege = next(item for item in services[service]["privileges"] if item["privilege"] == name)
                named = [item["resource_type"] for item in privilege["resource_types"] if item["resource_type"]]
                assert named == [], f"{action} can be allowed on {named}"


@pytest.mark.parametrize("role", ROLES)
def test_roles_are_passed_to_sagemaker_alone_and_assumed_by_one_service(role: str) -> None:
    for statement in statements(role):
        if "iam:PassRole" in statement["Action"]:
            assert statement["Action"] == ["iam:PassRole"]
            passed = re.findall(r"\$\{(\w+Role)Arn\}", json.dumps(wiring.machine(role.split("Machine")[0].lower())))
            assert set(statement["Resource"]) == {reference(name) for name in passed}
            assert statement["Condition"] == {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}
    trust = wiring.resources("AWS::IAM::Role")[role]["AssumeRolePolicyDocument"]["Statement"]
    assert len(trust) == 1
    assert isinstance(trust[0]["Principal"]["Service"], str)
    # Services that act for whoever names the role are held to this account; Lambda sends no source account.
    if trust[0]["Principal"]["Service"] != "lambda.amazonaws.com":
        assert "aws:SourceAccount" in trust[0]["Condition"]["StringEquals"]


@pytest.mark.parametrize("name", wiring.MACHINES)
def test_machine_may_do_what_its_definition_does_and_no_more(name: str) -> None:
    wanted = set(LOGS_AND_TRACES)
    for machine, _, state in wiring.tasks():
        if machine != name:
            continue
        _, service, action, sync = re.fullmatch(
            r"arn:aws:states:::(aws-sdk:)?(\w+):(\w+)(\.sync(?::2)?)?", state["Resource"]
        ).groups()
        verb = action[0].upper() + action[1:]
        wanted.add("lambda:InvokeFunction" if service == "lambda" else f"{IAM_NAMES.get(service, service)}:{verb}")
        text = json.dumps(state["Arguments"])
        if service == "sagemaker" and "CostCenter" in text:
            wanted.add("sagemaker:AddTags")
        if "RoleArn}" in text:
            wanted.add("iam:PassRole")
        if sync and service == "states":
            wanted |= {"states:DescribeExecution", "states:StopExecution", *MANAGED_RULE}
        elif sync:
            kind = verb.removeprefix("Create")
            wanted |= {f"sagemaker:Describe{kind}", f"sagemaker:Stop{kind}", "sagemaker:ListTags", *MANAGED_RULE}
        if service == "applicationautoscaling":
            wanted |= AUTOSCALING
    if "DISTRIBUTED" in json.dumps(wiring.machine(name)):
        wanted |= DISTRIBUTED_MAP
    assert actions(f"{wiring.logical(name)}MachineRole") == wanted


@pytest.mark.parametrize("name", wiring.MACHINES)
def test_machine_may_call_the_functions_and_machines_that_it_names_and_no_others(name: str) -> None:
    role = statements(f"{wiring.logical(name)}MachineRole")
    text = json.dumps(wiring.machine(name))
    functions = {reference(f"{item}Function") for item in re.findall(r"\$\{(\w+)FunctionArn\}", text)}
    machines = {reference(item) for item in re.findall(r"\$\{(\w+StateMachine)Arn\}", text)}
    allowed = {action: set() for action in ("lambda:InvokeFunction", "states:StartExecution")}
    for statement in role:
        for action in allowed.keys() & set(statement["Action"]):
            allowed[action] |= set(statement["Resource"])
    assert allowed["lambda:InvokeFunction"] == functions
    if name == "retrain":
        # The children of its distributed map.
        machines = {"arn:aws:states:us-east-1:123456789012:stateMachine:skyloop-dev-retrain"}
    assert allowed["states:StartExecution"] == machines


def test_map_runs_children_are_allowed_in_both_forms_of_their_names() -> None:
    """AWS's example names ``execution:<machine>:*``; a child's own ARN is ``execution:<machine>/<label>:<id>``."""
    (statement,) = (item for item in statements("RetrainMachineRole") if "states:StopExecution" in item["Action"])
    executions = "arn:aws:states:us-east-1:123456789012:execution:skyloop-dev-retrain"
    assert statement["Resource"] == [f"{executions}:*", f"{executions}/*"]


def test_sagemaker_may_list_and_read_base_weights_where_they_lie() -> None:
    allowed = {
        (action, arn) for item in statements("TrainingRole") for action in item["Action"] for arn in item["Resource"]
    }
    assert ("s3:ListBucket", "arn:aws:s3:::weights") in allowed
    assert ("s3:GetObject", "arn:aws:s3:::weights/yolo11n.pt") in allowed


def test_sagemaker_may_look_at_the_rollback_alarms() -> None:
    """Without it, auto-rollback does not work and nothing says so.

    https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-configuration.html
    """
    (statement,) = (item for item in statements("EndpointRole") if "cloudwatch:DescribeAlarms" in item["Action"])
    assert statement["Resource"] == ["arn:aws:cloudwatch:us-east-1:123456789012:alarm:*"]


# Client methods whose action has another name.
METHODS = {
    "head_object": "s3:GetObject",
    "list_objects_v2": "s3:ListBucket",
    "copy_object": "s3:PutObject",
    "upload_fileobj": "s3:AbortMultipartUpload",  # beside s3:PutObject, which others call too
    "send_message_batch": "sqs:SendMessage",
    "get_paginator('list_objects_v2')": "s3:ListBucket",
    "get_paginator('query')": "dynamodb:Query",
}
SERVICES = {
    "object": "s3",
    "item": "dynamodb",
    "query": "dynamodb",
    "message": "sqs",
    "attributes": "sqs",
    "events": "events",
    "publish": "sns",
    "endpoint": "sagemaker",
    "package": "sagemaker",
    "job": "sagemaker",
}
WRITES_LOGS = {"logs:CreateLogStream", "logs:PutLogEvents"}
SENDS_TRACES = {"xray:PutTraceSegments", "xray:PutTelemetryRecords"}
IMPLICIT = {
    *WRITES_LOGS,
    *SENDS_TRACES,
    # A missing object is "not found" only to who may list.
    "s3:ListBucket",
    # CopyObject reads and writes the tags, if there are any.
    "s3:GetObject",
    "s3:GetObjectTagging",
    "s3:PutObjectTagging",
}
QUEUE = {"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"}


def _called_actions(function: str) -> set[str]:
    """IAM actions of the client methods in a function and in every module of the layer that it imports."""
    layer = wiring.ROOT / "layers/skyloop/python"
    pending, seen, found = [wiring.ROOT / "functions" / function / "app.py"], set(), set()
    while pending:
        file = pending.pop()
        if file in seen or not file.exists():
            continue
        seen.add(file)
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("skyloop"):
                pending.append(layer / (node.module.replace(".", "/") + ".py"))
                pending += [layer / node.module.replace(".", "/") / f"{alias.name}.py" for alias in node.names]
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                found |= _action(node)
            if isinstance(node, ast.Name) and node.id in ("idempotent", "idempotent_function"):
                found |= {f"dynamodb:{verb}Item" for verb in ("Get", "Put", "Update", "Delete")}
    return found


def _action(call: ast.Call) -> set[str]:
    method = call.func.attr
    if method == "get_paginator" and isinstance(call.args[0], ast.Constant):
        method = f"get_paginator({call.args[0].value!r})"
    if method in METHODS:
        return {METHODS[method]}
    service = SERVICES.get(method.rpartition("_")[2])
    name = "".join(word.title() for word in method.split("_"))
    return {f"{service}:{name}"} if service else set()


@pytest.mark.parametrize("logical", sorted(wiring.resources("AWS::Serverless::Function")))
def test_function_may_do_nothing_that_its_code_never_calls(logical: str) -> None:
    function = wiring.resources("AWS::Serverless::Function")[logical]["CodeUri"].strip("/").rpartition("/")[2]
    sources = wiring.resources("AWS::Lambda::EventSourceMapping").values()
    fed = any(source["FunctionName"]["Ref"] == logical for source in sources)
    used = _called_actions(function) | IMPLICIT | (QUEUE if fed else set())
    assert actions(f"{logical.removesuffix('Function')}Role") - used == set()


@pytest.mark.parametrize("logical", sorted(wiring.resources("AWS::Serverless::Function")))
def test_function_writes_its_own_log_and_sends_traces(logical: str) -> None:
    function = wiring.resources("AWS::Serverless::Function")[logical]
    role = function["Role"]["Fn::GetAtt"][0]
    assert role == f"{logical.removesuffix('Function')}Role"
    logs = {
        (action, arn)
        for item in statements(role)
        for action in item["Action"]
        for arn in item["Resource"]
        if action.startswith("logs:")
    }
    assert logs == {(action, reference(function["LoggingConfig"]["LogGroup"]["Ref"])) for action in WRITES_LOGS}
    assert actions(role) >= SENDS_TRACES
