"""The template: clean as CloudFormation sees it, every parameter bounded and used, everything tagged and watched."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import botocore.session
import pytest
from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER
from skyloop import layout
from skyloop.aws.settings import Settings

from tests.infra import wiring

BOUNDS = ("AllowedValues", "AllowedPattern", "MinValue", "MaxValue")
# Layers, policies, and what is a part of the resource that it belongs to.
NOT_TAGGED = {
    "AWS::IAM::ManagedPolicy",
    "AWS::S3::BucketPolicy",
    "AWS::SQS::QueuePolicy",
    "AWS::SNS::TopicPolicy",
    "AWS::SNS::Subscription",
    "AWS::Lambda::Permission",
    "AWS::Lambda::LayerVersion",
    "AWS::Logs::MetricFilter",
}
TAGS = {"Project", "Stage", "CostCenter"}
ENVIRONMENTS = ["default", "staging", "prod", "laptop"]
DEAD_LETTERS = {"UploadsDeadLetters", "CaptureDeadLetters", "EventsDeadLetters", "AlertDeadLetters"}


def deploy_parameters(environment: str) -> wiring.JSON:
    document = tomllib.loads((wiring.ROOT / "samconfig.toml").read_text(encoding="utf-8"))
    return document[environment]["deploy"]["parameters"]


def cfn_lint(template: wiring.JSON, folder: Path) -> subprocess.CompletedProcess[str]:
    file = folder / "translated.json"
    file.write_text(json.dumps(template), encoding="utf-8")
    # W1020: the translator fills in the layers' names but leaves the Fn::Sub around them.
    options = ["--format", "parseable", "--ignore-checks", "W1020", "--regions", "us-east-1", "eu-west-1"]
    command = [str(Path(sys.executable).parent / "cfn-lint"), *options, "--", str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_cfn_lint_finds_nothing_in_the_translated_template(tmp_path: Path) -> None:
    result = cfn_lint(wiring.translated(), tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr


def test_cfn_lint_sees_into_the_definitions(tmp_path: Path) -> None:
    """The check above would be worth little if an inlined definition were not looked at."""
    broken = json.loads(json.dumps(wiring.translated()))
    broken["Resources"]["LabelStateMachine"]["Properties"]["Definition"]["States"]["CheckSelection"]["Type"] = "Choose"
    assert "E3601" in cfn_lint(broken, tmp_path).stdout


@pytest.mark.parametrize("name", wiring.template()["Parameters"])
def test_parameter_is_bounded_described_grouped_and_used(name: str) -> None:
    template = wiring.template()
    parameter = template["Parameters"][name]
    assert parameter["Description"]
    # CloudFormation begins the sentence: Parameter 'Epochs' ...
    assert re.match(r"must be [a-zA-Z0-9].*\S$", parameter["ConstraintDescription"])
    assert any(bound in parameter for bound in BOUNDS)
    if parameter["Type"] == "Number" and "AllowedValues" not in parameter:
        assert parameter["MinValue"] <= parameter["Default"] <= parameter["MaxValue"]
    if "AllowedValues" in parameter:
        assert parameter["Default"] in parameter["AllowedValues"]
    if "AllowedPattern" in parameter and "Default" in parameter:
        assert re.search(parameter["AllowedPattern"], parameter["Default"])
    groups = template["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    assert sum(name in group["Parameters"] for group in groups) == 1
    body = json.dumps({key: template[key] for key in ("Conditions", "Globals", "Resources", "Outputs")})
    assert f'{{"Ref": "{name}"}}' in body or f"${{{name}}}" in body


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("Project", ["skyloop", "a-b-c"], ["Skyloop", "a", "sky_loop", "x" * 21, "end-"]),
        ("AlertEmail", ["", "me@example.org"], ["me", "me@here", "a b@example.org"]),
        ("AlertHttpsUrl", ["", "https://example.org/hook"], ["http://example.org", "example.org"]),
        ("SweepRate", ["rate(1 minute)", "rate(15 minutes)"], ["rate(1 minutes)", "rate(0 minutes)", "15 minutes"]),
        (
            "BaseWeights",
            ["yolo11n.pt", "s3://bucket/a b/c.pt"],
            ["s3://bucket/c.bin", "a'b.pt", "../x/y.pt", "s3://bucket/a(1)!.pt"],
        ),
        (
            "TrainingImageUri",
            [
                "123456789012.dkr.ecr.eu-west-1.amazonaws.com/skyloop-training:1.2",
                "123456789012.dkr.ecr.eu-west-1.amazonaws.com/skyloop@sha256:0f",
            ],
            ["skyloop:latest", "docker.io/skyloop", "123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/skyloop:1"],
        ),
        (
            "ServingImageUri",
            ["", "123456789012.dkr.ecr.eu-west-1.amazonaws.com/skyloop-serving:1.2"],
            ["skyloop:latest", "docker.io/skyloop"],
        ),
        (
            "WorkteamArn",
            ["arn:aws:sagemaker:us-east-1:123456789012:workteam/private-crowd/pilots"],
            ["pilots", "arn:aws:sagemaker:us-east-1:1:workteam/private-crowd/pilots"],
        ),
        ("MlflowTrackingUri", ["", "https://mlflow.example.org"], ["file:///tmp/x", "http://a'b", 'http://a"b']),
        ("EndpointInstanceType", ["ml.c7i.large", "ml.m5.2xlarge"], ["c7i.large", "ml.large"]),
    ],
)
def test_patterns_take_what_is_good_and_refuse_what_is_not(name: str, good: list[str], bad: list[str]) -> None:
    pattern = wiring.template()["Parameters"][name]["AllowedPattern"]
    assert [value for value in good if not re.fullmatch(pattern, value)] == []
    assert [value for value in bad if re.fullmatch(pattern, value)] == []


def test_base_weights_fit_the_metadata_of_a_package() -> None:
    """retrain.asl writes them into CustomerMetadataProperties, whose values have a pattern and a length."""
    limits = botocore.session.get_session().get_service_model("sagemaker").shape_for("CustomerMetadataValue").metadata
    bounds = wiring.template()["Parameters"]["BaseWeights"]
    longest = f"s3://{'b' * 63}/{'k' * 180}.pt"
    assert re.fullmatch(bounds["AllowedPattern"], longest)
    assert len(longest) <= limits["max"]
    taken = {
        chr(code) for code in range(32, 127) if re.fullmatch(bounds["AllowedPattern"], f"s3://bucket/{chr(code)}.pt")
    }
    assert [character for character in taken if not (character.isalnum() or character in " _.:/=+-@")] == []


@pytest.mark.parametrize("kind", sorted({resource["Type"] for resource in wiring.translated()["Resources"].values()}))
def test_cloudformation_puts_the_tags_of_the_stack_on_everything_that_can_have_tags(kind: str) -> None:
    """A type's schema says whether CloudFormation tags its resources when they are made and when the tags change."""
    tagging = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", kind).schema.get("tagging", {})
    tagged = bool(tagging.get("taggable") and tagging.get("tagOnCreate") and tagging.get("tagUpdatable"))
    assert tagged == (kind not in NOT_TAGGED)


