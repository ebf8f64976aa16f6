"""What Ground Truth refuses: the rules of CreateLabelingJob that the service model cannot say, and of manifests."""

from __future__ import annotations

import json
import re
from typing import Any

from laptop.sagemaker.core import errors, roles, tags, transfer
from laptop.sagemaker.core.context import Context
from laptop.sagemaker.core.store import Record

MAX_OBJECTS = 100_000
MAX_LINE = 100_000  # characters
MAX_CATEGORIES = 50  # of a bounding box job
_MAX_TEMPLATE = 128_000  # characters, UiTemplateContent

# The account that owns Ground Truth's built-in Lambdas, by region (API reference, HumanTaskConfig).
_LAMBDA_ACCOUNTS = {
    "us-east-1": "432418664414", "us-east-2": "266458841044", "us-west-2": "081040173940",
    "ca-central-1": "918755190332", "eu-west-1": "568282634449", "eu-west-2": "487402164563",
    "eu-central-1": "203001061592", "ap-northeast-1": "477331159723", "ap-northeast-2": "845288260483",
    "ap-south-1": "565803892007", "ap-southeast-1": "377565633583", "ap-southeast-2": "454466003867",
}  # fmt: skip
_TASKS = ("BoundingBox", "AdjustmentBoundingBox")


def check(context: Context, request: Record) -> None:
    """Raise ValidationException for a request that Ground Truth would refuse."""
    tags.check(request.get("Tags", []))
    _check_attribute(request["LabelAttributeName"])
    task = request["HumanTaskConfig"]
    _check_task(task, context.region)
    _check_workteam(task, context)
    if "LabelingJobAlgorithmsConfig" in request:
        raise errors.validation("Automated data labeling (LabelingJobAlgorithmsConfig) is not available here.")
    source = request["InputConfig"]["DataSource"].get("S3DataSource")
    if source is None:
        raise errors.validation(
            "InputConfig must have an S3DataSource: streaming jobs (SnsDataSource) are not available."
        )
    for uri in (source["ManifestS3Uri"], request["OutputConfig"]["S3OutputPath"]):
        if not uri.startswith("s3://"):
            raise errors.validation(f"The S3 URI {uri} must start with s3://")
    roles.check(context, request["RoleArn"])
    s3 = context.client("s3", request["RoleArn"])
    _must_exist(s3, source["ManifestS3Uri"])
    _must_be_bucket(s3, request["OutputConfig"]["S3OutputPath"])
    if "LabelCategoryConfigS3Uri" not in request:
        raise errors.validation("LabelCategoryConfigS3Uri must be given for bounding box jobs.")
    _check_categories(_text(s3, request["LabelCategoryConfigS3Uri"]), is_adjustment(request))
    _check_template(_text(s3, task["UiConfig"]["UiTemplateS3Uri"]))


def is_adjustment(request: Record) -> bool:
    """Whether the job corrects the boxes of an earlier one."""
    function: str = request["HumanTaskConfig"]["PreHumanTaskLambdaArn"]
    return function.endswith(":PRE-AdjustmentBoundingBox")


def parse_manifest(text: str) -> list[Record]:
    """The objects of an input manifest, in its order. Raises ValueError, in the words of a FailureReason."""
    # Not splitlines(): a key may hold U+2028 and the like, which JSON leaves as they are.
    lines = text.rstrip("\n").split("\n")
    if not any(line.strip() for line in lines):
        raise ValueError("The input manifest is empty.")
    if len(lines) > MAX_OBJECTS:
        raise ValueError(f"The input manifest has {len(lines)} objects, more than {MAX_OBJECTS}.")
    objects = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        if len(line) > MAX_LINE:
            raise ValueError(f"Line {number} of the input manifest is longer than {MAX_LINE} characters.")
        try:
            entry = json.loads(line)
        except ValueError as error:
            raise ValueError(f"Line {number} of the input manifest is not valid JSON: {error}") from error
        if not isinstance(entry, dict) or not isinstance(entry.get("source-ref"), str):
            raise ValueError(f"Line {number} of the input manifest has no source-ref.")
        if not entry["source-ref"].startswith("s3://"):
            raise ValueError(f"The source-ref of line {number} of the input manifest must start with s3://")
        objects.append(entry)
    return objects


def _check_attribute(name: str) -> None:
    # "-metadata" is what Ground Truth itself adds; "-ref" marks attributes whose value is an S3 URI.
    if name.endswith("-metadata") or "-metadata-" in name:
        raise errors.validation(f"LabelAttributeName {name} must not contain the reserved suffix -metadata.")
    if name.endswith("-ref"):
        raise errors.validation(
            f"LabelAttributeName {name} must not end with -ref: only semantic segmentation and video jobs have one."
        )
    if name == "source":
        raise errors.validation("LabelAttributeName must not be source, which names the object to be labeled.")


