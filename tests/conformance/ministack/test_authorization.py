"""Role policies, enforced where AWS enforces them."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from laptop import lifecycle
from tests.conformance.conftest import Cloud, wait_until
from tests.conformance.ministack.conftest import task

DENIED = "is not authorized to perform: {}"


MODEL = {"ModelName": "m", "ExecutionRoleArn": "arn:aws:iam::000000000000:role/none"}
CASES = [
    ("lambda:invoke", {"FunctionName": "none"}, "lambda:InvokeFunction", "Lambda.AWSLambdaException"),
    ("sns:publish", {"TopicArn": "t", "Message": "m"}, "sns:Publish", "SNS.AuthorizationErrorException"),
    (
        "dynamodb:getItem",
        {"TableName": "t", "Key": {"a": {"S": "b"}}},
        "dynamodb:GetItem",
        "DynamoDB.AmazonDynamoDBException",
    ),
    ("sagemaker:createModel", MODEL, "sagemaker:CreateModel", "SageMaker.AmazonSageMakerException"),
    (
        "aws-sdk:sagemaker:describeEndpoint",
        {"EndpointName": "e"},
        "sagemaker:DescribeEndpoint",
        "SageMaker.SageMakerException",
    ),
    (
        "aws-sdk:sfn:startExecution",
        {"StateMachineArn": "arn:aws:states:us-east-1:000000000000:stateMachine:m"},
        "states:StartExecution",
        "Sfn.SfnException",
    ),
    (
        "events:putEvents",
        {"Entries": [{"Source": "s", "DetailType": "d", "Detail": "{}"}]},
        "events:PutEvents",
        "EventBridge.AmazonEventBridgeException",
    ),
]


@pytest.mark.parametrize(("resource", "arguments", "action", "error"), CASES, ids=[case[0] for case in CASES])
def test_a_state_machine_may_do_what_its_role_allows(
    run: Any, resource: str, arguments: Any, action: str, error: str
) -> None:
    refused = run(task(resource, arguments))
    assert refused["error"] == error
    assert DENIED.format(action) in refused["cause"]
    allowed = run(task(resource, arguments), (action, "*"), ("iam:PassRole", "*"))
    assert DENIED.format(action) not in allowed.get("cause", "")


def test_sagemaker_actions_are_checked_on_their_resource(cloud: Cloud, run: Any) -> None:
    mine = cloud.arn("sagemaker", "endpoint/mine")
    ask = lambda name: task("aws-sdk:sagemaker:describeEndpoint", {"EndpointName": name})  # noqa: E731
    assert DENIED.format("sagemaker:DescribeEndpoint") in run(ask("other"), ("sagemaker:*", mine))["cause"]
    assert DENIED.format("sagemaker:DescribeEndpoint") not in run(ask("Mine"), ("sagemaker:*", mine))["cause"]


@pytest.mark.parametrize(
    ("missing", "statements"),
    [
        ("iam:PassRole", [("sagemaker:*", "*"), ("events:*", "*")]),
        ("sagemaker:StopTrainingJob", [(["sagemaker:C*", "sagemaker:D*", "sagemaker:A*"], "*")]),
        ("events:PutTargets", [("sagemaker:*", "*")]),
        (
            "sagemaker:AddTags",
            [(["sagemaker:CreateTrainingJob", "sagemaker:D*", "sagemaker:S*"], "*"), ("events:*", "*")],
        ),
    ],
)
def test_a_job_needs_every_permission_that_its_integration_uses(
    run: Any, training_request: Any, missing: str, statements: list[Any]
) -> None:
    request = training_request(Tags=[{"Key": "Project", "Value": "skyloop"}])
    allowed = statements if missing == "iam:PassRole" else [*statements, ("iam:PassRole", "*")]
    execution = run(task("sagemaker:createTrainingJob.sync", request), *allowed)
    assert DENIED.format(missing) in execution["cause"]


def test_a_role_is_passed_only_to_the_service_that_the_policy_names(run: Any, training_request: Any) -> None:
    def passing_to(service: str) -> dict[str, Any]:
        condition = {"StringEquals": {"iam:PassedToService": service}}
        return {"Effect": "Allow", "Action": "iam:PassRole", "Resource": "*", "Condition": condition}

    everything = (("sagemaker:*", "*"), ("events:*", "*"))
    refused = run(
        task("sagemaker:createTrainingJob.sync", training_request()), *everything, passing_to("lambda.amazonaws.com")
    )
    assert DENIED.format("iam:PassRole") in refused["cause"]
    allowed = run(
        task("sagemaker:createTrainingJob.sync", training_request()), *everything, passing_to("sagemaker.amazonaws.com")
    )
    assert allowed["status"] == "SUCCEEDED"


def test_a_client_may_pass_only_the_roles_that_it_may_pass(cloud: Cloud, caller: Any, training_request: Any) -> None:
    client = cloud.client("sagemaker", **caller(("sagemaker:*", "*")))
    with pytest.raises(ClientError, match="iam:PassRole"):
        client.create_training_job(**training_request())
    cloud.client("sagemaker", **caller(("sagemaker:*", "*"), ("iam:PassRole", "*"))).create_training_job(
        **training_request()
    )


def test_invoke_endpoint_needs_its_permission(cloud: Cloud, caller: Any) -> None:
    mine = cloud.arn("sagemaker", "endpoint/mine")
    client = cloud.client("sagemaker-runtime", **caller(("sagemaker:InvokeEndpoint", mine)))
    with pytest.raises(ClientError, match="sagemaker:InvokeEndpoint"):
        client.invoke_endpoint(EndpointName="other", Body=b"x")
    with pytest.raises(ClientError, match="not found"):
        client.invoke_endpoint(EndpointName="mine", Body=b"x")


def test_metrics_may_be_put_in_their_namespace_only(cloud: Cloud, caller: Any) -> None:
    condition = {"Condition": {"StringEquals": {"cloudwatch:namespace": "Skyloop"}}}
    client = cloud.client("cloudwatch", **caller(("cloudwatch:PutMetricData", "*", condition)))
    client.put_metric_data(Namespace="Skyloop", MetricData=[{"MetricName": "Images", "Value": 1}])
    with pytest.raises(ClientError, match="AccessDenied"):
        client.put_metric_data(Namespace="Other", MetricData=[{"MetricName": "Images", "Value": 1}])


def test_logs_may_be_written_in_their_group_only(cloud: Cloud, caller: Any) -> None:
    """As the template's roles name a group: with and without what follows it."""
    mine, other = cloud.name("/group"), cloud.name("/group")
    actions = ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"]
    arn = cloud.arn("logs", f"log-group:{mine}")
    client = cloud.client("logs", **caller((actions, [arn, f"{arn}:*"])))
    cloud.client("logs").create_log_group(logGroupName=other)
    cloud.client("logs").create_log_stream(logGroupName=other, logStreamName="i")

    def write(group: str) -> None:
        event = {"timestamp": int(time.time() * 1000), "message": "said"}
        client.put_log_events(logGroupName=group, logStreamName="i", logEvents=[event])

    client.create_log_group(logGroupName=mine)
    client.create_log_stream(logGroupName=mine, logStreamName="i")
    write(mine)
    assert client.describe_log_streams(logGroupName=mine)["logStreams"]
    for forbidden in (write, lambda group: client.create_log_stream(logGroupName=group, logStreamName="j")):
        with pytest.raises(ClientError, match="AccessDenied"):
            forbidden(other)


