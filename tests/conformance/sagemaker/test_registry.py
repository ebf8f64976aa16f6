"""The model registry: versions, approval, metadata, lists and events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.conformance.conftest import wait_until

Request = Callable[..., dict[str, Any]]
STATE_CHANGE = "SageMaker Model Package State Change"


def test_versions_count_up_and_are_never_given_twice(sagemaker: Any, package_request: Request) -> None:
    request = package_request()
    group = request["ModelPackageGroupName"]
    base = sagemaker.cloud.arn("sagemaker", f"model-package/{group}")
    arns = [sagemaker.api.create_model_package(**request)["ModelPackageArn"] for _ in range(2)]
    assert arns == [f"{base}/1", f"{base}/2"]
    sagemaker.api.delete_model_package(ModelPackageName=arns[1])
    assert sagemaker.api.create_model_package(**request)["ModelPackageArn"] == f"{base}/3"


def test_the_same_token_gives_the_same_version(sagemaker: Any, package_request: Request) -> None:
    request = package_request(ClientToken="once-and-once-only")
    first = sagemaker.api.create_model_package(**request)["ModelPackageArn"]
    assert sagemaker.api.create_model_package(**request)["ModelPackageArn"] == first


def test_a_package_is_described_as_it_was_registered(sagemaker: Any, package_request: Request) -> None:
    metrics = {"ModelQuality": {"Statistics": {"ContentType": "application/json", "S3Uri": "s3://b/evaluation.json"}}}
    properties = {"correlation_id": "flight 7", "map50": "0.61", "dataset_uri": "s3://b/processed-data/ds-1/"}
    request = package_request(ModelMetrics=metrics, CustomerMetadataProperties=properties)
    arn = sagemaker.api.create_model_package(**request)["ModelPackageArn"]
    package = sagemaker.api.describe_model_package(ModelPackageName=arn)
    assert package["ModelPackageGroupName"] == request["ModelPackageGroupName"]
    assert package["ModelPackageVersion"] == 1
    assert package["ModelPackageStatus"] == "Completed"
    assert package["ModelApprovalStatus"] == "PendingManualApproval"
    assert package["ModelMetrics"] == metrics
    assert package["CustomerMetadataProperties"] == properties
    assert package["InferenceSpecification"]["Containers"] == request["InferenceSpecification"]["Containers"]


def test_groups_go_by_name_or_arn(sagemaker: Any, package_request: Request) -> None:
    request = package_request()
    group = sagemaker.api.describe_model_package_group(ModelPackageGroupName=request["ModelPackageGroupName"])
    assert group["ModelPackageGroupStatus"] == "Completed"
    request["ModelPackageGroupName"] = group["ModelPackageGroupArn"]
    arn = sagemaker.api.create_model_package(**request)["ModelPackageArn"]
    listed = sagemaker.api.list_model_packages(ModelPackageGroupName=group["ModelPackageGroupArn"])
    assert [item["ModelPackageArn"] for item in listed["ModelPackageSummaryList"]] == [arn]
    found = sagemaker.api.list_model_package_groups(NameContains=group["ModelPackageGroupName"])
    (summary,) = found["ModelPackageGroupSummaryList"]
    assert summary["ModelPackageGroupArn"] == group["ModelPackageGroupArn"]


def test_packages_are_listed_by_approval_and_order(sagemaker: Any, package_request: Request) -> None:
    request = package_request()
    group = request["ModelPackageGroupName"]
    arns = [
        sagemaker.api.create_model_package(**request, ModelApprovalStatus=status)["ModelPackageArn"]
        for status in ("Approved", "Rejected", "Approved")
    ]

    def listed(**filters: Any) -> list[str]:
        answer = sagemaker.api.list_model_packages(ModelPackageGroupName=group, **filters)
        return [item["ModelPackageArn"] for item in answer["ModelPackageSummaryList"]]

    assert listed() == arns
    everywhere = sagemaker.api.list_model_packages(NameContains=group, ModelPackageType="Versioned")
    assert len(everywhere["ModelPackageSummaryList"]) == 3
    assert sagemaker.api.list_model_packages(NameContains=group)["ModelPackageSummaryList"] == []
    newest = listed(ModelApprovalStatus="Approved", SortBy="CreationTime", SortOrder="Descending", MaxResults=1)
    assert newest == [arns[2]]


def test_events_tell_an_approval_from_an_edit(sagemaker: Any, package_request: Request) -> None:
    request = package_request(CustomerMetadataProperties={"map50": "0.61"})
    arn = sagemaker.api.create_model_package(**request)["ModelPackageArn"]
    sagemaker.api.update_model_package(
        ModelPackageArn=arn, ModelApprovalStatus="Approved", ApprovalDescription="better than v1"
    )
    sagemaker.api.update_model_package(
        ModelPackageArn=arn,
        CustomerMetadataProperties={"deployed": "yes"},
        CustomerMetadataPropertiesToRemove=["map50"],
    )
    events = wait_until(lambda: found if len(found := sagemaker.events(arn, STATE_CHANGE)) == 3 else None)
    born, approved, edited = (event["detail"] for event in events)
    assert born["ModelApprovalStatus"] == "PendingManualApproval"
    assert "UpdatedModelPackageFields" not in born
    assert approved["ModelApprovalStatus"] == "Approved"
    assert sorted(approved["UpdatedModelPackageFields"]) == ["ApprovalDescription", "ModelApprovalStatus"]
    assert edited["ModelApprovalStatus"] == "Approved"
    assert edited["UpdatedModelPackageFields"] == ["CustomerMetadataProperties"]
    assert edited["CustomerMetadataProperties"] == {"deployed": "yes"}
    for detail in (born, approved, edited):
        assert detail["ModelPackageArn"] == arn
        assert detail["ModelPackageGroupName"] == request["ModelPackageGroupName"]
        assert detail["ModelPackageVersion"] == 1
        assert detail["ModelPackageStatus"] == "Completed"
    package = sagemaker.api.describe_model_package(ModelPackageName=arn)
    assert package["CustomerMetadataProperties"] == {"deployed": "yes"}
    assert package["ApprovalDescription"] == "better than v1"
