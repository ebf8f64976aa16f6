"""What the laptop cloud has been shown to do: the allow-list of :mod:`laptop.preflight`.

Each entry names the conformance test that proves it, ``file::function`` below ``tests/conformance/ministack``; a test
checks that these exist. What is accepted without effect on the laptop is listed apart, with the reason why nothing
depends on it there.
"""

from __future__ import annotations

_STORAGE = "test_templates.py::test_storage_is_made_as_declared"
_WIRING = "test_wiring.py::test_wiring_is_made_as_declared"
_SERVERLESS = "test_templates.py::test_a_serverless_application_runs"
_GROUP = "test_templates.py::test_a_model_package_group_is_made_by_a_stack"
_MANAGED = "test_templates.py::test_a_managed_policy_allows_the_roles_it_is_attached_to"
_CONDITIONS = "test_templates.py::test_conditions_compute_with_strings"

SECTIONS = {
    "Parameters": "test_templates.py::test_parameters_are_bounded",
    "Conditions": _CONDITIONS,
    "Mappings": _WIRING,
    "Resources": _WIRING,
    "Outputs": _WIRING,
    "Transform": _SERVERLESS,
    "Globals": _SERVERLESS,
}
TEXT_SECTIONS = ("AWSTemplateFormatVersion", "Description", "Metadata")

FUNCTIONS = {
    "Ref": _WIRING,
    "Fn::GetAtt": _WIRING,
    "Fn::Sub": _WIRING,
    "Fn::Join": _WIRING,
    "Fn::FindInMap": _WIRING,
    "Fn::If": _CONDITIONS,
    "Fn::Equals": _CONDITIONS,
    "Fn::Not": _CONDITIONS,
    "Fn::And": _CONDITIONS,
    "Fn::Split": _CONDITIONS,
    "Fn::Select": _CONDITIONS,
    "Condition": _CONDITIONS,
}

RESOURCES: dict[str, dict[str, str]] = {
    "AWS::CloudWatch::Alarm": dict.fromkeys(
        (
            "ActionsEnabled",
            "AlarmActions",
            "AlarmDescription",
            "AlarmName",
            "ComparisonOperator",
            "DatapointsToAlarm",
            "Dimensions",
            "EvaluationPeriods",
            "ExtendedStatistic",
            "MetricName",
            "Metrics",
            "Namespace",
            "Period",
            "Statistic",
            "Tags",
            "Threshold",
            "TreatMissingData",
        ),
        _WIRING,
    ),
    "AWS::CloudWatch::Dashboard": dict.fromkeys(("DashboardBody", "DashboardName"), _WIRING),
    "AWS::DynamoDB::Table": dict.fromkeys(
        ("AttributeDefinitions", "BillingMode", "GlobalSecondaryIndexes", "KeySchema", "Tags"), _STORAGE
    ),
    "AWS::Events::Rule": {
        **dict.fromkeys(("Description", "EventPattern", "Name", "State", "Tags", "Targets"), _WIRING),
        "ScheduleExpression": "test_events.py::test_a_schedule_fires_when_its_time_has_come",
    },
    "AWS::IAM::ManagedPolicy": {"PolicyDocument": _MANAGED},
    "AWS::IAM::Role": {
        **dict.fromkeys(("AssumeRolePolicyDocument", "Description", "Policies", "RoleName", "Tags"), _WIRING),
        "ManagedPolicyArns": _MANAGED,
    },
    "AWS::Lambda::EventSourceMapping": {
        **dict.fromkeys(("EventSourceArn", "FunctionName"), _WIRING),
        **dict.fromkeys(
            ("BatchSize", "FunctionResponseTypes", "ScalingConfig"),
            "test_lambdas.py::test_a_queue_invokes_a_function_and_redelivers_what_failed",
        ),
    },
    "AWS::Lambda::Permission": dict.fromkeys(("Action", "FunctionName", "Principal", "SourceArn"), _WIRING),
    "AWS::Logs::MetricFilter": dict.fromkeys(
        ("FilterName", "FilterPattern", "LogGroupName", "MetricTransformations"),
        "test_log_metrics.py::test_a_metric_filter_makes_metrics_of_lines",
    ),
    "AWS::Logs::LogGroup": dict.fromkeys(("LogGroupName", "RetentionInDays", "Tags"), _WIRING),
    "AWS::S3::Bucket": dict.fromkeys(
        (
            "BucketEncryption",
            "BucketName",
            "CorsConfiguration",
            "NotificationConfiguration",
            "PublicAccessBlockConfiguration",
            "Tags",
            "VersioningConfiguration",
        ),
        _STORAGE,
    ),
    "AWS::S3::BucketPolicy": dict.fromkeys(("Bucket", "PolicyDocument"), _STORAGE),
    "AWS::SNS::Subscription": dict.fromkeys(("Endpoint", "Protocol", "TopicArn"), _WIRING),
    "AWS::SNS::Topic": dict.fromkeys(("DisplayName", "Tags", "TopicName"), _WIRING),
    "AWS::SNS::TopicPolicy": dict.fromkeys(("PolicyDocument", "Topics"), _WIRING),
    "AWS::SQS::Queue": {
        **dict.fromkeys(("MessageRetentionPeriod", "RedrivePolicy", "VisibilityTimeout"), _STORAGE),
        **dict.fromkeys(("QueueName", "Tags"), _WIRING),
    },
    "AWS::SQS::QueuePolicy": dict.fromkeys(("PolicyDocument", "Queues"), _WIRING),
    "AWS::SageMaker::ModelPackageGroup": dict.fromkeys(
        ("ModelPackageGroupDescription", "ModelPackageGroupName", "Tags"), _GROUP
    ),
    "AWS::Serverless::Function": dict.fromkeys(
        (
            "CodeUri",
            "Environment",
            "FunctionName",
            "Handler",
            "Layers",
            "LoggingConfig",
            "Role",
            "Runtime",
            "Tags",
            "Timeout",
        ),
        _SERVERLESS,
    ),
    "AWS::Serverless::LayerVersion": dict.fromkeys(("ContentUri", "LayerName"), _SERVERLESS),
    "AWS::Serverless::StateMachine": dict.fromkeys(
        ("Definition", "DefinitionSubstitutions", "DefinitionUri", "Name", "Policies", "Role", "Tags", "Type"),
        _SERVERLESS,
    ),
}

