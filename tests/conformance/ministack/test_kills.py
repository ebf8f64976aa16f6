"""What was acknowledged is there after SIGKILL, and a disk that takes nothing loses nothing."""

from __future__ import annotations

import json
import random
import resource
import sqlite3
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from laptop import lifecycle
from laptop.account import read_keys
from laptop.journal import FILE
from tests.conformance.conftest import wait_until
from tests.conformance.ministack.conftest import zipped
from tests.support.homes import Home
from tests.support.signed import SignedRequest

pytestmark = pytest.mark.xdist_group("kills")


def make_table(home: Home) -> None:
    home.client("dynamodb").create_table(
        TableName="table",
        KeySchema=[{"AttributeName": "name", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "name", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )


def key(name: str) -> dict[str, Any]:
    return {"TableName": "table", "Key": {"name": {"S": name}}}


def test_what_was_acknowledged_survives_a_kill(home: Home) -> None:
    make_table(home)
    table, s3, sqs = home.client("dynamodb"), home.client("s3"), home.client("sqs")
    table.put_item(TableName="table", Item={"name": {"S": "a"}, "n": {"N": "1"}})
    table.update_item(**key("a"), UpdateExpression="ADD n :n", ExpressionAttributeValues={":n": {"N": "2"}})
    with suppress(ClientError):
        table.put_item(
            TableName="table",
            Item={"name": {"S": "a"}},
            ConditionExpression="attribute_not_exists(#n)",
            ExpressionAttributeNames={"#n": "name"},
        )
    table.put_item(TableName="table", Item={"name": {"S": "gone"}})
    table.delete_item(**key("gone"))
    s3.create_bucket(Bucket="bucket")
    s3.put_bucket_versioning(Bucket="bucket", VersioningConfiguration={"Status": "Enabled"})
    versions = [
        s3.put_object(Bucket="bucket", Key="k", Body=body, Metadata={"of": body.decode()})["VersionId"]
        for body in (b"first", b"second")
    ]
    s3.put_object(Bucket="bucket", Key="removed", Body=b"x")
    s3.delete_object(Bucket="bucket", Key="removed")
    url = sqs.create_queue(QueueName="queue")["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="kept")
    arn = home.client("sns").create_topic(Name="topic")["TopicArn"]
    role = home.client("iam").create_role(RoleName="role", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    home.client("ssm").put_parameter(Name="/a", Value="b", Type="String")
    home.client("cloudwatch").put_metric_alarm(
        AlarmName="alarm",
        Namespace="N",
        MetricName="M",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="GreaterThanThreshold",
        Statistic="Sum",
    )
    for _ in range(2):
        home.again()
        assert home.client("dynamodb").get_item(**key("a"))["Item"] == {"name": {"S": "a"}, "n": {"N": "3"}}
        assert "Item" not in home.client("dynamodb").get_item(**key("gone"))
        s3 = home.client("s3")
        current = s3.get_object(Bucket="bucket", Key="k")
        assert (current["Body"].read(), current["Metadata"]) == (b"second", {"of": "second"})
        assert s3.get_object(Bucket="bucket", Key="k", VersionId=versions[0])["Body"].read() == b"first"
        assert [each["Key"] for each in s3.list_objects_v2(Bucket="bucket")["Contents"]] == ["k"]
        assert s3.get_bucket_versioning(Bucket="bucket")["Status"] == "Enabled"
        attributes = home.client("sqs").get_queue_attributes(
            QueueUrl=home.client("sqs").get_queue_url(QueueName="queue")["QueueUrl"], AttributeNames=["All"]
        )
        assert attributes["Attributes"]["ApproximateNumberOfMessages"] == "1"
        assert [topic["TopicArn"] for topic in home.client("sns").list_topics()["Topics"]] == [arn]
        assert home.client("iam").get_role(RoleName="role")["Role"]["Arn"] == role
        assert home.client("ssm").get_parameter(Name="/a")["Parameter"]["Value"] == "b"
        assert home.client("cloudwatch").describe_alarms()["MetricAlarms"][0]["AlarmName"] == "alarm"


@pytest.mark.parametrize("seed", range(3))
def test_nothing_acknowledged_is_lost_at_any_moment(home: Home, seed: int) -> None:
    """Writers go on until the process is killed under them; what they were told is done must be there."""
    chance = random.Random(seed)
    make_table(home)
    home.client("s3").create_bucket(Bucket="bucket")
    acknowledged: dict[str, set[str]] = {"item": set(), "object": set(), "count": set()}

    def write(worker: int) -> None:
        table, s3 = home.client("dynamodb"), home.client("s3")
        for number in range(100_000):
            name = f"{worker}-{number}"
            try:
                table.put_item(TableName="table", Item={"name": {"S": name}, "body": {"S": "x" * 200}})
                acknowledged["item"].add(name)
                s3.put_object(Bucket="bucket", Key=name, Body=name.encode() * 50)
                acknowledged["object"].add(name)
                table.update_item(
                    **key(f"counter-{worker}"),
                    UpdateExpression="ADD n :n",
                    ExpressionAttributeValues={":n": {"N": "1"}},
                )
                acknowledged["count"].add(name)
            except (ClientError, BotoCoreError, OSError):
                return

    with ThreadPoolExecutor(4) as pool:
        writers = [pool.submit(write, worker) for worker in range(4)]
        enough = chance.randint(20, 200)
        wait_until(lambda: len(acknowledged["count"]) >= enough)
        home.kill()
        for writer in writers:
            writer.result()
    home.start()
    table, s3 = home.client("dynamodb"), home.client("s3")
    found = {
        item["name"]["S"] for page in table.get_paginator("scan").paginate(TableName="table") for item in page["Items"]
    }
    assert acknowledged["item"] <= found
    for worker in range(4):
        done = sum(name.startswith(f"{worker}-") for name in acknowledged["count"])
        counted = int(table.get_item(**key(f"counter-{worker}")).get("Item", {"n": {"N": "0"}})["n"]["N"])
        assert done <= counted <= done + 1  # the one under way when the process ended
    for name in acknowledged["object"]:
        assert s3.get_object(Bucket="bucket", Key=name)["Body"].read() == name.encode() * 50


_ALLOW = {"Effect": "Allow", "Principal": {"Service": "states.amazonaws.com"}, "Action": "sts:AssumeRole"}
TRUST = json.dumps({"Version": "2012-10-17", "Statement": [_ALLOW]})
MACHINE = {
    "QueryLanguage": "JSONata",
    "StartAt": "Wait",
    "States": {"Wait": {"Type": "Wait", "Seconds": 1, "Next": "Done"}, "Done": {"Type": "Succeed"}},
}


def test_an_execution_that_was_started_survives_a_kill(home: Home) -> None:
    role = home.client("iam").create_role(RoleName="role", AssumeRolePolicyDocument=TRUST)["Role"]["Arn"]
    states = home.client("stepfunctions")
    machine = states.create_state_machine(name="machine", definition=json.dumps(MACHINE), roleArn=role)
    arn = machine["stateMachineArn"]
    first = states.start_execution(stateMachineArn=arn, name="first", input='{"a": 1}')["executionArn"]
    wait_until(lambda: states.describe_execution(executionArn=first)["status"] == "SUCCEEDED")
    second = states.start_execution(stateMachineArn=arn, name="second", input='{"b": 2}')["executionArn"]
    for _ in range(2):
        home.again()
        states = home.client("stepfunctions")
        assert states.describe_execution(executionArn=first)["status"] == "SUCCEEDED"
        kept = states.describe_execution(executionArn=second)
        assert kept["input"] == '{"b": 2}'
    wait_until(lambda: states.describe_execution(executionArn=second)["status"] == "SUCCEEDED")
    history = states.get_execution_history(executionArn=second)["events"]
    assert [event["type"] for event in history].count("ExecutionStarted") == 1
    assert [event["id"] for event in history] == list(range(1, len(history) + 1))


def test_what_a_task_did_is_kept_with_its_history(home: Home) -> None:
    alarm = {
        "AlarmName": "kept",
        "Namespace": "n",
        "MetricName": "m",
        "Statistic": "Sum",
        "Period": 60,
        "EvaluationPeriods": 1,
        "Threshold": 1,
        "ComparisonOperator": "GreaterThanThreshold",
    }
    put = {"Type": "Task", "Resource": "arn:aws:states:::aws-sdk:cloudwatch:putMetricAlarm", "Arguments": alarm}
    states = {"Put": {**put, "Next": "Wait"}, "Wait": {"Type": "Wait", "Seconds": 600, "End": True}}
    definition = json.dumps({"QueryLanguage": "JSONata", "StartAt": "Put", "States": states})
    iam, sfn = home.client("iam"), home.client("stepfunctions")
    role = iam.create_role(RoleName="role", AssumeRolePolicyDocument=TRUST)["Role"]["Arn"]
    statement = {"Effect": "Allow", "Action": "cloudwatch:*", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_role_policy(RoleName="role", PolicyName="p", PolicyDocument=policy)
    machine = sfn.create_state_machine(name="machine", definition=definition, roleArn=role)["stateMachineArn"]
    execution = sfn.start_execution(stateMachineArn=machine)["executionArn"]

    def waits() -> bool:
        events = sfn.get_execution_history(executionArn=execution)["events"]
        return "WaitStateEntered" in [event["type"] for event in events]

    wait_until(waits)
    home.again()
    assert home.client("cloudwatch").describe_alarms(AlarmNames=["kept"])["MetricAlarms"]


def test_a_full_disk_refuses_and_damages_nothing(home: Home, full_disk: Callable[[bool], None]) -> None:
    make_table(home)
    table, s3 = home.client("dynamodb"), home.client("s3")
    s3.create_bucket(Bucket="bucket")
    s3.put_object(Bucket="bucket", Key="old", Body=b"old")
    table.put_item(TableName="table", Item={"name": {"S": "old"}})
    role = home.client("iam").create_role(RoleName="role", AssumeRolePolicyDocument=TRUST)["Role"]["Arn"]
    sfn, patient = home.client("stepfunctions"), json.dumps(MACHINE).replace('"Seconds": 1', '"Seconds": 600')
    machine = sfn.create_state_machine(name="machine", definition=patient, roleArn=role)["stateMachineArn"]
    running = sfn.start_execution(stateMachineArn=machine, name="running")["executionArn"]
    full_disk(True)
    for ask in (
        lambda: sfn.start_execution(stateMachineArn=machine, name="refused"),
        lambda: sfn.stop_execution(executionArn=running),
        lambda: s3.put_object(Bucket="bucket", Key="new", Body=b"new"),
        lambda: s3.put_object(Bucket="bucket", Key="old", Body=b"changed"),
        lambda: table.put_item(TableName="table", Item={"name": {"S": "new"}}),
        lambda: table.delete_item(**key("old")),
        lambda: home.client("sqs").create_queue(QueueName="queue"),
        lambda: home.client("sagemaker").create_model_package_group(ModelPackageGroupName="group"),
    ):
        with pytest.raises(ClientError) as refused:
            ask()
        assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] >= 500
    assert s3.get_object(Bucket="bucket", Key="old")["Body"].read() == b"old"
    assert "Item" in table.get_item(**key("old"))
    assert "Item" not in table.get_item(**key("new"))
    assert [each["Key"] for each in s3.list_objects_v2(Bucket="bucket")["Contents"]] == ["old"]
    assert [one["name"] for one in sfn.list_executions(stateMachineArn=machine)["executions"]] == ["running"]
    full_disk(False)
    # There is room again, and nobody has to start anything anew.
    sfn.start_execution(stateMachineArn=machine, name="refused")
    sfn.stop_execution(executionArn=running)
    s3.put_object(Bucket="bucket", Key="new", Body=b"new")
    table.put_item(TableName="table", Item={"name": {"S": "new"}})
    home.client("sqs").create_queue(QueueName="queue")
    home.client("sagemaker").create_model_package_group(ModelPackageGroupName="group")
    home.again()
    table, s3 = home.client("dynamodb"), home.client("s3")
    assert s3.get_object(Bucket="bucket", Key="old")["Body"].read() == b"old"
    assert s3.get_object(Bucket="bucket", Key="new")["Body"].read() == b"new"
    assert {"Item"} <= table.get_item(**key("new")).keys() & table.get_item(**key("old")).keys()
    sfn = home.client("stepfunctions")
    found = {one["name"]: one["status"] for one in sfn.list_executions(stateMachineArn=machine)["executions"]}
    assert found == {"running": "ABORTED", "refused": "RUNNING"}
    assert home.client("sqs").get_queue_url(QueueName="queue")
    assert home.client("sagemaker").describe_model_package_group(ModelPackageGroupName="group")


def test_a_name_says_nothing_about_what_is_asked(home: Home) -> None:
    """The paths of REST services end in names, which may begin as the names of reading operations do."""
    role = home.client("iam").create_role(RoleName="role", AssumeRolePolicyDocument=TRUST)["Role"]["Arn"]
    names = ["GetThings", "invocations", "plain"]
    for name in names:
        home.client("lambda").create_function(
            FunctionName=name, Runtime="python3.13", Handler="a.b", Role=role, Code={"ZipFile": zipped("")}
        )
    for name in names:
        home.client("lambda").delete_function(FunctionName=name)
        home.again()
        there = [one["FunctionName"] for one in home.client("lambda").list_functions()["Functions"]]
        assert name not in there


def test_text_that_is_no_unicode_stops_nothing(home: Home) -> None:
    ssm = home.client("ssm")
    with suppress(ClientError):
        ssm.put_parameter(Name="odd", Value="x\ud800y", Type="String")
    ssm.put_parameter(Name="kept", Value="1", Type="String")
    home.again()
    assert home.parameter("kept") == "1"


def test_a_damaged_row_costs_no_other(home: Home) -> None:
    make_table(home)
    home.client("ssm").put_parameter(Name="kept", Value="1", Type="String")
    home.client("sqs").create_queue(QueueName="queue")
    home.client("sns").create_topic(Name="topic")
    home.client("sagemaker").create_model_package_group(ModelPackageGroupName="kept")
    home.client("sagemaker").create_model_package_group(ModelPackageGroupName="lost")
    role = home.client("iam").create_role(RoleName="role", AssumeRolePolicyDocument=TRUST)["Role"]["Arn"]
    states = home.client("stepfunctions")
    machine = states.create_state_machine(name="machine", definition=json.dumps(MACHINE), roleArn=role)
    kept, lost = (
        states.start_execution(stateMachineArn=machine["stateMachineArn"], name=name)["executionArn"]
        for name in ("kept", "lost")
    )
    for arn in (kept, lost):
        wait_until(lambda arn=arn: states.describe_execution(executionArn=arn)["status"] == "SUCCEEDED")
    length = len(states.get_execution_history(executionArn=kept)["events"])
    table = home.client("dynamodb")
    wait_until(lambda: not home.rows("SELECT * FROM requests"))  # the snapshot of the new table
    for name in ("one", "two", "three", "four"):
        table.put_item(TableName="table", Item={"name": {"S": name}})
    home.kill()
    with closing(sqlite3.connect(home.folder / "state" / FILE)) as journal, journal:
        journal.execute("UPDATE snapshots SET state = substr(state, 1, length(state) / 2) WHERE service = 'sqs'")
        journal.execute("UPDATE snapshots SET state = CAST(X'22ff22' AS TEXT) WHERE service = 'sns'")
        journal.execute("UPDATE requests SET request = '{bad' WHERE request LIKE '%\"one\"%'")
        journal.execute("UPDATE requests SET request = '5' WHERE request LIKE '%\"two\"%'")
        journal.execute("UPDATE requests SET operation = '_no' WHERE request LIKE '%\"three\"%'")
        journal.execute("UPDATE executions SET record = '{' WHERE arn = ?", (lost,))
        journal.execute("UPDATE events SET event = '{' WHERE arn = ? AND number = 1", (kept,))
    with closing(sqlite3.connect(next(home.folder.rglob("records.sqlite")))) as records, records:
        records.execute("UPDATE records SET record = '[' WHERE name = 'lost'")
    home.start()
    assert home.parameter("kept") == "1"
    items = home.client("dynamodb").scan(TableName="table")["Items"]
    assert [item["name"]["S"] for item in items] == ["four"]
    [group] = home.client("sagemaker").list_model_package_groups()["ModelPackageGroupSummaryList"]
    assert group["ModelPackageGroupName"] == "kept"
    states = home.client("stepfunctions")
    assert [
        one["name"] for one in states.list_executions(**{"stateMachineArn": machine["stateMachineArn"]})["executions"]
    ] == ["kept"]
    assert len(states.get_execution_history(executionArn=kept)["events"]) == length - 1
    assert home.running
    found = lifecycle._health(home.running.endpoint_url)["found"]
    for what in ("state of sqs", "state of sns", "(_put_item)", "(_no)", f"execution {lost}", f"execution {kept}"):
        assert any(what in sentence for sentence in found), what
    assert any("lost" in sentence and "records" not in sentence for sentence in found)
    home.again()
    assert len(home.client("stepfunctions").get_execution_history(executionArn=kept)["events"]) == length - 1
    assert home.running
    assert not any("cannot be read" in sentence for sentence in lifecycle._health(home.running.endpoint_url)["found"])


def test_a_bucket_in_the_host_is_the_bucket_in_the_path(home: Home) -> None:
    s3 = home.client("s3")
    s3.create_bucket(Bucket="named")
    s3.put_object(Bucket="named", Key="key", Body=b"content")
    assert home.running
    port = home.running.endpoint_url.rpartition(":")[2]
    host = {"Host": f"named.s3.localhost:{port}"}
    request = SignedRequest(home.running.endpoint_url, path="/key", headers=host).sign(read_keys(home.folder), "s3")
    assert request.send().body == b"content"


def test_a_cloud_that_cannot_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home(tmp_path / "home")
    home.start()
    home.client("ssm").put_parameter(Name="kept", Value="1", Type="String")
    home.stop()
    keys = (home.folder / "credentials.json").read_text()
    (home.folder / "credentials.json").write_text("")
    with pytest.raises(lifecycle.LaptopError, match=r"credentials\.json does not hold") as broken:
        home.start()
    (home.folder / "credentials.json").write_text(keys)
    with monkeypatch.context() as patched:  # a server that can write nothing, its log included
        plain = subprocess.Popen
        full = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))}
        patched.setattr(subprocess, "Popen", lambda *given, **named: plain(*given, **named, **full))
        with pytest.raises(lifecycle.LaptopError) as refused:
            home.start()
    with closing(sqlite3.connect(home.folder / "state" / FILE)) as journal, journal:
        journal.execute("UPDATE snapshots SET state = '{' WHERE service = 'ssm'")
        journal.execute("CREATE TRIGGER stop BEFORE INSERT ON broken BEGIN SELECT RAISE(FAIL, 'no room'); END")
    with pytest.raises(lifecycle.LaptopError, match="no room") as unusable:
        home.start()
    for error in (broken, refused, unusable):
        assert str(error.value).startswith("The laptop cloud cannot start. ")
        assert len(str(error.value).splitlines()) == 1
    assert str(home.folder) in str(refused.value)
