"""Requests against botocore's models: what the conformance table cannot reach through one service's operations."""

from __future__ import annotations

import datetime as dt
import json
import re
from typing import Any

import pytest

from laptop.sagemaker.core import errors, validation

SERVICES = ("sagemaker", "sagemaker-runtime", "application-autoscaling")


@pytest.mark.parametrize("service", SERVICES)
def test_every_pattern_of_the_models_can_be_checked(service: str) -> None:
    model = validation.service_model(service)
    patterns = {model.shape_for(name).metadata.get("pattern") for name in model.shape_names} - {None}
    assert patterns
    for pattern in patterns:
        validation.compiled(pattern)


@pytest.mark.parametrize(
    ("pattern", "good", "bad"),
    [
        # Java's `matches` takes the whole text and its \d and \w are ASCII.
        ("[a-zA-Z0-9](-*[a-zA-Z0-9])*", "a-b", "a-b\n"),
        (r"\d+", "12", "١٢"),
        (r"([\p{L}\p{Z}\p{N}_.:/=+\-@]*)", "Größe 1/2 = ½ é", "a;b"),
        (r"([\p{L}\p{Z}\p{N}_.:\/=+\-@]*)${1,128}", "dataset:ds-1", "a#b"),
        (r"\p{ASCII}*", "confidence=0.3", "größer"),
        (r"\A\S[\p{Print}]*\z", "id 1", " id"),
        (r"[\p{L}\p{M}\p{Z}\p{S}\p{N}\p{P}]*", "Ein Satz, mit 1 € – und „Zeichen“.", "tab\there"),
        (r"arn:[\p{Alnum}\-]+:lambda:.*", "arn:aws-cn:lambda:x", "arn:aws_cn:lambda:x"),
        (r"[\u0020-\uD7FF\uE000-\uFFFD\uD800\uDC00-\uDBFF\uDFFF\t]*", "a 🛩 b", "a\x00b"),
    ],
)
def test_patterns_mean_what_they_mean_in_java(pattern: str, good: str, bad: str) -> None:
    compiled = validation.compiled(pattern)
    assert compiled.fullmatch(good)
    assert not compiled.fullmatch(bad)


def test_a_good_request_comes_back_normalized() -> None:
    request = {
        "CreationTimeAfter": "2026-11-23T10:00:00Z",
        "CreationTimeBefore": dt.datetime(2026, 11, 24, tzinfo=dt.UTC),
        "LastModifiedTimeAfter": 1,
        "MaxResults": 10.0,
        "NextToken": None,
    }
    normal = validation.validate("sagemaker", "ListTrainingJobs", request)
    assert normal == {
        "CreationTimeAfter": 1795428000.0,
        "CreationTimeBefore": 1795478400.0,
        "LastModifiedTimeAfter": 1.0,
        "MaxResults": 10,
    }
    assert isinstance(normal["MaxResults"], int)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), True, "1", [1], {"N": 1}])
def test_numbers_are_numbers(number: Any) -> None:
    with pytest.raises(errors.ServiceError) as refused:
        validation.validate("sagemaker", "ListTrainingJobs", {"MaxResults": number})
    assert refused.value.code == "SerializationException"


def test_other_services_are_checked_by_their_own_models() -> None:
    with pytest.raises(errors.ServiceError, match=r"Value 'x y' at 'endpointName' failed to satisfy constraint"):
        validation.validate("sagemaker-runtime", "InvokeEndpoint", {"EndpointName": "x y", "Body": b"image"})
    with pytest.raises(errors.ServiceError, match=r"Value null at 'scalableDimension'"):
        validation.validate(
            "application-autoscaling",
            "RegisterScalableTarget",
            {"ServiceNamespace": "sagemaker", "ResourceId": "endpoint/e/variant/v"},
        )


def test_at_most_ten_violations_are_told_and_all_are_counted() -> None:
    channels = [{"ChannelName": "bad name", "DataSource": {}} for _ in range(12)]
    with pytest.raises(errors.ServiceError) as refused:
        validation.validate(
            "sagemaker",
            "CreateTrainingJob",
            {
                "TrainingJobName": "t",
                "RoleArn": "arn:aws:iam::000000000000:role/r",
                "OutputDataConfig": {"S3OutputPath": "s3://b/"},
                "InputDataConfig": channels,
            },
        )
    assert refused.value.message.startswith("12 validation errors detected: ")
    assert refused.value.message.count("Member must satisfy regular expression pattern") == 10


def test_an_answer_holds_only_what_its_shape_has() -> None:
    shape = validation.operation_model("sagemaker", "ListTrainingJobs").output_shape
    record = {"TrainingJobName": "t", "RoleArn": "hidden", "_private": 1, "TrainingEndTime": None}
    answer = validation.project(shape, {"TrainingJobSummaries": [record], "_private": 2})
    assert answer == {"TrainingJobSummaries": [{"TrainingJobName": "t"}]}


def test_a_union_takes_exactly_one_member() -> None:
    model = validation.service_model("sagemaker")
    unions = [
        (name, operation)
        for operation in model.operation_names
        for name, member in getattr(model.operation_model(operation).input_shape, "members", {}).items()
        if getattr(member, "is_tagged_union", False)
    ]
    assert unions, "the model has unions at the top of a request"
    name, operation = unions[0]
    with pytest.raises(errors.ServiceError, match="exactly one of its members"):
        validation.validate("sagemaker", operation, {name: {}})


def test_messages_show_values_as_java_does() -> None:
    with pytest.raises(errors.ServiceError) as refused:
        validation.validate("sagemaker", "AddTags", {"ResourceArn": "x", "Tags": []})
    assert re.search(r"Value 'x' at 'resourceArn'", refused.value.message)
    assert json.loads(json.dumps(refused.value.body())) == {
        "__type": "ValidationException",
        "message": refused.value.message,
    }
