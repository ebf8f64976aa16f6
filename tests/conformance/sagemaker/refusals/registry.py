"""What the model registry refuses."""

from __future__ import annotations

from tests.conformance.sagemaker.refusals.case import JOB_NAME, bound, drop, invalid, null, of, pattern, put

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
