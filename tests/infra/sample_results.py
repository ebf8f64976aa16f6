"""Sample events, inputs and results: what starts the state machines, and what the services answer their states."""

from __future__ import annotations

from typing import Any

from tests.infra import wiring
from tests.infra.expressions import SETTINGS
from tests.infra.samples import (
    ALARMS,
    ARTIFACTS,
    CHAMPION,
    DATASET,
    ENDPOINT,
    GOLDEN_SHA256,
    JOB,
    MODEL_SHA256,
    PACKAGES,
    RECORDED,
    SELECTION,
)

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
