"""Requests that SageMaker refuses, with AWS's code and words: the table that test_refusals.py goes through.

Every one is a good request with one thing made wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

Request = dict[str, Any]
Change = Callable[[Request], None]
ONE_ERROR = "1 validation error detected: "


@dataclass(frozen=True)
class Case:
    """`code` and a part of the message that the operation must answer to the changed request."""

    id: str
    change: Change
    code: str
    message: str
    operation: str = ""


def of(operation: str, *cases: Case) -> list[Case]:
    """The cases, as the operation's."""
    return [replace(case, operation=operation) for case in cases]


def _reach(request: Request, path: str) -> tuple[Any, str | int]:
    """The container of a member and the member's key in it; the path is dotted, numbers are list indexes."""
    *parents, last = (int(step) if step.isdigit() else step for step in path.split("."))
    at: Any = request
    for step in parents:
        at = at[step]
    return at, last


def put(path: str, value: Any) -> Change:
    def change(request: Request) -> None:
        at, last = _reach(request, path)
        at[last] = value

    return change


def drop(path: str) -> Change:
    def change(request: Request) -> None:
        at, last = _reach(request, path)
        del at[last]

    return change


def both(*changes: Change) -> Change:
    def change(request: Request) -> None:
        for one in changes:
            one(request)

    return change


def invalid(id: str, change: Change, message: str) -> Case:
    return Case(id, change, "ValidationException", message)


def wrong_type(id: str, change: Change, message: str) -> Case:
    return Case(id, change, "SerializationException", message)


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

