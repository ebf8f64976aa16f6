"""CloudFormation: what the template relies on, deployed by `laptop.deploy` as `skyloop up` does."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

import pytest

from laptop import deploy
from tests.conformance.conftest import Cloud, wait_until
from tests.conformance.ministack.conftest import left


def test_a_model_package_group_is_made_by_a_stack(cloud: Cloud, stack: Any) -> None:
    name = cloud.name("group")
    template = f"""
        Resources:
          Group:
            Type: AWS::SageMaker::ModelPackageGroup
            Properties:
              ModelPackageGroupName: {name}
              ModelPackageGroupDescription: detectors
              Tags: [{{Key: Project, Value: skyloop}}]
        Outputs:
          Ref: {{Value: !Ref Group}}
          Status: {{Value: !GetAtt Group.ModelPackageGroupStatus}}
    """
    arn = cloud.arn("sagemaker", f"model-package-group/{name}")
    assert stack(template) == {"Ref": arn, "Status": "Completed"}
    client = cloud.client("sagemaker")
    assert (
        client.describe_model_package_group(ModelPackageGroupName=name)["ModelPackageGroupDescription"] == "detectors"
    )
    assert client.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "Project", "Value": "skyloop"}]
    stack(template.replace("Value: skyloop", "Value: other"))
    assert client.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "Project", "Value": "other"}]
    with pytest.raises(deploy.DeployError, match="requires replacing"):
        stack(template.replace("detectors", "others"))


def test_tags_of_the_stack_reach_its_resources(cloud: Cloud, stack: Any) -> None:
    name = cloud.name("tagged")
    template = f"""
        Resources:
          Queue: {{Type: AWS::SQS::Queue}}
          Group:
            Type: AWS::SageMaker::ModelPackageGroup
            Properties: {{ModelPackageGroupName: {name}, Tags: [{{Key: Stage, Value: own}}]}}
          Role:
            Type: AWS::IAM::Role
            Properties:
              AssumeRolePolicyDocument:
                Statement: [{{Effect: Allow, Principal: {{Service: lambda.amazonaws.com}}, Action: "sts:AssumeRole"}}]
        Outputs: {{Queue: {{Value: !Ref Queue}}, Group: {{Value: !Ref Group}}, Role: {{Value: !Ref Role}}}}
    """

    def tags(**given: str) -> list[dict[str, str]]:
        made = stack(template, given)
        queue = cloud.client("sqs").list_queue_tags(QueueUrl=made["Queue"])["Tags"]
        role = cloud.client("iam").list_role_tags(RoleName=made["Role"])["Tags"]
        group = cloud.client("sagemaker").list_tags(ResourceArn=made["Group"])["Tags"]
        found = [queue, *({tag["Key"]: tag["Value"] for tag in one} for one in (role, group))]
        return [{key: value for key, value in one.items() if not key.startswith("aws:")} for one in found]

    stacks = {"Project": "skyloop", "Stage": "dev"}
    assert tags(**stacks) == [stacks, stacks, {"Project": "skyloop", "Stage": "own"}]
    assert tags(Stage="prod") == [{"Stage": "prod"}, {"Stage": "prod"}, {"Stage": "own"}]


def test_a_managed_policy_allows_the_roles_it_is_attached_to(cloud: Cloud, stack: Any) -> None:
    template = """
        Transform: AWS::Serverless-2016-10-31
        Resources:
          Mine: {Type: AWS::SQS::Queue}
          Other: {Type: AWS::SQS::Queue}
          Policy:
            Type: AWS::IAM::ManagedPolicy
            Properties:
              PolicyDocument:
                Version: "2012-10-17"
                Statement: [{Effect: Allow, Action: "sqs:SendMessage", Resource: !GetAtt Mine.Arn}]
          Role:
            Type: AWS::IAM::Role
            Properties:
              AssumeRolePolicyDocument:
                Statement: [{Effect: Allow, Principal: {Service: states.amazonaws.com}, Action: "sts:AssumeRole"}]
              ManagedPolicyArns: [!Ref Policy]
          Send:
            Type: AWS::Serverless::StateMachine
            Properties:
              Role: !GetAtt Role.Arn
              Definition:
                QueryLanguage: JSONata
                StartAt: Send
                States:
                  Send:
                    Type: Task
                    Resource: arn:aws:states:::sqs:sendMessage
                    Arguments: {QueueUrl: "{% $states.input %}", MessageBody: hello}
                    End: true
        Outputs: {Send: {Value: !Ref Send}, Mine: {Value: !Ref Mine}, Other: {Value: !Ref Other}}
    """
    from tests.conformance.ministack.conftest import ended

    made = stack(template)

    def send(queue: str) -> dict[str, Any]:
        client = cloud.client("stepfunctions")
        started = client.start_execution(stateMachineArn=made["Send"], input=json.dumps(made[queue]))
        return ended(cloud, started["executionArn"])

    assert send("Mine")["status"] == "SUCCEEDED"
    assert "is not authorized to perform: sqs:SendMessage" in send("Other")["cause"]


def test_a_resource_that_fails_is_named_with_its_reason(cloud: Cloud, stack: Any) -> None:
    template = """
        Resources:
          Group:
            Type: AWS::SageMaker::ModelPackageGroup
            Properties: {ModelPackageGroupName: not_a_name}
    """
    with pytest.raises(
        deploy.DeployError, match=r"Group \(AWS::SageMaker::ModelPackageGroup\): .*modelPackageGroupName"
    ):
        stack(template)
    assert stack(template.replace("not_a_name", cloud.name("group"))) == {}, "the failed stack is made anew"


def test_conditions_compute_with_strings(stack: Any) -> None:
    template = """
        Parameters:
          Weights: {Type: String}
          Email: {Type: String, Default: ""}
        Conditions:
          InS3: !Equals [!Select [0, !Split ["s3://", !Ref Weights]], ""]
          HasEmail: !Not [!Equals [!Ref Email, ""]]
          Both: !And [!Condition InS3, !Condition HasEmail]
        Resources:
          Topic: {Type: AWS::SNS::Topic}
          Extra: {Type: AWS::SNS::Topic, Condition: Both}
        Outputs:
          InS3: {Value: !If [InS3, "yes", "no"]}
          Both: {Value: !If [Both, "yes", "no"]}
    """
    assert stack(template, Weights="yolo11n.pt") == {"InS3": "no", "Both": "no"}
    assert stack(template, Weights="s3://b/w.pt") == {"InS3": "yes", "Both": "no"}
    assert stack(template, Weights="s3://b/w.pt", Email="a@b") == {"InS3": "yes", "Both": "yes"}


PARAMETERS = """
    Parameters:
      Count: {Type: Number, MinValue: 1, MaxValue: 3, Default: 2}
      Stage: {Type: String, AllowedValues: [dev, prod], Default: dev}
      Name: {Type: String, AllowedPattern: "^[a-z]+$", ConstraintDescription: lower case letters, Default: ok}
    Resources: {Topic: {Type: AWS::SNS::Topic}}
    Outputs: {Count: {Value: !Ref Count}, Stage: {Value: !Sub "${AWS::StackName}-${Stage}"}}
