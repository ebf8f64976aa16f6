"""Models: what an endpoint runs. A container is given directly or taken from an approved model package."""

from __future__ import annotations

import time
from typing import ClassVar

from botocore.exceptions import ClientError

from laptop.sagemaker.core import errors, images, roles, tags, transfer
from laptop.sagemaker.core.context import Context
from laptop.sagemaker.core.room import Operations, Room
from laptop.sagemaker.core.store import Record
from laptop.sagemaker.endpoints.kinds import Kinds
from laptop.sagemaker.registry.api import Registry


class Models(Room):
    """Models."""

    def __init__(self, context: Context, kinds: Kinds, registry: Registry) -> None:
        super().__init__(context)
        self._kinds = kinds
        self._registry = registry

    def create(self, request: Record) -> Record:
        """Create a model of one container. What can be wrong with it is found now, not when it is deployed."""
        if not request.get("PrimaryContainer") and not request.get("Containers"):
            raise errors.validation("Either PrimaryContainer or Containers must be specified.")
        if request.get("PrimaryContainer") and request.get("Containers"):
            raise errors.validation("Only one of PrimaryContainer and Containers can be specified.")
        if len(request.get("Containers", [])) > 1:
            raise errors.unsupported_operation("A model of several containers")
        for member in ("VpcConfig", "InferenceExecutionConfig"):
            if member in request:
                raise errors.unsupported_operation(member)
        if "ExecutionRoleArn" not in request:
            raise errors.validation("ExecutionRoleArn must be specified.")
        tags.check(request.get("Tags", []))
        roles.check(self.context, request["ExecutionRoleArn"])
        self._check_container(request.get("PrimaryContainer") or request["Containers"][0], request["ExecutionRoleArn"])
        arn = self._kinds.models.arn(request["ModelName"])
        self._kinds.models.create({"ModelArn": arn, "CreationTime": time.time(), **request})
        return {"ModelArn": arn}

    def describe(self, request: Record) -> Record:
        """The whole record."""
        return self._kinds.models.describe(request)

    def list_models(self, request: Record) -> Record:
        """One page of models."""
        return self._kinds.models.list(request)

    def delete(self, request: Record) -> Record:
        """Remove a model. As on AWS, endpoints that run it keep running."""
        return self._kinds.models.delete(request)

    def container(self, model: Record) -> Record:
        """What a model runs: `{"Image", "ModelDataUrl"?, "Environment"}`, resolved from its package if it has one.

        The model's own Environment wins over the package's. Raises ValidationException.
        """
        given = model.get("PrimaryContainer") or model["Containers"][0]
        environment = given.get("Environment", {})
        if "ModelPackageName" in given:
            packaged = self._registry.packages.get(given["ModelPackageName"])["InferenceSpecification"]["Containers"][0]
            given = {**packaged, **{key: value for key, value in given.items() if key == "ModelDataUrl"}}
            environment = {**packaged.get("Environment", {}), **environment}
        url = given.get("ModelDataUrl") or given.get("ModelDataSource", {}).get("S3DataSource", {}).get("S3Uri")
        return {"Image": given["Image"], "ModelDataUrl": url, "Environment": environment}

    def _check_container(self, given: Record, role_arn: str) -> None:
        if given.get("Mode") == "MultiModel" or given.get("AdditionalModelDataSources"):
            raise errors.unsupported_operation("A container of several models")
        source = given.get("ModelDataSource", {}).get("S3DataSource")
        if source and (source["S3DataType"], source["CompressionType"]) != ("S3Object", "Gzip"):
            raise errors.unsupported_operation("A ModelDataSource other than a Gzip S3Object")
        if source and given.get("ModelDataUrl"):
            raise errors.validation("Only one of ModelDataUrl and ModelDataSource can be specified.")
        if "ModelPackageName" in given:
            if given.get("Image"):
                raise errors.validation("Image cannot be specified together with ModelPackageName.")
            package = self._registry.packages.get(given["ModelPackageName"])
            if package.get("ModelPackageStatus") != "Completed" or package.get("ModelApprovalStatus") != "Approved":
                raise errors.validation(
                    f'Cannot create a model from model package "{package["ModelPackageArn"]}": its approval status is '
                    f"{package.get('ModelApprovalStatus')}, and it must be Approved."
                )
            image = package["InferenceSpecification"]["Containers"][0]["Image"]
        elif "Image" in given:
            image = given["Image"]
            if url := given.get("ModelDataUrl") or (source or {}).get("S3Uri"):
                self._check_data(url, role_arn)
        else:
            raise errors.validation("Image or ModelPackageName must be specified for each container.")
        try:
            images.resolve(image, self.context.settings("images"))
        except images.ImageNotFound as error:
            raise errors.validation(
                f"Requested image {image} not found: it is not this project's and not in the home's images.json."
            ) from error

    def _check_data(self, url: str, role_arn: str) -> None:
        try:
            bucket, key = transfer.split(url)
        except transfer.TransferError as error:
            raise errors.validation(f"{error}.") from error
        try:
            self.context.client("s3", role_arn).head_object(Bucket=bucket, Key=key)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == 403:
                raise errors.validation(
                    f'Could not access model data at {url}. Please ensure that the role "{role_arn}" exists and that '
                    'its trust relationship policy allows the action "sts:AssumeRole" for the service principal '
                    '"sagemaker.amazonaws.com". Also ensure that the role has "s3:GetObject" permissions and that the '
                    f"object is located in {self.context.region}."
                ) from error
            raise errors.validation(f"Could not find model data at {url}.") from error

    OPERATIONS: ClassVar[Operations] = {
        "CreateModel": create,
        "DescribeModel": describe,
        "ListModels": list_models,
        "DeleteModel": delete,
    }