TRAINING = of(
    "CreateTrainingJob",
    # names
    invalid("underscore", put("TrainingJobName", "a_b"), pattern("a_b", "trainingJobName", JOB_NAME)),
    invalid("dash first", put("TrainingJobName", "-a"), pattern("-a", "trainingJobName", JOB_NAME)),
    invalid("newline", put("TrainingJobName", "a\n"), pattern("a\n", "trainingJobName", JOB_NAME)),
    invalid("not ascii", put("TrainingJobName", "ä"), pattern("ä", "trainingJobName", JOB_NAME)),
    invalid(
        "64 characters", put("TrainingJobName", "a" * 64), bound("a" * 64, "trainingJobName", "length", "less", 63)
    ),
    invalid("empty", put("TrainingJobName", ""), bound("", "trainingJobName", "length", "greater", 1)),
    # missing, unknown, of the wrong type
    invalid("no name", drop("TrainingJobName"), null("trainingJobName")),
    invalid("null name", put("TrainingJobName", None), null("trainingJobName")),
    invalid("no role", drop("RoleArn"), null("roleArn")),
    invalid("no output", drop("OutputDataConfig"), null("outputDataConfig")),
    invalid("no algorithm", drop("AlgorithmSpecification"), null("algorithmSpecification")),
    invalid("no machine", drop("ResourceConfig"), null("resourceConfig")),
    invalid("no limit", drop("StoppingCondition"), null("stoppingCondition")),
    invalid("no type", drop("ResourceConfig.InstanceType"), null("resourceConfig.instanceType")),
    invalid(
        "two things missing",
        both(drop("TrainingJobName"), drop("RoleArn")),
        "2 validation errors detected: Value null at 'trainingJobName' failed to satisfy constraint: "
        "Member must not be null; Value null at 'roleArn'",
    ),
    invalid("unknown", put("Sword", "Vorpal"), 'Unknown parameter in input: "Sword"'),
    invalid(
        "unknown inside",
        put("StoppingCondition.MaxRuntime", 60),
        'Unknown parameter in input: "stoppingCondition.MaxRuntime"',
    ),
    wrong_type("number for a name", put("TrainingJobName", 7), "NUMBER_VALUE can not be converted to a String"),
    wrong_type(
        "text for a number",
        put("StoppingCondition.MaxRuntimeInSeconds", "60"),
        "STRING_VALUE can not be converted to an Integer",
    ),
    wrong_type(
        "a fraction of a machine",
        put("ResourceConfig.InstanceCount", 1.5),
        "NUMBER_VALUE can not be converted to an Integer",
    ),
    wrong_type("list for a map", put("HyperParameters", []), "START_ARRAY can not be converted to a Map"),
    wrong_type(
        "number in a map of strings",
        put("HyperParameters", {"epochs": 3}),
        "NUMBER_VALUE can not be converted to a String",
    ),
    wrong_type(
        "text for a boolean", put("EnableManagedSpotTraining", "true"), "STRING_VALUE can not be converted to a Boolean"
    ),
    wrong_type("object for a list", put("InputDataConfig", {}), "START_OBJECT can not be converted to a List"),
    # enums, ranges, lengths, patterns below the top
    invalid(
        "unknown machine",
        put("ResourceConfig.InstanceType", "ml.huge"),
        f"{ONE_ERROR}Value 'ml.huge' at 'resourceConfig.instanceType' failed to satisfy constraint: "
        "Member must satisfy enum value set: [",
    ),
    invalid(
        "unknown mode",
        put("AlgorithmSpecification.TrainingInputMode", "Files"),
        "Value 'Files' at 'algorithmSpecification.trainingInputMode' failed to satisfy constraint: "
        "Member must satisfy enum value set: [Pipe, File, FastFile]",
    ),
    invalid(
        "no time at all",
        put("StoppingCondition.MaxRuntimeInSeconds", 0),
        bound(0, "stoppingCondition.maxRuntimeInSeconds", "value", "greater", 1),
    ),
    invalid(
        "negative machines",
        put("ResourceConfig.InstanceCount", -1),
        bound(-1, "resourceConfig.instanceCount", "value", "greater", 0),
    ),
    invalid("no machines", put("ResourceConfig.InstanceCount", 0), "InstanceCount must be at least 1"),
    invalid(
        "101 hyperparameters",
        put("HyperParameters", {f"p{n}": "1" for n in range(101)}),
        "failed to satisfy constraint: Member must have length less than or equal to 100",
    ),
    invalid(
        "long hyperparameter",
        put("HyperParameters", {"p": "x" * 2501}),
        "at 'hyperParameters' failed to satisfy constraint: Map value must satisfy constraint: "
        "[Member must have length less than or equal to 2500",
    ),
    invalid(
        "long hyperparameter name",
        put("HyperParameters", {"p" * 257: "x"}),
        "at 'hyperParameters' failed to satisfy constraint: Map keys must satisfy constraint: "
        "[Member must have length less than or equal to 256",
    ),
    invalid(
        "bad variable",
        put("Environment", {"1ST": "x"}),
        "at 'environment' failed to satisfy constraint: Map keys must satisfy constraint: [",
    ),
    invalid(
        "bad channel name",
        put("InputDataConfig", [CHANNEL, {**CHANNEL, "ChannelName": "my channel"}]),
        pattern("my channel", "inputDataConfig.2.member.channelName", r"[A-Za-z0-9\.\-_]+"),
    ),
    invalid(
        "21 channels",
        put("InputDataConfig", [{**CHANNEL, "ChannelName": f"c{n}"} for n in range(21)]),
        "at 'inputDataConfig' failed to satisfy constraint: Member must have length less than or equal to 20",
    ),
    invalid(
        "no channels in the list", put("InputDataConfig", []), bound("[]", "inputDataConfig", "length", "greater", 1)
    ),
    invalid(
        "channel without a source",
        put("InputDataConfig", [{"ChannelName": "train"}]),
        null("inputDataConfig.1.member.dataSource"),
    ),
    invalid(
        "unknown data type",
        put(
            "InputDataConfig",
            [{**CHANNEL, "DataSource": {"S3DataSource": {"S3DataType": "Folder", "S3Uri": "s3://b/"}}}],
        ),
        "Value 'Folder' at 'inputDataConfig.1.member.dataSource.s3DataSource.s3DataType'",
    ),
    invalid(
        "not an S3 address",
        put("OutputDataConfig.S3OutputPath", "/tmp/models"),
        pattern("/tmp/models", "outputDataConfig.s3OutputPath", "(https|s3)://([^/]+)/?(.*)"),
    ),
    invalid("tag without a value", put("Tags", [{"Key": "Stage"}]), null("tags.1.member.value")),
    invalid("51 tags", put("Tags", [{**TAG, "Key": str(n)} for n in range(51)]), "less than or equal to 50"),
    invalid("empty tag key", put("Tags", [{**TAG, "Key": ""}]), "at 'tags.1.member.key'"),
    invalid("bad tag value", put("Tags", [{**TAG, "Value": "a;b"}]), "at 'tags.1.member.value'"),
    # rules that the model does not say
    invalid("reserved tag", put("Tags", [{**TAG, "Key": "aws:name"}]), "reserved prefix aws:"),
    invalid("tag twice", put("Tags", [TAG, TAG]), "Duplicate tag keys"),
    invalid("channel twice", put("InputDataConfig", [CHANNEL, CHANNEL]), "Duplicate channel names"),
    invalid(
        "two algorithms",
        put("AlgorithmSpecification.AlgorithmName", "mine"),
        "exactly one of TrainingImage and AlgorithmName",
    ),
    invalid("no image", drop("AlgorithmSpecification.TrainingImage"), "exactly one of TrainingImage and AlgorithmName"),
    invalid(
        "broken regex",
        put("AlgorithmSpecification.MetricDefinitions", [{**METRIC, "Regex": "map50=("}]),
        "Invalid regex",
    ),
    invalid(
        "metric twice",
        put("AlgorithmSpecification.MetricDefinitions", [METRIC, METRIC]),
        "Metric definition names must be unique",
    ),
    invalid(
        "spot without a wait",
        put("EnableManagedSpotTraining", True),
        "Invalid MaxWaitTimeInSeconds. It must be present and be greater than or equal to MaxRuntimeInSeconds",
    ),
    invalid(
        "spot with a short wait",
        both(put("EnableManagedSpotTraining", True), put("StoppingCondition.MaxWaitTimeInSeconds", 599)),
        "Invalid MaxWaitTimeInSeconds",
    ),
    invalid(
        "a wait without spot",
        put("StoppingCondition.MaxWaitTimeInSeconds", 600),
        "not allowed for non-Spot training jobs",
    ),
    invalid(
        "augmented manifest in File mode",
        put(
            "InputDataConfig",
            [{**CHANNEL, "DataSource": {"S3DataSource": {"S3DataType": "AugmentedManifestFile", "S3Uri": "s3://b/m"}}}],
        ),
        "AugmentedManifestFile is supported with Pipe input mode only",
    ),
    invalid("pipe", put("InputDataConfig", [{**CHANNEL, "InputMode": "Pipe"}]), "Pipe"),
    invalid(
        "checkpoints over the model",
        put("CheckpointConfig", {"S3Uri": "s3://b/c/", "LocalPath": "/opt/ml/model"}),
        "Invalid CheckpointConfig LocalPath",
    ),
    invalid(
        "checkpoints outside",
        put("CheckpointConfig", {"S3Uri": "s3://b/c/", "LocalPath": "/opt/ml/checkpoints/../../../etc"}),
        "Invalid CheckpointConfig LocalPath",
    ),
    Case(
        "two machines",
        put("ResourceConfig.InstanceCount", 2),
        "ResourceLimitExceeded",
        "The account-level service limit 'ml.g4dn.xlarge for training job usage' is 1 Instances",
    ),
    # roles
    invalid("not a role", put("RoleArn", "arn:aws:iam::000000000000:user/me"), "at 'roleArn'"),
    invalid("somebody else's role", put("RoleArn", ELSEWHERE), "Cross-account pass role is not allowed"),
    invalid(
        "no such role",
        put("RoleArn", "arn:aws:iam::000000000000:role/nobody"),
        "Could not assume role arn:aws:iam::000000000000:role/nobody. Please ensure that the role exists",
    ),
)