def test_only_the_model_package_group_has_tags_of_its_own() -> None:
    tagged = {
        name: one["Properties"] for name, one in wiring.template()["Resources"].items() if "Tags" in one["Properties"]
    }
    assert list(tagged) == ["ModelPackageGroup"]
    tags = {tag["Key"]: tag["Value"] for tag in tagged["ModelPackageGroup"]["Tags"]}
    assert tags == {name: {"Ref": name} for name in TAGS}


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_tags_of_the_stack_say_what_the_parameters_say(environment: str) -> None:
    """Step Functions tags jobs, models and endpoints with the parameters."""
    parameters = wiring.template()["Parameters"]
    given = dict(pair.split("=", 1) for pair in deploy_parameters(environment)["parameter_overrides"])
    expected = {f"{name}={given.get(name, parameters[name]['Default'])}" for name in TAGS}
    assert set(deploy_parameters(environment)["tags"]) == expected


def test_jobs_models_and_endpoints_made_by_the_machines_are_tagged() -> None:
    for name, path, state in wiring.tasks():
        action = state["Resource"].rpartition(":")[2].removesuffix(".sync")
        # A package takes its group's tags and may carry none of its own.
        if action.startswith("create") and action != "createModelPackage":
            text = json.dumps(state["Arguments"])
            assert all(tag in text for tag in (*TAGS, "CorrelationId")), (name, path)


