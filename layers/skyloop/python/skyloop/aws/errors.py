"""Whose fault is an error of a service: its own, or the request's?"""

from __future__ import annotations

from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

# A request with these values can never be answered, or the one object that it names cannot be read: it is archived.
_NEVER_RIGHT = {
    "InvalidArgument",
    "InvalidObjectState",
    "InvalidURI",
    "KeyTooLong",
    "KeyTooLongError",
    "SerializationException",
    "ValidationException",
}


def is_never_right(error: ClientError | BotoCoreError) -> bool:
    """Is it what was asked for, so that asking again is in vain? Else it is the service's trouble, which passes."""
    if isinstance(error, ClientError):
        return error.response["Error"]["Code"] in _NEVER_RIGHT
    return isinstance(error, ParamValidationError)
