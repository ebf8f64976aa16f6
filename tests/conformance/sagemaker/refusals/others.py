"""Refusals of unknown names, of lists, and of operations that do not exist."""

from __future__ import annotations

from tests.conformance.sagemaker.refusals.case import TAG, Case, both, bound, invalid, of, put, wrong_type

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
        invalid("101 per page", put("MaxResults", 101), bound(101, "maxResults", "value", "less", 100)),
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
