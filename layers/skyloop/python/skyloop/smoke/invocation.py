"""One image sent to an endpoint: its answer, or the reason why there is none."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from skyloop.documents import SmokeRequest

if TYPE_CHECKING:
    from mypy_boto3_sagemaker_runtime import SageMakerRuntimeClient
    from mypy_boto3_sagemaker_runtime.type_defs import InvokeEndpointInputTypeDef

TRANSIENT = {"ThrottlingException", "ServiceUnavailable", "ModelNotReadyException", "InternalFailure"}
ATTEMPTS = 4
FIRST_PAUSE_SECONDS = 1.0


@dataclass(frozen=True)
class Reply:
    """What one invocation brought: a body, or an error sentence. `seconds` includes no pauses between attempts."""

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
    error = ""
    for attempt in range(1, ATTEMPTS + 1):
        started = clock()
        try:
            answer = runtime.invoke_endpoint(**arguments)
            return Reply(body=answer["Body"].read(), seconds=clock() - started)
        except ClientError as failure:
            error, transient = _explain(failure)
        except BotoCoreError as failure:
            error, transient = f"the endpoint cannot be reached: {failure}", True
        if not transient:
            return Reply(error=error, seconds=clock() - started)
        if attempt < ATTEMPTS:
            sleep(FIRST_PAUSE_SECONDS * 2 ** (attempt - 1))
    return Reply(error=f"{error} (tried {ATTEMPTS} times)", seconds=clock() - started)


def _explain(failure: ClientError) -> tuple[str, bool]:
    """The failure as a sentence, and whether trying again can help."""
    code = failure.response["Error"]["Code"]
    message = failure.response["Error"].get("Message", "")
    if code != "ModelError":
        return f"the endpoint refused: {code}: {_short(message)}", code in TRANSIENT
    # ModelError alone has OriginalStatusCode and OriginalMessage, so the general type of responses lacks them.
    details: Mapping[str, object] = failure.response
    status = details.get("OriginalStatusCode")
    final = isinstance(status, int) and 400 <= status < 500
    return f"the model answered HTTP {status}: {_short(str(details.get('OriginalMessage') or message))}", not final


def _short(text: str) -> str:
    return text if len(text) <= 300 else text[:300] + "…"
