"""Every operation that a client of AWS sends is found by what the client sends, and judged by an action that exists."""

from __future__ import annotations

import functools
import importlib.util
import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode

import pytest
from botocore.loaders import Loader
from botocore.model import OperationModel, ServiceModel
from botocore.serialize import create_serializer

from laptop.door.signatures import Refused
from laptop.ministack_patches import actions, operations
from laptop.ministack_patches.operations import Request
from tests.support.arguments import smallest

SERVICES = {
    "application-autoscaling": "application-autoscaling",
    "cloudformation": "cloudformation",
    "cloudwatch": "monitoring",
    "dynamodb": "dynamodb",
    "events": "events",
    "iam": "iam",
    "lambda": "lambda",
    "logs": "logs",
    "s3": "s3",
    "sagemaker": "sagemaker",
    "sagemaker-runtime": "sagemaker",
    "scheduler": "scheduler",
    "sns": "sns",
    "sqs": "sqs",
    "stepfunctions": "states",
    "sts": "sts",
}
# Two names of one request each, and a request to another host.
SAME = {
    "GetBucketLifecycle": "GetBucketLifecycleConfiguration",
    "GetBucketNotification": "GetBucketNotificationConfiguration",
    "ListDirectoryBuckets": "ListBuckets",
    "PutBucketLifecycle": "PutBucketLifecycleConfiguration",
    "PutBucketNotification": "PutBucketNotificationConfiguration",
}
# Younger than the actions that parliament 1.6.4 knows.
YOUNG = {
    *(f"s3:{verb}ObjectAnnotation" for verb in ("Get", "Put", "Delete")),
    *(f"s3:UpdateBucketMetadata{table}TableConfiguration" for table in ("Annotation", "Inventory", "Journal")),
    *("s3:GetBucketAbac", "s3:PutBucketAbac", "s3:CreateSession", "s3:RenameObject", "s3:UpdateObjectEncryption"),
    *("s3:ListObjectAnnotations", "s3:WriteGetObjectResponse"),
}


@functools.cache
def model_of(service: str) -> ServiceModel:
    return ServiceModel(Loader().load_service_model(service, "service-2"), service)  # as no client has changed it


def sent(model: OperationModel, protocol: str, arguments: dict[str, Any]) -> Request:
    """A request as botocore writes it."""
    written = create_serializer(protocol, include_validation=False).serialize_to_request(arguments, model)
    path, _, literal = written["url_path"].partition("?")
    query = urlencode(written["query_string"], doseq=True) if written["query_string"] else ""
    body = written["body"]
    if isinstance(body, dict):
        body = urlencode(body)
    headers = {name.lower(): value for name, value in written["headers"].items()}
    found = parse_qs(f"{literal}&{query}", keep_blank_values=True)
    found.pop("", None)
    return Request(written["method"], unquote(path), headers, body.encode() if isinstance(body, str) else body, found)


def every(service: str) -> list[OperationModel]:
    model = model_of(service)
    return [model.operation_model(name) for name in model.operation_names]


@pytest.mark.parametrize("service", SERVICES)
def test_an_operation_is_found_by_what_a_client_sends(service: str) -> None:
    for model in every(service):
        if "DurableExecutionArn" in (model.input_shape.members if model.input_shape else {}):
            continue  # whose label has slashes: nobody may ask for it
        protocols = model.service_model.metadata.get("protocols", [model.service_model.protocol])
        for protocol in set(protocols) - {"smithy-rpc-v2-cbor"}:  # which is not spoken
            found = operations.find(SERVICES[service], sent(model, protocol, smallest(model)))
            assert found is not None, (model.name, protocol)
            assert found.name == SAME.get(model.name, model.name), protocol


@pytest.mark.parametrize("service", ["dynamodb", "events", "iam", "lambda", "logs", "s3", "scheduler", "sns", "sqs"])
def test_the_action_of_an_operation_is_one_that_iam_knows(service: str) -> None:
    package = importlib.util.find_spec("parliament")
    assert package is not None
    assert package.origin is not None
    definitions = json.loads((Path(package.origin).parent / "iam_definition.json").read_text())
    known = {f"{each['prefix']}:{action['privilege']}" for each in definitions for action in each["privileges"]}
    named = {actions.action_named(service, model.name) for model in every(service) if model.name not in SAME}
    # An operation that has no action of its own keeps its name, which no policy can have but by a wildcard.
    renamed = {name for name in named if name.partition(":")[2] not in model_of(service).operation_names}
    assert renamed - known == set()
    if service == "s3":
        assert named - known == YOUNG


@pytest.mark.parametrize(
    ("service", "method", "path"),
    [
        ("lambda", "GET", "/2015-03-31/functions/other/policy/../x/y"),
        ("lambda", "GET", "/2015-03-31/functions/other%2Fpolicy"),  # which MiniStack decodes once more
        ("lambda", "POST", "//2015-03-31/functions"),
        ("lambda", "POST", "/2021-10-31/functions/other/response-streaming-invocations"),
        ("lambda", "DELETE", "/2015-03-31/functions/other/none"),
        ("lambda", "PATCH", "/2015-03-31/functions/other"),
        ("s3", "GET", "//bucket/key"),
        ("s3", "POST", "/bucket"),
        ("sagemaker", "POST", "/endpoints/a/b/invocations"),
        ("scheduler", "GET", "/schedules/a/b"),
        ("apigateway", "GET", "/restapis"),
        ("dynamodb", "GET", "/"),
        ("none", "GET", "/"),
    ],
)
def test_what_is_no_operation_is_none(service: str, method: str, path: str) -> None:
    assert operations.find(service, Request(method, path, {}, b"", {})) is None


@pytest.mark.parametrize(
    ("target", "found"),
    [
        ("DynamoDB_20120810.GetItem", "GetItem"),
        ("Foo.DynamoDB_20120810.GetItem", None),
        ("DynamoDB_20120810.getItem", None),
        ("DynamoDB_20120810.GetItem, DynamoDB_20120810.PutItem", None),
        ("DynamoDB_20120810.", None),
    ],
)
def test_a_target_names_one_operation(target: str, found: str | None) -> None:
    operation = operations.find("dynamodb", Request("POST", "/", {"x-amz-target": target}, b"{}", {}))
    assert (operation.name if operation else None) == found


def test_the_form_of_a_post_says_what_it_asks_for() -> None:
    form = {"content-type": operations.FORM}
    query = {"Action": ["GetRole"]}
    found = operations.find("iam", Request("POST", "/", form, b"Action=CreateUser", query))
    assert found is not None
    assert found.name == "CreateUser"
    found = operations.find("iam", Request("GET", "/", {}, b"", query))
    assert found is not None
    assert found.name == "GetRole"
    for headers, body in [
        (form, b"Action=GetRole&Action=CreateUser"),
        (form, b"Action=GetRole&%41ction=CreateUser"),
        (form, b"Action=%ff"),
        (form, b"\xff"),
        ({"content-type": "text/plain"}, b"Action=GetRole"),
        ({}, b"Action=GetRole"),
    ]:
        with pytest.raises(Refused) as refused:
            operations.find("iam", Request("POST", "/", headers, body, {}))
        assert refused.value.status == 400
