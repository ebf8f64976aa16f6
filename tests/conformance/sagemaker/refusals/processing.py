"""What CreateProcessingJob refuses."""

from __future__ import annotations

from tests.conformance.sagemaker.refusals.case import JOB_NAME, Case, bound, drop, invalid, null, of, pattern, put

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
