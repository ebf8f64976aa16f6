"""A request is judged by what is done, and by the roles that it hands on."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from laptop.account import Keys
from tests.conformance.conftest import Cloud
from tests.conformance.ministack.conftest import zipped
from tests.conformance.ministack.test_authorization import caller
from tests.support.signed import SignedRequest

__all__ = ["caller"]

JSON = "application/x-amz-json-1.0"


def send(
    cloud: Cloud, keys: dict[str, str], service: str, method: str, path: str, body: bytes, headers: dict[str, str]
) -> int:
    """The status of a request that no client would make."""
    signer = Keys(keys["aws_access_key_id"], keys["aws_secret_access_key"])
    return SignedRequest(cloud.endpoint_url, method, path, body, headers).sign(signer, service).send().status


def test_members_that_an_operation_lacks_count_for_nothing(cloud: Cloud, caller: Any) -> None:
    table, other = cloud.name("table"), cloud.name("table")
    root = cloud.client("dynamodb")
    for name in (table, other):
        root.create_table(
            TableName=name,
            AttributeDefinitions=[{"AttributeName": "name", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "name", "KeyType": "HASH"}],
            BillingMode="PAY_PER_REQUEST",
        )
    mine = {"Condition": {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": "drift#*"}}}
    keys = caller(("dynamodb:*", cloud.arn("dynamodb", f"table/{table}"), mine))

    def done(operation: str, request: dict[str, Any]) -> bool:
        headers = {"X-Amz-Target": f"DynamoDB_20120810.{operation}", "Content-Type": JSON}
        return send(cloud, keys, "dynamodb", "POST", "/", json.dumps(request).encode(), headers) == 200

    allowed, forbidden = ({"name": {"S": key}} for key in ("drift#x", "endpoint#x"))
    write = [{"PutRequest": {"Item": allowed}}]
    assert done("PutItem", {"TableName": table, "Item": allowed, "Key": forbidden, "Surprise": {"a": 1}})
    assert done("BatchWriteItem", {"RequestItems": {table: write}, "TableName": other})
    for operation, request in [
        ("PutItem", {"TableName": table, "Key": allowed, "Item": forbidden}),
        ("PutItem", {"TableName": table, "RequestItems": {table: write}, "Item": forbidden}),
        ("DeleteItem", {"TableName": table, "Key": forbidden, "Item": allowed}),
        ("TransactWriteItems", {"TransactItems": [{"Put": {"TableName": table, "Key": allowed, "Item": forbidden}}]}),
        ("BatchWriteItem", {"RequestItems": {table: [{"PutRequest": {"Key": allowed, "Item": forbidden}}]}}),
        ("BatchWriteItem", {"RequestItems": {other: write}, "TableName": table}),
    ]:
        assert not done(operation, request), (operation, request)
    assert [item["name"]["S"] for item in root.scan(TableName=table)["Items"]] == ["drift#x"]
    assert root.scan(TableName=other)["Items"] == []


def test_the_operation_that_is_done_is_the_one_that_is_judged(cloud: Cloud, caller: Any) -> None:
    bucket, table = cloud.name("bucket"), cloud.name("table")
    cloud.client("s3").create_bucket(Bucket=bucket)
    cloud.client("s3").put_object(Bucket=bucket, Key="k", Body=b"kept")
    keys = caller((["s3:GetObject", "lambda:ListFunctions", "dynamodb:ListTables"], "*"))
    create = {
        "TableName": table,
        "AttributeDefinitions": [{"AttributeName": "a", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "a", "KeyType": "HASH"}],
        "BillingMode": "PAY_PER_REQUEST",
    }
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    for service, path, body, headers in [
        ("s3", f"/{bucket}/k", b"lost", {"X-Amz-Target": "Any.GetObject"}),
        ("s3", f"/{bucket}/k?Action=GetObject", b"lost", {}),
        ("s3", f"/{bucket}/k", b"Action=GetObject", form),
        ("lambda", "/2015-03-31/functions?Action=ListFunctions", b"{}", {}),
        ("lambda", "/2015-03-31/functions", b"{}", {"X-Amz-Target": "Any.ListFunctions"}),
        (
            "dynamodb",
            "/?Action=ListTables",
            json.dumps(create).encode(),
            {"X-Amz-Target": "DynamoDB_20120810.CreateTable", "Content-Type": JSON},
        ),
    ]:
        method = "PUT" if service == "s3" else "POST"
        assert send(cloud, keys, service, method, path, body, headers) in (400, 403), (path, headers)
    assert cloud.client("s3").get_object(Bucket=bucket, Key="k")["Body"].read() == b"kept"
    assert table not in cloud.client("dynamodb").list_tables()["TableNames"]


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
