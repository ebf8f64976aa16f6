"""Package a SAM template as ``sam build`` and ``sam package`` do, and deploy it through CloudFormation.

Nothing is rewired on the way: folders become zips and state machine definitions become JSON, both in an artifact
bucket that only the laptop cloud has, and the template is rewritten to point at them. SAM's transform and the stack
are the cloud's own. ``AWS::Serverless::LayerVersion`` folders are zipped as they are, without installing anything: the
layer of requirements is empty here, because Lambdas run on the interpreter of this virtual environment, whose pins
are the same file.
"""

from __future__ import annotations

import copy
import hashlib
import io
import json
import shlex
import time
import tomllib
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import yaml
from botocore.config import Config
from botocore.exceptions import ClientError

from laptop.account import Keys, client_settings
from laptop.documents import Document
from laptop.skyloop_plugin import ARTIFACT_BUCKET, DEFAULT_STACK_NAME

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_cloudformation.type_defs import StackEventTypeDef, StackTypeDef
    from mypy_boto3_s3 import S3Client

DEPLOY_SECONDS = 300
CAPABILITIES = ["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"]

_CODE = {"AWS::Serverless::Function": "CodeUri", "AWS::Serverless::LayerVersion": "ContentUri"}
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)
_UNUSABLE = ("CREATE_IN_PROGRESS", "CREATE_FAILED", "ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "DELETE_FAILED")


class DeployError(Exception):
    """The stack could not be deployed; the message lists what failed and why."""


@dataclass(frozen=True)
class Application:
    """A template with its intrinsic functions in long form, and the folder that its paths are relative to."""

    template: Document
    folder: Path

    def resources(self, kind: str) -> dict[str, Document]:
        """Logical id -> resource, for one type."""
        resources: dict[str, Document] = self.template.get("Resources", {})
        return {name: resource for name, resource in resources.items() if resource.get("Type") == kind}

    def definition(self, properties: Mapping[str, Any]) -> Document | None:
        """A state machine's ASL document, from ``DefinitionUri`` (a path) or ``Definition``, else None."""
        if isinstance(uri := properties.get("DefinitionUri"), str):
            properties = {"Definition": yaml.safe_load((self.folder / uri).read_text(encoding="utf-8"))}
        definition: Document | None = properties.get("Definition")
        return definition


@dataclass(frozen=True)
class Configuration:
    """What a stack is deployed with: its name, the parameters that are not left at their default, its tags."""

    stack_name: str
    parameters: dict[str, str]
    tags: dict[str, str] = field(default_factory=dict)


class _Loader(yaml.SafeLoader):
    """YAML with CloudFormation's short forms (``!Ref``, ``!Sub``, ``!GetAtt`` …) read as their long ones."""


def _short_form(loader: _Loader, suffix: str, node: yaml.ScalarNode | yaml.SequenceNode | yaml.MappingNode) -> Document:
    if isinstance(node, yaml.ScalarNode):
        value: Any = loader.construct_scalar(node)
        if suffix == "GetAtt":
            value = value.split(".", 1)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


def _text(loader: _Loader, node: yaml.ScalarNode) -> str:
    return str(loader.construct_scalar(node))


_Loader.add_multi_constructor("!", _short_form)
# A date in a template (AWSTemplateFormatVersion) is a string, as CloudFormation reads it.
_Loader.add_constructor("tag:yaml.org,2002:timestamp", _text)


def load(template: Path) -> Application:
    """Read a SAM template. Raises DeployError for one that is missing or not YAML."""
    try:
        document = yaml.load(template.read_text(encoding="utf-8"), Loader=_Loader)
    except (OSError, yaml.YAMLError) as error:
        raise DeployError(f"{template} cannot be read: {error}") from error
    return Application(document, template.parent)


def configuration(samconfig: Path, application: Application, given: Mapping[str, str]) -> Configuration:
    """samconfig.toml's section ``[laptop.deploy.parameters]`` with ``given`` over its parameters.

    Raises DeployError for a parameter that the template does not have.
    """
    section: Document = {}
    if samconfig.exists():
        document = tomllib.loads(samconfig.read_text(encoding="utf-8")).get("laptop", {})
        section = {
            **document.get("global", {}).get("parameters", {}),
            **document.get("deploy", {}).get("parameters", {}),
        }
    parameters = {**_pairs(section.get("parameter_overrides", [])), **given}
    known = application.template.get("Parameters", {})
    if unknown := sorted(set(parameters) - set(known)):
        raise DeployError(f"The template has no parameter {', '.join(unknown)}. It has: {', '.join(sorted(known))}.")
    return Configuration(section.get("stack_name", DEFAULT_STACK_NAME), parameters, _pairs(section.get("tags", [])))


def _pairs(given: str | list[str]) -> dict[str, str]:
    """``NAME=VALUE`` pairs, as a list or in one string: SAM takes both."""
    return dict(pair.split("=", 1) for pair in (shlex.split(given) if isinstance(given, str) else given))


def package(application: Application, upload: Callable[[str, bytes], str]) -> Document:
    """The template with every local path replaced by where ``upload(key, content)`` put it (an ``s3://`` URI)."""
    template = copy.deepcopy(application.template)
    for logical_id, resource in template.get("Resources", {}).items():
        properties = resource.get("Properties", {})
        if (member := _CODE.get(resource.get("Type", ""))) and isinstance(properties.get(member), str):
            content = zip_folder(application.folder / properties[member], logical_id)
            properties[member] = upload(_key(content, "zip"), content)
        elif resource.get("Type") == "AWS::Serverless::StateMachine":
            definition = application.definition(properties)
            if isinstance(properties.get("DefinitionUri"), str) and definition is not None:
                content = json.dumps(definition, ensure_ascii=False).encode()
                bucket, _, key = upload(_key(content, "json"), content).removeprefix("s3://").partition("/")
                properties["DefinitionUri"] = {"Bucket": bucket, "Key": key}
    return template


def zip_folder(folder: Path, logical_id: str) -> bytes:
    """A folder's files as a zip that depends on their names and content alone. Raises DeployError without a folder."""
    if not folder.is_dir():
        raise DeployError(f"{logical_id} takes its code from {folder}, which is not a folder.")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                entry = zipfile.ZipInfo(file.relative_to(folder).as_posix(), _ZIP_TIME)
                entry.external_attr = 0o100644 << 16
                entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, file.read_bytes())
    return buffer.getvalue()