def test_items_may_be_written_by_their_key_only(cloud: Cloud, caller: Any, run: Any) -> None:
    table, number = cloud.name("table"), cloud.name("table")
    cloud.client("dynamodb").create_table(
        TableName=table,
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("name", "owner")],
        KeySchema=[{"AttributeName": "name", "KeyType": "HASH"}],
        GlobalSecondaryIndexes=[
            {
                "IndexName": "by-owner",
                "KeySchema": [{"AttributeName": "owner", "KeyType": "HASH"}],
                "Projection": {"ProjectionType": "ALL"},
            }
        ],
        BillingMode="PAY_PER_REQUEST",
    )
    cloud.client("dynamodb").create_table(
        TableName=number,
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "N"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    mine = {"Condition": {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["drift#*", "7"]}}}
    client = cloud.client("dynamodb", **caller(("dynamodb:*", "*", mine)))

    def requests(key: str) -> list[tuple[str, dict[str, Any]]]:
        item = {"name": {"S": key}}
        put = {"TableName": table, "Item": {**item, "owner": {"S": key}}}
        asked = {
            "TableName": table,
            "KeyConditionExpression": "#n = :k",
            "ExpressionAttributeNames": {"#n": "name"},
            "ExpressionAttributeValues": {":k": {"S": key}},
        }
        in_index = {**asked, "IndexName": "by-owner", "ExpressionAttributeNames": {"#n": "owner"}}
        legacy = {"name": {"AttributeValueList": [{"S": key}], "ComparisonOperator": "EQ"}}
        harmless = {"PutRequest": {"Item": {"name": {"S": "drift#b"}}}}
        return [
            ("put_item", put),
            ("put_item", {**put, "TableName": cloud.arn("dynamodb", f"table/{table}")}),
            ("get_item", {"TableName": table, "Key": item}),
            ("update_item", {"TableName": table, "Key": item}),
            ("query", asked),
            ("query", in_index),
            ("query", {"TableName": table, "KeyConditions": legacy}),
            ("batch_get_item", {"RequestItems": {table: {"Keys": [{"name": {"S": "drift#b"}}, item]}}}),
            ("batch_write_item", {"RequestItems": {table: [harmless, {"PutRequest": {"Item": item}}]}}),
            ("batch_write_item", {"RequestItems": {table: [harmless, {"DeleteRequest": {"Key": item}}]}}),
            ("transact_write_items", {"TransactItems": [{"Put": put}]}),
            ("transact_get_items", {"TransactItems": [{"Get": {"TableName": table, "Key": item}}]}),
            ("delete_item", {"TableName": table, "Key": item}),
        ]

    for name, request in requests("drift#mine"):
        getattr(client, name)(**request)
    for name, request in requests("endpoint#mine"):
        with pytest.raises(ClientError, match="is not authorized"):
            getattr(client, name)(**request)
    client.put_item(TableName=number, Item={"id": {"N": "7"}})
    with pytest.raises(ClientError, match=DENIED.format("dynamodb:PutItem")):
        client.put_item(TableName=number, Item={"id": {"N": "8"}})
    # So does a state machine.
    allowed = {"Effect": "Allow", "Action": "dynamodb:PutItem", "Resource": "*", **mine}
    for key, status in (("drift#other", "SUCCEEDED"), ("endpoint#other", "FAILED")):
        put = task("dynamodb:putItem", {"TableName": table, "Item": {"name": {"S": key}}})
        assert run(put, allowed)["status"] == status


