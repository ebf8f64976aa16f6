"""The actions of IAM by which AWS judges its operations, where they are not called like the operation.

Source: "Actions, resources, and condition keys for AWS services" in the service authorization reference, and "Required
permissions for Amazon S3 API operations" in the S3 user guide.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from ministack.core import iam_actions
from ministack.services import s3

from laptop.ministack_patches.operations import Operation, Request

_S3 = {
    "CompleteMultipartUpload": "PutObject",
    "CopyObject": "PutObject",
    "CreateBucketMetadataConfiguration": "CreateBucketMetadataTableConfiguration",
    "CreateMultipartUpload": "PutObject",
    "DeleteBucketAnalyticsConfiguration": "PutAnalyticsConfiguration",
    "DeleteBucketCors": "PutBucketCORS",
    "DeleteBucketEncryption": "PutEncryptionConfiguration",
    "DeleteBucketIntelligentTieringConfiguration": "PutIntelligentTieringConfiguration",
    "DeleteBucketInventoryConfiguration": "PutInventoryConfiguration",
    "DeleteBucketLifecycle": "PutLifecycleConfiguration",
    "DeleteBucketMetadataConfiguration": "DeleteBucketMetadataTableConfiguration",
    "DeleteBucketMetricsConfiguration": "PutMetricsConfiguration",
    "DeleteBucketOwnershipControls": "PutBucketOwnershipControls",
    "DeleteBucketReplication": "PutReplicationConfiguration",
    "DeleteBucketTagging": "PutBucketTagging",
    "DeleteObjects": "DeleteObject",
    "DeletePublicAccessBlock": "PutBucketPublicAccessBlock",
    "GetBucketAccelerateConfiguration": "GetAccelerateConfiguration",
    "GetBucketAnalyticsConfiguration": "GetAnalyticsConfiguration",
    "GetBucketCors": "GetBucketCORS",
    "GetBucketEncryption": "GetEncryptionConfiguration",
    "GetBucketIntelligentTieringConfiguration": "GetIntelligentTieringConfiguration",
    "GetBucketInventoryConfiguration": "GetInventoryConfiguration",
    "GetBucketLifecycle": "GetLifecycleConfiguration",
    "GetBucketLifecycleConfiguration": "GetLifecycleConfiguration",
    "GetBucketMetadataConfiguration": "GetBucketMetadataTableConfiguration",
    "GetBucketMetricsConfiguration": "GetMetricsConfiguration",
    "GetBucketNotificationConfiguration": "GetBucketNotification",
    "GetBucketReplication": "GetReplicationConfiguration",
    "GetObjectLockConfiguration": "GetBucketObjectLockConfiguration",
    "GetPublicAccessBlock": "GetBucketPublicAccessBlock",
    "HeadBucket": "ListBucket",
    "HeadObject": "GetObject",
    "ListBucketAnalyticsConfigurations": "GetAnalyticsConfiguration",
    "ListBucketIntelligentTieringConfigurations": "GetIntelligentTieringConfiguration",
    "ListBucketInventoryConfigurations": "GetInventoryConfiguration",
    "ListBucketMetricsConfigurations": "GetMetricsConfiguration",
    "ListBuckets": "ListAllMyBuckets",
    "ListMultipartUploads": "ListBucketMultipartUploads",
    "ListObjectVersions": "ListBucketVersions",
    "ListObjects": "ListBucket",
    "ListObjectsV2": "ListBucket",
    "ListParts": "ListMultipartUploadParts",
    "PutBucketAccelerateConfiguration": "PutAccelerateConfiguration",
    "PutBucketAnalyticsConfiguration": "PutAnalyticsConfiguration",
    "PutBucketCors": "PutBucketCORS",
    "PutBucketEncryption": "PutEncryptionConfiguration",
    "PutBucketIntelligentTieringConfiguration": "PutIntelligentTieringConfiguration",
    "PutBucketInventoryConfiguration": "PutInventoryConfiguration",
    "PutBucketLifecycle": "PutLifecycleConfiguration",
    "PutBucketLifecycleConfiguration": "PutLifecycleConfiguration",
    "PutBucketMetricsConfiguration": "PutMetricsConfiguration",
    "PutBucketNotificationConfiguration": "PutBucketNotification",
    "PutBucketReplication": "PutReplicationConfiguration",
    "PutObjectLockConfiguration": "PutBucketObjectLockConfiguration",
    "PutPublicAccessBlock": "PutBucketPublicAccessBlock",
    "SelectObjectContent": "GetObject",
    "UploadPart": "PutObject",
    "UploadPartCopy": "PutObject",
}
# What a request that writes says in headers, and needs another action for. For a copy, on the object that is made.
_OF_OBJECTS = (
    (re.compile("x-amz-tagging"), "PutObjectTagging"),
    (re.compile("x-amz-(acl|grant-.+)"), "PutObjectAcl"),
    (re.compile("x-amz-object-lock-(mode|retain-until-date)"), "PutObjectRetention"),
    (re.compile("x-amz-object-lock-legal-hold"), "PutObjectLegalHold"),
)
_OF_BUCKETS = (
    (re.compile("x-amz-(acl|grant-.+)"), "PutBucketAcl"),
    (re.compile("x-amz-bucket-object-lock-enabled"), "PutBucketObjectLockConfiguration"),
    (re.compile("x-amz-bucket-object-lock-enabled"), "PutBucketVersioning"),
    (re.compile("x-amz-object-ownership"), "PutBucketOwnershipControls"),
)
_BY_HEADERS = {
    "CopyObject": _OF_OBJECTS,
    "CreateBucket": _OF_BUCKETS,
    "CreateMultipartUpload": _OF_OBJECTS,
    "PutObject": _OF_OBJECTS,
}
_NAMED = {
    "s3": _S3,
    "lambda": {
        "GetLayerVersionByArn": "GetLayerVersion",
        "Invoke": "InvokeFunction",
        "InvokeAsync": "InvokeFunction",
        "InvokeWithResponseStream": "InvokeFunction",
    },
    "sns": {"PublishBatch": "Publish"},
    "sqs": {
        "ChangeMessageVisibilityBatch": "ChangeMessageVisibility",
        "DeleteMessageBatch": "DeleteMessage",
        "SendMessageBatch": "SendMessage",
    },
}


def additional_checks(operation: str, headers: Mapping[str, str], arn: str) -> list[tuple[str, str]]:
    """Actions and resources that a request to S3 for `arn` needs besides its own action for what its headers say.

    Header names are in lower case.
    """
    said = [name for name, value in headers.items() if value and value.lower() != "false"]
    if operation == "CreateBucket" and headers.get("x-amz-acl") == "private":  # which a bucket is anyway
        said.remove("x-amz-acl")
    needed = _BY_HEADERS.get(operation, ())
    checks = [(f"s3:{action}", arn) for header, action in needed if any(header.fullmatch(name) for name in said)]
    if operation in ("CopyObject", "UploadPartCopy") and (source := iam_actions._s3_source_object(dict(headers))):
        checks.append(("s3:GetObjectVersion" if source[1] else "s3:GetObject", source[0]))
        replaces = headers.get("x-amz-tagging-directive", "").upper() == "REPLACE"
        if operation == "CopyObject" and not replaces:
            checks += _tags_checks(source[0], source[1], arn)
    return checks


def _tags_checks(source: str, version: str, made: str) -> list[tuple[str, str]]:
    """What it takes that the object which a copy makes gets the tags of its source; nothing where that has none."""
    bucket, _, key = source.removeprefix("arn:aws:s3:::").partition("/")
    if not s3.object_tags_for_condition(bucket, key, {"versionId": [version]} if version else {}):
        return []
    return [("s3:GetObjectVersionTagging" if version else "s3:GetObjectTagging", source), ("s3:PutObjectTagging", made)]


def action_of(operation: Operation, request: Request) -> str:
    """The action, with its namespace, that a caller needs for an operation."""
    return action_named(operation.service, operation.name, version=bool(request.query.get("versionId", [""])[0]))


def action_named(service: str, operation: str, *, version: bool = False) -> str:
    """The action of a service's operation, by MiniStack's name of the one and AWS's of the other.

    `version` says whether a version of an object in S3 is named, which is another action.
    """
    name = _NAMED.get(service, {}).get(operation, operation)
    if service == "s3" and version:
        name = iam_actions._S3_VERSIONED_ACTIONS.get(name, name)
    return f"{iam_actions.SERVICE_TO_IAM_NAMESPACE.get(service, service)}:{name}"
