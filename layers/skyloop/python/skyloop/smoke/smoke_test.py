"""The smoke test of a new endpoint: does it answer images of the test set as the model did when it was evaluated?

`golden-predictions.json` (written by the evaluation job) lists a few such images with the candidate's detections.
"""

from __future__ import annotations

import mimetypes
from typing import TYPE_CHECKING

from skyloop.aws.storage import Storage
from skyloop.documents import SmokeRequest, SmokeResponse
from skyloop.layout import SMOKE_TEST_INFERENCE_PREFIX
from skyloop.smoke.comparison import ImageCheck, check_prediction, conclude_smoke_test, read_golden_predictions
from skyloop.smoke.invocation import invoke_endpoint

if TYPE_CHECKING:
    from mypy_boto3_sagemaker_runtime import SageMakerRuntimeClient


class SmokeTest:
    """Joins the bucket, which has golden predictions and images, and the endpoint."""

    def __init__(self, storage: Storage, runtime: SageMakerRuntimeClient) -> None:
        self.storage = storage
        self.runtime = runtime

    def run(self, request: SmokeRequest) -> tuple[SmokeResponse, list[ImageCheck]]:
        """Send every image to the endpoint: the result, and the check of each image.

        Raises ObjectMissing when the golden predictions or an image are gone, ValueError when they cannot be read,
        ClientError or BotoCoreError where the endpoint could not be asked.
        """
        golden = read_golden_predictions(self.storage.read(self.storage.key_of(request.golden_predictions_uri)).body)
        checks = []
        for number, prediction in enumerate(golden.answers):
            image = self.storage.read(self.storage.key_of(prediction.uri))
            reply = invoke_endpoint(
                self.runtime,
                request,
                image.body,
                content_type=mimetypes.guess_type(prediction.uri)[0] or "image/jpeg",
                inference_id=f"{SMOKE_TEST_INFERENCE_PREFIX}{request.endpoint_config_name}-{number}",
            )
            checks.append(check_prediction(prediction, reply, training_job=golden.training_job))
        about = f"endpoint {request.endpoint_name} on {request.endpoint_config_name}"
        return conclude_smoke_test(checks, about, request.max_seconds), checks