def test_every_function_and_machine_has_its_log_group_with_retention() -> None:
    groups = wiring.resources("AWS::Logs::LogGroup")
    assert all(group["RetentionInDays"] == {"Ref": "LogRetentionDays"} for group in groups.values())
    functions = wiring.resources("AWS::Serverless::Function")
    for name, function in functions.items():
        group = groups[function["LoggingConfig"]["LogGroup"]["Ref"]]
        assert group["LogGroupName"]["Fn::Sub"] == f"/aws/lambda/{function['FunctionName']['Fn::Sub']}", name
    for name, machine in wiring.resources("AWS::Serverless::StateMachine").items():
        target = machine["Logging"]["Destinations"][0]["CloudWatchLogsLogGroup"]["LogGroupArn"]["Fn::GetAtt"][0]
        # A name under /aws/vendedlogs/ keeps the account's resource policy for log deliveries short.
        assert groups[target]["LogGroupName"]["Fn::Sub"].startswith("/aws/vendedlogs/states/"), name


def test_every_function_has_a_folder_a_role_of_its_own_and_no_room_for_two_timeouts() -> None:
    functions = wiring.resources("AWS::Serverless::Function")
    folders = {
        path.name for path in (wiring.ROOT / "functions").iterdir() if path.is_dir() and path.name != "__pycache__"
    }
    assert {function["CodeUri"].strip("/").rpartition("/")[2] for function in functions.values()} == folders
    assert len({json.dumps(function["Role"]) for function in functions.values()}) == len(functions)


def test_every_queue_has_dead_letters_and_an_alarm_on_them() -> None:
    queues = wiring.resources("AWS::SQS::Queue")
    watched = set()
    for alarm in wiring.resources("AWS::CloudWatch::Alarm").values():
        if alarm.get("Namespace") == "AWS/SQS":
            assert alarm["AlarmActions"] == [{"Ref": "AlertTopic"}]
            watched.add(alarm["Dimensions"][0]["Value"]["Fn::GetAtt"][0])
    assert watched == DEAD_LETTERS
    for name, queue in queues.items():
        assert queue["SqsManagedSseEnabled"] is True
        if name not in DEAD_LETTERS:
            assert queue["RedrivePolicy"]["deadLetterTargetArn"]["Fn::GetAtt"][0] in DEAD_LETTERS


def test_messages_stay_hidden_for_six_times_their_functions_timeout() -> None:
    queues, functions = wiring.resources("AWS::SQS::Queue"), wiring.resources("AWS::Serverless::Function")
    for source in wiring.resources("AWS::Lambda::EventSourceMapping").values():
        queue = queues[source["EventSourceArn"]["Fn::GetAtt"][0]]
        function = functions[source["FunctionName"]["Ref"]]
        assert queue["VisibilityTimeout"] >= 6 * function["Timeout"]
        assert source["FunctionResponseTypes"] == ["ReportBatchItemFailures"]


def test_every_rule_has_dead_letters_that_take_its_events() -> None:
    policy = wiring.resources("AWS::SQS::QueuePolicy")["EventsDeadLettersPolicy"]["PolicyDocument"]["Statement"][0]
    allowed = {arn["Fn::GetAtt"][0] for arn in policy["Condition"]["ArnEquals"]["aws:SourceArn"]}
    rules = wiring.resources("AWS::Events::Rule")
    assert allowed == set(rules)
    for name, rule in rules.items():
        for target in rule["Targets"]:
            assert target["DeadLetterConfig"] == {"Arn": {"Fn::GetAtt": ["EventsDeadLetters", "Arn"]}}, name


def test_every_event_is_that_of_this_stack() -> None:
    """Several stages may share an account, and so its event bus: each pattern names something of its own stack."""
    for name, rule in wiring.resources("AWS::Events::Rule").items():
        if "EventPattern" in rule:
            own = json.dumps(rule["EventPattern"])
            assert "${Project}-${Stage}" in own or '"Ref": "' in own or '"Fn::GetAtt"' in own, name


def test_rules_and_indexes_have_the_names_of_the_layout() -> None:
    rules = wiring.resources("AWS::Events::Rule")
    for name, prefix in (("ImageUploadedRule", layout.RAW_IMAGES), ("CaptureWrittenRule", layout.CAPTURES)):
        assert rules[name]["EventPattern"]["detail"]["object"]["key"] == [{"prefix": prefix}]
    indexes = wiring.resources("AWS::DynamoDB::Table")["CatalogueTable"]["GlobalSecondaryIndexes"]
    assert [index["IndexName"] for index in indexes] == [layout.STATUS_INDEX, layout.OBJECTS_INDEX]