# Accepted, and without effect here. Nothing on the laptop depends on it, for the reason given.
INERT = {
    "AWS::DynamoDB::Table.PointInTimeRecoverySpecification": "there are no backups to restore from",
    "AWS::DynamoDB::Table.SSESpecification": "the tables are files of the user's own account",
    "AWS::DynamoDB::Table.TimeToLiveSpecification": "expired items may stay for days on AWS too; readers compare times",
    "AWS::Lambda::EventSourceMapping.MaximumBatchingWindowInSeconds": "batches are handed on at once, never late",
    "AWS::Lambda::EventSourceMapping.Tags": "nothing reads them",
    "AWS::S3::Bucket.LifecycleConfiguration": "objects do not expire while a demonstration runs",
    "AWS::S3::Bucket.OwnershipControls": "there is one account, so one owner",
    "AWS::SNS::Subscription.RedrivePolicy": "a subscriber on this machine that fails is seen failing",
    "AWS::SQS::Queue.SqsManagedSseEnabled": "the queues are in this machine's memory",
    "AWS::Serverless::Function.Architectures": "functions run on this machine's processor",
    "AWS::Serverless::Function.Description": "a text",
    "AWS::Serverless::Function.MemorySize": "memory is not limited",
    "AWS::Serverless::Function.PropagateTags": "MiniStack's transform applies what it knows; nothing reads them",
    "AWS::Serverless::Function.Tracing": "traces are not collected",
    "AWS::Serverless::LayerVersion.CompatibleArchitectures": "functions run on this machine's processor",
    "AWS::Serverless::LayerVersion.CompatibleRuntimes": "functions run on this virtual environment's interpreter",
    "AWS::Serverless::LayerVersion.Description": "a text",
    "AWS::Serverless::LayerVersion.RetentionPolicy": "versions are kept until the home is removed",
    "AWS::Serverless::StateMachine.Logging": "an execution's history is kept whole",
    "AWS::Serverless::StateMachine.Tracing": "traces are not collected",
}

