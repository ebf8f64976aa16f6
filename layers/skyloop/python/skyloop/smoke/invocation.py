"""One image sent to an endpoint: the model's answer, or its error."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from skyloop.documents import SmokeRequest

if TYPE_CHECKING:
    from mypy_boto3_sagemaker_runtime import SageMakerRuntimeClient
    from mypy_boto3_sagemaker_runtime.type_defs import InvokeEndpointInputTypeDef

# Of the runtime's errors below 500, those that pass: https://docs.aws.amazon.com/sagemaker/latest/APIReference/
# API_runtime_InvokeEndpoint.html and CommonErrors.html.
PASSING = {"ThrottlingException", "Throttling", "ModelNotReadyException", "RequestTimeout"}
BUSY = {408, 429}  # of the container: other requests left no room for this one, or for its body
ATTEMPTS = 4
FIRST_PAUSE_SECONDS = 1.0


@dataclass(frozen=True)
class Reply:
    """What the model gave back: a body, or its error in a sentence. `seconds` includes no pauses between attempts."""

    body: bytes = b""
    error: str | None = None
    seconds: float = 0.0


def invoke_endpoint(
    runtime: SageMakerRuntimeClient,
    request: SmokeRequest,
    image: bytes,
    content_type: str,
    inference_id: str,
    *,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.perf_counter,
) -> Reply:
    """Invoke the endpoint with one image.

    A fleet that has just taken over may refuse for a moment, so errors that can pass are tried again, ATTEMPTS times in
    all with doubling pauses. A 4xx of the model itself is final: the same image fails the same way again.

    Raises ClientError or BotoCoreError where the model was not asked: a throttled or refused call, a broken connection,
    a container that has no room for one more request. That says nothing about the model.
    """
    arguments: InvokeEndpointInputTypeDef = {
        "EndpointName": request.endpoint_name,
        "ContentType": content_type,
        "Accept": "application/json",
        "Body": image,
        "InferenceId": inference_id,
    }
    if request.variant_name:
        arguments["TargetVariant"] = request.variant_name
    error: str | None = None
    for attempt in range(1, ATTEMPTS + 1):
        started = clock()
        try:
            answer = runtime.invoke_endpoint(**arguments)
            return Reply(body=answer["Body"].read(), seconds=clock() - started)
        except ClientError as failure:
            error, again = _answer(failure), _passes(failure)
            if error is None and not (again and attempt < ATTEMPTS):
                raise
        except BotoCoreError:
            if attempt == ATTEMPTS:
                raise
            error, again = None, True
        if error is not None and not again:
            return Reply(error=error, seconds=clock() - started)
        if attempt < ATTEMPTS:
            sleep(FIRST_PAUSE_SECONDS * 2 ** (attempt - 1))
    return Reply(error=f"{error} (tried {ATTEMPTS} times)", seconds=clock() - started)


def _passes(failure: ClientError) -> bool:
    """Whether trying again can help."""
    response: Mapping[str, Any] = failure.response
    code = response["Error"]["Code"]
    if code == "ModelError":
        status = response.get("OriginalStatusCode")
        return status in BUSY or not (isinstance(status, int) and 400 <= status < 500)
    return code in PASSING or response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) >= 500


def _answer(failure: ClientError) -> str | None:
    """The model's own error in a sentence; None where it was not the model that answered."""
    response: Mapping[str, Any] = failure.response
    if response["Error"]["Code"] != "ModelError" or response.get("OriginalStatusCode") in BUSY:
        return None
    # ModelError alone has OriginalStatusCode and OriginalMessage.
    message = response.get("OriginalMessage") or response["Error"].get("Message", "")
    return f"the model answered HTTP {response.get('OriginalStatusCode')}: {_short(str(message))}"


def _short(text: str) -> str:
    return text if len(text) <= 300 else text[:300] + "…"
