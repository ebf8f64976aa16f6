"""Sample values for every variable that the state machines' expressions read."""

from __future__ import annotations

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
    "notes": [],
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
# What each machine's states assign, by machine; a test holds the names against the definitions.
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
        "unfit": "the parameter RadiometricWindow is 5-5",
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
            "resources": {"InstanceType": "ml.g5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 50},
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
        "has_gpu": False,
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
