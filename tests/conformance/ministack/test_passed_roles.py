"""Roles are handed on by those only who may pass them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.conformance.conftest import Cloud
from tests.conformance.ministack.conftest import zipped


@pytest.fixture
def passing(cloud: Cloud) -> dict[str, tuple[str, str, dict[str, Any]]]:
    """Requests of several services that hand on a role: by service, operation and members."""
    return {
        "lambda": (
            "lambda",
            "create_function",
            {
                "FunctionName": cloud.name("function"),
                "Runtime": "python3.13",
                "Handler": "app.handler",
                "Code": {"ZipFile": zipped("")},
            },
        ),
        "states": (
            "stepfunctions",
            "create_state_machine",
            {
                "name": cloud.name("machine"),
                "definition": json.dumps({"StartAt": "A", "States": {"A": {"Type": "Succeed"}}}),
            },
        ),
        "events": ("events", "put_rule", {"Name": cloud.name("rule"), "ScheduleExpression": "rate(1 day)"}),
        "scheduler": (
            "scheduler",
            "create_schedule",
            {
                "Name": cloud.name("schedule"),
                "ScheduleExpression": "rate(1 day)",
                "FlexibleTimeWindow": {"Mode": "OFF"},
                "Target": {"Arn": cloud.arn("sqs", "queue")},
            },
        ),
    }


@pytest.mark.parametrize("service", ["lambda", "states", "events", "scheduler"])
def test_every_service_takes_a_role_only_from_those_who_may_pass_it(
    cloud: Cloud, caller: Any, role: Any, passing: Any, service: str
) -> None:
    mine, others = role(service), role(service)
    to = {"Condition": {"StringEquals": {"iam:PassedToService": f"{service}.amazonaws.com"}}}
    keys = caller((f"{service}:*", "*"), ("iam:PassRole", mine, to))
    client, operation, request = passing[service]

    def ask(arn: str) -> None:
        given = dict(request)
        if service == "scheduler":
            given["Target"] = {**request["Target"], "RoleArn": arn}
        else:
            given[{"lambda": "Role", "states": "roleArn", "events": "RoleArn"}[service]] = arn
        getattr(cloud.client(client, **keys), operation)(**given)

    for arn in (others, f"{mine}/{others.rpartition('/')[2]}"):
        with pytest.raises(ClientError, match="iam:PassRole"):
            ask(arn)
    ask(mine)


def test_a_role_is_passed_again_when_something_is_changed(cloud: Cloud, caller: Any, role: Any, passing: Any) -> None:
    mine, others = role("lambda"), role("lambda")
    _, _, request = passing["lambda"]
    name = request["FunctionName"]
    cloud.client("lambda").create_function(**request, Role=mine)
    client = cloud.client("lambda", **caller(("lambda:*", "*"), ("iam:PassRole", mine)))
    environment = {"Variables": {"SOME_ROLE_ARN": others}}  # data, which nobody takes for its own
    client.update_function_configuration(FunctionName=name, Role=mine, Environment=environment)
    with pytest.raises(ClientError, match="iam:PassRole"):
        client.update_function_configuration(FunctionName=name, Role=others)
    rule = cloud.name("rule")
    cloud.client("events").put_rule(Name=rule, ScheduleExpression="rate(1 day)")
    target = {"Id": "1", "Arn": cloud.arn("states", "stateMachine:m"), "RoleArn": others}
    with pytest.raises(ClientError, match="iam:PassRole"):
        cloud.client("events", **caller(("events:*", "*"))).put_targets(Rule=rule, Targets=[target])


def test_what_is_stored_or_sent_hands_on_no_role(cloud: Cloud, caller: Any, role: Any, function: Any) -> None:
    data = json.dumps({"RoleArn": role("lambda"), "role": "admin"}).encode()
    bucket, name = cloud.name("bucket"), function("def handler(event, context):\n    return event")
    cloud.client("s3").create_bucket(Bucket=bucket)
    keys = caller((["s3:*", "lambda:*", "sagemaker:*", "states:*"], "*"))
    cloud.client("s3", **keys).put_object(Bucket=bucket, Key="k", Body=data)
    answer = cloud.client("lambda", **keys).invoke(FunctionName=name, Payload=data)
    assert json.load(answer["Payload"]) == json.loads(data)
    with pytest.raises(ClientError, match="not found"):
        cloud.client("sagemaker-runtime", **keys).invoke_endpoint(EndpointName="none", Body=data)


def test_stacks_are_changed_by_those_only_who_may_do_everything(cloud: Cloud, caller: Any, role: Any) -> None:
    stack, user = cloud.name("stack"), cloud.name("user")
    template = {"Resources": {"User": {"Type": "AWS::IAM::User", "Properties": {"UserName": user}}}}
    request = {"StackName": stack, "TemplateBody": json.dumps(template), "Capabilities": ["CAPABILITY_NAMED_IAM"]}
    client = cloud.client("cloudformation", **caller(("cloudformation:*", "*"), ("iam:PassRole", "*")))
    with pytest.raises(ClientError, match="not authorized"):
        client.create_stack(**request)
    with pytest.raises(ClientError, match="not authorized"):
        client.create_stack(**request, RoleARN=role("cloudformation", ("s3:*", "*")))
    cloud.client("cloudformation", **caller(("*", "*"))).create_stack(**request)
    cloud.client("cloudformation").get_waiter("stack_create_complete").wait(StackName=stack, WaiterConfig={"Delay": 1})
    cloud.client("cloudformation").delete_stack(StackName=stack)
