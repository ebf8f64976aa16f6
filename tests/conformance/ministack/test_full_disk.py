"""What a person reads and can do while the disk of the laptop cloud is full."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable

import pytest
from botocore.exceptions import ClientError

from cli.errors import CliError, translated
from laptop import lifecycle, storing
from tests.conformance.conftest import wait_until
from tests.support.homes import Home

TEMPLATE = json.dumps({"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}})


def test_what_there_is_can_be_read_and_a_change_is_refused_with_the_folder(
    home: Home, full_disk: Callable[[bool], None]
) -> None:
    stacks, topics = home.client("cloudformation"), home.client("sns")
    stacks.create_stack(StackName="mine", TemplateBody=TEMPLATE)
    wait_until(lambda: stacks.describe_stacks(StackName="mine")["Stacks"][0]["StackStatus"] == "CREATE_COMPLETE")
    full_disk(True)
    with pytest.raises(CliError) as refused, translated():
        topics.create_topic(Name="refused")
    assert refused.value.what.startswith(storing.CANNOT_STORE)
    assert str(home.folder) in refused.value.what
    assert refused.value.next_step.startswith("Make room")
    assert stacks.describe_stacks(StackName="mine")["Stacks"]
    assert stacks.describe_stack_resources(StackName="mine")["StackResources"]
    assert topics.list_topics()["Topics"]
    for service, operation, request in [
        ("sqs", "create_queue", {"QueueName": "refused"}),
        ("iam", "create_user", {"UserName": "refused"}),
        ("ssm", "put_parameter", {"Name": "refused", "Value": "1", "Type": "String"}),
        ("events", "put_rule", {"Name": "refused", "ScheduleExpression": "rate(1 day)"}),
        ("cloudwatch", "delete_alarms", {"AlarmNames": ["refused"]}),
        ("dynamodb", "delete_table", {"TableName": "refused"}),
        ("s3", "create_bucket", {"Bucket": "refused"}),
        ("sagemaker", "create_model_package_group", {"ModelPackageGroupName": "refused"}),
    ]:
        with pytest.raises(ClientError) as error:
            getattr(home.client(service), operation)(**request)
        assert storing.CANNOT_STORE in error.value.response["Error"]["Message"], service
    # But for the first one, by which the cloud learned that the disk is full, they have not taken effect.
    with pytest.raises(ClientError, match="NonExistentQueue"):
        home.client("sqs").get_queue_url(QueueName="refused")
    assert home.client("iam").list_users()["Users"] == []
    assert home.client("ssm").describe_parameters()["Parameters"] == []
    assert home.client("events").list_rules()["Rules"] == []
    full_disk(False)
    home.client("sqs").create_queue(QueueName="refused")
    home.client("ssm").put_parameter(Name="refused", Value="1", Type="String")


def test_a_cloud_can_be_stopped(home: Home, full_disk: Callable[[bool], None], monkeypatch: pytest.MonkeyPatch) -> None:
    assert home.running
    lifecycle._write(home.folder, home.running)
    full_disk(True)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(lifecycle, "_replace", full)
    assert lifecycle.down(home.folder)
    stopped = lifecycle.status(home.folder)
    assert stopped
    assert stopped.pid is None
    assert lifecycle.down(home.folder) is False


def test_nobody_is_told_of_an_upload_that_was_refused(home: Home, full_disk: Callable[..., None]) -> None:
    """`status` counted it among those just uploaded, and its message found no object."""
    s3, sqs = home.client("s3"), home.client("sqs")
    s3.create_bucket(Bucket="bucket")
    may = {"Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "sqs:*", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [may]})
    url = sqs.create_queue(QueueName="uploads", Attributes={"Policy": policy})["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    told = {"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}
    s3.put_bucket_notification_configuration(
        Bucket="bucket",
        NotificationConfiguration={"QueueConfigurations": [told]},
        SkipDestinationValidation=True,
    )
    room = 8 * 2**20
    full_disk(True, room)
    with pytest.raises(ClientError, match="ServiceUnavailable"):
        s3.put_object(Bucket="bucket", Key="refused", Body=bytes(room + 1))
    s3.put_object(Bucket="bucket", Key="taken", Body=b"small")
    keys: list[str] = []

    def heard() -> bool:
        for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
            keys.extend(record["s3"]["object"]["key"] for record in json.loads(message["Body"]).get("Records", []))
        return "taken" in keys

    wait_until(heard)
    assert keys == ["taken"]
