"""Whoever hands a role to a service needs the right to: `iam:PassRole`, checked before every service answers.

MiniStack never asks for it, and makes the parts of a stack without asking whose rights that takes.
"""

from __future__ import annotations

import json
import uuid
from typing import Any
from urllib.parse import parse_qs

from ministack import app
from ministack.core import iam_actions, router

from laptop.documents import Document
from laptop.ministack_patches import authorization, operations
from laptop.ministack_patches.operations import request_of
from laptop.ministack_patches.passed_roles import passed_roles, passed_to

# What these are asked about a role is who may use it, or to be it, not to use it.
_ABOUT_ROLES = ("iam", "sts")
_STACKS_READ = ("Describe", "List", "Get", "Validate", "Detect", "Estimate", "Cancel")
_EVERYTHING = "*"


def prepare() -> None:
    """Put the check before every service; MiniStack has checked by then that the caller may ask for the operation."""
    for service, handler in list(app.SERVICE_HANDLERS.items()):
        if service not in _ABOUT_ROLES:
            app.SERVICE_HANDLERS[service] = _checked(service, handler)


def _checked(service: str, handler: Any) -> Any:
    async def checked(method: str, path: str, headers: dict[str, str], body: Any, query: Document) -> Any:
        message = _refusal(service, method, path, headers, body, query) if app.AUTH else None
        if message:
            return iam_actions.access_denied_response(
                service, "iam:PassRole", "", str(uuid.uuid4()), headers=headers, message=message
            )
        return await handler(method, path, headers, body, query)

    return checked


def _refusal(service: str, method: str, path: str, headers: dict[str, str], body: Any, query: Document) -> str | None:
    """Why the caller may not pass the roles in a request; None when it may, or passes none."""
    raw = body.encode() if isinstance(body, str) else body
    request = _request(headers, raw, query)
    found = operations.find(service, request_of(method, path, headers, raw, query))
    operation = found.name if found else ""
    caller = router.extract_access_key_id(headers, query)
    roles = passed_roles(service, operation, request)
    for role in roles:
        if message := authorization.refusal(caller, "iam:PassRole", role, passed_to(service)):
            return message
    if service == "cloudformation" and not operation.startswith(_STACKS_READ):
        keys = [authorization.session_key(role, "AWSCloudFormation") for role in roles] or [caller]
        if any(authorization.refusal(key, _EVERYTHING, "*") for key in keys):
            # MiniStack makes the parts of a stack with no one's rights, so nobody who has fewer may ask it to.
            return (
                "User is not authorized to perform: cloudformation:" + operation + ". The laptop cloud changes stacks "
                "only for those who may do everything, and with roles that may."
            )
    return None


def _request(headers: dict[str, str], body: bytes, query: Document) -> Document:
    """The members of a request, whatever it is written in; those of a form keep their last name only."""
    try:
        request = json.loads(body or b"{}")
    except ValueError:
        request = None
    if isinstance(request, dict) and request:
        return request
    flat = {**query, **_form(headers, body)}
    return {name.rpartition(".")[2]: values for name, values in flat.items()}


def _form(headers: dict[str, str], body: bytes) -> dict[str, list[str]]:
    if "x-www-form-urlencoded" not in headers.get("content-type", ""):
        return {}
    return parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True)
