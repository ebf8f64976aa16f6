"""An upload, a copy and a version need the actions of all that they do, and of what they say besides."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.conformance.conftest import Cloud
from tests.conformance.ministack.conftest import task

BY_HEADERS = [
    ({"Tagging": "a=b"}, "PutObjectTagging"),
    ({"ACL": "private"}, "PutObjectAcl"),
    ({"GrantRead": 'uri="http://acs.amazonaws.com/groups/global/AllUsers"'}, "PutObjectAcl"),
    ({"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": "2040-01-01T00:00:00Z"}, "PutObjectRetention"),
    ({"ObjectLockLegalHoldStatus": "ON"}, "PutObjectLegalHold"),
]
TAGS = {"TaggingDirective": "REPLACE"}


@pytest.mark.parametrize(("said", "action"), BY_HEADERS)
def test_what_an_upload_says_besides_needs_its_own_action(
    cloud: Cloud, caller: Any, said: dict[str, str], action: str
) -> None:
    bucket, root = cloud.name("bucket"), cloud.client("s3")
    root.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True, ObjectOwnership="BucketOwnerPreferred")
    root.delete_public_access_block(Bucket=bucket)
    root.put_object(Bucket=bucket, Key="source", Body=b"x")
    objects, source = f"arn:aws:s3:::{bucket}/*", {"Bucket": bucket, "Key": "source"}
    write = ["s3:PutObject", "s3:GetObject"]
    for may, others in ((write, False), ([*write, f"s3:{action}"], True)):
        s3 = cloud.client("s3", **caller((may, objects)))
        for ask in (
            lambda s3=s3: s3.put_object(Bucket=bucket, Key="k", Body=b"x", ChecksumAlgorithm="SHA256", **said),
            lambda s3=s3: s3.create_multipart_upload(Bucket=bucket, Key="k", **said),
            lambda s3=s3: s3.copy_object(Bucket=bucket, Key="k", CopySource=source, **said, **TAGS),
        ):
            if others:
                assert ask()
            else:
                with pytest.raises(ClientError, match="AccessDenied"):
                    ask()
        s3.put_object(Bucket=bucket, Key="k", Body=b"x")


@pytest.mark.parametrize(
    ("said", "actions"),
    [
        ({"ACL": "private"}, []),
        ({"ObjectOwnership": "BucketOwnerPreferred"}, ["s3:PutBucketOwnershipControls"]),
        (
            {"ACL": "log-delivery-write", "ObjectOwnership": "BucketOwnerPreferred"},
            ["s3:PutBucketAcl", "s3:PutBucketOwnershipControls"],
        ),
        ({"ObjectLockEnabledForBucket": True}, ["s3:PutBucketObjectLockConfiguration", "s3:PutBucketVersioning"]),
        ({"ObjectLockEnabledForBucket": False}, []),
    ],
)
def test_what_a_new_bucket_says_besides_needs_its_own_actions(
    cloud: Cloud, caller: Any, said: dict[str, Any], actions: list[str]
) -> None:
    for missing in actions:
        some = ["s3:CreateBucket", *(each for each in actions if each != missing)]
        with pytest.raises(ClientError, match="AccessDenied"):
            cloud.client("s3", **caller((some, "*"))).create_bucket(Bucket=cloud.name("bucket"), **said)
    everything = caller((["s3:CreateBucket", *actions], "*"))
    cloud.client("s3", **everything).create_bucket(Bucket=cloud.name("bucket"), **said)


@pytest.mark.parametrize("version", [False, True])
def test_a_copy_takes_the_tags_of_its_source_from_who_may_read_them(cloud: Cloud, caller: Any, version: bool) -> None:
    bucket, root = cloud.name("bucket"), cloud.client("s3")
    root.create_bucket(Bucket=bucket)
    root.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    named = root.put_object(Bucket=bucket, Key="source", Body=b"x", Tagging="a=b")["VersionId"]
    if version:
        root.put_object(Bucket=bucket, Key="source", Body=b"without tags")
    source = {"Bucket": bucket, "Key": "source", **({"VersionId": named} if version else {})}
    of = "Version" if version else ""
    write = ["s3:PutObject", f"s3:GetObject{of}"]
    tags = [f"s3:GetObject{of}Tagging", "s3:PutObjectTagging"]

    def copy(*actions: str, **said: Any) -> None:
        s3 = cloud.client("s3", **caller((list(actions), f"arn:aws:s3:::{bucket}/*")))
        s3.copy_object(Bucket=bucket, Key="copy", CopySource=source, **said)

    for tag in tags:
        with pytest.raises(ClientError, match="AccessDenied"):
            copy(*write, tag)
    copy(*write, *tags)
    assert root.get_object_tagging(Bucket=bucket, Key="copy")["TagSet"] == [{"Key": "a", "Value": "b"}]
    copy(*write, **TAGS)
    root.delete_object_tagging(**source)
    copy(*write)


@pytest.mark.parametrize(
    ("operation", "action"),
    [("get_object", "GetObject"), ("head_object", "GetObject"), ("get_object_tagging", "GetObjectTagging")],
)
def test_a_version_needs_the_action_of_versions(cloud: Cloud, caller: Any, operation: str, action: str) -> None:
    bucket, root = cloud.name("bucket"), cloud.client("s3")
    root.create_bucket(Bucket=bucket)
    root.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    version = root.put_object(Bucket=bucket, Key="k", Body=b"x")["VersionId"]
    of_version = action.replace("GetObject", "GetObjectVersion")
    for may, named in ((action, True), (of_version, False)):
        s3 = cloud.client("s3", **caller((f"s3:{may}", f"arn:aws:s3:::{bucket}/*")))
        other = {} if named else {"VersionId": version}
        assert getattr(s3, operation)(Bucket=bucket, Key="k", **other)
        with pytest.raises(ClientError, match=r"AccessDenied|403"):
            getattr(s3, operation)(Bucket=bucket, Key="k", **({"VersionId": version} if named else {}))


def test_who_holds_to_no_retention_needs_an_action_for_that(cloud: Cloud, caller: Any) -> None:
    bucket, root = cloud.name("bucket"), cloud.client("s3")
    root.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
    lock = {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": "2040-01-01T00:00:00Z"}
    version = root.put_object(Bucket=bucket, Key="k", Body=b"x", ChecksumAlgorithm="SHA256", **lock)["VersionId"]
    delete = {"Bucket": bucket, "Key": "k", "VersionId": version, "BypassGovernanceRetention": True}
    may = ["s3:DeleteObjectVersion"]
    with pytest.raises(ClientError, match="AccessDenied"):
        cloud.client("s3", **caller((may, f"arn:aws:s3:::{bucket}/*"))).delete_object(**delete)
    may.append("s3:BypassGovernanceRetention")
    cloud.client("s3", **caller((may, f"arn:aws:s3:::{bucket}/*"))).delete_object(**delete)


def test_a_state_machine_copies_the_tags_that_it_may(cloud: Cloud, run: Any) -> None:
    bucket = cloud.name("bucket")
    cloud.client("s3").create_bucket(Bucket=bucket)
    cloud.client("s3").put_object(Bucket=bucket, Key="source", Body=b"x", Tagging="a=b")
    arguments = {"Bucket": bucket, "Key": "copy", "CopySource": f"{bucket}/source", "ACL": "private"}
    actions = ["s3:GetObject", "s3:PutObject", "s3:GetObjectTagging", "s3:PutObjectTagging", "s3:PutObjectAcl"]
    for left_out in (*actions[2:], None):
        statement = ([each for each in actions if each != left_out], f"arn:aws:s3:::{bucket}/*")
        status = "FAILED" if left_out else "SUCCEEDED"
        assert run(task("aws-sdk:s3:copyObject", arguments), statement)["status"] == status, left_out


def test_a_state_machine_copies_what_it_may_read(cloud: Cloud, run: Any) -> None:
    bucket, arn = cloud.name("bucket"), "arn:aws:s3:::{}/{}"
    cloud.client("s3").create_bucket(Bucket=bucket)
    for key in ("mine", "other"):
        cloud.client("s3").put_object(Bucket=bucket, Key=key, Body=b"")
    statements = [("s3:PutObject", arn.format(bucket, "copy")), ("s3:GetObject", arn.format(bucket, "mine"))]
    for key, status in (("mine", "SUCCEEDED"), ("other", "FAILED")):
        arguments = {"Bucket": bucket, "Key": "copy", "CopySource": f"{bucket}/{key}"}
        assert run(task("aws-sdk:s3:copyObject", arguments), *statements)["status"] == status
