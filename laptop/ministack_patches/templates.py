"""CloudFormation: resource types of the services that MiniStack does not have, and what it misreads in templates."""

from __future__ import annotations

import json
import logging
import time
from typing import Any

from ministack.services import cloudformation
from ministack.services.cloudformation import drift, provisioners

from laptop.documents import Document
from laptop.ministack_patches.local_sagemaker import sagemaker
from laptop.ministack_patches.patching import Original, patch
from laptop.sagemaker.core import errors

log = logging.getLogger(__name__)
_STARTED = time.time()
_GROUP = "AWS::SageMaker::ModelPackageGroup"
_OURS = (_GROUP,)

# Integers that MiniStack takes as they come, by the resource reference of their type.
_INTEGERS = {
    "AWS::Lambda::EventSourceMapping": {"BatchSize", "MaximumBatchingWindowInSeconds", "MaximumConcurrency"},
}


def prepare() -> None:
    """Register the types."""
    provisioners._RESOURCE_HANDLERS[_GROUP] = {
        "create": _create_group,
        "update": _update_group,
        "update_with_logical_id": True,
        "delete": _delete_group,
    }
    provisioners._STACK_TAG_PROPERTY[_GROUP] = ("Tags", "list")
    drift._DRIFT_READERS[_GROUP] = (_read_group, frozenset())  # only whether it is there


@patch(
    "services.cloudformation.stacks:_runs_on_worker_thread",
    because="the local SageMaker may call back into this server, which MiniStack's event loop would not answer",
    proof="test_templates.py::test_a_model_package_group_is_made_by_a_stack",
)
def _on_worker_thread(original: Original, resource_type: str) -> bool:
    return resource_type in _OURS or original(resource_type)


@patch(
    "services.cloudformation.stacks:_provision_resource",
    because="a number that comes from a parameter stays text in MiniStack, and an event source then never polls",
    proof="test_templates.py::test_numbers_of_parameters_arrive_as_numbers",
)
def _provision(
    original: Original, resource_type: str, logical_id: str, properties: Document, *rest: Any, **named: Any
) -> Any:
    return original(resource_type, logical_id, _with_numbers(resource_type, properties), *rest, **named)


@patch(
    "services.cloudformation.stacks:_update_resource",
    because="a number that comes from a parameter stays text in MiniStack, and an event source then never polls",
    proof="test_templates.py::test_numbers_of_parameters_arrive_as_numbers",
)
def _update(
    original: Original,
    resource_type: str,
    physical_id: str,
    before: Document,
    after: Document,
    *rest: Any,
    **named: Any,
) -> Any:
    before, after = _with_numbers(resource_type, before), _with_numbers(resource_type, after)
    return original(resource_type, physical_id, before, after, *rest, **named)


def _with_numbers(resource_type: str, properties: Any) -> Any:
    """The properties with those that CloudFormation's schema calls integers as integers, at any depth."""
    names = _INTEGERS.get(resource_type)
    if not names:
        return properties
    if isinstance(properties, dict):
        return {
            name: int(value) if name in names and isinstance(value, str) else _with_numbers(resource_type, value)
            for name, value in properties.items()
        }
    return properties


def _call(operation: str, request: Document) -> Document:
    try:
        return sagemaker().call(operation, request)
    except errors.ServiceError as error:
        raise ValueError(f"{error.message} (Service: SageMaker, Error code: {error.code})") from error


def _create_group(logical_id: str, properties: Document, stack_name: str) -> tuple[str, Document]:
    """As the resource reference has it, ``Ref`` is the ARN."""
    name = properties.get("ModelPackageGroupName") or provisioners._physical_name(stack_name, logical_id, max_len=63)
    request: Document = {
        member: properties[member] for member in ("ModelPackageGroupDescription", "Tags") if member in properties
    }
    # CloudFormation's own tags begin with `aws:`, which clients of SageMaker may not use.
    request["Tags"] = [tag for tag in request.get("Tags", []) if not tag["Key"].startswith("aws:")]
    try:
        arn = _call("CreateModelPackageGroup", {"ModelPackageGroupName": name, **request})["ModelPackageGroupArn"]
    except ValueError:
        if not _left_behind(name):
            raise
        arn = _attributes(name)["ModelPackageGroupArn"]
        log.warning("The model package group %s, which a killed deployment left, belongs to %s now", name, stack_name)
    _put_policy(name, properties)
    return arn, _attributes(name)


