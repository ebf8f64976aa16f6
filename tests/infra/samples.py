"""Sample values for every variable, input and result that the state machines' expressions read."""

from __future__ import annotations

from typing import Any

from tests.infra import wiring
from tests.infra.expressions import SETTINGS

JOB = "skyloop-dev-0123456789ab"
ERROR = {"Error": "SageMaker.SageMakerException", "Cause": "Rate exceeded"}
PACKAGES = "arn:aws:sagemaker:us-east-1:123456789012:model-package/skyloop-dev"
ENDPOINT = {
    "EndpointName": "skyloop-dev",
    "EndpointStatus": "InService",
    "EndpointConfigName": "skyloop-dev-v1",
    "FailureReason": "the alarm rang",
    "LastModifiedTime": "2026-11-23T10:00:00Z",
    "ProductionVariants": [{"VariantName": "primary", "DesiredInstanceCount": 2}],
}
RECORD = {
    "config": "skyloop-dev-v2",
    "package_arn": f"{PACKAGES}/2",
    "previous_config": "skyloop-dev-v1",
    "previous_package_arn": f"{PACKAGES}/1",
}
RECORDED = {"Item": {name: {"S": value} for name, value in RECORD.items()}}
ALERT = {
    "event": "training-failed",
    "severity": "error",
    "subject": JOB,
    "what": 'The training job "x" did not give a model.',
    "why": ERROR,
    "kept": "The dataset.",
    "next_step": "Fix the cause above.",
    "links": {"dataset": "s3://data/x"},
}
COMMON = {"correlation_id": "flight-7", "outcome": "registered", "alert": ALERT, "failed": "X", "error": ERROR}
DATASET = {
    "decision": "train",
    "reason": "enough.",
    "labels": {"images": 8, "boxes": 49, "put_aside": 1},
    "dataset_id": "ds-0123456789ab",
    "dataset_uri": "s3://data/processed-data/ds-0123456789ab/dataset.json",
    "train_manifest_uri": "s3://data/processed-data/ds-0123456789ab/train.manifest",
    "validation_manifest_uri": "s3://data/processed-data/ds-0123456789ab/validation.manifest",
    "test_manifest_uri": "s3://data/processed-data/ds-0123456789ab/test.manifest",
    "report_uri": "s3://data/processed-data/ds-0123456789ab/report.html",
    "categories": ["tree"],
    "test_set_id": "ts-0123456789ab",
}
CHAMPION = {
    "package_arn": f"{PACKAGES}/1",
    "config": "skyloop-dev-v1",
    "model_uri": "s3://data/model-artifacts/skyloop-dev-111111111111/output/model.tar.gz",
}
MODEL_SHA256, GOLDEN_SHA256 = "0a1b2c3d" * 8, "9f8e7d6c" * 8
ARTIFACTS = f"s3://data/model-artifacts/{JOB}"
SELECTION = {
    "decision": "label",
    "reason": "a batch is complete",
    "wait_seconds": 2.5,
    "image_count": 12,
    "job_name": JOB,
    "correlation_id": "flight-7",
    "label_attribute_name": "boxes",
    "label_category_config_uri": "s3://data/ground-truth-jobs/label-categories.json",
    "input_manifest_uri": f"s3://data/ground-truth-jobs/{JOB}/input.manifest",
    "output_uri": "s3://data/ground-truth-jobs/",
    "ui_template_uri": f"s3://data/ground-truth-jobs/{JOB}/template.html",
    "task_title": "Draw boxes",
    "task_description": "Around every tree.",
}

