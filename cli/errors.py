"""Errors as a person reads them: never a traceback, always the next step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from botocore import exceptions as aws
from skyloop.aws.storage import ObjectMissing

from laptop.storing import CANNOT_STORE


class CliError(Exception):
    """A command cannot go on. `what` says what happened and `next_step` what to do."""

    def __init__(self, what: str, next_step: str) -> None:
        super().__init__(what)
        self.what = what
        self.next_step = next_step


_NEXT_STEPS = {
    "AccessDenied": "Ask for the missing permission, or use another --profile.",
    "AccessDeniedException": "Ask for the missing permission, or use another --profile.",
    "ExpiredToken": "Sign in again (for example `aws sso login`), then repeat the command.",
    "ExpiredTokenException": "Sign in again (for example `aws sso login`), then repeat the command.",
    **dict.fromkeys(
        (
            "InvalidAccessKeyId",
            "InvalidClientTokenId",
            "InvalidSignatureException",
            "SignatureDoesNotMatch",
            "UnrecognizedClientException",
        ),
        "The credentials are not those of this cloud: check --profile, or --home on the laptop.",
    ),
    "RequestTimeTooSkewed": "This machine's clock is wrong: set it, then repeat the command.",
    "ThrottlingException": "AWS is throttling: wait a moment, then repeat the command.",
}


@contextmanager
def translated() -> Iterator[None]:
    """Raise botocore's errors as CliError, and a missing S3 object too; everything else passes through."""
    try:
        yield
    except aws.EndpointConnectionError as error:
        raise CliError(
            f"Nothing answers at {_server(str(error.kwargs.get('endpoint_url', 'the endpoint')))}.",
            "Is the cloud up? `skyloop up` starts the laptop cloud; for AWS check --region and the network.",
        ) from error
    except (aws.ConnectionClosedError, aws.ReadTimeoutError, aws.ConnectTimeoutError) as error:
        raise CliError(
            f"The cloud stopped answering: {error}",
            "Repeat the command; on the laptop, `skyloop up` starts the cloud again if it has ended.",
        ) from error
    except (aws.NoCredentialsError, aws.PartialCredentialsError, aws.CredentialRetrievalError) as error:
        raise CliError(f"AWS credentials: {error}", "Pass --profile NAME, or sign in (`aws configure sso`).") from error
    except aws.ProfileNotFound as error:
        raise CliError(str(error), "`aws configure list-profiles` shows the profiles that exist.") from error
    except aws.NoRegionError as error:
        raise CliError("No AWS region is set.", "Pass --region, for example --region eu-central-1.") from error
    except (aws.TokenRetrievalError, aws.SSOError) as error:
        raise CliError(f"AWS sign-in: {error}", "Sign in again with `aws sso login`.") from error
    except aws.BotoCoreError as error:  # whatever botocore finds before it asks, such as a region that is none
        raise CliError(f"The request is not valid: {error}", "Correct the value named above.") from error
    except ObjectMissing as error:
        raise CliError(f"{error} is missing.", "It may have been deleted a moment ago: repeat the command.") from error
    except aws.ClientError as error:
        raise _refused(error) from error


def _server(url: str) -> str:
    """The URL of a server; the rest of an address is whatever was just asked for."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}" if parts.netloc else url


def _refused(error: aws.ClientError) -> CliError:
    detail = error.response.get("Error", {})
    code, message = detail.get("Code", "Error"), detail.get("Message", str(error))
    if CANNOT_STORE in message:
        return CliError(message, "Make room on that disk, then repeat the command.")
    step = _NEXT_STEPS.get(code, "`skyloop status` shows the state of the system.")
    if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) >= 500:
        step = "The cloud itself failed: repeat the command in a moment."
    return CliError(f"{error.operation_name} was refused ({code}): {message}", step)


@contextmanager
def of_this_machine() -> Iterator[None]:
    """Raise as CliError what no command could foresee: a full disk, a file too deep or too large to be read."""
    try:
        yield
    except BrokenPipeError:  # the reader of a pipe has seen enough
        raise
    except OSError as error:
        raise CliError(f"This machine says: {error}", "Make room, or see to the right to use it; repeat.") from error
    except UnicodeEncodeError as error:
        raise CliError(f"{error.object!a} is not UTF-8.", "Rename the file, or write it in UTF-8; repeat.") from error
    except (RecursionError, MemoryError) as error:
        kind = "is nested too deeply" if isinstance(error, RecursionError) else "is too large for this machine's memory"
        raise CliError(f"Something that was read {kind}.", "Check the files that were given; then repeat.") from error


def error_code(error: aws.ClientError) -> str:
    """The service's error code, e.g. `ResourceNotFound`."""
    return str(error.response.get("Error", {}).get("Code", ""))