def _left_behind(name: str) -> bool:
    """Whether a group is of a deployment that was killed: CloudFormation then forgot it, SageMaker's books did not."""
    owned = {
        resource.get("PhysicalResourceId")
        for stack in cloudformation._stacks._data.values()
        for resource in stack.get("_resources", {}).values()
    }
    group = _call("DescribeModelPackageGroup", {"ModelPackageGroupName": name})
    return group["CreationTime"] < _STARTED and group["ModelPackageGroupArn"] not in owned


def _attributes(name: str) -> Document:
    group = _call("DescribeModelPackageGroup", {"ModelPackageGroupName": name})
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(group["CreationTime"]))
    return {
        "CreationTime": created,
        "ModelPackageGroupArn": group["ModelPackageGroupArn"],
        "ModelPackageGroupStatus": group["ModelPackageGroupStatus"],
    }


def _read_group(physical_id: str, properties: Document) -> Document | None:
    try:
        return _attributes(physical_id.rpartition("/")[2])
    except ValueError:
        return None


def _update_group(
    physical_id: str, old: Document, new: Document, stack_name: str, logical_id: str
) -> tuple[str, Document]:
    """Name and description need a new group; the policy and the tags change in place."""
    fixed = ("ModelPackageGroupName", "ModelPackageGroupDescription")
    if any(old.get(member) != new.get(member) for member in fixed):
        if old.get("ModelPackageGroupName") == new.get("ModelPackageGroupName"):
            name = new.get("ModelPackageGroupName")
            raise ValueError(
                f"CloudFormation cannot update a stack when a custom-named resource requires replacing: {name}"
            )
        created = _create_group(logical_id, new, stack_name)
        _delete_group(physical_id, old)
        return created
    name = physical_id.rpartition("/")[2]
    _put_policy(name, new)
    tags, before = _tags(new), _tags(old)
    if gone := sorted(set(before) - set(tags)):
        _call("DeleteTags", {"ResourceArn": physical_id, "TagKeys": gone})
    if tags:
        _call("AddTags", {"ResourceArn": physical_id, "Tags": [{"Key": k, "Value": v} for k, v in tags.items()]})
    return physical_id, _attributes(name)


def _tags(properties: Document) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in properties.get("Tags", []) if not tag["Key"].startswith("aws:")}


def _put_policy(name: str, properties: Document) -> None:
    if policy := properties.get("ModelPackageGroupPolicy"):
        document = policy if isinstance(policy, str) else json.dumps(policy)
        _call("PutModelPackageGroupPolicy", {"ModelPackageGroupName": name, "ResourcePolicy": document})


def _delete_group(physical_id: str, properties: Document) -> None:
    _call("DeleteModelPackageGroup", {"ModelPackageGroupName": physical_id.rpartition("/")[2]})


@patch(
    "services.cloudformation.handlers:_evaluate_conditions",
    because="MiniStack cannot compute Fn::Split, Fn::Join and Fn::Sub inside a condition",
    proof="test_templates.py::test_conditions_compute_with_strings",
)
@patch(
    "services.cloudformation.stacks:_evaluate_conditions",
    because="MiniStack cannot compute Fn::Split, Fn::Join and Fn::Sub inside a condition",
    proof="test_templates.py::test_conditions_compute_with_strings",
)
def _evaluate_conditions(original: Original, template: Document, parameters: Document) -> dict[str, bool]:
    conditions = {name: _computed(value, parameters) for name, value in template.get("Conditions", {}).items()}
    evaluated: dict[str, bool] = original({**template, "Conditions": conditions}, parameters)
    return evaluated


def _computed(expression: Any, parameters: Document) -> Any:
    """A condition with the string functions in it replaced by their values, where their arguments are known."""
    if isinstance(expression, list):
        return [_computed(part, parameters) for part in expression]
    if not isinstance(expression, dict):
        return expression
    match expression:
        case {"Ref": str(name)} if name in parameters:
            return parameters[name]["Value"]
        case {"Fn::Sub": str(text)}:
            for name, parameter in parameters.items():
                text = text.replace(f"${{{name}}}", str(parameter["Value"]))
            return text
    function, arguments = next(iter(expression.items()))
    arguments = _computed(arguments, parameters)
    match function, arguments:
        case "Fn::Split", [str(separator), str(text)]:
            return text.split(separator)
        case "Fn::Join", [str(separator), [*parts]] if all(isinstance(part, str | int | float) for part in parts):
            return separator.join(map(str, parts))
        case "Fn::Select", [index, [*items]]:
            if not 0 <= int(index) < len(items):
                raise ValueError(f"Template error: Fn::Select cannot select nonexistent value at index {index}")
            return items[int(index)]
    return {function: arguments}