ATTRIBUTES = ("Condition", "DeletionPolicy", "DependsOn", "Metadata", "Properties", "Type", "UpdateReplacePolicy")

# Targets of rules, and what of them is honored.
TARGETS = {
    "Arn": _WIRING,
    "Id": _WIRING,
    "RoleArn": "test_events.py::test_a_rule_starts_an_execution_only_with_a_role_that_may",
    "DeadLetterConfig": "test_events.py::test_a_queue_gets_only_what_its_policy_allows",
    "Input": "test_events.py::test_a_schedule_fires_when_its_time_has_come",
    "InputTransformer": "test_events.py::test_an_input_is_transformed",
}
TARGETS_INERT = {"RetryPolicy": "a delivery here fails at once or never"}

_EXECUTIONS = "test_executions.py::"
_CHOICES = _EXECUTIONS + "test_choices_test_conditions_in_order_and_assign"
_ASSIGN = _EXECUTIONS + "test_assignments_see_the_values_before_the_state"
_CAUGHT = _EXECUTIONS + "test_a_caught_error_is_seen_by_assign_and_the_next_state"
_RETRY = _EXECUTIONS + "test_retries_wait_no_longer_than_max_delay"
_MAP = "test_maps.py::test_a_manifest_is_read_batched_and_summed"
_MAP_BYTES = "test_maps.py::test_a_batch_carries_its_input_and_keeps_to_its_bytes"
_TOLERANCE = "test_maps.py::test_failures_are_tolerated_up_to_a_share"

MACHINE = {
    "QueryLanguage": _CHOICES,
    "StartAt": _CHOICES,
    "States": _CHOICES,
    "TimeoutSeconds": _EXECUTIONS + "test_a_machine_that_takes_too_long_times_out",
}
_STEP = {"Type": _CHOICES, "Next": _CHOICES, "End": _ASSIGN}
_OUTCOME = {"Output": _ASSIGN, "Assign": _ASSIGN}
_GUARDS = {"Retry": _RETRY, "Catch": _CAUGHT}
STATES: dict[str, dict[str, str]] = {
    "Pass": {**_STEP, **_OUTCOME},
    "Task": {
        **_STEP,
        **_OUTCOME,
        **_GUARDS,
        "Resource": "test_integrations.py::test_a_lock_is_taken_once_and_released",
        "Arguments": "test_integrations.py::test_a_lock_is_taken_once_and_released",
        "TimeoutSeconds": "test_sagemaker_tasks.py::test_a_job_that_outlives_its_task_is_stopped",
    },
    "Choice": {"Type": _CHOICES, "Choices": _CHOICES, "Default": _CHOICES},
    "Wait": {**_STEP, **_OUTCOME, "Seconds": _EXECUTIONS + "test_waits_are_computed"},
    "Succeed": {"Type": _CHOICES, "Output": _CHOICES},
    "Fail": dict.fromkeys(("Type", "Error", "Cause"), _EXECUTIONS + "test_a_fail_state_names_its_error_by_expression"),
    "Map": {
        **_STEP,
        **_OUTCOME,
        **_GUARDS,
        "Items": "test_maps.py::test_an_inline_map_runs_its_items",
        "ItemProcessor": _MAP,
        "ItemReader": _MAP,
        "ItemBatcher": _MAP,
        "MaxConcurrency": _MAP,
        "Label": _MAP,
        "ItemSelector": "test_maps.py::test_items_are_selected",
        "ResultWriter": "test_maps.py::test_results_are_written_to_a_bucket",
        "ToleratedFailurePercentage": _TOLERANCE,
        "ToleratedFailureCount": _TOLERANCE,
    },
}
# The members of what states are made of.
PARTS: dict[str, dict[str, str]] = {
    "Retry": dict.fromkeys(
        ("ErrorEquals", "IntervalSeconds", "BackoffRate", "MaxAttempts", "MaxDelaySeconds", "JitterStrategy"), _RETRY
    ),
    "Catch": dict.fromkeys(("ErrorEquals", "Next", "Assign", "Output"), _CAUGHT),
    "Choices": dict.fromkeys(("Condition", "Next", "Assign", "Output"), _CHOICES),
    "ItemProcessor": dict.fromkeys(("ProcessorConfig", "StartAt", "States"), _MAP),
    "ItemReader": dict.fromkeys(("Resource", "ReaderConfig", "Arguments"), _MAP),
    "ItemBatcher": {"MaxItemsPerBatch": _MAP, "BatchInput": _MAP, "MaxInputBytesPerBatch": _MAP_BYTES},
    "ResultWriter": dict.fromkeys(
        ("Resource", "Arguments", "WriterConfig"), "test_maps.py::test_results_are_written_to_a_bucket"
    ),
}
READERS = {"arn:aws:states:::s3:getObject": {"JSONL": _MAP}}

