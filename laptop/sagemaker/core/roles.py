"""SageMaker's check of every role in a request: it belongs to the account, exists, and trusts the service."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote

from botocore.exceptions import ClientError

from laptop.sagemaker.core import errors
from laptop.sagemaker.core.context import Context

_PRINCIPAL = "sagemaker.amazonaws.com"


def check(context: Context, role_arn: str) -> None:
    """Raise ValidationException unless SageMaker may assume the role.

    Whether the *caller* may pass it (`iam:PassRole`) is for the cloud's own policy enforcement to say.
    """
    if role_arn.split(":")[4] != context.account_id:
        raise errors.validation("RoleArn: Cross-account pass role is not allowed.")
    refusal = errors.validation(
        f"Could not assume role {role_arn}. Please ensure that the role exists and allows principal "
        f"'{_PRINCIPAL}' to assume the role."
    )
    try:
        role = context.client("iam").get_role(RoleName=role_arn.rpartition("/")[2])["Role"]
    except ClientError as error:
        raise refusal from error
    if not _trusts(role["AssumeRolePolicyDocument"]):
        raise refusal


def _trusts(document: Any) -> bool:
    if isinstance(document, str):
        document = json.loads(unquote(document))
    statements = document.get("Statement", [])
    for statement in statements if isinstance(statements, list) else [statements]:
        principal = statement.get("Principal", {})
        services = principal.get("Service", []) if isinstance(principal, dict) else [principal]
        named = [services] if isinstance(services, str) else services
        if statement.get("Effect") == "Allow" and (_PRINCIPAL in named or "*" in named):
            return True
    return False
