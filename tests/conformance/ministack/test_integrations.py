"""Step Functions' integrations with DynamoDB, SNS, EventBridge, Step Functions itself and Application Auto Scaling."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conformance.conftest import Cloud, wait_until
from tests.conformance.ministack.conftest import ended


@pytest.fixture
def table(cloud: Cloud) -> str:
    name = cloud.name("table")
    cloud.client("dynamodb").create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "name", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "name", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    return name


def task(resource: str, arguments: Any, **fields: Any) -> dict[str, Any]:
    return {"Type": "Task", "Resource": f"arn:aws:states:::{resource}", "Arguments": arguments, **fields}


def test_a_lock_is_taken_once_and_released(cloud: Cloud, run: Any, table: str) -> None:
    take = task(
        "dynamodb:putItem",
        {
            "TableName": table,
            "Item": {"name": {"S": "lock"}, "expires_at": {"N": "{% $string($floor($millis() / 1000) + 60) %}"}},
            "ConditionExpression": "attribute_not_exists(#n) OR expires_at < :now",
            "ExpressionAttributeNames": {"#n": "name"},
            "ExpressionAttributeValues": {":now": {"N": "{% $string($floor($millis() / 1000)) %}"}},
        },
    )
    assert run(take, ("dynamodb:PutItem", "*"))["status"] == "SUCCEEDED"
    assert run(take, ("dynamodb:PutItem", "*"))["error"] == "DynamoDB.ConditionalCheckFailedException"
    read = task("dynamodb:getItem", {"TableName": table, "Key": {"name": {"S": "lock"}}, "ConsistentRead": True})
    assert run(read, ("dynamodb:GetItem", "*"))["output"]["Item"]["name"] == {"S": "lock"}
    update = task(
        "dynamodb:updateItem",
        {
            "TableName": table,
            "Key": {"name": {"S": "lock"}},
            "UpdateExpression": "SET #o = :o",
            "ExpressionAttributeNames": {"#o": "owner"},
            "ExpressionAttributeValues": {":o": {"S": "me"}},
        },
    )
    assert run(update, ("dynamodb:UpdateItem", "*"))["status"] == "SUCCEEDED"
    item = cloud.client("dynamodb").get_item(TableName=table, Key={"name": {"S": "lock"}})["Item"]
    assert item["owner"] == {"S": "me"}
    release = task("dynamodb:deleteItem", {"TableName": table, "Key": {"name": {"S": "lock"}}})
    assert run(release, ("dynamodb:DeleteItem", "*"))["status"] == "SUCCEEDED"
    assert run(take, ("dynamodb:PutItem", "*"))["status"] == "SUCCEEDED"


def test_an_alert_keeps_its_attributes(cloud: Cloud, run: Any) -> None:
    sns, sqs = cloud.client("sns"), cloud.client("sqs")
    topic = sns.create_topic(Name=cloud.name("alerts"))["TopicArn"]
    queues = {}
    for severity in ("error", "info"):
        name = cloud.name(severity)
        arn = cloud.arn("sqs", name)
        allow = {
            "Effect": "Allow",
            "Principal": {"Service": "sns.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": arn,
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
        queues[severity] = sqs.create_queue(QueueName=name, Attributes={"Policy": policy})["QueueUrl"]
        sns.subscribe(
            TopicArn=topic,
            Protocol="sqs",
            Endpoint=arn,
            Attributes={"FilterPolicy": json.dumps({"severity": [severity]}), "RawMessageDelivery": "true"},
        )
    message = {"default": "What happened", "sqs": "{% $string({'event': 'drift', 'n': 1}) %}"}
    publish = task(
        "sns:publish",
        {
            "TopicArn": topic,
            "Subject": "Drift",
            "MessageStructure": "json",
            "Message": message,
            "MessageAttributes": {
                "event": {"DataType": "String", "StringValue": "drift"},
                "severity": {"DataType": "String", "StringValue": "{% 'er' & 'ror' %}"},
            },
        },
    )
    assert run(publish, ("sns:Publish", topic))["output"]["MessageId"]

    def received(severity: str) -> list[dict[str, Any]]:
        return sqs.receive_message(QueueUrl=queues[severity], MessageAttributeNames=["All"]).get("Messages", [])

    [delivered] = wait_until(lambda: received("error"))
    assert json.loads(delivered["Body"]) == {"event": "drift", "n": 1}
    assert delivered["MessageAttributes"]["event"]["StringValue"] == "drift"
    assert received("info") == []


def test_an_event_is_put(cloud: Cloud, run: Any, caught_events: Any) -> None:
    source = cloud.name("source")
    events = caught_events({"source": [source]})
    entry = {"Source": source, "DetailType": "Images Catalogued", "Detail": {"new": "{% 1 + 1 %}"}}
    put = task("events:putEvents", {"Entries": [{**entry, "Detail": "{% $string({'new': 2}) %}"}]})
    assert run(put, ("events:PutEvents", "*"))["output"]["FailedEntryCount"] == 0
    assert wait_until(lambda: events())[0]["detail"] == {"new": 2}


@pytest.mark.parametrize("resource", ["aws-sdk:sfn:startExecution", "states:startExecution"])
def test_a_machine_starts_another(cloud: Cloud, run: Any, machine: Any, resource: str) -> None:
    other = machine({"Type": "Pass", "Output": "{% $states.input %}"})
    arguments = {"StateMachineArn": other, "Name": "by-name", "Input": "{% $string({'a': 1}) %}"}
    output = run(task(resource, arguments), ("states:StartExecution", other))["output"]
    assert ended(cloud, output["ExecutionArn"])["output"] == {"a": 1}


def test_a_machine_waits_for_another(cloud: Cloud, run: Any, machine: Any) -> None:
    """What came of it comes back as data; that it failed is an error of the task, with its description as the cause."""
    other = machine(
        {
            "StartAt": "Which",
            "States": {
                "Which": {
                    "Type": "Choice",
                    "Choices": [{"Condition": "{% $states.input.a = 1 %}", "Next": "Good"}],
                    "Default": "Bad",
                },
                "Good": {"Type": "Succeed", "Output": {"b": 2}},
                "Bad": {"Type": "Fail", "Error": "Inner", "Cause": "it says"},
            },
        }
    )
    resource = "states:startExecution.sync:2"
    started = other.replace(":stateMachine:", ":execution:") + ":*"
    allowed = [
        ("states:StartExecution", other),
        (["states:DescribeExecution", "states:StopExecution"], started),
        (["events:PutTargets", "events:PutRule", "events:DescribeRule"], "*"),
    ]
    output = run(task(resource, {"StateMachineArn": other, "Name": "good", "Input": {"a": 1}}), *allowed)["output"]
    assert (output["Status"], output["Input"], output["Output"]) == ("SUCCEEDED", {"a": 1}, {"b": 2})
    failed = run(task(resource, {"StateMachineArn": other, "Name": "bad", "Input": {"a": 2}}), *allowed)
    assert failed["error"] == "States.TaskFailed"
    assert {"Status": "FAILED", "Error": "Inner", "Cause": "it says"}.items() <= json.loads(failed["cause"]).items()
    again = run(task(resource, {"StateMachineArn": other, "Name": "good", "Input": {"a": 1}}), *allowed)
    assert again["error"] == "StepFunctions.ExecutionAlreadyExistsException"


def test_a_machine_that_ends_stops_what_it_waits_for(cloud: Cloud, run: Any, machine: Any) -> None:
    other = machine({"Type": "Wait", "Seconds": 600})
    nested = task("states:startExecution.sync:2", {"StateMachineArn": other, "Name": "long", "Input": {}})
    assert run({**nested, "TimeoutSeconds": 1}, ("*", "*"))["error"] == "States.Timeout"
    assert ended(cloud, other.replace(":stateMachine:", ":execution:") + ":long")["status"] == "ABORTED"


def test_a_machine_that_is_stopped_stops_what_it_waits_for(cloud: Cloud, machine: Any) -> None:
    """At once and for good, whatever the other one is in the middle of, and its end is in its history."""
    client = cloud.client("stepfunctions")
    inside = {"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 600, "End": True}}}
    states = {"Both": {"Type": "Parallel", "Branches": [inside, inside], "Next": "Later"}, "Later": {"Type": "Succeed"}}
    other = machine({"StartAt": "Both", "States": states})
    execution = other.replace(":stateMachine:", ":execution:") + ":long"
    nested = task("states:startExecution.sync:2", {"StateMachineArn": other, "Name": "long", "Input": {}})
    outer = client.start_execution(stateMachineArn=machine(nested, ("*", "*")))["executionArn"]

    def history() -> list[str]:
        try:
            return [event["type"] for event in client.get_execution_history(executionArn=execution)["events"]]
        except client.exceptions.ExecutionDoesNotExist:
            return []

    wait_until(lambda: "ParallelStateEntered" in history())
    client.stop_execution(executionArn=outer)
    assert ended(cloud, execution)["status"] == "ABORTED"
    wait_until(lambda: "ExecutionAborted" in history())
    assert history() == ["ExecutionStarted", "ParallelStateEntered", "ExecutionAborted"]


def test_errors_have_the_names_of_the_sdk(cloud: Cloud, run: Any, machine: Any) -> None:
    other = machine({"Type": "Pass"})
    cloud.client("stepfunctions").start_execution(stateMachineArn=other, name="taken", input='{"a": 1}')
    arguments = {"StateMachineArn": other, "Name": "taken", "Input": "{}"}
    everything = ("*", "*")
    cases = {
        "aws-sdk:sfn:startExecution": (arguments, "Sfn.ExecutionAlreadyExistsException"),
        "states:startExecution": (arguments, "StepFunctions.ExecutionAlreadyExistsException"),
        "aws-sdk:sfn:describeExecution": (
            {"ExecutionArn": other.replace(":stateMachine:", ":execution:") + ":none"},
            "Sfn.ExecutionDoesNotExistException",
        ),
        "aws-sdk:sagemaker:describeTrainingJob": (
            {"TrainingJobName": "no-such-job"},
            "SageMaker.SageMakerException",  # ValidationException is in no model: the SDK's base class
        ),
        "aws-sdk:sagemaker:describeLabelingJob": (
            {"LabelingJobName": "no-such-job"},
            "SageMaker.ResourceNotFoundException",
        ),
        "sagemaker:createModel": ({"ModelName": "not_a_name"}, "SageMaker.AmazonSageMakerException"),
        "aws-sdk:dynamodb:getItem": (
            {"TableName": "none", "Key": {"name": {"S": "x"}}},
            "DynamoDb.ResourceNotFoundException",
        ),
    }
    found = {resource: run(task(resource, given), everything)["error"] for resource, (given, _) in cases.items()}
    assert found == {resource: error for resource, (_, error) in cases.items()}


def test_described_times_are_text(cloud: Cloud, run: Any, machine: Any) -> None:
    client, other = cloud.client("stepfunctions"), machine({"Type": "Pass"})
    arn = client.start_execution(stateMachineArn=other)["executionArn"]
    ended(cloud, arn)
    described = run(task("aws-sdk:sfn:describeExecution", {"ExecutionArn": arn}), ("states:DescribeExecution", arn))
    assert described["output"]["Status"] == "SUCCEEDED"
    assert described["output"]["StartDate"].endswith("Z")


def test_executions_are_listed(cloud: Cloud, run: Any, machine: Any) -> None:
    client, other = cloud.client("stepfunctions"), machine({"Type": "Pass"})
    ended(cloud, client.start_execution(stateMachineArn=other, name="one")["executionArn"])
    arguments = {"StateMachineArn": other, "StatusFilter": "SUCCEEDED", "MaxResults": 10}
    output = run(task("aws-sdk:sfn:listExecutions", arguments), ("states:ListExecutions", other))["output"]
    assert [one["Name"] for one in output["Executions"]] == ["one"]


def test_an_alarm_is_pointed_at_something_else(cloud: Cloud, run: Any) -> None:
    name, arn = cloud.name("alarm"), cloud.arn("cloudwatch", "alarm:*")
    alarm = {
        "AlarmName": name, "Namespace": "N", "MetricName": "M", "Statistic": "Sum", "Period": 60,
        "EvaluationPeriods": 1, "Threshold": 1.5, "ComparisonOperator": "GreaterThanThreshold",
        "TreatMissingData": "notBreaching", "ActionsEnabled": False,
    }  # fmt: skip
    for config in ("one", "two"):
        given = {**alarm, "Dimensions": [{"Name": "EndpointConfigName", "Value": config}]}
        run(task("aws-sdk:cloudwatch:putMetricAlarm", given), ("cloudwatch:PutMetricAlarm", arn))
        (found,) = cloud.client("cloudwatch").describe_alarms(AlarmNames=[name])["MetricAlarms"]
        assert {key: found[key] for key in given} == given
    state = {"AlarmName": name, "StateValue": "OK", "StateReason": "another version is judged from now on"}
    run(task("aws-sdk:cloudwatch:setAlarmState", state), ("cloudwatch:SetAlarmState", arn))
    (found,) = cloud.client("cloudwatch").describe_alarms(AlarmNames=[name])["MetricAlarms"]
    assert found["StateValue"] == "OK"
    refused = run(task("aws-sdk:cloudwatch:setAlarmState", state), ("cloudwatch:DescribeAlarms", "*"))
    assert refused["status"] == "FAILED"


def test_alarms_are_described(cloud: Cloud, run: Any) -> None:
    names = [cloud.name("alarm") for _ in range(2)]
    for name in names:
        cloud.client("cloudwatch").put_metric_alarm(
            AlarmName=name,
            Namespace="N",
            MetricName="M",
            Statistic="Sum",
            Period=60,
            EvaluationPeriods=1,
            Threshold=1,
            ComparisonOperator="GreaterThanThreshold",
            TreatMissingData="ignore",
        )
    cloud.client("cloudwatch").set_alarm_state(AlarmName=names[0], StateValue="ALARM", StateReason="by hand")
    expected = dict(zip(names, ("ALARM", "INSUFFICIENT_DATA"), strict=True))
    for given in (names, names[:1]):
        describe = task("aws-sdk:cloudwatch:describeAlarms", {"AlarmNames": given})
        output = run(describe, ("cloudwatch:DescribeAlarms", "*"))["output"]
        found = {alarm["AlarmName"]: alarm["StateValue"] for alarm in output["MetricAlarms"]}
        assert found == {name: expected[name] for name in given}
        assert all(alarm["StateUpdatedTimestamp"].endswith("Z") for alarm in output["MetricAlarms"])