# What each machine's states assign, by machine; a test holds the names against the definitions.
ALARMS: list[wiring.JSON] = [
    {
        "AlarmName": SETTINGS[f"{kind}AlarmName"],
        "AlarmArn": f"arn:aws:cloudwatch:us-east-1:123456789012:alarm:{SETTINGS[f'{kind}AlarmName']}",
        "AlarmDescription": "The version in service misbehaves.",
        "ActionsEnabled": False,
        "Namespace": namespace,
        "MetricName": metric,
        "Period": 60,
        "EvaluationPeriods": 3,
        "Threshold": 2000.5,
        "ComparisonOperator": "GreaterThanThreshold",
        "TreatMissingData": "notBreaching",
        "Dimensions": [*dimensions, {"Name": "EndpointConfigName", "Value": "skyloop-dev-v1"}],
        "StateValue": "OK",
        **more,
    }
    for kind, namespace, metric, dimensions, more in (
        (
            "Error",
            "AWS/SageMaker",
            "Invocation5XXErrors",
            [{"Name": "EndpointName", "Value": "skyloop-dev"}, {"Name": "VariantName", "Value": "primary"}],
            {"Statistic": "Sum"},
        ),
        ("Latency", "Skyloop", "LookTime", [], {"ExtendedStatistic": "p50", "DatapointsToAlarm": 2}),
    )
]
_OF_ONE_METRIC = ("Namespace", "MetricName", "Statistic", "Period", "Dimensions")
ALARMS.append(
    {
        **{name: value for name, value in ALARMS[0].items() if name not in _OF_ONE_METRIC},
        "AlarmName": SETTINGS["BrokenAlarmName"],
        "Metrics": [
            {"Id": "broken", "Label": "broken", "Expression": "IF(errors - refused >= 3, 1, 0) * requests"},
            *(
                {
                    "Id": name,
                    "ReturnData": False,
                    "MetricStat": {
                        "Stat": "Sum",
                        "Period": 60,
                        "Metric": {
                            "Namespace": "AWS/SageMaker",
                            "MetricName": metric,
                            "Dimensions": ALARMS[0]["Dimensions"],
                        },
                    },
                }
                for name, metric in (
                    ("errors", "InvocationModelErrors"),
                    ("refused", "Invocation4XXErrors"),
                    ("requests", "Invocations"),
                )
            ),
        ],
    }
)
VARIABLES: dict[str, wiring.JSON] = {
    "route": {
        **{name: value for name, value in COMMON.items() if name != "outcome"},
        "machine": SETTINGS["DeployStateMachineArn"],
        "name": "skyloop-dev-v3",
        "request": {"model_package_arn": f"{PACKAGES}/3"},
        "happened_at": "2026-11-23T11:00:00Z",
        "status": "SUCCEEDED",
        "ended_at": "2026-11-23T10:05:00.123Z",
    },
    "label": {
        **COMMON,
        "owner": "arn:aws:states:us-east-1:123456789012:execution:skyloop-dev-label:x",
        "force": False,
        "relabel": JOB,
        "reason": "the boxes were scrambled",
        "rounds": 1,
        "at_limit": False,
        "requeued": True,
        "selection": SELECTION,
        "fingerprint": "TakeLock States.Timeout",
    },
    "retrain": {
        **COMMON,
        "labeling_job": JOB,
        "training_job": JOB,
        "asked": {},
        "again": False,
        "refusal": "epochs must be a whole number from 1 to 10000",
        "lost": 0,
        "attempt": "2",
        "seen": "x#0",
        "asker": "x",
        "asker_status": "RUNNING",
        "artifacts": {
            "root": "s3://data/model-artifacts/",
            "checkpoints": f"{ARTIFACTS}/checkpoints/",
            "evaluation": f"{ARTIFACTS}/evaluation",
            "metrics": f"{ARTIFACTS}/evaluation/evaluation.json",
            "report": f"{ARTIFACTS}/evaluation/report.html",
            "baseline": f"{ARTIFACTS}/evaluation/baseline.json",
            "golden_predictions": f"{ARTIFACTS}/evaluation/golden-predictions.json",
        },
        "labels": {
            "status": "Completed",
            "attribute": "boxes",
            "failure": "no reason was given",
            "uri": f"s3://data/ground-truth-jobs/{JOB}/manifests/output/output.manifest",
            "parts": 3,
        },
        "requeued": 3,
        "dataset": DATASET,
        "champion": CHAMPION,
        "training": {
            "base_model": CHAMPION["package_arn"],
            "channels": [{"ChannelName": "train", "DataSource": {}}],
            "hyperparameters": {"epochs": "100"},
            "environment": {"SKYLOOP_CORRELATION_ID": "flight-7"},
            "spot": {"EnableManagedSpotTraining": False, "StoppingCondition": {"MaxRuntimeInSeconds": 3600}},
        },
        "model_uri": f"{ARTIFACTS}/output/model.tar.gz",
        "job": {
            "TrainingJobStatus": "Failed",
            "ProcessingJobStatus": "Failed",
            "FailureReason": "AlgorithmError",
            "ModelArtifacts": {"S3ModelArtifacts": f"{ARTIFACTS}/output/model.tar.gz"},
        },
        "decision": {
            "decision": "approve",
            "summary": "mAP50 is 0.71.",
            "reasons": ["tree AP50 0.1 is below 0.2"],
            "decision_uri": f"{ARTIFACTS}/decision.json",
            "map50": 0.71,
            "model_sha256": MODEL_SHA256,
            "golden_predictions_sha256": GOLDEN_SHA256,
            "engine": "openvino-bf16",
        },
        "package_arn": f"{PACKAGES}/2",
    },
    "deploy": {
        **COMMON,
        "package_arn": f"{PACKAGES}/2",
        "force": False,
        "version": 2,
        "first_config": "skyloop-dev-v2",
        "config": "skyloop-dev-v2",
        "config_there": True,
        "approval": "Approved",
        "golden_predictions_uri": f"{ARTIFACTS}/evaluation/golden-predictions.json",
        "model_uri": f"{ARTIFACTS}/output/model.tar.gz",
        "model_sha256": MODEL_SHA256,
        "golden_predictions_sha256": GOLDEN_SHA256,
        "engine": "openvino-bf16",
        "verification": {"verified": True, "summary": "the artifacts are those that were evaluated"},
        "summary": "mAP50 0.71",
        "last_good": RECORD,
        "endpoint": ENDPOINT,
        "endpoint_there": True,
        "leaving": False,
        "serving_version": 1,
        "previous": "skyloop-dev-v1",
        "scaling": {},
        "trouble": ERROR,
        "restored": False,
        "stop": {"config": "skyloop-dev-v2", "reason": "ugly boxes", "stopped_at": "2026-11-23T10:05:00Z"},
        "guarded": True,
        "fate": "is rejected",
        "move": "in-service",
        "smoke": {"passed": False, "summary": "2 of 5 answers differ", "known": 7},
        "unconfirmed": ERROR,
    },
    "move_endpoint": {
        "config": "skyloop-dev-v2",
        "previous": "skyloop-dev-v1",
        "strategy": "CANARY",
        "instances": 2,
        "correlation_id": "flight-7",
        "outcome": "in-service",
        "error": ERROR,
        "endpoint": ENDPOINT,
        "guarded": "skyloop-dev-v2",
        "refused": ERROR,
        "unguarded": ERROR,
        "alarms": ALARMS,
    },
    "rollback": {
        **COMMON,
        "reason": "by hand",
        "blameless": False,
        "since": 0,
        "unwanted": "skyloop-dev-v2",
        "stopped": False,
        "deployed_at": 1763892000000,
        "move": "in-service",
        "guarded": True,
        "last_good": RECORD,
        "endpoint": ENDPOINT,
        "bad": "skyloop-dev-v2",
        "bad_package_arn": f"{PACKAGES}/2",
        "target": "skyloop-dev-v1",
        "target_package_arn": f"{PACKAGES}/1",
        "checked": True,
        "rejected": "",
        "artifacts": [{"uri": f"{ARTIFACTS}/output/model.tar.gz", "sha256": MODEL_SHA256}],
        "verification": {"verified": True, "summary": "The artifact is the one that was evaluated."},
    },
    "sweep": {
        **COMMON,
        "swept": {"uploads_requeued": 1, "images_requeued": 2, "files_alerted": 0},
        "finished": [],
        "serving": 1,
        "serving_arn": f"{PACKAGES}/1",
        "approved": [],
        "ringing": [],
        "unguarded": [],
        "started": [JOB],
        "fingerprint": "SweepUploads States.Timeout",
    },
}

