"""What the local SageMaker refuses, with AWS's code and words.

Every request is sent past boto3's own checks, and must leave nothing behind.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.conformance.conftest import wait_until
from tests.conformance.sagemaker.conftest import make_role
from tests.conformance.sagemaker.refusals import CASES
from tests.conformance.sagemaker.refusals.case import Case, Request

NAMES = {
    "CreateTrainingJob": ("TrainingJobName", "ListTrainingJobs", "TrainingJobSummaries"),
    "CreateProcessingJob": ("ProcessingJobName", "ListProcessingJobs", "ProcessingJobSummaries"),
    "CreateLabelingJob": ("LabelingJobName", "ListLabelingJobs", "LabelingJobSummaryList"),
    "CreateModelPackageGroup": ("ModelPackageGroupName", "ListModelPackageGroups", "ModelPackageGroupSummaryList"),
    "CreateModelPackage": ("ModelPackageGroupName", "ListModelPackages", "ModelPackageSummaryList"),
}


@pytest.fixture
def good(
    sagemaker: Any, training_request: Any, processing_request: Any, labeling_request: Any, package_request: Any
) -> Callable[[str], Request]:
    """A request that the operation would grant."""

    def make(operation: str) -> Request:
        match operation:
            case "CreateTrainingJob":
                return training_request()
            case "CreateProcessingJob":
                return processing_request()
            case "CreateLabelingJob":
                return labeling_request()
            case "CreateModelPackage":
                return package_request()
            case "CreateModelPackageGroup":
                return {"ModelPackageGroupName": sagemaker.cloud.name("group")}
        return {}

    return make


@pytest.fixture(scope="session")
def refused_objects(sagemaker: Any) -> None:
    """Category files and templates that Ground Truth refuses."""
    version = {"document-version": "2018-11-28"}
    categories = {
        "text": "tree, car",
        "version": json.dumps({"labels": [{"label": "tree"}]}),
        "twice": json.dumps({**version, "labels": [{"label": "tree"}] * 2}),
        "many": json.dumps({**version, "labels": [{"label": str(n)} for n in range(51)]}),
        "none": json.dumps({**version, "labels": []}),
    }
    image = "{{ task.input.taskObject | grant_read_access }}"
    regions = "<full-instructions>x</full-instructions><short-instructions>x</short-instructions>"
    templates = {
        "classify": f'<crowd-image-classifier name="annotatedResult" src="{image}">{regions}</crowd-image-classifier>',
        "name": f'<crowd-bounding-box name="boxes" src="{image}" labels="[]">{regions}</crowd-bounding-box>',
        "access": f'<crowd-bounding-box name="annotatedResult" src="x.jpg" labels="[]">{regions}</crowd-bounding-box>',
        "instructions": f'<crowd-bounding-box name="annotatedResult" src="{image}" labels="[]"></crowd-bounding-box>',
    }
    for name, text in categories.items():
        sagemaker.put(f"refused/categories/{name}.json", text)
    for name, text in templates.items():
        sagemaker.put(f"refused/templates/{name}.liquid", text)


@pytest.mark.usefixtures("refused_objects")
@pytest.mark.parametrize("case", CASES, ids=[f"{case.operation} {case.id}" for case in CASES])
def test_it_is_refused(sagemaker: Any, good: Callable[[str], Request], case: Case) -> None:
    request = good(case.operation)
    case.change(request)
    request = json.loads(json.dumps(request).replace("{bucket}", sagemaker.bucket))
    before = resources(sagemaker, case.operation)
    status, answer = sagemaker.post(case.operation, request)
    expected = 501 if case.code == "UnsupportedOperationException" else 400
    assert (status, answer["__type"]) == (expected, case.code)
    assert case.message in answer["message"]
    assert resources(sagemaker, case.operation) == before


def resources(sagemaker: Any, operation: str) -> int | None:
    """How many resources of the kind there are."""
    if operation not in NAMES:
        return None
    _, listing, field = NAMES[operation]
    pages = sagemaker.api.get_paginator("".join(f"_{c.lower()}" if c.isupper() else c for c in listing)[1:]).paginate()
    return sum(len(page[field]) for page in pages)


@pytest.mark.parametrize(
    "operation", ["CreateTrainingJob", "CreateProcessingJob", "CreateLabelingJob", "CreateModelPackageGroup"]
)
def test_a_name_is_given_once(sagemaker: Any, good: Callable[[str], Request], operation: str) -> None:
    request = good(operation)
    status, first = sagemaker.post(operation, request)
    assert status == 200
    status, answer = sagemaker.post(operation, copy.deepcopy(request))
    expected = "ValidationException" if operation == "CreateModelPackageGroup" else "ResourceInUse"
    assert (status, answer["__type"]) == (400, expected)
    (arn,) = first.values()
    assert "already exists" in answer["message"]
    assert arn in answer["message"]


@pytest.mark.parametrize(
    ("create", "stop", "describe", "field", "status"),
    [
        ("CreateTrainingJob", "StopTrainingJob", "DescribeTrainingJob", "TrainingJobName", "TrainingJobStatus"),
        (
            "CreateProcessingJob",
            "StopProcessingJob",
            "DescribeProcessingJob",
            "ProcessingJobName",
            "ProcessingJobStatus",
        ),
        ("CreateLabelingJob", "StopLabelingJob", "DescribeLabelingJob", "LabelingJobName", "LabelingJobStatus"),
    ],
)
def test_a_job_that_ended_cannot_be_stopped(
    sagemaker: Any, good: Callable[[str], Request], create: str, stop: str, describe: str, field: str, status: str
) -> None:
    request = good(create)
    sagemaker.post(create, request)
    name = {field: request[field]}
    wait_until(lambda: sagemaker.post(describe, name)[1][status] == "Completed")
    code, answer = sagemaker.post(stop, name)
    assert (code, answer["__type"]) == (400, "ValidationException")
    assert "is in status Completed" in answer["message"]


def test_a_role_must_trust_sagemaker(sagemaker: Any, training_request: Any) -> None:
    lambdas = make_role(sagemaker.cloud, sagemaker.cloud.name("lambda"), ["s3:*"], "lambda.amazonaws.com")
    _, answer = sagemaker.post("CreateTrainingJob", training_request(RoleArn=lambdas))
    assert answer["__type"] == "ValidationException"
    assert "allows principal 'sagemaker.amazonaws.com' to assume the role" in answer["message"]


@pytest.mark.parametrize("body", [b"{", b"[1]", b'"text"'], ids=["cut off", "a list", "a string"])
def test_a_body_that_is_no_json_object_is_refused(sagemaker: Any, body: bytes) -> None:
    status, answer = sagemaker.post("ListTrainingJobs", body)
    assert (status, answer["__type"]) == (400, "SerializationException")


def test_a_group_with_packages_cannot_be_deleted(sagemaker: Any, package_request: Any) -> None:
    request = package_request()
    arn = sagemaker.api.create_model_package(**request)["ModelPackageArn"]
    group = {"ModelPackageGroupName": request["ModelPackageGroupName"]}
    status, answer = sagemaker.post("DeleteModelPackageGroup", group)
    assert (status, answer["__type"]) == (400, "ConflictException")
    sagemaker.api.delete_model_package(ModelPackageName=arn)
    assert sagemaker.post("DeleteModelPackageGroup", group)[0] == 200