def _key(content: bytes, suffix: str) -> str:
    return f"{hashlib.sha256(content).hexdigest()[:32]}.{suffix}"


def deploy(
    endpoint_url: str,
    keys: Keys,
    application: Application,
    configuration: Configuration,
    *,
    progress: Callable[[str], None] = lambda line: None,
) -> dict[str, str]:
    """Package and create or update the stack; returns its outputs. Raises DeployError."""
    new_client: Callable[..., Any] = boto3.session.Session().client
    options = {**client_settings(endpoint_url, keys), "config": Config(retries={"mode": "standard"})}
    s3: S3Client = new_client("s3", **options)
    _make_bucket(s3)

    def upload(key: str, content: bytes) -> str:
        s3.put_object(Bucket=ARTIFACT_BUCKET, Key=key, Body=content)
        return f"s3://{ARTIFACT_BUCKET}/{key}"

    template = package(application, upload)
    body = json.dumps(template, ensure_ascii=False)
    location = upload(_key(body.encode(), "template"), body.encode())
    request: Document = {
        "StackName": configuration.stack_name,
        "TemplateURL": f"{endpoint_url}/{location.removeprefix('s3://')}",
        "Parameters": [
            {"ParameterKey": name, "ParameterValue": value} for name, value in configuration.parameters.items()
        ],
        "Tags": [{"Key": name, "Value": value} for name, value in configuration.tags.items()],
        "Capabilities": CAPABILITIES,
    }
    return _create_or_update(new_client("cloudformation", **options), request, progress)


def _make_bucket(s3: S3Client) -> None:
    try:
        s3.head_bucket(Bucket=ARTIFACT_BUCKET)
    except ClientError:
        s3.create_bucket(Bucket=ARTIFACT_BUCKET)


def _create_or_update(
    cloudformation: CloudFormationClient, request: Document, progress: Callable[[str], None]
) -> dict[str, str]:
    name = request["StackName"]
    stack = _describe(cloudformation, name)
    if stack and stack["StackStatus"] in _UNUSABLE:
        # What a failed or interrupted first deployment left; CloudFormation cannot update it.
        progress(f"Removing what the failed deployment of {name} left")
        cloudformation.delete_stack(StackName=name)
        _settle(cloudformation, stack["StackId"])
        stack = None
    seen = {event["EventId"] for event in _events(cloudformation, stack["StackId"])} if stack else set()
    try:
        if stack:
            answer = cloudformation.update_stack(**request)
            progress(f"Updating stack {name}")
        else:
            progress(f"Creating stack {name}")
            answer = cloudformation.create_stack(**request, OnFailure="DO_NOTHING")
    except ClientError as error:
        message = error.response["Error"]["Message"]
        if stack and "No updates are to be performed" in message:
            progress(f"Stack {name} is as it should be")
            return _outputs(stack)
        raise DeployError(f"CloudFormation refused the template: {message}") from error
    stack_id = answer["StackId"]
    settled = _settle(cloudformation, stack_id)
    if settled is None or settled["StackStatus"] not in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
        raise DeployError(_failure(cloudformation, stack_id, seen, settled))
    return _outputs(settled)


def _describe(cloudformation: CloudFormationClient, name: str) -> StackTypeDef | None:
    try:
        return cloudformation.describe_stacks(StackName=name)["Stacks"][0]
    except ClientError as error:
        if "does not exist" in error.response["Error"]["Message"]:
            return None
        raise


def _settle(cloudformation: CloudFormationClient, stack_id: str) -> StackTypeDef | None:
    """The stack once no operation is in progress; None when it is gone."""
    deadline = time.monotonic() + DEPLOY_SECONDS
    while time.monotonic() < deadline:
        stack = _describe(cloudformation, stack_id)
        if stack is None or not stack["StackStatus"].endswith("IN_PROGRESS"):
            return stack if stack and stack["StackStatus"] != "DELETE_COMPLETE" else None
        time.sleep(0.05)
    raise DeployError(f"The stack was still in progress after {DEPLOY_SECONDS} s.")


def _events(cloudformation: CloudFormationClient, stack_id: str) -> list[StackEventTypeDef]:
    pages = cloudformation.get_paginator("describe_stack_events").paginate(StackName=stack_id)
    return [event for page in pages for event in page["StackEvents"]]


def _failure(cloudformation: CloudFormationClient, stack_id: str, seen: set[str], settled: StackTypeDef | None) -> str:
    lines = [
        f"  {event['LogicalResourceId']} ({event['ResourceType']}): {event.get('ResourceStatusReason', 'no reason')}"
        for event in reversed(_events(cloudformation, stack_id))
        if event["EventId"] not in seen
        and event["ResourceStatus"].endswith("_FAILED")
        and "cancelled" not in event.get("ResourceStatusReason", "").lower()
    ]
    status = settled["StackStatus"] if settled else "gone"
    return "\n".join([f"The stack could not be deployed ({status}). What failed:", *lines])


def _outputs(stack: StackTypeDef) -> dict[str, str]:
    return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}