def test_events_may_be_put_by_their_source_only(cloud: Cloud, caller: Any, run: Any) -> None:
    condition = {"Condition": {"StringEquals": {"events:source": "skyloop"}}}
    client = cloud.client("events", **caller(("events:PutEvents", "*", condition)))
    entry = {"Source": "skyloop", "DetailType": "Images Catalogued", "Detail": "{}"}
    client.put_events(Entries=[entry])
    for entries in ([{**entry, "Source": "other"}],):
        with pytest.raises(ClientError, match="AccessDenied"):
            client.put_events(Entries=entries)
    allowed = {"Effect": "Allow", "Action": "events:PutEvents", "Resource": "*", **condition}
    assert run(task("events:putEvents", {"Entries": [entry]}), allowed)["status"] == "SUCCEEDED"


def test_scaling_is_allowed_by_the_namespace_of_its_target(cloud: Cloud, caller: Any, run: Any) -> None:
    condition = {"Condition": {"StringEquals": {"application-autoscaling:service-namespace": "sagemaker"}}}
    may = ("application-autoscaling:RegisterScalableTarget", "*", condition)
    target = {
        "ServiceNamespace": "sagemaker",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
        "ResourceId": f"endpoint/{cloud.name('none')}/variant/main",
        "MinCapacity": 1,
        "MaxCapacity": 2,
    }
    client = cloud.client("application-autoscaling", **caller(may))
    # There is no such endpoint: a request that is allowed is refused for that.
    with pytest.raises(ClientError, match="ValidationException"):
        client.register_scalable_target(**target)
    with pytest.raises(ClientError, match="AccessDenied"):
        client.register_scalable_target(**{**target, "ServiceNamespace": "ecs"})
    allowed = {"Effect": "Allow", "Action": may[0], "Resource": "*", **condition}
    ask = task("aws-sdk:applicationautoscaling:registerScalableTarget", target)
    assert "is not authorized" not in run(ask, allowed)["cause"]


