"""What CreateTrainingJob refuses."""

from __future__ import annotations

from tests.conformance.sagemaker.refusals.case import (
    CHANNEL,
    ELSEWHERE,
    JOB_NAME,
    METRIC,
    ONE_ERROR,
    TAG,
    Case,
    both,
    bound,
    drop,
    invalid,
    null,
    of,
    pattern,
    put,
    wrong_type,
)

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
        "spot that is kept",
        both(
            put("EnableManagedSpotTraining", True),
            put("StoppingCondition.MaxWaitTimeInSeconds", 600),
            put("ResourceConfig.KeepAlivePeriodInSeconds", 60),
        ),
        "KeepAlivePeriodInSeconds is not supported for Spot training jobs",
    ),
    invalid(
        "a machine that is kept for too long",
        put("ResourceConfig.KeepAlivePeriodInSeconds", 3601),
        "KeepAlivePeriodInSeconds must be at most 3600",
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
