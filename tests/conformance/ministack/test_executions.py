"""Step Functions executions: names, timeouts, stopping, retries, variables, limits."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.conformance.conftest import Cloud, wait_until
from tests.conformance.ministack.conftest import ended

FOREVER = {"Type": "Wait", "Seconds": 600}


def test_starting_twice_is_starting_once(cloud: Cloud, machine: Any) -> None:
    client, arn = cloud.client("stepfunctions"), machine(FOREVER)
    first = client.start_execution(stateMachineArn=arn, name="once", input='{"a": 1}')
    again = client.start_execution(stateMachineArn=arn, name="once", input='{"a": 1}')
    assert again["executionArn"] == first["executionArn"]
    assert len(client.list_executions(stateMachineArn=arn)["executions"]) == 1
    with pytest.raises(client.exceptions.ExecutionAlreadyExists):
        client.start_execution(stateMachineArn=arn, name="once", input='{"a": 2}')
    client.stop_execution(executionArn=first["executionArn"])
    with pytest.raises(client.exceptions.ExecutionAlreadyExists):
        client.start_execution(stateMachineArn=arn, name="once", input='{"a": 1}')


@pytest.mark.parametrize("name", ["a b", "a*b", "a:b", "x" * 81])
def test_a_name_that_step_functions_refuses_is_refused(cloud: Cloud, machine: Any, name: str) -> None:
    with pytest.raises(ClientError, match=r"InvalidName|length|Member"):
        cloud.client("stepfunctions").start_execution(stateMachineArn=machine(FOREVER), name=name)


@pytest.mark.parametrize("given", ["{", json.dumps("x" * 262_144)])
def test_an_input_that_step_functions_refuses_is_refused(cloud: Cloud, machine: Any, given: str) -> None:
    with pytest.raises(ClientError, match="InvalidExecutionInput"):
        cloud.client("stepfunctions").start_execution(stateMachineArn=machine(FOREVER), input=given)


def test_a_machine_that_takes_too_long_times_out(cloud: Cloud, run: Any, caught_events: Any) -> None:
    events = caught_events({"source": ["aws.states"], "detail": {"status": ["TIMED_OUT"]}})
    execution = run({"TimeoutSeconds": 1, "StartAt": "Wait", "States": {"Wait": {**FOREVER, "End": True}}})
    assert (execution["status"], execution["error"]) == ("TIMED_OUT", "States.Timeout")
    wait_until(lambda: [e for e in events() if e["detail"]["executionArn"] == execution["executionArn"]])


def test_a_stopped_execution_stays_stopped(cloud: Cloud, machine: Any, function: Any) -> None:
    # The function fails after the execution was stopped: that must not turn ABORTED into FAILED.
    client, s3, bucket = cloud.client("stepfunctions"), cloud.client("s3"), cloud.name("bucket")
    s3.create_bucket(Bucket=bucket)
    source = f"""
        import time, boto3
        def handler(event, context):
            s3 = boto3.client("s3")
            s3.put_object(Bucket="{bucket}", Key="begun")
            while "go" not in [o["Key"] for o in s3.list_objects_v2(Bucket="{bucket}")["Contents"]]:
                time.sleep(0.02)
            s3.put_object(Bucket="{bucket}", Key="failing")
            raise ValueError("too late")
    """
    function_arn = function(source, (["s3:PutObject"], f"arn:aws:s3:::{bucket}/*"), ("s3:ListBucket", "*"))
    task = {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Arguments": {"FunctionName": function_arn},
        "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "After"}],
        "Next": "After",
    }
    states = {"Fails": task, "After": {"Type": "Succeed"}}
    arn = client.start_execution(
        stateMachineArn=machine({"StartAt": "Fails", "States": states}, ("lambda:InvokeFunction", function_arn))
    )["executionArn"]

    def keys() -> list[str]:
        return [one["Key"] for one in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]

    wait_until(lambda: "begun" in keys())
    client.stop_execution(executionArn=arn, error="Mine", cause="because")
    s3.put_object(Bucket=bucket, Key="go")
    wait_until(lambda: "failing" in keys())

    def last_event() -> str:
        return client.get_execution_history(executionArn=arn, reverseOrder=True)["events"][0]["type"]

    wait_until(lambda: last_event() != "LambdaFunctionScheduled")
    execution = client.describe_execution(executionArn=arn)
    assert (execution["status"], execution["error"], execution["cause"]) == ("ABORTED", "Mine", "because")


FAILING = {
    "Type": "Task",
    "Resource": "arn:aws:states:::dynamodb:getItem",
    "Arguments": {"TableName": "no-such-table", "Key": {"name": {"S": "x"}}},
}


def test_retries_wait_no_longer_than_max_delay(run: Any) -> None:
    retry = {
        "ErrorEquals": ["DynamoDB.ResourceNotFoundException"],
        "IntervalSeconds": 1_000_000,  # uncapped, the execution outlasts any deadline
        "BackoffRate": 10,
        "MaxDelaySeconds": 1,
        "MaxAttempts": 2,
        "JitterStrategy": "FULL",
    }
    execution = run({**FAILING, "Retry": [retry]}, ("dynamodb:GetItem", "*"))
    assert execution["error"] == "DynamoDB.ResourceNotFoundException"


def test_a_caught_error_is_seen_by_assign_and_the_next_state(run: Any) -> None:
    catch = {"ErrorEquals": ["States.ALL"], "Assign": {"why": "{% $states.errorOutput.Error %}"}, "Next": "Tell"}
    states = {
        "Fails": {**FAILING, "Catch": [catch], "End": True},
        "Tell": {"Type": "Pass", "Output": {"why": "{% $why %}"}, "End": True},
    }
    execution = run({"StartAt": "Fails", "States": states}, ("dynamodb:GetItem", "*"))
    assert execution["output"] == {"why": "DynamoDB.ResourceNotFoundException"}


def test_runtime_errors_cannot_be_caught(run: Any) -> None:
    task = {
        "Type": "Task",
        "Resource": "arn:aws:states:::sagemaker:describeEndpoint",
        "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Caught"}],
        "End": True,
    }
    execution = run({"StartAt": "Bad", "States": {"Bad": task, "Caught": {"Type": "Succeed"}}}, ("*", "*"))
    assert (execution["status"], execution["error"]) == ("FAILED", "States.Runtime")


def test_assignments_see_the_values_before_the_state(run: Any) -> None:
    states = {
        "First": {"Type": "Pass", "Assign": {"a": 1, "b": 2}, "Next": "Swap"},
        "Swap": {"Type": "Pass", "Assign": {"a": "{% $b %}", "b": "{% $a %}"}, "Next": "Tell"},
        "Tell": {"Type": "Pass", "Output": {"a": "{% $a %}", "b": "{% $b %}"}, "End": True},
    }
    assert run({"StartAt": "First", "States": states})["output"] == {"a": 2, "b": 1}


def test_choices_test_conditions_in_order_and_assign(run: Any) -> None:
    choice = {
        "Type": "Choice",
        "Choices": [
            {"Condition": "{% $states.input.n > 10 %}", "Next": "Tell", "Assign": {"size": "large"}},
            {"Condition": "{% $states.input.n > 5 %}", "Next": "Tell", "Assign": {"size": "medium"}},
        ],
        "Default": "Small",
    }
    states = {
        "Which": choice,
        "Small": {"Type": "Pass", "Assign": {"size": "small"}, "Next": "Tell"},
        "Tell": {"Type": "Succeed", "Output": "{% $size %}"},
    }
    for number, size in ((20, "large"), (7, "medium"), (1, "small")):
        assert run({"StartAt": "Which", "States": states}, input={"n": number})["output"] == size


def test_a_fail_state_names_its_error_by_expression(run: Any) -> None:
    states = {
        "Set": {"Type": "Pass", "Assign": {"what": "Drift"}, "Next": "End"},
        "End": {"Type": "Fail", "Error": "{% $what %}", "Cause": "{% 'because of ' & $what %}"},
    }
    execution = run({"StartAt": "Set", "States": states})
    assert (execution["status"], execution["error"], execution["cause"]) == ("FAILED", "Drift", "because of Drift")


def test_waits_are_computed(run: Any) -> None:
    began = time.monotonic()
    assert run({"Type": "Wait", "Seconds": "{% $number('1') %}", "Output": "waited"})["output"] == "waited"
    assert time.monotonic() - began >= 1


def test_an_undefined_expression_is_an_error(run: Any) -> None:
    execution = run({"Type": "Pass", "Output": "{% $states.input.missing %}"})
    assert (execution["status"], execution["error"]) == ("FAILED", "States.QueryEvaluationError")


def test_a_states_output_is_limited(run: Any, function: Any) -> None:
    arn = function("def handler(event, context): return 'x' * 300000")
    task = {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Arguments": {"FunctionName": arn},
        "Output": "{% $states.result.Payload %}",
        "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Caught"}],
        "End": True,
    }
    states = {"Large": task, "Caught": {"Type": "Succeed"}}
    execution = run({"StartAt": "Large", "States": states}, ("lambda:InvokeFunction", arn))
    assert (execution["status"], execution["error"]) == ("FAILED", "States.DataLimitExceeded")


def test_the_context_names_the_execution(cloud: Cloud, machine: Any) -> None:
    client = cloud.client("stepfunctions")
    state = {"Type": "Pass", "Output": {"name": "{% $states.context.Execution.Name %}"}}
    arn = client.start_execution(stateMachineArn=machine(state), name="by-name")["executionArn"]
    assert ended(cloud, arn)["output"] == {"name": "by-name"}