def test_packages_are_listed_by_their_group(run: Any, cloud: Cloud) -> None:
    ask = task("aws-sdk:sagemaker:listModelPackages", {"ModelPackageGroupName": "mine"})
    group = cloud.arn("sagemaker", "model-package-group/mine")
    refused = DENIED.format("sagemaker:ListModelPackages")
    assert refused in run(ask, ("sagemaker:*", group + "-not"))["cause"]
    assert refused not in run(ask, ("sagemaker:*", group)).get("cause", "")


def test_alarms_are_described_by_those_who_may(cloud: Cloud, caller: Any, run: Any) -> None:
    alarms = cloud.arn("cloudwatch", "alarm:*")
    cloud.client("cloudwatch", **caller(("cloudwatch:DescribeAlarms", alarms))).describe_alarms()
    with pytest.raises(ClientError, match="AccessDenied"):
        cloud.client("cloudwatch", **caller(("cloudwatch:PutMetricAlarm", alarms))).describe_alarms()
    ask = task("aws-sdk:cloudwatch:describeAlarms", {"MaxRecords": 1})
    assert run(ask, ("cloudwatch:DescribeAlarms", alarms))["status"] == "SUCCEEDED"
    assert DENIED.format("cloudwatch:DescribeAlarms") in run(ask)["cause"]


def test_loopback_counts_as_tls(cloud: Cloud, caller: Any) -> None:
    # Every bucket and queue of the template refuses plain HTTP, which is what the laptop cloud speaks.
    sqs, name = cloud.client("sqs"), cloud.name("queue")
    arn = cloud.arn("sqs", name)
    tls_only = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "sqs:*",
        "Resource": arn,
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [tls_only]})
    url = sqs.create_queue(QueueName=name, Attributes={"Policy": policy})["QueueUrl"]
    assert sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"] == arn
    cloud.client("sqs", **caller(("sqs:SendMessage", arn))).send_message(QueueUrl=url, MessageBody="x")


def test_a_bucket_policy_is_obeyed(cloud: Cloud, caller: Any) -> None:
    s3, bucket = cloud.client("s3"), cloud.name("bucket")
    s3.create_bucket(Bucket=bucket)
    mine = cloud.client("s3", **caller(("s3:PutObject", f"arn:aws:s3:::{bucket}/raw-images/*")))
    mine.put_object(Bucket=bucket, Key="raw-images/a", Body=b"")
    with pytest.raises(ClientError, match="AccessDenied"):
        mine.put_object(Bucket=bucket, Key="models/a", Body=b"")
    deny = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:PutObject",
        "Resource": f"arn:aws:s3:::{bucket}/raw-images/*",
    }
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [deny]}))
    with pytest.raises(ClientError, match="AccessDenied"):
        mine.put_object(Bucket=bucket, Key="raw-images/a", Body=b"")


def test_what_is_refused_is_logged(cloud: Cloud, caller: Any) -> None:
    bucket = cloud.name("bucket")
    with pytest.raises(ClientError):
        cloud.client("s3", **caller(("sqs:SendMessage", "*"))).create_bucket(Bucket=bucket)
    log = cloud.home / "logs" / "server.log"
    wait_until(lambda: f"s3:CreateBucket on arn:aws:s3:::{bucket}" in log.read_text())