def _check_task(task: Record, region: str) -> None:
    types = []
    consolidation = task.get("AnnotationConsolidationConfig", {}).get("AnnotationConsolidationLambdaArn")
    for prefix, arn in (("PRE", task.get("PreHumanTaskLambdaArn")), ("ACS", consolidation)):
        if arn is None:
            raise errors.validation(
                "Custom labeling workflows are not available here: give Ground Truth's PRE- and ACS- Lambdas."
            )
        expected = rf"arn:aws[a-z-]*:lambda:{region}:{_LAMBDA_ACCOUNTS[region]}:function:{prefix}-(\w+)"
        match = re.fullmatch(expected, arn)
        if match is None or match[1] not in _TASKS:
            raise errors.validation(
                f"{arn} is not a {prefix} Lambda of a bounding box job in {region}: expected "
                f"arn:aws:lambda:{region}:{_LAMBDA_ACCOUNTS[region]}:function:{prefix}-BoundingBox"
            )
        types.append(match[1])
    if types[0] != types[1]:
        raise errors.validation(f"The task types of PRE-{types[0]} and ACS-{types[1]} do not match.")
    if "UiTemplateS3Uri" not in task["UiConfig"]:
        raise errors.validation("UiConfig must have a UiTemplateS3Uri for bounding box jobs.")


def _check_workteam(task: Record, context: Context) -> None:
    _, _, _, region, account, resource = task["WorkteamArn"].split(":", 5)
    if region != context.region:
        raise errors.validation(f"The workteam {task['WorkteamArn']} is not in the region {context.region}.")
    public = resource.startswith("workteam/public-crowd/")
    if not public and not re.fullmatch(r"workteam/(private|vendor)-crowd/[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}", resource):
        raise errors.validation(f"Invalid workteam ARN {task['WorkteamArn']}.")
    if resource.startswith("workteam/private-crowd/") and account != context.account_id:
        raise errors.validation(f"The workteam {task['WorkteamArn']} does not exist in account {context.account_id}.")
    if public != ("PublicWorkforceTaskPrice" in task):
        raise errors.validation("PublicWorkforceTaskPrice must be given for the public workforce, and only for it.")


def _check_categories(text: str, adjustment: bool) -> None:
    try:
        config = json.loads(text)
        labels = [item["label"] for item in config["labels"]]
    except (ValueError, KeyError, TypeError) as error:
        raise errors.validation(f"The label category configuration file is not valid: {error!r}") from error
    if config.get("document-version") not in ("2018-11-28", "2020-03-01"):
        raise errors.validation("The label category configuration file must have a document-version of 2018-11-28.")
    if not labels or not all(isinstance(label, str) and label.strip() for label in labels):
        raise errors.validation("The label category configuration file must name at least one label.")
    if len(set(labels)) != len(labels):
        raise errors.validation("The labels of the label category configuration file must be unique.")
    if len(labels) > MAX_CATEGORIES:
        raise errors.validation(f"A bounding box job can have at most {MAX_CATEGORIES} labels, not {len(labels)}.")
    if adjustment and not isinstance(config.get("auditLabelAttributeName"), str):
        raise errors.validation("The label category configuration of an adjustment job needs auditLabelAttributeName.")


def _check_template(text: str) -> None:
    if len(text) > _MAX_TEMPLATE:
        raise errors.validation(f"The UI template must not be longer than {_MAX_TEMPLATE} characters.")
    element = re.search(r"<crowd-bounding-box\b[^>]*>", text.replace("\n", " "))
    if element is None:
        raise errors.validation("The UI template of a bounding box job must have a <crowd-bounding-box> element.")
    # The guide to bounding box jobs has the first, the reference of the element the second; workers' answers are kept
    # under the first.
    if not re.search(r"""\bname\s*=\s*["'](boundingBox|annotatedResult)["']""", element[0]):
        raise errors.validation(
            'The <crowd-bounding-box> of the UI template must have name="annotatedResult" or name="boundingBox".'
        )
    if not re.search(r"task\.input\.taskObject\s*\|\s*grant_read_access", text):
        raise errors.validation("The UI template must show {{ task.input.taskObject | grant_read_access }}.")
    if not re.search(r"\blabels\s*=", element[0]):
        raise errors.validation("The <crowd-bounding-box> of the UI template must have labels.")
    for region in ("full-instructions", "short-instructions"):
        if f"<{region}" not in text:
            raise errors.validation(f"The <crowd-bounding-box> of the UI template must have a <{region}> region.")


def _must_exist(s3: Any, uri: str) -> None:
    bucket, key = transfer.split(uri)
    try:
        s3.head_object(Bucket=bucket, Key=key)
    except s3.exceptions.ClientError as error:
        raise _unreachable(bucket, key, error) from error


def _must_be_bucket(s3: Any, uri: str) -> None:
    bucket, _ = transfer.split(uri)
    try:
        s3.get_bucket_location(Bucket=bucket)
    except s3.exceptions.ClientError as error:
        # A role needs no right to look at a bucket in order to write to it.
        if error.response["Error"]["Code"] not in ("AccessDenied", "403"):
            raise _unreachable(bucket, "", error) from error


def _text(s3: Any, uri: str) -> str:
    if not uri.startswith("s3://"):
        raise errors.validation(f"The S3 URI {uri} must start with s3://")
    _must_exist(s3, uri)
    return transfer.read(s3, uri).decode("utf-8", errors="replace")


def _unreachable(bucket: str, key: str, error: Any) -> errors.ServiceError:
    code = error.response["Error"]["Code"]
    if code in ("AccessDenied", "403"):
        return errors.validation(f"The role cannot access s3://{bucket}/{key}: Access Denied.")
    if code == "NoSuchBucket":
        return errors.validation(f"The specified bucket {bucket} does not exist.")
    return errors.validation(f"The specified key {key} isn't present in S3 bucket {bucket}.")