"""


@pytest.mark.parametrize("wrong", [{"Count": "4"}, {"Count": "x"}, {"Stage": "test"}, {"Name": "A1"}])
def test_parameters_are_bounded(stack: Any, wrong: dict[str, str]) -> None:
    with pytest.raises(deploy.DeployError, match=next(iter(wrong))):
        stack(PARAMETERS, **wrong)
    assert stack(PARAMETERS, Count="3")["Count"] == "3"


def test_an_update_changes_what_changed_and_keeps_the_rest(cloud: Cloud, stack: Any) -> None:
    template = """
        Parameters: {Days: {Type: Number, Default: 1}}
        Resources:
          Bucket: {Type: AWS::S3::Bucket}
          Logs: {Type: AWS::Logs::LogGroup, Properties: {RetentionInDays: !Ref Days}}
        Outputs: {Bucket: {Value: !Ref Bucket}, Logs: {Value: !Ref Logs}}
    """
    first = stack(template)
    cloud.client("s3").put_object(Bucket=first["Bucket"], Key="kept", Body=b"1")
    second = stack(template, Days="7")
    assert second == first
    assert cloud.client("s3").get_object(Bucket=second["Bucket"], Key="kept")["Body"].read() == b"1"
    groups = cloud.client("logs").describe_log_groups(logGroupNamePrefix=first["Logs"])["logGroups"]
    assert groups[0]["retentionInDays"] == 7
    assert stack(template, Days="7") == first, "nothing to update is no error"


def test_storage_is_made_as_declared(cloud: Cloud, stack: Any) -> None:
    template = """
        Resources:
          Bucket:
            Type: AWS::S3::Bucket
            Properties:
              VersioningConfiguration: {Status: Enabled}
              BucketEncryption:
                ServerSideEncryptionConfiguration: [{ServerSideEncryptionByDefault: {SSEAlgorithm: AES256}}]
              PublicAccessBlockConfiguration:
                {BlockPublicAcls: true, BlockPublicPolicy: true, IgnorePublicAcls: true, RestrictPublicBuckets: true}
              NotificationConfiguration: {EventBridgeConfiguration: {EventBridgeEnabled: true}}
              CorsConfiguration: {CorsRules: [{AllowedMethods: [GET], AllowedOrigins: ["*"]}]}
          Policy:
            Type: AWS::S3::BucketPolicy
            Properties:
              Bucket: !Ref Bucket
              PolicyDocument:
                Statement:
                  - Effect: Deny
                    Principal: "*"
                    Action: "s3:*"
                    Resource: [!GetAtt Bucket.Arn, !Sub "${Bucket.Arn}/*"]
                    Condition: {Bool: {"aws:SecureTransport": "false"}}
          Table:
            Type: AWS::DynamoDB::Table
            Properties:
              BillingMode: PAY_PER_REQUEST
              AttributeDefinitions:
                [{AttributeName: id, AttributeType: S}, {AttributeName: s, AttributeType: S},
                 {AttributeName: o, AttributeType: S}]
              KeySchema: [{AttributeName: id, KeyType: HASH}]
              GlobalSecondaryIndexes:
                - IndexName: status-index
                  KeySchema: [{AttributeName: s, KeyType: HASH}, {AttributeName: o, KeyType: RANGE}]
                  Projection: {ProjectionType: ALL}
              TimeToLiveSpecification: {AttributeName: expiration, Enabled: true}
              PointInTimeRecoverySpecification: {PointInTimeRecoveryEnabled: true}
              SSESpecification: {SSEEnabled: true}
          Dead: {Type: AWS::SQS::Queue, Properties: {MessageRetentionPeriod: 1209600}}
          Queue:
            Type: AWS::SQS::Queue
            Properties:
              VisibilityTimeout: 90
              RedrivePolicy: {deadLetterTargetArn: !GetAtt Dead.Arn, maxReceiveCount: 3}
        Outputs: {Bucket: {Value: !Ref Bucket}, Table: {Value: !Ref Table}, Queue: {Value: !Ref Queue}}
    """
    made = stack(template)
    s3, bucket = cloud.client("s3"), {"Bucket": made["Bucket"]}
    assert s3.get_bucket_versioning(**bucket)["Status"] == "Enabled"
    assert s3.get_bucket_encryption(**bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert all(s3.get_public_access_block(**bucket)["PublicAccessBlockConfiguration"].values())
    assert "EventBridgeConfiguration" in s3.get_bucket_notification_configuration(**bucket)
    assert s3.get_bucket_cors(**bucket)["CORSRules"][0]["AllowedMethods"] == ["GET"]
    assert "SecureTransport" in s3.get_bucket_policy(**bucket)["Policy"]
    dynamodb = cloud.client("dynamodb")
    dynamodb.put_item(TableName=made["Table"], Item={"id": {"S": "1"}, "s": {"S": "PENDING"}, "o": {"S": "0#a"}})
    found = dynamodb.query(
        TableName=made["Table"],
        IndexName="status-index",
        KeyConditionExpression="s = :s",
        ExpressionAttributeValues={":s": {"S": "PENDING"}},
    )
    assert found["Count"] == 1
    attributes = cloud.client("sqs").get_queue_attributes(QueueUrl=made["Queue"], AttributeNames=["All"])["Attributes"]
    assert attributes["VisibilityTimeout"] == "90"
    assert json.loads(attributes["RedrivePolicy"])["maxReceiveCount"] in (3, "3")


def test_a_table_gets_an_index_later_and_is_read_by_ranges_of_it(cloud: Cloud, stack: Any) -> None:
    """A stack of before the sweep's tours is updated: entries that are there already are in the new index too."""
    template = """
        Resources:
          Table:
            Type: AWS::DynamoDB::Table
            Properties:
              BillingMode: PAY_PER_REQUEST
              AttributeDefinitions:
                [{AttributeName: id, AttributeType: S}, {AttributeName: s, AttributeType: S},
                 {AttributeName: o, AttributeType: S} ATTRIBUTE]
              KeySchema: [{AttributeName: id, KeyType: HASH}]
              GlobalSecondaryIndexes:
                - IndexName: status-index
                  KeySchema: [{AttributeName: s, KeyType: HASH}, {AttributeName: o, KeyType: RANGE}]
                  Projection: {ProjectionType: ALL} INDEX
        Outputs: {Table: {Value: !Ref Table}}
    """
    dynamodb = cloud.client("dynamodb")
    table = stack(template.replace("ATTRIBUTE", "").replace("INDEX", ""))["Table"]
    for number in range(6):
        values = {"id": str(number), "s": "LABELED", "o": "1#a", "k": f"k{number}", "etag": f"e{number}", "more": "x"}
        dynamodb.put_item(TableName=table, Item={name: {"S": value} for name, value in values.items()})
    index = """
                - IndexName: objects-index
                  KeySchema: [{AttributeName: s, KeyType: HASH}, {AttributeName: k, KeyType: RANGE}]
                  Projection: {ProjectionType: INCLUDE, NonKeyAttributes: [etag]}"""
    attribute = ", {AttributeName: k, AttributeType: S}"
    assert stack(template.replace("ATTRIBUTE", attribute).replace("INDEX", index))["Table"] == table
    query: dict[str, Any] = {
        "TableName": table,
        "IndexName": "objects-index",
        "KeyConditionExpression": "s = :s AND k BETWEEN :first AND :last",
        "ExpressionAttributeValues": {":s": {"S": "LABELED"}, ":first": {"S": "k1"}, ":last": {"S": "k4"}},
        "Limit": 3,
    }
    first = dynamodb.query(**query)
    assert [item["k"]["S"] for item in first["Items"]] == ["k1", "k2", "k3"]
    assert set(first["Items"][0]) == {"id", "s", "k", "etag"}
    rest = dynamodb.query(**query, ExclusiveStartKey=first["LastEvaluatedKey"])
    assert [item["k"]["S"] for item in rest["Items"]] == ["k4"]
    assert "LastEvaluatedKey" not in rest
    assert dynamodb.query(**query, Select="COUNT")["Count"] == 3