# The events that route is started by.
EVENTS: tuple[wiring.JSON, ...] = (
    {
        "detail-type": "SageMaker Ground Truth Labeling Job State Change",
        "time": "2026-11-23T10:00:00Z",
        "resources": [f"arn:aws:sagemaker:us-east-1:123456789012:labeling-job/{JOB}"],
        "detail": {"LabelingJobStatus": "Completed"},
    },
    {
        "detail-type": "SageMaker Model Package State Change",
        "time": "2026-11-23T10:00:00Z",
        "detail": {
            "ModelPackageArn": f"{PACKAGES}/3",
            "ModelPackageVersion": 3,
            "ModelPackageGroupName": "skyloop-dev",
        },
    },
    {
        "detail-type": "CloudWatch Alarm State Change",
        "time": "2026-11-23T10:00:07Z",
        "detail": {
            "alarmName": SETTINGS["ErrorAlarmName"],
            "state": {"value": "ALARM", "reason": "3 datapoints"},
        },
    },
    {
        "detail-type": "Step Functions Execution Status Change",
        "detail": {
            "executionArn": f"{SETTINGS['RetrainStateMachineArn'].replace(':stateMachine:', ':execution:')}:x",
            "stateMachineArn": SETTINGS["RetrainStateMachineArn"],
            "name": "x",
            "status": "TIMED_OUT",
            "error": None,
            "cause": None,
        },
    },
)
MISSED = {"machine": SETTINGS["RetrainStateMachineArn"], "name": JOB, "input": {"labeling_job_name": JOB}}
INPUTS: dict[str, Any] = {
    "retrain.Begin": {"labeling_job_name": JOB},
    "deploy.Begin": {"model_package_arn": f"{PACKAGES}/2"},
    "rollback.Begin": {"reason": "by hand", "since": "2026-11-23T10:00:00Z", "config": "skyloop-dev-v2"},
    "move_endpoint.Begin": {
        "config": "skyloop-dev-v2",
        "previous": "skyloop-dev-v1",
        "strategy": "CANARY",
        "instances": 2,
        "correlation_id": "flight-7",
    },
    "move_endpoint.PointAlarms/PointAlarm": ALARMS[1],
    "move_endpoint.PointAlarms/ResetAlarm": ALARMS[1]["AlarmName"],
    "retrain.ConvertLabels/ConvertBatch": {
        "job_name": JOB,
        "label_attribute_name": "boxes",
        "correlation_id": "f",
        "manifest_uri": "s3://data/ground-truth-jobs/j/output.manifest",
        "part": 2,
        "parts": 3,
    },
    "sweep.StartMissedWork/FindExecution": MISSED,
    "sweep.StartMissedWork/StartExecution": MISSED,
}
MOVED = {"Output": {"outcome": "in-service", "error": {}, "endpoint": ENDPOINT, "guarded": True}}
PACKAGE: wiring.JSON = {
    "ModelApprovalStatus": "Approved",
    "CustomerMetadataProperties": {
        "golden_predictions_uri": "s3://data/golden-predictions.json",
        "correlation_id": "f",
        "model_sha256": MODEL_SHA256,
        "golden_predictions_sha256": GOLDEN_SHA256,
        "engine": "openvino-bf16",
    },
    "InferenceSpecification": {"Containers": [{"ModelDataUrl": f"{ARTIFACTS}/output/model.tar.gz"}]},
    "ModelPackageDescription": "mAP50 0.71",
}
VERIFIED = {"Payload": {"verified": True, "summary": "the artifacts are those that were evaluated"}}
RESULTS: dict[str, Any] = {
    "move_endpoint.ReadAlarms": {"MetricAlarms": ALARMS},
    **dict.fromkeys(
        (
            *("deploy.DescribeEndpoint", "deploy.ConfirmEndpoint"),
            *("rollback.DescribeEndpoint", "move_endpoint.WatchEndpoint"),
        ),
        ENDPOINT,
    ),
    **dict.fromkeys(("deploy.Guard", "deploy.MoveEndpoint", "deploy.RestorePrevious", "rollback.MoveEndpoint"), MOVED),
    "deploy.FindFormerConfig": {"EndpointConfigs": [{"EndpointConfigName": "skyloop-dev-v2"}]},
    "deploy.DescribeFormerConfig": {
        "ProductionVariants": [{"InstanceType": "ml.m5.xlarge", "InitialInstanceCount": 1}]
    },
    **dict.fromkeys(
        ("deploy.ReadLastGood", "rollback.ReadLastGood", "sweep.ReadLastGood", "retrain.FindChampion"), RECORDED
    ),
    **{
        f"{machine}.PublishAlert": {"Payload": {"message_id": "m-1", "why": "X: Rate exceeded"}}
        for machine in wiring.ANNOUNCING
    },
    "deploy.DescribePackage": PACKAGE,
    "rollback.DescribeTarget": PACKAGE,
    "deploy.FindEndpoint": {"Endpoints": [{"EndpointName": "skyloop-dev", "EndpointStatus": "InService"}]},
    "deploy.VerifyArtifacts": VERIFIED,
    "rollback.VerifyTarget": VERIFIED,
    "deploy.SmokeTest": {"Payload": {"passed": True, "summary": "5 of 5"}},
    "label.SelectImages": {"Payload": SELECTION},
    "retrain.DescribeLabelingJob": {
        "LabelingJobStatus": "Completed",
        "LabelAttributeName": "boxes",
        "LabelingJobOutput": {"OutputDatasetS3Uri": "s3://data/ground-truth-jobs/j/output.manifest"},
        "LabelCounters": {"TotalLabeled": 90, "HumanLabeled": 90, "FailedNonRetryableError": 1, "Unlabeled": 2},
        "Tags": [{"Key": "Project", "Value": "x"}, {"Key": "CorrelationId", "Value": "f"}],
    },
    "retrain.ReadAttempt": {
        "Item": {"name": {"S": f"training#{JOB}"}, "attempt": {"N": "3"}, "asked_by": {"S": "x#0"}}
    },
    "retrain.FindAsker": {"Status": "RUNNING"},
    "retrain.CountAttempt": {"Attributes": {"attempt": {"N": "3"}, "asked_by": {"S": "x#0"}}},
    "retrain.RequeueImages": {"Payload": {"requeued": 3}},
    "retrain.ConvertLabels": [{}, {}],
    "retrain.ConvertLabels/ConvertBatch": {"Payload": {"converted": 5, "boxes": 40, "quarantined": 1, "unlabeled": 2}},
    "retrain.AssembleDataset": {"Payload": DATASET},
    "retrain.DescribeChampion": {"InferenceSpecification": {"Containers": [{"ModelDataUrl": CHAMPION["model_uri"]}]}},
    "retrain.Train": {"ModelArtifacts": {"S3ModelArtifacts": CHAMPION["model_uri"]}},
    "retrain.DescribeTraining": {"TrainingJobStatus": "Completed"},
    "retrain.DescribeEvaluation": {"ProcessingJobStatus": "Completed"},
    "retrain.JudgeCandidate": {"Payload": {"decision": "approve"}},
    "retrain.RegisterPackage": {"ModelPackageArn": f"{PACKAGES}/2"},
    "route.FindExecution": {"Status": "SUCCEEDED", "StopDate": "2026-11-23T10:05:00.123Z"},
    "sweep.SweepUploads": {"Payload": {"uploads_requeued": 1, "images_requeued": 2, "files_alerted": 0}},
    "sweep.ListFinishedJobs": {"LabelingJobSummaryList": [{"LabelingJobName": JOB, "LabelingJobStatus": "Completed"}]},
    "sweep.ListApprovedPackages": {
        "ModelPackageSummaryList": [{"ModelPackageVersion": 2, "ModelPackageArn": f"{PACKAGES}/2"}]
    },
    "sweep.ListAlarms": {
        "MetricAlarms": [
            {
                "AlarmName": SETTINGS["ErrorAlarmName"],
                "StateValue": "ALARM",
                "StateUpdatedTimestamp": "2026-11-23T10:00:07.871Z",
                "StateReason": "3 datapoints",
                "Dimensions": ALARMS[0]["Dimensions"],
            }
        ]
    },
    "sweep.StartMissedWork": ["", JOB],
}

