"""The errors of SageMaker's API, named as AWS names them.

The codes are the ones in botocore's service model (`ResourceInUse`, `ResourceNotFound`, `ResourceLimitExceeded`,
`ConflictException`) plus the codes every AWS JSON 1.1 service may answer with and no model lists
(`ValidationException`, `SerializationException`, `AccessDeniedException`, `UnknownOperationException`).
"""

from __future__ import annotations


class ServiceError(Exception):
    """An error response.

    `code` becomes `__type` on the wire and `Error.Code` in boto3, `message` the text, `status` the HTTP status.
    """

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status

    def body(self) -> dict[str, str]:
        """The JSON 1.1 error document."""
        return {"__type": self.code, "message": self.message}


def validation(message: str) -> ServiceError:
    """A request that breaks a rule of the model or of a resource's state."""
    return ServiceError("ValidationException", message)


def missing(path: str) -> ServiceError:
    """A member that the service model lets be absent and the service does not; worded as the model's own checks."""
    return validation(
        f"1 validation error detected: Value null at '{path}' failed to satisfy constraint: Member must not be null"
    )


def serialization(message: str) -> ServiceError:
    """A request whose JSON has the wrong type somewhere; AWS answers this before it validates anything."""
    return ServiceError("SerializationException", message)


def resource_in_use(message: str) -> ServiceError:
    """A name that is taken, or a resource that another operation holds."""
    return ServiceError("ResourceInUse", message)


def resource_not_found(message: str) -> ServiceError:
    """A labeling job or a tagged resource that does not exist.

    For names that it does not know, most of SageMaker answers ValidationException instead of what its model lists:
    training jobs "Requested resource not found.", processing jobs "Could not find requested job with name: …",
    endpoints "Could not find endpoint …", packages and groups "… does not exist."; source: generator.yaml of the ACK
    SageMaker controller.
    """
    return ServiceError("ResourceNotFound", message)


def limit_exceeded(message: str) -> ServiceError:
    """An account quota."""
    return ServiceError("ResourceLimitExceeded", message)


def conflict(message: str) -> ServiceError:
    """A resource that cannot change because another one depends on it."""
    return ServiceError("ConflictException", message)


def unavailable(message: str) -> ServiceError:
    """A request that failed for a reason of the service's own, and may be sent again (common errors, HTTP 503)."""
    return ServiceError("ServiceUnavailable", message, 503)


def unknown_operation(operation: str) -> ServiceError:
    """A target that the service does not have."""
    return ServiceError(
        "UnknownOperationException", f"The requested operation {operation} is not recognized by the service."
    )


def unsupported_operation(operation: str) -> ServiceError:
    """An operation of SageMaker that is missing here: refused with an error rather than accepted without effect."""
    return ServiceError("UnsupportedOperationException", f"{operation} is not implemented by the local SageMaker.", 501)


def job_name_taken(job: str, arn: str) -> ServiceError:
    """A second job of one name; `job` is training, processing or labeling."""
    return resource_in_use(
        f"{job.capitalize()} job names must be unique within an AWS account and region, and a {job} job with this "
        f"name already exists ({arn})"
    )


def job_not_running(job: str, status: str) -> ServiceError:
    """A request to stop a job that is stopping or has ended."""
    return validation(f"The request was rejected because the {job} job is in status {status}.")