def test_a_serverless_application_runs(cloud: Cloud, stack: Any, tmp_path: Path) -> None:
    for name, content in {
        "functions/greet/app.py": "import shared, os\n"
        "def handler(event, context):\n"
        "    return ' '.join([shared.GREETING, event['name'], 'in', os.environ['STAGE']])\n",
        "layers/shared/python/shared/__init__.py": "GREETING = 'Hello'\n",
        "machine.asl.yaml": """
            QueryLanguage: JSONata
            StartAt: Greet
            States:
              Greet:
                Type: Task
                Resource: arn:aws:states:::lambda:invoke
                Arguments: {FunctionName: "${Greet}", Payload: {name: "{% $states.input.who %}"}}
                Output: "{% $states.result.Payload %}"
                End: true
        """,
    }.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(content) if name.endswith("yaml") else content)
    template = """
        Transform: AWS::Serverless-2016-10-31
        Globals:
          Function:
            Runtime: python3.13
            Architectures: [arm64]
            Environment: {Variables: {STAGE: dev}}
        Resources:
          Shared: {Type: AWS::Serverless::LayerVersion, Properties: {ContentUri: layers/shared/}}
          Greet:
            Type: AWS::Serverless::Function
            Properties: {Handler: app.handler, CodeUri: functions/greet/, Layers: [!Ref Shared]}
          Machine:
            Type: AWS::Serverless::StateMachine
            Properties:
              DefinitionUri: machine.asl.yaml
              DefinitionSubstitutions: {Greet: !GetAtt Greet.Arn}
              Policies: [{LambdaInvokePolicy: {FunctionName: !Ref Greet}}]
        Outputs: {Machine: {Value: !Ref Machine}}
    """
    from tests.conformance.ministack.conftest import ended

    arn = stack(template)["Machine"]
    client = cloud.client("stepfunctions")
    execution = client.start_execution(stateMachineArn=arn, input='{"who": "you"}')["executionArn"]
    assert ended(cloud, execution)["output"] == "Hello you in dev"
    code = tmp_path / "functions/greet/app.py"
    code.write_text(code.read_text().replace("event[", "'dear', event["))
    assert stack(template)["Machine"] == arn
    execution = client.start_execution(stateMachineArn=arn, input='{"who": "you"}')["executionArn"]
    assert ended(cloud, execution)["output"] == "Hello dear you in dev"