# FailureReasons in SageMaker's words, and whether the machine is at fault. Of endpoints: the knowledge center's article
# sagemaker-endpoint-creation-fail (repost.aws/knowledge-center); the others are quoted from DescribeTrainingJob and
# DescribeEndpoint in many issues.
SAGEMAKER_REASONS = {
    "InternalServerError: We encountered an internal error. Please try again.": True,
    "CapacityError: Unable to provision requested ML compute capacity. Please retry using a different ML instance "
    "type.": True,
    "Request to service failed. If failure persists after retry, contact customer support.": True,
    "Unable to provision requested ML compute capacity due to InsufficientInstanceCapacity error. Please retry using a "
    "different ML instance type or after some time.": True,
    "AlgorithmError: the labels are wrong. InternalServerError was not it.": False,
    'Failed to extract model data archive for container "container_1" from URL "s3://bucket/model.tar.gz".': False,
    "CannotStartContainerError. Please ensure the model container for variant primary starts correctly when "
    "invoked with 'docker run <image> serve'.": False,
    "The primary container for production variant primary did not pass the ping health check. Please check CloudWatch "
    "logs for this endpoint.": False,
    # What move_endpoint says where SageMaker says nothing, as after an alarm.
    "an alarm rang while the update baked, or the new instances never got healthy": False,
}
