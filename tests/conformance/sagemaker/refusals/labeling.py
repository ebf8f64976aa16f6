"""What CreateLabelingJob refuses."""

from __future__ import annotations

from tests.conformance.sagemaker.refusals.case import JOB_NAME, LAMBDA, bound, drop, invalid, null, of, pattern, put

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
        "29 seconds per task",
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