def test_numbers_of_parameters_arrive_as_numbers(cloud: Cloud, stack: Any, function: Any) -> None:
    template = f"""
        Parameters:
          Size: {{Type: Number, Default: 5}}
          Window: {{Type: Number, Default: 0}}
          Most: {{Type: Number, Default: 2}}
        Resources:
          Queue: {{Type: AWS::SQS::Queue}}
          Feed:
            Type: AWS::Lambda::EventSourceMapping
            Properties:
              EventSourceArn: !GetAtt Queue.Arn
              FunctionName: {function("def handler(event, context): pass")}
              BatchSize: !Ref Size
              MaximumBatchingWindowInSeconds: !Ref Window
              ScalingConfig: {{MaximumConcurrency: !Ref Most}}
        Outputs: {{Queue: {{Value: !Ref Queue}}, Feed: {{Value: !Ref Feed}}}}
    """

    def numbers(made: dict[str, str]) -> tuple[Any, Any, Any]:
        source = cloud.client("lambda").get_event_source_mapping(UUID=made["Feed"])
        cloud.client("sqs").send_message(QueueUrl=made["Queue"], MessageBody="x")
        wait_until(lambda: left(cloud, made["Queue"]) == {"0"}, what="the message to be taken")
        return source["BatchSize"], source["MaximumBatchingWindowInSeconds"], source["ScalingConfig"]

    assert numbers(stack(template)) == (5, 0, {"MaximumConcurrency": 2})
    assert numbers(stack(template, Size="1", Most="3")) == (1, 0, {"MaximumConcurrency": 3})