PROCESSING = of(
    "CreateProcessingJob",
    invalid("dash last", put("ProcessingJobName", "a-"), pattern("a-", "processingJobName", JOB_NAME)),
    invalid("no image", drop("AppSpecification.ImageUri"), null("appSpecification.imageUri")),
    invalid("no machine", drop("ProcessingResources"), null("processingResources")),
    invalid("no cluster", drop("ProcessingResources.ClusterConfig"), null("processingResources.clusterConfig")),
    *(
        invalid(
            f"no {member}",
            drop(f"ProcessingResources.ClusterConfig.{member}"),
            null(f"processingResources.clusterConfig.{member[0].lower()}{member[1:]}"),
        )
        for member in ("InstanceType", "InstanceCount", "VolumeSizeInGB")
    ),
    invalid(
        "11 inputs",
        put("ProcessingInputs", [{"InputName": f"i{n}"} for n in range(11)]),
        "at 'processingInputs' failed to satisfy constraint: Member must have length less than or equal to 10",
    ),
    invalid(
        "ten days",
        put("StoppingCondition.MaxRuntimeInSeconds", 864000),
        bound(864000, "stoppingCondition.maxRuntimeInSeconds", "value", "less", 777600),
    ),
    invalid(
        "output beside the folder",
        put("ProcessingOutputConfig.Outputs.0.S3Output.LocalPath", "/tmp/out"),
        "must be an absolute path that starts with /opt/ml/processing/",
    ),
    invalid(
        "output above the folder",
        put("ProcessingOutputConfig.Outputs.0.S3Output.LocalPath", "/opt/ml/processing/../model"),
        "must be an absolute path that starts with /opt/ml/processing/",
    ),
    invalid(
        "unknown upload mode",
        put("ProcessingOutputConfig.Outputs.0.S3Output.S3UploadMode", "Later"),
        "Member must satisfy enum value set: [Continuous, EndOfJob]",
    ),
    invalid(
        "output twice",
        lambda request: request["ProcessingOutputConfig"]["Outputs"].append(
            request["ProcessingOutputConfig"]["Outputs"][0]
        ),
        "Processing output names must be unique",
    ),
    invalid(
        "input over the output",
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
    invalid("input without a source", put("ProcessingInputs", [{"InputName": "i"}]), "only S3Input"),
    Case(
        "two machines",
        put("ProcessingResources.ClusterConfig.InstanceCount", 2),
        "ResourceLimitExceeded",
        "The account-level service limit 'ml.m5.xlarge for processing job usage' is 1 Instances",
    ),
    invalid("no such role", put("RoleArn", "arn:aws:iam::000000000000:role/nobody"), "Could not assume role"),
)

LABELING = of(
    "CreateLabelingJob",
    invalid("dot", put("LabelingJobName", "a.b"), pattern("a.b", "labelingJobName", JOB_NAME)),
    invalid("no attribute", drop("LabelAttributeName"), null("labelAttributeName")),
    invalid(
        "bad attribute",
        put("LabelAttributeName", "my boxes"),
        pattern("my boxes", "labelAttributeName", "[a-zA-Z0-9](-*[a-zA-Z0-9]){0,126}"),
    ),
    invalid("attribute -ref", put("LabelAttributeName", "boxes-ref"), "must not end with -ref"),
    invalid("attribute -metadata", put("LabelAttributeName", "boxes-metadata"), "-metadata"),
    invalid(
        "ten workers",
        put("HumanTaskConfig.NumberOfHumanWorkersPerDataObject", 10),
        bound(10, "humanTaskConfig.numberOfHumanWorkersPerDataObject", "value", "less", 9),
    ),
    invalid(
        "no workers",
        put("HumanTaskConfig.NumberOfHumanWorkersPerDataObject", 0),
        bound(0, "humanTaskConfig.numberOfHumanWorkersPerDataObject", "value", "greater", 1),
    ),
    invalid(
        "29 seconds a task",
        put("HumanTaskConfig.TaskTimeLimitInSeconds", 29),
        bound(29, "humanTaskConfig.taskTimeLimitInSeconds", "value", "greater", 30),
    ),
    invalid(
        "long title",
        put("HumanTaskConfig.TaskTitle", "x" * 129),
        bound("x" * 129, "humanTaskConfig.taskTitle", "length", "less", 128),
    ),
    invalid("no team", drop("HumanTaskConfig.WorkteamArn"), null("humanTaskConfig.workteamArn")),
    invalid(
        "another account's team",
        put("HumanTaskConfig.WorkteamArn", "arn:aws:sagemaker:us-east-1:111111111111:workteam/private-crowd/us"),
        "does not exist in account",
    ),
    invalid(
        "another region's team",
        put("HumanTaskConfig.WorkteamArn", "arn:aws:sagemaker:eu-west-1:000000000000:workteam/private-crowd/us"),
        "is not in the region us-east-1",
    ),
    invalid(
        "the public without a price",
        put("HumanTaskConfig.WorkteamArn", "arn:aws:sagemaker:us-east-1:394669845002:workteam/public-crowd/default"),
        "PublicWorkforceTaskPrice",
    ),
    invalid(
        "another region's Lambda",
        put("HumanTaskConfig.PreHumanTaskLambdaArn", "arn:aws:lambda:us-east-1:081040173940:function:PRE-BoundingBox"),
        f"expected {LAMBDA}PRE-BoundingBox",
    ),
    invalid(
        "another task's Lambda",
        put("HumanTaskConfig.PreHumanTaskLambdaArn", f"{LAMBDA}PRE-ImageMultiClass"),
        f"expected {LAMBDA}PRE-BoundingBox",
    ),
    invalid(
        "Lambdas of two tasks",
        put("HumanTaskConfig.PreHumanTaskLambdaArn", f"{LAMBDA}PRE-AdjustmentBoundingBox"),
        "do not match",
    ),
    invalid("custom", drop("HumanTaskConfig.PreHumanTaskLambdaArn"), "Custom labeling workflows"),
    invalid("no template", drop("HumanTaskConfig.UiConfig.UiTemplateS3Uri"), "UiTemplateS3Uri"),
    invalid("no categories", drop("LabelCategoryConfigS3Uri"), "LabelCategoryConfigS3Uri"),
    invalid(
        "no manifest object",
        put("InputConfig.DataSource.S3DataSource.ManifestS3Uri", "s3://{bucket}/no/such.manifest"),
        "The specified key no/such.manifest isn't present in S3 bucket",
    ),
    invalid(
        "no category object",
        put("LabelCategoryConfigS3Uri", "s3://{bucket}/no/such.json"),
        "The specified key no/such.json isn't present in S3 bucket",
    ),
    invalid(
        "no output bucket",
        put("OutputConfig.S3OutputPath", "s3://no-such-bucket-anywhere/out/"),
        "The specified bucket no-such-bucket-anywhere does not exist",
    ),
    invalid(
        "automatic labels",
        put(
            "LabelingJobAlgorithmsConfig",
            {
                "LabelingJobAlgorithmSpecificationArn": "arn:aws:sagemaker:us-east-1:027400017018:"
                "labeling-job-algorithm-specification/object-detection"
            },
        ),
        "Automated data labeling",
    ),
    invalid("no such role", put("RoleArn", f"arn:aws:iam::{'0' * 12}:role/nobody"), "Could not assume role"),
    invalid(
        "categories are not JSON",
        put("LabelCategoryConfigS3Uri", "s3://{bucket}/refused/categories/text.json"),
        "The label category configuration file is not valid",
    ),
    invalid(
        "no version of categories",
        put("LabelCategoryConfigS3Uri", "s3://{bucket}/refused/categories/version.json"),
        "document-version",
    ),
    invalid(
        "category twice",
        put("LabelCategoryConfigS3Uri", "s3://{bucket}/refused/categories/twice.json"),
        "must be unique",
    ),
    invalid(
        "51 categories",
        put("LabelCategoryConfigS3Uri", "s3://{bucket}/refused/categories/many.json"),
        "at most 50 labels",
    ),
    invalid(
        "nothing to label",
        put("LabelCategoryConfigS3Uri", "s3://{bucket}/refused/categories/none.json"),
        "at least one label",
    ),
    invalid(
        "another page",
        put("HumanTaskConfig.UiConfig.UiTemplateS3Uri", "s3://{bucket}/refused/templates/classify.liquid"),
        "must have a <crowd-bounding-box> element",
    ),
    invalid(
        "another result",
        put("HumanTaskConfig.UiConfig.UiTemplateS3Uri", "s3://{bucket}/refused/templates/name.liquid"),
        'must have name="annotatedResult"',
    ),
    invalid(
        "no access to the image",
        put("HumanTaskConfig.UiConfig.UiTemplateS3Uri", "s3://{bucket}/refused/templates/access.liquid"),
        "grant_read_access",
    ),
    invalid(
        "no instructions",
        put("HumanTaskConfig.UiConfig.UiTemplateS3Uri", "s3://{bucket}/refused/templates/instructions.liquid"),
        "<full-instructions>",
    ),
)

REGISTRY = [
    *of(
        "CreateModelPackageGroup",
        invalid(
            "bad group name",
            put("ModelPackageGroupName", "my group"),
            pattern("my group", "modelPackageGroupName", JOB_NAME),
        ),
        invalid("no group name", drop("ModelPackageGroupName"), null("modelPackageGroupName")),
    ),
    *of(
        "CreateModelPackage",
        invalid("unknown group", put("ModelPackageGroupName", "nobody"), "model-package-group/nobody does not exist"),
        invalid("no group", drop("ModelPackageGroupName"), "must be given"),
        invalid("versioned and not", put("ModelPackageName", "mine"), "cannot be used together"),
        invalid("nothing to serve", drop("InferenceSpecification"), "must be given"),
        invalid(
            "no containers",
            put("InferenceSpecification.Containers", []),
            bound("[]", "inferenceSpecification.containers", "length", "greater", 1),
        ),
        invalid("no image", drop("InferenceSpecification.Containers.0.Image"), "must have an Image"),
        invalid(
            "no model data",
            put("InferenceSpecification.Containers.0.ModelDataUrl", "s3://{bucket}/no/model.tar.gz"),
            "Could not find model data at",
        ),
        invalid(
            "unknown approval",
            put("ModelApprovalStatus", "Maybe"),
            "Member must satisfy enum value set: [Approved, Rejected, PendingManualApproval]",
        ),
        invalid(
            "51 properties",
            put("CustomerMetadataProperties", {f"p{n}": "1" for n in range(51)}),
            "less than or equal to 50",
        ),
        invalid(
            "bad property",
            put("CustomerMetadataProperties", {"map50": "a;b"}),
            "at 'customerMetadataProperties' failed to satisfy constraint: Map value must satisfy constraint: [",
        ),
        invalid(
            "metrics without an address",
            put("ModelMetrics", {"ModelQuality": {"Statistics": {"ContentType": "application/json"}}}),
            null("modelMetrics.modelQuality.statistics.s3Uri"),
        ),
    ),
]

OF_UNKNOWN = [
    *of(
        "DescribeTrainingJob",
        invalid("training job", put("TrainingJobName", "nobody"), "Requested resource not found."),
    ),
    *of(
        "StopTrainingJob",
        invalid("stop training job", put("TrainingJobName", "nobody"), "Requested resource not found."),
    ),
    *of(
        "DescribeProcessingJob",
        invalid("processing job", put("ProcessingJobName", "nobody"), "Could not find requested job with name: nobody"),
    ),
    *of(
        "StopProcessingJob",
        invalid("stop processing job", put("ProcessingJobName", "nobody"), "Could not find requested job"),
    ),
    *of(
        "DescribeLabelingJob",
        Case("labeling job", put("LabelingJobName", "nobody"), "ResourceNotFound", "does not exist"),
    ),
    *of(
        "StopLabelingJob",
        Case("stop labeling job", put("LabelingJobName", "nobody"), "ResourceNotFound", "does not exist"),
    ),
    *of("DescribeModelPackageGroup", invalid("group", put("ModelPackageGroupName", "nobody"), "does not exist")),
    *of("DeleteModelPackageGroup", invalid("delete group", put("ModelPackageGroupName", "nobody"), "does not exist")),
    *of(
        "ListModelPackages",
        invalid("list of an unknown group", put("ModelPackageGroupName", "nobody"), "does not exist"),
    ),
    *of(
        "DescribeModelPackage",
        invalid(
            "package",
            put("ModelPackageName", f"arn:aws:sagemaker:us-east-1:{'0' * 12}:model-package/nobody/1"),
            "model-package/nobody/1 does not exist.",
        ),
    ),
    *of("DeleteModelPackage", invalid("package by name", put("ModelPackageName", "nobody"), "does not exist.")),
    *of(
        "UpdateModelPackage",
        invalid(
            "package to approve",
            put("ModelPackageArn", f"arn:aws:sagemaker:us-east-1:{'0' * 12}:model-package/nobody/1"),
            "does not exist.",
        ),
        invalid("not an ARN", put("ModelPackageArn", "nobody/1"), "at 'modelPackageArn'"),
    ),
    *of(
        "ListTags",
        invalid(
            "tags of nothing",
            put("ResourceArn", f"arn:aws:sagemaker:us-east-1:{'0' * 12}:training-job/nobody"),
            "Could not find resource",
        ),
    ),
    *of(
        "AddTags",
        invalid(
            "tags on nothing",
            both(put("ResourceArn", f"arn:aws:sagemaker:us-east-1:{'0' * 12}:endpoint/nobody"), put("Tags", [TAG])),
            "Could not find resource",
        ),
    ),
    *of(
        "ListTrainingJobs",
        invalid("101 a page", put("MaxResults", 101), bound(101, "maxResults", "value", "less", 100)),
    ),
    *of(
        "ListProcessingJobs",
        invalid("none a page", put("MaxResults", 0), bound(0, "maxResults", "value", "greater", 1)),
    ),
    *of(
        "ListLabelingJobs", invalid("unknown order", put("SortOrder", "Up"), "enum value set: [Ascending, Descending]")
    ),
    *of(
        "ListTrainingJobs",
        invalid("unknown status", put("StatusEquals", "Done"), "Member must satisfy enum value set: ["),
        invalid("somebody else's token", put("NextToken", "zzz"), "Invalid pagination token"),
        wrong_type("not a time", put("CreationTimeAfter", "soon"), "can not be converted to a Timestamp"),
    ),
    *of("CreateSkyhook", Case("no such operation", put("Name", "x"), "UnknownOperationException", "CreateSkyhook")),
    *of(
        "CreateCluster",
        Case("an operation not offered", put("ClusterName", "x"), "UnsupportedOperationException", "CreateCluster"),
    ),
]

CASES = [*TRAINING, *PROCESSING, *LABELING, *REGISTRY, *OF_UNKNOWN]
