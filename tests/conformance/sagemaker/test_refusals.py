"""What the local SageMaker refuses, with AWS's code and words, one case a line.

Every request is a good one with one thing made wrong, sent past boto3's own checks, and must leave nothing behind.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from tests.conformance.conftest import wait_until
from tests.conformance.sagemaker.conftest import make_role

Request = dict[str, Any]
Change = Callable[[Request], None]
ONE_ERROR = "1 validation error detected: "


@dataclass(frozen=True)
class Case:
    """`code` and the beginning or a part of the message that the operation must answer to the changed request."""

    id: str
    operation: str
    change: Change
    code: str
    message: str


def put(path: str, value: Any) -> Change:
    """Set a member; the path is dotted, numbers are list indexes."""

    def change(request: Request) -> None:
        *parents, last = path.split(".")
        at: Any = request
        for step in parents:
            at = at[int(step)] if step.isdigit() else at[step]
        at[int(last) if last.isdigit() else last] = value

    return change


def drop(path: str) -> Change:
    def change(request: Request) -> None:
        *parents, last = path.split(".")
        at: Any = request
        for step in parents:
            at = at[int(step)] if step.isdigit() else at[step]
        del at[last]

    return change


def both(*changes: Change) -> Change:
    def change(request: Request) -> None:
        for one in changes:
            one(request)

    return change


def invalid(id: str, operation: str, change: Change, message: str) -> Case:
    return Case(id, operation, change, "ValidationException", message)


def wrong_type(id: str, operation: str, change: Change, message: str) -> Case:
    return Case(id, operation, change, "SerializationException", message)


def pattern(value: str, where: str, expression: str) -> str:
    return (
        f"{ONE_ERROR}Value '{value}' at '{where}' failed to satisfy constraint: "
        f"Member must satisfy regular expression pattern: {expression}"
    )


def bound(value: Any, where: str, measure: str, side: str, limit: int) -> str:
    return (
        f"{ONE_ERROR}Value '{value}' at '{where}' failed to satisfy constraint: "
        f"Member must have {measure} {side} than or equal to {limit}"
    )


def null(where: str) -> str:
    return f"{ONE_ERROR}Value null at '{where}' failed to satisfy constraint: Member must not be null"


JOB_NAME = "[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}"
ELSEWHERE = "arn:aws:iam::111111111111:role/SageMaker"
LAMBDA = "arn:aws:lambda:us-east-1:432418664414:function:"
CHANNEL = {
    "ChannelName": "train",
    "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://bucket/train/"}},
}
METRIC = {"Name": "map50", "Regex": "map50=(.*)"}
TAG = {"Key": "Stage", "Value": "dev"}

TRAINING = [
    # names
    invalid(
        "underscore", "CreateTrainingJob", put("TrainingJobName", "a_b"), pattern("a_b", "trainingJobName", JOB_NAME)
    ),
    invalid(
        "dash first", "CreateTrainingJob", put("TrainingJobName", "-a"), pattern("-a", "trainingJobName", JOB_NAME)
    ),
    invalid("newline", "CreateTrainingJob", put("TrainingJobName", "a\n"), pattern("a\n", "trainingJobName", JOB_NAME)),
    invalid("not ascii", "CreateTrainingJob", put("TrainingJobName", "ä"), pattern("ä", "trainingJobName", JOB_NAME)),
    invalid(
        "64 characters",
        "CreateTrainingJob",
        put("TrainingJobName", "a" * 64),
        bound("a" * 64, "trainingJobName", "length", "less", 63),
    ),
    invalid(
        "empty", "CreateTrainingJob", put("TrainingJobName", ""), bound("", "trainingJobName", "length", "greater", 1)
    ),
    # missing, unknown, of the wrong type
    invalid("no name", "CreateTrainingJob", drop("TrainingJobName"), null("trainingJobName")),
    invalid("null name", "CreateTrainingJob", put("TrainingJobName", None), null("trainingJobName")),
    invalid("no role", "CreateTrainingJob", drop("RoleArn"), null("roleArn")),
    invalid("no output", "CreateTrainingJob", drop("OutputDataConfig"), null("outputDataConfig")),
    invalid("no algorithm", "CreateTrainingJob", drop("AlgorithmSpecification"), null("algorithmSpecification")),
    invalid("no machine", "CreateTrainingJob", drop("ResourceConfig"), null("resourceConfig")),
    invalid("no limit", "CreateTrainingJob", drop("StoppingCondition"), null("stoppingCondition")),
    invalid("no type", "CreateTrainingJob", drop("ResourceConfig.InstanceType"), null("resourceConfig.instanceType")),
    invalid(
        "two things missing",
        "CreateTrainingJob",
        both(drop("TrainingJobName"), drop("RoleArn")),
        "2 validation errors detected: Value null at 'trainingJobName' failed to satisfy constraint: "
        "Member must not be null; Value null at 'roleArn'",
    ),
    invalid("unknown", "CreateTrainingJob", put("Sword", "Vorpal"), 'Unknown parameter in input: "Sword"'),
    invalid(
        "unknown inside",
        "CreateTrainingJob",
        put("StoppingCondition.MaxRuntime", 60),
        'Unknown parameter in input: "stoppingCondition.MaxRuntime"',
    ),
    wrong_type(
        "number for a name",
        "CreateTrainingJob",
        put("TrainingJobName", 7),
        "NUMBER_VALUE can not be converted to a String",
    ),
    wrong_type(
        "text for a number",
        "CreateTrainingJob",
        put("StoppingCondition.MaxRuntimeInSeconds", "60"),
        "STRING_VALUE can not be converted to an Integer",
    ),
    wrong_type(
        "a fraction of a machine",
        "CreateTrainingJob",
        put("ResourceConfig.InstanceCount", 1.5),
        "NUMBER_VALUE can not be converted to an Integer",
    ),
    wrong_type(
        "list for a map", "CreateTrainingJob", put("HyperParameters", []), "START_ARRAY can not be converted to a Map"
    ),
    wrong_type(
        "number in a map of strings",
        "CreateTrainingJob",
        put("HyperParameters", {"epochs": 3}),
        "NUMBER_VALUE can not be converted to a String",
    ),
    wrong_type(
        "text for a boolean",
        "CreateTrainingJob",
        put("EnableManagedSpotTraining", "true"),
        "STRING_VALUE can not be converted to a Boolean",
    ),
    wrong_type(
        "object for a list",
        "CreateTrainingJob",
        put("InputDataConfig", {}),
        "START_OBJECT can not be converted to a List",
    ),
    # enums, ranges, lengths, patterns below the top
    invalid(
        "unknown machine",
        "CreateTrainingJob",
        put("ResourceConfig.InstanceType", "ml.huge"),
        f"{ONE_ERROR}Value 'ml.huge' at 'resourceConfig.instanceType' failed to satisfy constraint: "
        "Member must satisfy enum value set: [",
    ),
    invalid(
        "unknown mode",
        "CreateTrainingJob",
        put("AlgorithmSpecification.TrainingInputMode", "Files"),
        "Value 'Files' at 'algorithmSpecification.trainingInputMode' failed to satisfy constraint: "
        "Member must satisfy enum value set: [Pipe, File, FastFile]",
    ),
    invalid(
        "no time at all",
        "CreateTrainingJob",
        put("StoppingCondition.MaxRuntimeInSeconds", 0),
        bound(0, "stoppingCondition.maxRuntimeInSeconds", "value", "greater", 1),
    ),
    invalid(
        "negative machines",
        "CreateTrainingJob",
        put("ResourceConfig.InstanceCount", -1),
        bound(-1, "resourceConfig.instanceCount", "value", "greater", 0),
    ),
    invalid(
        "no machines", "CreateTrainingJob", put("ResourceConfig.InstanceCount", 0), "InstanceCount must be at least 1"
    ),
    invalid(
        "101 hyperparameters",
        "CreateTrainingJob",
        put("HyperParameters", {f"p{n}": "1" for n in range(101)}),
        "failed to satisfy constraint: Member must have length less than or equal to 100",
    ),
    invalid(
        "long hyperparameter",
        "CreateTrainingJob",
        put("HyperParameters", {"p": "x" * 2501}),
        "at 'hyperParameters' failed to satisfy constraint: Map value must satisfy constraint: "
        "[Member must have length less than or equal to 2500",
    ),
    invalid(
        "long hyperparameter name",
        "CreateTrainingJob",
        put("HyperParameters", {"p" * 257: "x"}),
        "at 'hyperParameters' failed to satisfy constraint: Map keys must satisfy constraint: "
        "[Member must have length less than or equal to 256",
    ),
    invalid(
        "bad variable",
        "CreateTrainingJob",
        put("Environment", {"1ST": "x"}),
        "at 'environment' failed to satisfy constraint: Map keys must satisfy constraint: [",
    ),
    invalid(
        "bad channel name",
        "CreateTrainingJob",
        put("InputDataConfig", [CHANNEL, {**CHANNEL, "ChannelName": "my channel"}]),
        pattern("my channel", "inputDataConfig.2.member.channelName", r"[A-Za-z0-9\.\-_]+"),
    ),
    invalid(
        "21 channels",
        "CreateTrainingJob",
        put("InputDataConfig", [{**CHANNEL, "ChannelName": f"c{n}"} for n in range(21)]),
        "at 'inputDataConfig' failed to satisfy constraint: Member must have length less than or equal to 20",
    ),
    invalid(
        "no channels in the list",
        "CreateTrainingJob",
        put("InputDataConfig", []),
        bound("[]", "inputDataConfig", "length", "greater", 1),
    ),
    invalid(
        "channel without a source",
        "CreateTrainingJob",
        put("InputDataConfig", [{"ChannelName": "train"}]),
        null("inputDataConfig.1.member.dataSource"),
    ),
    invalid(
        "unknown data type",
        "CreateTrainingJob",
        put(
            "InputDataConfig",
            [{**CHANNEL, "DataSource": {"S3DataSource": {"S3DataType": "Folder", "S3Uri": "s3://b/"}}}],
        ),
        "Value 'Folder' at 'inputDataConfig.1.member.dataSource.s3DataSource.s3DataType'",
    ),
    invalid(
        "not an S3 address",
        "CreateTrainingJob",
        put("OutputDataConfig.S3OutputPath", "/tmp/models"),
        pattern("/tmp/models", "outputDataConfig.s3OutputPath", "(https|s3)://([^/]+)/?(.*)"),
    ),
    invalid(
        "tag without a value",
        "CreateTrainingJob",
        put("Tags", [{"Key": "Stage"}]),
        null("tags.1.member.value"),
    ),
    invalid(
        "51 tags",
        "CreateTrainingJob",
        put("Tags", [{**TAG, "Key": str(n)} for n in range(51)]),
        "less than or equal to 50",
    ),
    invalid("empty tag key", "CreateTrainingJob", put("Tags", [{**TAG, "Key": ""}]), "at 'tags.1.member.key'"),
    invalid("bad tag value", "CreateTrainingJob", put("Tags", [{**TAG, "Value": "a;b"}]), "at 'tags.1.member.value'"),
    # rules that the model does not say
    invalid("reserved tag", "CreateTrainingJob", put("Tags", [{**TAG, "Key": "aws:name"}]), "reserved prefix aws:"),
    invalid("tag twice", "CreateTrainingJob", put("Tags", [TAG, TAG]), "Duplicate tag keys"),
    invalid(
        "channel twice", "CreateTrainingJob", put("InputDataConfig", [CHANNEL, CHANNEL]), "Duplicate channel names"
    ),
    invalid(
        "two algorithms",
        "CreateTrainingJob",
        put("AlgorithmSpecification.AlgorithmName", "mine"),
        "exactly one of TrainingImage and AlgorithmName",
    ),
    invalid(
        "no image",
        "CreateTrainingJob",
        drop("AlgorithmSpecification.TrainingImage"),
        "exactly one of TrainingImage and AlgorithmName",
    ),
    invalid(
        "broken regex",
        "CreateTrainingJob",
        put("AlgorithmSpecification.MetricDefinitions", [{**METRIC, "Regex": "map50=("}]),
        "Invalid regex",
    ),
    invalid(
        "metric twice",
        "CreateTrainingJob",
        put("AlgorithmSpecification.MetricDefinitions", [METRIC, METRIC]),
        "Metric definition names must be unique",
    ),
    invalid(
        "spot without a wait",
        "CreateTrainingJob",
        put("EnableManagedSpotTraining", True),
        "Invalid MaxWaitTimeInSeconds. It must be present and be greater than or equal to MaxRuntimeInSeconds",
    ),
    invalid(
        "spot with a short wait",
        "CreateTrainingJob",
        both(put("EnableManagedSpotTraining", True), put("StoppingCondition.MaxWaitTimeInSeconds", 599)),
        "Invalid MaxWaitTimeInSeconds",
    ),
    invalid(
        "a wait without spot",
        "CreateTrainingJob",
        put("StoppingCondition.MaxWaitTimeInSeconds", 600),
        "not allowed for non-Spot training jobs",
    ),
    invalid(
        "augmented manifest in File mode",
        "CreateTrainingJob",
        put(
            "InputDataConfig",
            [{**CHANNEL, "DataSource": {"S3DataSource": {"S3DataType": "AugmentedManifestFile", "S3Uri": "s3://b/m"}}}],
        ),
        "AugmentedManifestFile is supported with Pipe input mode only",
    ),
    invalid("pipe", "CreateTrainingJob", put("InputDataConfig", [{**CHANNEL, "InputMode": "Pipe"}]), "Pipe"),
    invalid(
        "checkpoints over the model",
        "CreateTrainingJob",
        put("CheckpointConfig", {"S3Uri": "s3://b/c/", "LocalPath": "/opt/ml/model"}),
        "Invalid CheckpointConfig LocalPath",
    ),
    invalid(
        "checkpoints outside",
        "CreateTrainingJob",
        put("CheckpointConfig", {"S3Uri": "s3://b/c/", "LocalPath": "/opt/ml/checkpoints/../../../etc"}),
        "Invalid CheckpointConfig LocalPath",
    ),
    Case(
        "two machines",
        "CreateTrainingJob",
        put("ResourceConfig.InstanceCount", 2),
        "ResourceLimitExceeded",
        "The account-level service limit 'ml.g4dn.xlarge for training job usage' is 1 Instances",
    ),
    # roles
    invalid("not a role", "CreateTrainingJob", put("RoleArn", "arn:aws:iam::000000000000:user/me"), "at 'roleArn'"),
    invalid(
        "somebody else's role", "CreateTrainingJob", put("RoleArn", ELSEWHERE), "Cross-account pass role is not allowed"
    ),
    invalid(
        "no such role",
        "CreateTrainingJob",
        put("RoleArn", "arn:aws:iam::000000000000:role/nobody"),
        "Could not assume role arn:aws:iam::000000000000:role/nobody. Please ensure that the role exists",
    ),
]

PROCESSING = [
    invalid(
        "dash last", "CreateProcessingJob", put("ProcessingJobName", "a-"), pattern("a-", "processingJobName", JOB_NAME)
    ),
    invalid("no image", "CreateProcessingJob", drop("AppSpecification.ImageUri"), null("appSpecification.imageUri")),
    invalid("no machine", "CreateProcessingJob", drop("ProcessingResources"), null("processingResources")),
    invalid(
        "no cluster",
        "CreateProcessingJob",
        drop("ProcessingResources.ClusterConfig"),
        null("processingResources.clusterConfig"),
    ),
    invalid(
        "11 inputs",
        "CreateProcessingJob",
        put("ProcessingInputs", [{"InputName": f"i{n}"} for n in range(11)]),
        "at 'processingInputs' failed to satisfy constraint: Member must have length less than or equal to 10",
    ),
    invalid(
        "ten days",
        "CreateProcessingJob",
        put("StoppingCondition.MaxRuntimeInSeconds", 864000),
        bound(864000, "stoppingCondition.maxRuntimeInSeconds", "value", "less", 777600),
    ),
    invalid(
        "output beside the folder",
        "CreateProcessingJob",
        put("ProcessingOutputConfig.Outputs.0.S3Output.LocalPath", "/tmp/out"),
        "must be an absolute path that starts with /opt/ml/processing/",
    ),
    invalid(
        "output above the folder",
        "CreateProcessingJob",
        put("ProcessingOutputConfig.Outputs.0.S3Output.LocalPath", "/opt/ml/processing/../model"),
        "must be an absolute path that starts with /opt/ml/processing/",
    ),
    invalid(
        "unknown upload mode",
        "CreateProcessingJob",
        put("ProcessingOutputConfig.Outputs.0.S3Output.S3UploadMode", "Later"),
        "Member must satisfy enum value set: [Continuous, EndOfJob]",
    ),
    invalid(
        "output twice",
        "CreateProcessingJob",
        lambda request: request["ProcessingOutputConfig"]["Outputs"].append(
            request["ProcessingOutputConfig"]["Outputs"][0]
        ),
        "Processing output names must be unique",
    ),
    invalid(
        "input over the output",
        "CreateProcessingJob",
        put(
            "ProcessingInputs",
            [
                {
                    "InputName": "i",
                    "S3Input": {
                        "S3Uri": "s3://b/i",
                        "LocalPath": "/opt/ml/processing/output",
                        "S3DataType": "S3Prefix",
                    },
                }
            ],
        ),
        "LocalPath must be unique",
    ),
    invalid(
        "input without a source", "CreateProcessingJob", put("ProcessingInputs", [{"InputName": "i"}]), "only S3Input"
    ),
    Case(
        "two machines",
        "CreateProcessingJob",
        put("ProcessingResources.ClusterConfig.InstanceCount", 2),
        "ResourceLimitExceeded",
        "The account-level service limit 'ml.m5.xlarge for processing job usage' is 1 Instances",
    ),
    invalid(
        "no such role",
        "CreateProcessingJob",
        put("RoleArn", "arn:aws:iam::000000000000:role/nobody"),
        "Could not assume role",
    ),
]

LABELING = [
    invalid("dot", "CreateLabelingJob", put("LabelingJobName", "a.b"), pattern("a.b", "labelingJobName", JOB_NAME)),
    invalid("no attribute", "CreateLabelingJob", drop("LabelAttributeName"), null("labelAttributeName")),
    invalid(
        "bad attribute",
        "CreateLabelingJob",
        put("LabelAttributeName", "my boxes"),
        pattern("my boxes", "labelAttributeName", "[a-zA-Z0-9](-*[a-zA-Z0-9]){0,126}"),
    ),
    invalid("attribute -ref", "CreateLabelingJob", put("LabelAttributeName", "boxes-ref"), "must not end with -ref"),
    invalid("attribute -metadata", "CreateLabelingJob", put("LabelAttributeName", "boxes-metadata"), "-metadata"),
    invalid(
        "ten workers",
        "CreateLabelingJob",
        put("HumanTaskConfig.NumberOfHumanWorkersPerDataObject", 10),
        bound(10, "humanTaskConfig.numberOfHumanWorkersPerDataObject", "value", "less", 9),
    ),
    invalid(
        "no workers",
        "CreateLabelingJob",
        put("HumanTaskConfig.NumberOfHumanWorkersPerDataObject", 0),
        bound(0, "humanTaskConfig.numberOfHumanWorkersPerDataObject", "value", "greater", 1),
    ),
    invalid(
        "29 seconds a task",
        "CreateLabelingJob",
        put("HumanTaskConfig.TaskTimeLimitInSeconds", 29),
        bound(29, "humanTaskConfig.taskTimeLimitInSeconds", "value", "greater", 30),
    ),
    invalid(
        "long title",
        "CreateLabelingJob",
        put("HumanTaskConfig.TaskTitle", "x" * 129),
        bound("x" * 129, "humanTaskConfig.taskTitle", "length", "less", 128),
    ),
    invalid("no team", "CreateLabelingJob", drop("HumanTaskConfig.WorkteamArn"), null("humanTaskConfig.workteamArn")),
    invalid(
        "another account's team",
        "CreateLabelingJob",
        put("HumanTaskConfig.WorkteamArn", "arn:aws:sagemaker:us-east-1:111111111111:workteam/private-crowd/us"),
        "does not exist in account",
    ),
    invalid(
        "another region's team",
        "CreateLabelingJob",
        put("HumanTaskConfig.WorkteamArn", "arn:aws:sagemaker:eu-west-1:000000000000:workteam/private-crowd/us"),
        "is not in the region us-east-1",
    ),
    invalid(
        "the public without a price",
        "CreateLabelingJob",
        put("HumanTaskConfig.WorkteamArn", "arn:aws:sagemaker:us-east-1:394669845002:workteam/public-crowd/default"),
        "PublicWorkforceTaskPrice",
    ),
    invalid(
        "another region's Lambda",
        "CreateLabelingJob",
        put("HumanTaskConfig.PreHumanTaskLambdaArn", "arn:aws:lambda:us-east-1:081040173940:function:PRE-BoundingBox"),
        f"expected {LAMBDA}PRE-BoundingBox",
    ),
    invalid(
        "another task's Lambda",
        "CreateLabelingJob",
        put("HumanTaskConfig.PreHumanTaskLambdaArn", f"{LAMBDA}PRE-ImageMultiClass"),
        f"expected {LAMBDA}PRE-BoundingBox",
    ),
    invalid(
        "Lambdas of two tasks",
        "CreateLabelingJob",
        put("HumanTaskConfig.PreHumanTaskLambdaArn", f"{LAMBDA}PRE-AdjustmentBoundingBox"),
        "do not match",
    ),
    invalid("custom", "CreateLabelingJob", drop("HumanTaskConfig.PreHumanTaskLambdaArn"), "Custom labeling workflows"),
    invalid("no template", "CreateLabelingJob", drop("HumanTaskConfig.UiConfig.UiTemplateS3Uri"), "UiTemplateS3Uri"),
    invalid("no categories", "CreateLabelingJob", drop("LabelCategoryConfigS3Uri"), "LabelCategoryConfigS3Uri"),
    invalid(
        "no manifest object",
        "CreateLabelingJob",
        put("InputConfig.DataSource.S3DataSource.ManifestS3Uri", "s3://{bucket}/no/such.manifest"),
        "The specified key no/such.manifest isn't present in S3 bucket",
    ),
    invalid(
        "no category object",
        "CreateLabelingJob",
        put("LabelCategoryConfigS3Uri", "s3://{bucket}/no/such.json"),
        "The specified key no/such.json isn't present in S3 bucket",
    ),
    invalid(
        "no output bucket",
        "CreateLabelingJob",
        put("OutputConfig.S3OutputPath", "s3://no-such-bucket-anywhere/out/"),
        "The specified bucket no-such-bucket-anywhere does not exist",
    ),
    invalid(
        "automatic labels",
        "CreateLabelingJob",
        put(
            "LabelingJobAlgorithmsConfig",
            {
                "LabelingJobAlgorithmSpecificationArn": "arn:aws:sagemaker:us-east-1:027400017018:"
                "labeling-job-algorithm-specification/object-detection"
            },
        ),
        "Automated data labeling",
    ),
    invalid(
        "no such role",
        "CreateLabelingJob",
        put("RoleArn", f"arn:aws:iam::{'0' * 12}:role/nobody"),
        "Could not assume role",
    ),
    invalid(
        "categories are not JSON",
        "CreateLabelingJob",
        put("LabelCategoryConfigS3Uri", "s3://{bucket}/refused/categories/text.json"),
        "The label category configuration file is not valid",
    ),
    invalid(
        "no version of categories",
        "CreateLabelingJob",
        put("LabelCategoryConfigS3Uri", "s3://{bucket}/refused/categories/version.json"),
        "document-version",
    ),
    invalid(
        "category twice",
        "CreateLabelingJob",
        put("LabelCategoryConfigS3Uri", "s3://{bucket}/refused/categories/twice.json"),
        "must be unique",
    ),
    invalid(
        "51 categories",
        "CreateLabelingJob",
        put("LabelCategoryConfigS3Uri", "s3://{bucket}/refused/categories/many.json"),
        "at most 50 labels",
    ),
    invalid(
        "nothing to label",
        "CreateLabelingJob",
        put("LabelCategoryConfigS3Uri", "s3://{bucket}/refused/categories/none.json"),
        "at least one label",
    ),
    invalid(
        "another page",
        "CreateLabelingJob",
        put("HumanTaskConfig.UiConfig.UiTemplateS3Uri", "s3://{bucket}/refused/templates/classify.liquid"),
        "must have a <crowd-bounding-box> element",
    ),
    invalid(
        "another result",
        "CreateLabelingJob",
        put("HumanTaskConfig.UiConfig.UiTemplateS3Uri", "s3://{bucket}/refused/templates/name.liquid"),
        'must have name="annotatedResult"',
    ),
    invalid(
        "no access to the image",
        "CreateLabelingJob",
        put("HumanTaskConfig.UiConfig.UiTemplateS3Uri", "s3://{bucket}/refused/templates/access.liquid"),
        "grant_read_access",
    ),
    invalid(
        "no instructions",
        "CreateLabelingJob",
        put("HumanTaskConfig.UiConfig.UiTemplateS3Uri", "s3://{bucket}/refused/templates/instructions.liquid"),
        "<full-instructions>",
    ),
]

REGISTRY = [
    invalid(
        "bad group name",
        "CreateModelPackageGroup",
        put("ModelPackageGroupName", "my group"),
        pattern("my group", "modelPackageGroupName", JOB_NAME),
    ),
    invalid("no group name", "CreateModelPackageGroup", drop("ModelPackageGroupName"), null("modelPackageGroupName")),
    invalid(
        "unknown group",
        "CreateModelPackage",
        put("ModelPackageGroupName", "nobody"),
        "model-package-group/nobody does not exist",
    ),
    invalid("no group", "CreateModelPackage", drop("ModelPackageGroupName"), "must be given"),
    invalid("versioned and not", "CreateModelPackage", put("ModelPackageName", "mine"), "cannot be used together"),
    invalid("nothing to serve", "CreateModelPackage", drop("InferenceSpecification"), "must be given"),
    invalid(
        "no containers",
        "CreateModelPackage",
        put("InferenceSpecification.Containers", []),
        bound("[]", "inferenceSpecification.containers", "length", "greater", 1),
    ),
    invalid("no image", "CreateModelPackage", drop("InferenceSpecification.Containers.0.Image"), "must have an Image"),
    invalid(
        "no model data",
        "CreateModelPackage",
        put("InferenceSpecification.Containers.0.ModelDataUrl", "s3://{bucket}/no/model.tar.gz"),
        "Could not find model data at",
    ),
    invalid(
        "unknown approval",
        "CreateModelPackage",
        put("ModelApprovalStatus", "Maybe"),
        "Member must satisfy enum value set: [Approved, Rejected, PendingManualApproval]",
    ),
    invalid(
        "51 properties",
        "CreateModelPackage",
        put("CustomerMetadataProperties", {f"p{n}": "1" for n in range(51)}),
        "less than or equal to 50",
    ),
    invalid(
        "bad property",
        "CreateModelPackage",
        put("CustomerMetadataProperties", {"map50": "a;b"}),
        "at 'customerMetadataProperties' failed to satisfy constraint: Map value must satisfy constraint: [",
    ),
    invalid(
        "metrics without an address",
        "CreateModelPackage",
        put("ModelMetrics", {"ModelQuality": {"Statistics": {"ContentType": "application/json"}}}),
        null("modelMetrics.modelQuality.statistics.s3Uri"),
    ),
]

OF_UNKNOWN = [
    invalid("training job", "DescribeTrainingJob", put("TrainingJobName", "nobody"), "Requested resource not found."),
    invalid("stop training job", "StopTrainingJob", put("TrainingJobName", "nobody"), "Requested resource not found."),
    invalid(
        "processing job",
        "DescribeProcessingJob",
        put("ProcessingJobName", "nobody"),
        "Could not find requested job with name: nobody",
    ),
    invalid(
        "stop processing job", "StopProcessingJob", put("ProcessingJobName", "nobody"), "Could not find requested job"
    ),
    Case("labeling job", "DescribeLabelingJob", put("LabelingJobName", "nobody"), "ResourceNotFound", "does not exist"),
    Case(
        "stop labeling job", "StopLabelingJob", put("LabelingJobName", "nobody"), "ResourceNotFound", "does not exist"
    ),
    invalid("group", "DescribeModelPackageGroup", put("ModelPackageGroupName", "nobody"), "does not exist"),
    invalid("delete group", "DeleteModelPackageGroup", put("ModelPackageGroupName", "nobody"), "does not exist"),
    invalid("list of an unknown group", "ListModelPackages", put("ModelPackageGroupName", "nobody"), "does not exist"),
    invalid(
        "package",
        "DescribeModelPackage",
        put("ModelPackageName", f"arn:aws:sagemaker:us-east-1:{'0' * 12}:model-package/nobody/1"),
        "model-package/nobody/1 does not exist.",
    ),
    invalid("package by name", "DeleteModelPackage", put("ModelPackageName", "nobody"), "does not exist."),
    invalid(
        "package to approve",
        "UpdateModelPackage",
        put("ModelPackageArn", f"arn:aws:sagemaker:us-east-1:{'0' * 12}:model-package/nobody/1"),
        "does not exist.",
    ),
    invalid("not an ARN", "UpdateModelPackage", put("ModelPackageArn", "nobody/1"), "at 'modelPackageArn'"),
    invalid(
        "tags of nothing",
        "ListTags",
        put("ResourceArn", f"arn:aws:sagemaker:us-east-1:{'0' * 12}:training-job/nobody"),
        "Could not find resource",
    ),
    invalid(
        "tags on nothing",
        "AddTags",
        both(put("ResourceArn", f"arn:aws:sagemaker:us-east-1:{'0' * 12}:endpoint/nobody"), put("Tags", [TAG])),
        "Could not find resource",
    ),
    invalid("101 a page", "ListTrainingJobs", put("MaxResults", 101), bound(101, "maxResults", "value", "less", 100)),
    invalid("none a page", "ListProcessingJobs", put("MaxResults", 0), bound(0, "maxResults", "value", "greater", 1)),
    invalid("unknown order", "ListLabelingJobs", put("SortOrder", "Up"), "enum value set: [Ascending, Descending]"),
    invalid("unknown status", "ListTrainingJobs", put("StatusEquals", "Done"), "Member must satisfy enum value set: ["),
    invalid("somebody else's token", "ListTrainingJobs", put("NextToken", "zzz"), "Invalid pagination token"),
    wrong_type(
        "not a time", "ListTrainingJobs", put("CreationTimeAfter", "soon"), "can not be converted to a Timestamp"
    ),
    Case("no such operation", "CreateSkyhook", put("Name", "x"), "UnknownOperationException", "CreateSkyhook"),
    Case(
        "an operation not offered",
        "CreateCluster",
        put("ClusterName", "x"),
        "UnsupportedOperationException",
        "CreateCluster",
    ),
]

CASES = [*TRAINING, *PROCESSING, *LABELING, *REGISTRY, *OF_UNKNOWN]
NAMES = {
    "CreateTrainingJob": ("TrainingJobName", "ListTrainingJobs", "TrainingJobSummaries"),
    "CreateProcessingJob": ("ProcessingJobName", "ListProcessingJobs", "ProcessingJobSummaries"),
    "CreateLabelingJob": ("LabelingJobName", "ListLabelingJobs", "LabelingJobSummaryList"),
    "CreateModelPackageGroup": ("ModelPackageGroupName", "ListModelPackageGroups", "ModelPackageGroupSummaryList"),
    "CreateModelPackage": ("ModelPackageGroupName", "ListModelPackages", "ModelPackageSummaryList"),
}


@pytest.fixture
def good(
    sagemaker: Any, training_request: Any, processing_request: Any, labeling_request: Any, package_request: Any
) -> Callable[[str], Request]:
    """A request that the operation would grant."""

    def make(operation: str) -> Request:
        match operation:
            case "CreateTrainingJob":
                return training_request()
            case "CreateProcessingJob":
                return processing_request()
            case "CreateLabelingJob":
                return labeling_request()
            case "CreateModelPackage":
                return package_request()
            case "CreateModelPackageGroup":
                return {"ModelPackageGroupName": sagemaker.cloud.name("group")}
        return {}

    return make


@pytest.fixture(scope="session")
def refused_objects(sagemaker: Any) -> None:
    """Category files and templates that Ground Truth refuses."""
    version = {"document-version": "2018-11-28"}
    categories = {
        "text": "tree, car",
        "version": json.dumps({"labels": [{"label": "tree"}]}),
        "twice": json.dumps({**version, "labels": [{"label": "tree"}] * 2}),
        "many": json.dumps({**version, "labels": [{"label": str(n)} for n in range(51)]}),
        "none": json.dumps({**version, "labels": []}),
    }
    image = "{{ task.input.taskObject | grant_read_access }}"
    regions = "<full-instructions>x</full-instructions><short-instructions>x</short-instructions>"
    templates = {
        "classify": f'<crowd-image-classifier name="annotatedResult" src="{image}">{regions}</crowd-image-classifier>',
        "name": f'<crowd-bounding-box name="boxes" src="{image}" labels="[]">{regions}</crowd-bounding-box>',
        "access": f'<crowd-bounding-box name="annotatedResult" src="x.jpg" labels="[]">{regions}</crowd-bounding-box>',
        "instructions": f'<crowd-bounding-box name="annotatedResult" src="{image}" labels="[]"></crowd-bounding-box>',
    }
    for name, text in categories.items():
        sagemaker.put(f"refused/categories/{name}.json", text)
    for name, text in templates.items():
        sagemaker.put(f"refused/templates/{name}.liquid", text)


@pytest.mark.usefixtures("refused_objects")
@pytest.mark.parametrize("case", CASES, ids=[f"{case.operation} {case.id}" for case in CASES])
def test_it_is_refused(sagemaker: Any, good: Callable[[str], Request], case: Case) -> None:
    request = good(case.operation)
    case.change(request)
    request = json.loads(json.dumps(request).replace("{bucket}", sagemaker.bucket))
    before = resources(sagemaker, case.operation)
    status, answer = sagemaker.post(case.operation, request)
    expected = 501 if case.code == "UnsupportedOperationException" else 400
    assert (status, answer["__type"]) == (expected, case.code)
    assert case.message in answer["message"]
    assert resources(sagemaker, case.operation) == before


def resources(sagemaker: Any, operation: str) -> int | None:
    """How many resources of the kind there are."""
    if operation not in NAMES:
        return None
    _, listing, field = NAMES[operation]
    pages = sagemaker.api.get_paginator("".join(f"_{c.lower()}" if c.isupper() else c for c in listing)[1:]).paginate()
    return sum(len(page[field]) for page in pages)


@pytest.mark.parametrize(
    "operation", ["CreateTrainingJob", "CreateProcessingJob", "CreateLabelingJob", "CreateModelPackageGroup"]
)
def test_a_name_is_given_once(sagemaker: Any, good: Callable[[str], Request], operation: str) -> None:
    request = good(operation)
    status, first = sagemaker.post(operation, request)
    assert status == 200
    status, answer = sagemaker.post(operation, copy.deepcopy(request))
    expected = "ValidationException" if operation == "CreateModelPackageGroup" else "ResourceInUse"
    assert (status, answer["__type"]) == (400, expected)
    (arn,) = first.values()
    assert "already exists" in answer["message"]
    assert arn in answer["message"]


@pytest.mark.parametrize(
    ("create", "stop", "describe", "field", "status"),
    [
        ("CreateTrainingJob", "StopTrainingJob", "DescribeTrainingJob", "TrainingJobName", "TrainingJobStatus"),
        (
            "CreateProcessingJob",
            "StopProcessingJob",
            "DescribeProcessingJob",
            "ProcessingJobName",
            "ProcessingJobStatus",
        ),
        ("CreateLabelingJob", "StopLabelingJob", "DescribeLabelingJob", "LabelingJobName", "LabelingJobStatus"),
    ],
)
def test_a_job_that_ended_cannot_be_stopped(
    sagemaker: Any, good: Callable[[str], Request], create: str, stop: str, describe: str, field: str, status: str
) -> None:
    request = good(create)
    sagemaker.post(create, request)
    name = {field: request[field]}
    wait_until(lambda: sagemaker.post(describe, name)[1][status] == "Completed")
    code, answer = sagemaker.post(stop, name)
    assert (code, answer["__type"]) == (400, "ValidationException")
    assert "is in status Completed" in answer["message"]


def test_a_role_must_trust_sagemaker(sagemaker: Any, training_request: Any) -> None:
    lambdas = make_role(sagemaker.cloud, sagemaker.cloud.name("lambda"), ["s3:*"], "lambda.amazonaws.com")
    _, answer = sagemaker.post("CreateTrainingJob", training_request(RoleArn=lambdas))
    assert answer["__type"] == "ValidationException"
    assert "allows principal 'sagemaker.amazonaws.com' to assume the role" in answer["message"]


@pytest.mark.parametrize("body", [b"{", b"[1]", b'"text"'], ids=["cut off", "a list", "a string"])
def test_a_body_that_is_no_json_object_is_refused(sagemaker: Any, body: bytes) -> None:
    status, answer = sagemaker.post("ListTrainingJobs", body)
    assert (status, answer["__type"]) == (400, "SerializationException")


def test_a_group_with_packages_cannot_be_deleted(sagemaker: Any, package_request: Any) -> None:
    request = package_request()
    arn = sagemaker.api.create_model_package(**request)["ModelPackageArn"]
    group = {"ModelPackageGroupName": request["ModelPackageGroupName"]}
    status, answer = sagemaker.post("DeleteModelPackageGroup", group)
    assert (status, answer["__type"]) == (400, "ConflictException")
    sagemaker.api.delete_model_package(ModelPackageName=arn)
    assert sagemaker.post("DeleteModelPackageGroup", group)[0] == 200