def test_the_data_bucket_is_closed_versioned_encrypted_and_told_of() -> None:
    bucket = wiring.resources("AWS::S3::Bucket")["DataBucket"]
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    assert bucket["VersioningConfiguration"]["Status"] == "Enabled"
    assert bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert bucket["NotificationConfiguration"]["EventBridgeConfiguration"]["EventBridgeEnabled"] is True
    assert bucket["CorsConfiguration"]["CorsRules"][0]["AllowedMethods"] == ["GET"]
    # Raw images and labels are never forgotten.
    for rule in bucket["LifecycleConfiguration"]["Rules"]:
        assert "ExpirationInDays" not in rule or rule["Prefix"] == layout.CAPTURES
    deny = wiring.resources("AWS::S3::BucketPolicy")["DataBucketPolicy"]["PolicyDocument"]["Statement"][0]
    assert (deny["Effect"], deny["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})


def test_what_cannot_be_made_again_outlives_the_stack() -> None:
    for name in ("DataBucket", "CatalogueTable", "StateTable", "ModelPackageGroup"):
        resource = wiring.template()["Resources"][name]
        # But not a stack that never came to be: its group would stand in the way of the next attempt.
        assert resource["DeletionPolicy"] == "RetainExceptOnCreate", name
        assert resource["UpdateReplacePolicy"] == "Retain", name
    for name, table in wiring.resources("AWS::DynamoDB::Table").items():
        assert table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"] is True, name
        assert table["SSESpecification"]["SSEEnabled"] is True, name


def test_an_alarm_rings_when_drift_cannot_be_judged() -> None:
    """A function that judges nothing fails nowhere: without the alarm, silence would look like "no drift"."""
    alarm = wiring.resources("AWS::CloudWatch::Alarm")["DriftNotJudgedAlarm"]
    variables = wiring.template()["Globals"]["Function"]["Environment"]["Variables"]
    assert (alarm["Namespace"], alarm["MetricName"]) == (variables["POWERTOOLS_METRICS_NAMESPACE"], "DriftUnjudgeable")
    dimensions = {entry["Name"]: entry["Value"] for entry in alarm["Dimensions"]}
    assert set(dimensions) == {"Endpoint", "service"}
    assert dimensions["service"] == variables["POWERTOOLS_SERVICE_NAME"]
    assert dimensions["Endpoint"] == variables["SKYLOOP_ENDPOINT_NAME"]


def test_rollback_alarms_act_through_sagemaker_alone() -> None:
    alarms = wiring.resources("AWS::CloudWatch::Alarm")
    for name in ("EndpointErrorAlarm", "EndpointBrokenAlarm", "EndpointFailingAlarm", "EndpointLatencyAlarm"):
        assert alarms[name]["ActionsEnabled"] is False
        assert alarms[name]["TreatMissingData"] == "notBreaching"
        assert "AlarmActions" not in alarms[name]


def test_the_latency_alarm_looks_at_what_the_container_says() -> None:
    """A name that differs in one of four places would be silence: no datapoint is no breach."""
    alarm = wiring.resources("AWS::CloudWatch::Alarm")["EndpointLatencyAlarm"]
    group = wiring.resources("AWS::Logs::LogGroup")["EndpointLogs"]
    made = wiring.resources("AWS::Logs::MetricFilter")["LookTimeFilter"]
    [metric] = made["MetricTransformations"]
    [dimension] = metric["Dimensions"]
    assert made["LogGroupName"] == {"Ref": "EndpointLogs"}
    assert group["LogGroupName"] == {"Fn::Sub": "/aws/sagemaker/Endpoints/${Project}-${Stage}"}
    assert (alarm["Namespace"], alarm["MetricName"]) == (metric["MetricNamespace"], metric["MetricName"])
    assert [one["Name"] for one in alarm["Dimensions"]] == [dimension["Key"]]
    assert alarm["Threshold"] == {"Ref": "LatencyAlarmMs"}
    assert metric["Unit"] == "Milliseconds"
    environment = wiring.machine("deploy")["States"]["CreateModel"]["Arguments"]["PrimaryContainer"]["Environment"]
    assert "'SKYLOOP_ENDPOINT_CONFIG': $config" in environment
    said = (wiring.ROOT / "training_container/skyloop_container/serve.py").read_text()
    for path in (metric["MetricValue"], dimension["Value"]):
        assert f'"{path.removeprefix("$.")}":' in said
    assert made["FilterPattern"] == f"{{ {metric['MetricValue']} = * }}"


def test_an_engine_that_an_endpoint_cannot_run_is_told() -> None:
    alarm = wiring.resources("AWS::CloudWatch::Alarm")["EngineRefusedAlarm"]
    made = wiring.resources("AWS::Logs::MetricFilter")["EngineRefusedFilter"]
    [metric] = made["MetricTransformations"]
    assert (alarm["Namespace"], alarm["MetricName"]) == (metric["MetricNamespace"], metric["MetricName"])
    assert made["LogGroupName"] == {"Ref": "EndpointLogs"}
    assert alarm["AlarmActions"] == [{"Ref": "AlertTopic"}]
    said = (wiring.ROOT / "training_container/skyloop_container/serve.py").read_text()
    assert '{"engine_refused": 1, ' in said
    assert made["FilterPattern"] == "{ $.engine_refused = 1 }"


def test_every_bake_is_long_enough_for_its_alarms() -> None:
    alarms = wiring.resources("AWS::CloudWatch::Alarm")
    latency, broken = alarms["EndpointLatencyAlarm"], alarms["EndpointBrokenAlarm"]
    takes = [latency["DatapointsToAlarm"] * latency["Period"]]
    takes += [broken["EvaluationPeriods"] * one["MetricStat"]["Period"] for one in broken["Metrics"][1:]]
    # One more minute: the first may be over before anybody asks, and a metric is not there at once.
    assert wiring.template()["Parameters"]["BakeSeconds"]["MinValue"] >= max(takes) + 60


def test_ground_truth_lambda_accounts_are_those_in_the_service_model() -> None:
    model = botocore.session.get_session().get_service_model("sagemaker")
    documentation = model.shape_for("HumanTaskConfig").members["PreHumanTaskLambdaArn"].documentation
    published = dict(re.findall(r"arn:aws:lambda:([a-z0-9-]+):(\d{12}):function:PRE-BoundingBox", documentation))
    ours = {region: entry["Account"] for region, entry in wiring.template()["Mappings"]["GroundTruth"].items()}
    assert ours == published


def test_functions_get_the_environment_that_the_settings_read() -> None:
    variables = wiring.template()["Globals"]["Function"]["Environment"]["Variables"]
    given = {name.removeprefix("SKYLOOP_").lower() for name in variables if name.startswith("SKYLOOP_")}
    fields = Settings.model_fields
    assert given <= set(fields), given - set(fields)
    required = {name for name, field in fields.items() if field.is_required()}
    assert required <= given, required - given


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_samconfig_names_parameters_that_exist_with_values_they_take(environment: str) -> None:
    parameters = wiring.template()["Parameters"]
    for pair in deploy_parameters(environment)["parameter_overrides"]:
        name, _, value = pair.partition("=")
        bounds = parameters[name]
        if bounds["Type"] == "Number":
            assert bounds.get("MinValue", 0) <= float(value) <= bounds.get("MaxValue", float("inf")), name
        if "AllowedValues" in bounds:
            assert value in [str(item) for item in bounds["AllowedValues"]], name
        if "AllowedPattern" in bounds:
            assert re.fullmatch(bounds["AllowedPattern"], value), name


@pytest.mark.parametrize("name", ["template.yaml", "samconfig.toml"])
def test_no_line_is_longer_than_120(name: str) -> None:
    lines = enumerate((wiring.ROOT / name).read_text(encoding="utf-8").splitlines(), 1)
    assert [number for number, line in lines if len(line) > 120] == []


def test_nothing_that_is_deployed_knows_which_cloud_it_is_on() -> None:
    words = re.compile(r"local(ly)?\b|localhost|laptop|ministack|moto\b|127\.0\.0\.1", re.IGNORECASE)
    container = [
        f"training_container/{name}"
        for name in (
            "Dockerfile",
            "README.md",
            "requirements.txt",
            "requirements-serving.txt",
            "requirements-serving-cuda.txt",
        )
    ]
    places = [wiring.ROOT / name for name in ("template.yaml", *container)]
    for folder in ("functions", "layers", "statemachines", "training_container/skyloop_container"):
        places += [path for path in (wiring.ROOT / folder).rglob("*") if path.is_file()]
    found = []
    for path in places:
        if (
            path.suffix in {".py", ".yaml", ".txt", ".toml", ".md", ".json", ".html", ""}
            and "__pycache__" not in path.parts
        ):
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                if words.search(line):
                    found.append(f"{path.relative_to(wiring.ROOT)}:{number}: {line.strip()}")
    assert found == []
