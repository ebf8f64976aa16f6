"""The model registry: model package groups and versioned model packages, with approval.

Both ways to an approved model – created as Approved, or approved later with UpdateModelPackage – raise the same
"SageMaker Model Package State Change" event; `UpdatedModelPackageFields` in it tells an approval from an edit.
"""

from __future__ import annotations

import re
import time
from typing import ClassVar

from laptop.sagemaker.core import errors, events, tags, transfer
from laptop.sagemaker.core.context import Context
from laptop.sagemaker.core.resources import Kind
from laptop.sagemaker.core.room import Operations, Room
from laptop.sagemaker.core.store import Record

_CREATOR = {"UserProfileName": "laptop"}
_METADATA_LIMIT = 50  # CustomerMetadataMap
_UPDATABLE = (
    "ModelApprovalStatus", "ApprovalDescription", "CustomerMetadataProperties", "InferenceSpecification", "SourceUri",
    "ModelCard", "ModelLifeCycle", "ModelPackageRegistrationType",
)  # fmt: skip
_IN_EVENT = (
    "ModelPackageName", "ModelPackageGroupName", "ModelPackageVersion", "ModelPackageArn", "ModelPackageDescription",
    "InferenceSpecification", "SourceAlgorithmSpecification", "ModelPackageStatus", "ModelPackageStatusDetails",
    "CertifyForMarketplace", "ModelApprovalStatus", "ApprovalDescription", "MetadataProperties", "ModelMetrics",
    "CustomerMetadataProperties", "DriftCheckBaselines", "ModelLifeCycle", "ModelPackageRegistrationType",
)  # fmt: skip


