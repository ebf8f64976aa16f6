"""CloudFormation: queues, topics, rules, roles, alarms and functions, wired as a template declares and seen working."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psutil

from tests.conformance.conftest import Cloud, wait_until
from tests.conformance.ministack.conftest import left


def test_wiring_is_made_as_declared(cloud: Cloud, stack: Any) -> None:
    name = cloud.name("wired")
    template = f"""
        Mappings: {{Stages: {{dev: {{Days: 3}}}}}}
        Resources:
          Topic:
            Type: AWS::SNS::Topic
            Properties: {{TopicName: {name}, DisplayName: Alerts, Tags: [{{Key: Project, Value: skyloop}}]}}
          TopicPolicy:
            Type: AWS::SNS::TopicPolicy
            Properties:
              Topics: [!Ref Topic]
              PolicyDocument:
                Statement:
                  - {{Effect: Allow, Principal: {{Service: cloudwatch.amazonaws.com}}, Action: "sns:Publish",
                     Resource: !Ref Topic}}
          Queue: {{Type: AWS::SQS::Queue, Properties: {{QueueName: {name}, Tags: [{{Key: Project, Value: skyloop}}]}}}}
          QueuePolicy:
            Type: AWS::SQS::QueuePolicy
            Properties:
              Queues: [!Ref Queue]
              PolicyDocument:
                Statement:
                  - Effect: Allow
                    Principal: {{Service: events.amazonaws.com}}
                    Action: sqs:SendMessage
                    Resource: !GetAtt Queue.Arn
                    Condition: {{ArnEquals: {{"aws:SourceArn": !GetAtt Rule.Arn}}}}
                  - {{Effect: Allow, Principal: {{Service: sns.amazonaws.com}}, Action: "sqs:SendMessage",
                     Resource: !GetAtt Queue.Arn}}
          Subscription:
            Type: AWS::SNS::Subscription
            Properties: {{TopicArn: !Ref Topic, Protocol: sqs, Endpoint: !GetAtt Queue.Arn}}
          Rule:
            Type: AWS::Events::Rule
            Properties:
              Name: {name}
              Description: what this test says
              EventPattern: {{source: [{name}]}}
              Tags: [{{Key: Project, Value: skyloop}}]
              Targets: [{{Id: queue, Arn: !GetAtt Queue.Arn}}]
          Role:
            Type: AWS::IAM::Role
            Properties:
              Description: sends
              AssumeRolePolicyDocument:
                Statement: [{{Effect: Allow, Principal: {{Service: lambda.amazonaws.com}}, Action: "sts:AssumeRole"}}]
              Policies:
                - PolicyName: send
                  PolicyDocument:
                    Statement: [{{Effect: Allow, Action: "sqs:SendMessage", Resource: !GetAtt Queue.Arn}}]
              Tags: [{{Key: Project, Value: skyloop}}]
          Logs:
            Type: AWS::Logs::LogGroup
            Properties:
              LogGroupName: /aws/lambda/{name}
              RetentionInDays: !FindInMap [Stages, dev, Days]
              Tags: [{{Key: Project, Value: skyloop}}]
          Alarm:
            Type: AWS::CloudWatch::Alarm
            Properties:
              AlarmName: {name}
              AlarmDescription: slow
              ActionsEnabled: true
              AlarmActions: [!Ref Topic]
              Namespace: {name}
              MetricName: Latency
              Dimensions: [{{Name: Endpoint, Value: mine}}]
              ExtendedStatistic: p90
              Period: 10
              EvaluationPeriods: 2
              DatapointsToAlarm: 1
              Threshold: 5
              ComparisonOperator: GreaterThanThreshold
              TreatMissingData: notBreaching
              Tags: [{{Key: Project, Value: skyloop}}]
          Dashboard:
            Type: AWS::CloudWatch::Dashboard
            Properties:
              DashboardName: {name}
              DashboardBody: !Sub '{{"widgets": [], "title": "${{Topic.TopicName}}"}}'
        Outputs:
          Queue: {{Value: !Ref Queue}}
          Role: {{Value: !Ref Role}}
          RoleArn: {{Value: !GetAtt Role.Arn}}
          Joined: {{Value: !Join ["/", [!Ref "AWS::Region", !Ref "AWS::AccountId", !Ref "AWS::Partition"]]}}
    """
    made = stack(template)
    assert made["Joined"] == f"{cloud.region}/{cloud.account}/aws"
    sqs = cloud.client("sqs")

    def received(word: str) -> list[str]:
        found = sqs.receive_message(QueueUrl=made["Queue"], MaxNumberOfMessages=10, VisibilityTimeout=0)
        return [one["Body"] for one in found.get("Messages", []) if word in one["Body"]]

    entry = {"Source": name, "DetailType": "Test", "Detail": '{"word": "by-rule"}'}
    cloud.client("events").put_events(Entries=[entry])
    wait_until(lambda: received("by-rule"))
    cloud.client("sns").publish(TopicArn=cloud.arn("sns", name), Message="by-topic")
    wait_until(lambda: received("by-topic"))
    datum = {"MetricName": "Latency", "Value": 9, "Dimensions": [{"Name": "Endpoint", "Value": "mine"}]}
    cloud.client("cloudwatch").put_metric_data(Namespace=name, MetricData=[datum])
    wait_until(lambda: received("Threshold Crossed"))
    [alarm] = cloud.client("cloudwatch").describe_alarms(AlarmNames=[name])["MetricAlarms"]
    assert (alarm["ExtendedStatistic"], alarm["DatapointsToAlarm"], alarm["TreatMissingData"]) == (
        "p90",
        1,
        "notBreaching",
    )
    groups = cloud.client("logs").describe_log_groups(logGroupNamePrefix=f"/aws/lambda/{name}")["logGroups"]
    assert groups[0]["retentionInDays"] == 3
    policy = cloud.client("iam").get_role_policy(RoleName=made["Role"], PolicyName="send")["PolicyDocument"]
    assert "sqs:SendMessage" in json.dumps(policy)
    assert name in cloud.client("cloudwatch").get_dashboard(DashboardName=name)["DashboardBody"]
    assert cloud.client("events").describe_rule(Name=name)["Description"] == "what this test says"


def test_a_queue_feeds_a_function_and_a_rule_may_invoke_it(cloud: Cloud, stack: Any, tmp_path: Path) -> None:
    (tmp_path / "functions").mkdir()
    (tmp_path / "functions" / "app.py").write_text("def handler(event, context): return {'batchItemFailures': []}\n")
    template = """
        Transform: AWS::Serverless-2016-10-31
        Resources:
          Queue: {Type: AWS::SQS::Queue}
          Role:
            Type: AWS::IAM::Role
            Properties:
              AssumeRolePolicyDocument:
                Statement: [{Effect: Allow, Principal: {Service: lambda.amazonaws.com}, Action: "sts:AssumeRole"}]
          Take:
            Type: AWS::Serverless::Function
            Properties:
              Handler: app.handler
              Runtime: python3.13
              CodeUri: functions/
              Role: !GetAtt Role.Arn
              Timeout: 20
          Rule: {Type: AWS::Events::Rule, Properties: {ScheduleExpression: rate(1 hour), Targets: [
            {Id: take, Arn: !GetAtt Take.Arn, Input: "{}"}]}}
          May:
            Type: AWS::Lambda::Permission
            Properties:
              Action: lambda:InvokeFunction
              FunctionName: !Ref Take
              Principal: events.amazonaws.com
              SourceArn: !GetAtt Rule.Arn
          Feed:
            Type: AWS::Lambda::EventSourceMapping
            Properties:
              EventSourceArn: !GetAtt Queue.Arn
              FunctionName: !Ref Take
              BatchSize: 10
              FunctionResponseTypes: [ReportBatchItemFailures]
              ScalingConfig: {MaximumConcurrency: 2}
        Outputs: {Queue: {Value: !Ref Queue}, Take: {Value: !Ref Take}}
    """
    made = stack(template)
    [mapping] = cloud.client("lambda").list_event_source_mappings(FunctionName=made["Take"])["EventSourceMappings"]
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert mapping["ScalingConfig"] == {"MaximumConcurrency": 2}
    policy = json.loads(cloud.client("lambda").get_policy(FunctionName=made["Take"])["Policy"])
    assert policy["Statement"][0]["Principal"] == {"Service": "events.amazonaws.com"}
    sqs = cloud.client("sqs")
    sqs.send_message(QueueUrl=made["Queue"], MessageBody="x")
    wait_until(lambda: left(cloud, made["Queue"]) == {"0"})


def test_a_queue_wakes_no_more_functions_at_once_than_its_source_allows(cloud: Cloud, function: Any) -> None:
    sqs = cloud.client("sqs")
    queue = sqs.create_queue(QueueName=cloud.name("burst"))["QueueUrl"]
    for start in range(0, 40, 10):
        sqs.send_message_batch(
            QueueUrl=queue, Entries=[{"Id": str(number), "MessageBody": "x"} for number in range(start, start + 10)]
        )
    name = function("import time\ndef handler(event, context): time.sleep(0.2)").rpartition(":")[2]
    cloud.client("lambda").create_event_source_mapping(
        FunctionName=name,
        EventSourceArn=cloud.arn("sqs", queue.rpartition("/")[2]),
        BatchSize=5,
        ScalingConfig={"MaximumConcurrency": 2},
    )
    most = 0

    def empty() -> bool:
        nonlocal most
        most = max(most, sum(f"lambda-{name}-" in line for line in workers(cloud)))
        return left(cloud, queue) == {"0"}

    wait_until(empty)
    assert most == 2


def workers(cloud: Cloud) -> list[str]:
    """Command lines of the processes below this test's server that run functions."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or [])
        if str(cloud.home) in line and "_worker.py" in line and "supervisor.py" not in line:
            found.append(line)
    return found