_ERRORS = "test_integrations.py::test_errors_have_the_names_of_the_sdk"
_LOCK = "test_integrations.py::test_a_lock_is_taken_once_and_released"
_TASKS = "test_sagemaker_tasks.py::"
_SDK_SAGEMAKER = _TASKS + "test_described_times_are_text_in_sdk_integrations"
INTEGRATIONS = {
    "lambda:invoke": "test_lambdas.py::test_an_exception_keeps_its_name",
    "sns:publish": "test_integrations.py::test_an_alert_keeps_its_attributes",
    "events:putEvents": "test_integrations.py::test_an_event_is_put",
    "states:startExecution": "test_integrations.py::test_a_machine_starts_another",
    "states:startExecution.sync:2": "test_integrations.py::test_a_machine_waits_for_another",
    **dict.fromkeys(("dynamodb:getItem", "dynamodb:putItem", "dynamodb:updateItem", "dynamodb:deleteItem"), _LOCK),
    "sagemaker:createTrainingJob.sync": _TASKS + "test_a_training_job_runs_to_its_end",
    "sagemaker:createProcessingJob.sync": _TASKS + "test_a_processing_job_runs_to_its_end",
    "sagemaker:createLabelingJob.sync": _TASKS + "test_a_labeling_job_runs_to_its_end",
    **dict.fromkeys(
        (
            "sagemaker:createTrainingJob",
            "sagemaker:createProcessingJob",
            "sagemaker:createLabelingJob",
            "sagemaker:createModel",
            "sagemaker:createEndpointConfig",
            "sagemaker:createEndpoint",
            "sagemaker:updateEndpoint",
        ),
        _ERRORS,
    ),
    "aws-sdk:sfn:startExecution": "test_integrations.py::test_a_machine_starts_another",
    "aws-sdk:sfn:describeExecution": "test_integrations.py::test_described_times_are_text",
    "aws-sdk:sfn:listExecutions": "test_integrations.py::test_executions_are_listed",
    "aws-sdk:dynamodb:getItem": _ERRORS,
    "aws-sdk:cloudwatch:describeAlarms": "test_integrations.py::test_alarms_are_described",
    "aws-sdk:cloudwatch:putMetricAlarm": "test_integrations.py::test_an_alarm_is_pointed_at_something_else",
    "aws-sdk:cloudwatch:setAlarmState": "test_integrations.py::test_an_alarm_is_pointed_at_something_else",
    "aws-sdk:applicationautoscaling:registerScalableTarget": _TASKS + "test_autoscaling_is_set_from_a_state_machine",
    "aws-sdk:applicationautoscaling:putScalingPolicy": _TASKS + "test_autoscaling_is_set_from_a_state_machine",
}
# Every operation that the local SageMaker has is reached in one way; its own tests prove the operations.
SDK_SERVICES = {"sagemaker": _SDK_SAGEMAKER}

# Functions of JSONata, each evaluated by `test_jsonata.py::test_a_function_computes_what_step_functions_does`.
JSONATA = frozenset(
    (
        "abs", "append", "average", "boolean", "ceil", "contains", "count", "distinct", "each", "exists",
        "filter", "floor", "fromMillis", "hash", "join", "keys", "length", "lookup", "lowercase", "map",
        "match", "max", "merge", "millis", "min", "not", "now", "number", "parse", "partition", "range",
        "reduce", "replace", "reverse", "round", "single", "sort", "split", "string", "substring",
        "substringAfter", "substringBefore", "sum", "toMillis", "trim", "type", "uppercase", "uuid",
    )
)  # fmt: skip