class Registry(Room):
    """Groups and packages."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.groups = Kind(
            context,
            "model-package-group",
            "ModelPackageGroupName",
            "ModelPackageGroupSummaryList",
            taken=lambda arn: errors.validation(f"Model Package Group already exists: {arn}"),
            missing=lambda _, arn: errors.validation(f"Model Package Group {arn} does not exist."),
            key=str.lower,
        )
        self.packages = Kind(
            context,
            "model-package",
            "ModelPackageName",
            "ModelPackageSummaryList",
            taken=lambda arn: errors.validation(f"ModelPackage already exists: {arn}"),
            missing=lambda name, arn: errors.validation(
                f"ModelPackage {name if name.startswith('arn:') else arn} does not exist."
            ),
            key=self._package_arn,
        )

    def list_groups(self, request: Record) -> Record:
        """One page of groups."""
        return self.groups.list(request)

    def describe_package(self, request: Record) -> Record:
        """The whole record."""
        return self.packages.describe(request)

    def delete_package(self, request: Record) -> Record:
        """Remove a package; the number of a deleted version is not used again."""
        return self.packages.delete(request)

    def create_group(self, request: Record) -> Record:
        """Add a group. Raises ValidationException for a used name."""
        tags.check(request.get("Tags", []))
        arn = self.groups.arn(request["ModelPackageGroupName"])
        self.groups.create(
            {
                **request,
                "ModelPackageGroupArn": arn,
                "ModelPackageGroupStatus": "Completed",
                "CreationTime": time.time(),
                "CreatedBy": _CREATOR,
                "_LastVersion": 0,
            }
        )
        return {"ModelPackageGroupArn": arn}

    def describe_group(self, request: Record) -> Record:
        """The whole record."""
        return self._group(request["ModelPackageGroupName"])

    def delete_group(self, request: Record) -> Record:
        """Remove an empty group. Raises ConflictException while it holds packages."""
        group = self._group(request["ModelPackageGroupName"])
        if self._packages_of(group):
            raise errors.conflict(
                f"Cannot delete Model Package Group {group['ModelPackageGroupArn']} because it contains Model Packages."
            )
        self.groups.remove(group["ModelPackageGroupName"])
        return {}

    def create_package(self, request: Record) -> Record:
        """Register the next version of a group; a `ClientToken` that was used before gives the version that it made.

        Raises ValidationException, for an unknown group too.
        """
        tags.check(request.get("Tags", []))
        if "ModelPackageName" in request:
            raise errors.validation(
                "ModelPackageName and ModelPackageGroupName cannot be used together."
                if "ModelPackageGroupName" in request
                else "Unversioned model packages are not available here: give a ModelPackageGroupName."
            )
        if "ModelPackageGroupName" not in request:
            raise errors.validation("One of ModelPackageName and ModelPackageGroupName must be given.")
        self._check_inference(request)
        with self.context.store.lock:
            group = self._group(request["ModelPackageGroupName"])
            token = request.get("ClientToken")
            for known in self._packages_of(group):
                if token and known.get("ClientToken") == token:
                    return {"ModelPackageArn": known["ModelPackageArn"]}
            version = group["_LastVersion"] + 1
            self.groups.update(group["ModelPackageGroupName"], {"_LastVersion": version})
            now = time.time()
            name = group["ModelPackageGroupName"]
            arn = self.packages.arn(f"{name}/{version}")
            record = {
                "CertifyForMarketplace": False,
                "ModelApprovalStatus": "PendingManualApproval",
                **request,
                "ModelPackageGroupName": name,
                "ModelPackageName": f"{name}/{version}",
                "ModelPackageVersion": version,
                "ModelPackageArn": arn,
                "ModelPackageStatus": "Completed",
                "ModelPackageStatusDetails": {
                    "ValidationStatuses": [],
                    "ImageScanStatuses": [{"Name": arn, "Status": "Completed"}],
                },
                "CreationTime": now,
                "LastModifiedTime": now,
                "CreatedBy": _CREATOR,
            }
            self.packages.create(record)
        self._emit(record)
        return {"ModelPackageArn": arn}

    def update_package(self, request: Record) -> Record:
        """Change what may change after registration: approval, metadata, specification, life cycle.

        Metadata given is merged in; `CustomerMetadataPropertiesToRemove` takes keys out. Raises ValidationException.
        """
        arn = self.packages.get(request["ModelPackageArn"])["ModelPackageArn"]
        if "InferenceSpecification" in request:
            self._check_inference(request)
        changed = [field for field in _UPDATABLE if field in request]
        removed = request.get("CustomerMetadataPropertiesToRemove", [])
        added = request.get("AdditionalInferenceSpecificationsToAdd", [])
        if removed and "CustomerMetadataProperties" not in changed:
            changed.append("CustomerMetadataProperties")
        if added:
            changed.append("AdditionalInferenceSpecifications")
        if not changed:
            raise errors.validation("At least one field to update must be given.")

        def change(record: Record) -> None:
            metadata = {**record.get("CustomerMetadataProperties", {}), **request.get("CustomerMetadataProperties", {})}
            for key in removed:
                metadata.pop(key, None)
            if len(metadata) > _METADATA_LIMIT:
                raise errors.validation(
                    f"A model package can have at most {_METADATA_LIMIT} customer metadata properties."
                )
            record.update({field: request[field] for field in _UPDATABLE if field in request})
            record["CustomerMetadataProperties"] = metadata
            if added:
                record["AdditionalInferenceSpecifications"] = (
                    record.get("AdditionalInferenceSpecifications", []) + added
                )
            record["LastModifiedTime"] = time.time()
            record["LastModifiedBy"] = _CREATOR

        self._emit(self.packages.update(arn, change), changed)
        return {"ModelPackageArn": arn}

    def list_packages(self, request: Record) -> Record:
        """One page of summaries, of one group or of all, by approval status."""
        if "ModelPackageGroupName" in request:
            records = self._packages_of(self._group(request["ModelPackageGroupName"]))
        else:
            # Without a group the API lists unversioned packages unless told otherwise, and this registry has none.
            versioned = request.get("ModelPackageType", "Unversioned") != "Unversioned"
            records = self.packages.all() if versioned else []
        status = request.get("ModelApprovalStatus")
        records = [record for record in records if status in (None, record["ModelApprovalStatus"])]
        return self.packages.page(records, request)

    def _check_inference(self, request: Record) -> None:
        specification = request.get("InferenceSpecification")
        if specification is None:
            if "SourceAlgorithmSpecification" not in request and "SourceUri" not in request:
                raise errors.validation("InferenceSpecification or SourceAlgorithmSpecification must be given.")
            return
        for container in specification["Containers"]:
            if "Image" not in container:
                raise errors.validation("Every container of InferenceSpecification must have an Image.")
            address = container.get("ModelDataUrl")
            if address and not self._exists(address):
                raise errors.validation(
                    f"Could not find model data at {address}. Please ensure that the object exists and its URL is "
                    "right."
                )

    def _exists(self, uri: str) -> bool:
        if not uri.startswith("s3://"):
            return False
        bucket, key = transfer.split(uri)
        s3 = self.context.client("s3")
        try:
            s3.head_object(Bucket=bucket, Key=key)
        except s3.exceptions.ClientError:
            return False
        return True

    def _group(self, name_or_arn: str) -> Record:
        return self.groups.get(name_or_arn.rpartition("/")[2])

    def _packages_of(self, group: Record) -> list[Record]:
        name = group["ModelPackageGroupName"]
        return [record for record in self.packages.all() if record["ModelPackageGroupName"] == name]

    def _emit(self, record: Record, changed: list[str] | None = None) -> None:
        detail = events.detail(record, _IN_EVENT, ("CreationTime", "LastModifiedTime"), events.milliseconds)
        # Only an update lists what it changed: a rule on approvals has to take "contains ModelApprovalStatus, or
        # absent".
        if changed is not None:
            detail["UpdatedModelPackageFields"] = changed
        events.emit(self.context, "SageMaker Model Package State Change", detail, record["ModelPackageArn"])

    def _package_arn(self, name_or_arn: str) -> str:
        """The key of a package in the store: its ARN, by the ARN in any case or by `<group>/<version>`."""
        arn = name_or_arn if name_or_arn.startswith("arn:") else self.context.arn("model-package", name_or_arn)
        return re.sub(r"/([^/]+/[^/]+)$", lambda match: match[0].lower(), arn)

    OPERATIONS: ClassVar[Operations] = {
        "CreateModelPackageGroup": create_group,
        "DescribeModelPackageGroup": describe_group,
        "ListModelPackageGroups": list_groups,
        "DeleteModelPackageGroup": delete_group,
        "CreateModelPackage": create_package,
        "DescribeModelPackage": describe_package,
        "UpdateModelPackage": update_package,
        "ListModelPackages": list_packages,
        "DeleteModelPackage": delete_package,
    }