def test_a_batch_to_a_queue_needs_the_action_of_a_single_message(cloud: Cloud, caller: Any) -> None:
    url = cloud.client("sqs").create_queue(QueueName=cloud.name("queue"))["QueueUrl"]
    arn = cloud.arn("sqs", url.rpartition("/")[2])
    entries = [{"Id": "1", "MessageBody": "one"}]
    cloud.client("sqs", **caller(("sqs:SendMessage", arn))).send_message_batch(QueueUrl=url, Entries=entries)
    with pytest.raises(ClientError, match=DENIED.format("sqs:SendMessage")):
        cloud.client("sqs", **caller(("sqs:ReceiveMessage", arn))).send_message_batch(QueueUrl=url, Entries=entries)


@pytest.mark.parametrize("key", ["f/new\nline.jpg", "f/last\n", "f/[x]*?.jpg", "f/ü 写.jpg"])
def test_a_wildcard_covers_every_key(cloud: Cloud, caller: Any, key: str) -> None:
    bucket = cloud.name("keys")
    cloud.client("s3").create_bucket(Bucket=bucket)
    for name in (key, "other/x.jpg"):
        cloud.client("s3").put_object(Bucket=bucket, Key=name, Body=b"1")
    s3 = cloud.client("s3", **caller(("s3:GetObject", f"arn:aws:s3:::{bucket}/f/*")))
    assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == b"1"
    with pytest.raises(ClientError, match=DENIED.format("s3:GetObject")):
        s3.get_object(Bucket=bucket, Key="other/x.jpg")


def test_a_cloud_may_be_started_without_role_policies(tmp_path: Path, cloud: Cloud, caller: Any) -> None:
    with pytest.raises(ClientError, match=DENIED.format("sqs:ListQueues")):
        cloud.client("sqs", **caller(("sqs:GetQueueUrl", "*"))).list_queues()
    running, process = lifecycle.start(tmp_path / "home", port=0, auth=False)
    try:
        open_cloud = Cloud(running.endpoint_url, tmp_path / "home")
        open_cloud.client("iam").create_user(UserName="anybody")
        key = open_cloud.client("iam").create_access_key(UserName="anybody")["AccessKey"]
        known = {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}
        assert not open_cloud.client("sqs", **known).list_queues().get("QueueUrls")
        # Who somebody is, is asked all the same.
        with pytest.raises(ClientError, match="InvalidSignatureException"):
            open_cloud.client("sqs", **{**known, "aws_secret_access_key": "guessed"}).list_queues()
    finally:
        lifecycle.stop(process)


def test_the_keys_of_a_function_cannot_be_guessed(cloud: Cloud, function: Any) -> None:
    code = """
    import json, os

    def handler(event, context):
        return {name: value for name, value in os.environ.items() if "TOKEN" in name or "KEY" in name}
    """
    arn = function(code, ("sqs:ListQueues", "*"))
    payload = cloud.client("lambda").invoke(FunctionName=arn)["Payload"].read()
    keys = json.loads(payload)
    granted = {
        "aws_access_key_id": keys["AWS_ACCESS_KEY_ID"],
        "aws_secret_access_key": keys["AWS_SECRET_ACCESS_KEY"],
        "aws_session_token": keys["AWS_SESSION_TOKEN"],
    }
    cloud.client("sqs", **granted).list_queues()
    role = cloud.client("lambda").get_function_configuration(FunctionName=arn)["Role"]
    # MiniStack's own recipe, which anyone can follow.
    digest = hashlib.sha256(f"{arn}:{role}".encode()).hexdigest()
    guesses = [
        {
            "aws_access_key_id": key,
            "aws_secret_access_key": hashlib.sha256(f"secret:{digest}".encode()).hexdigest(),
            "aws_session_token": hashlib.sha256(f"token:{digest}".encode()).hexdigest(),
        }
        for key in (f"ASIA{digest[:16].upper()}", keys["AWS_ACCESS_KEY_ID"])
    ]
    for guess in [
        *guesses,
        {**granted, "aws_session_token": "guessed"},
        {**granted, "aws_secret_access_key": "guessed"},
    ]:
        with pytest.raises(ClientError, match=r"InvalidSignatureException|UnrecognizedClientException"):
            cloud.client("sqs", **guess).list_queues()
