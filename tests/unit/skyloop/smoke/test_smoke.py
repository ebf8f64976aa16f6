"""The smoke test's comparison, and functions/smoke_test against an endpoint that behaves in every way."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError
from hypothesis import given
from hypothesis import strategies as st
from moto import mock_aws
from skyloop.aws.clients import client
from skyloop.documents import Detection, GoldenPrediction, SmokeRequest
from skyloop.smoke.comparison import check_prediction, conclude_smoke_test, read_golden_predictions
from skyloop.smoke.invocation import ATTEMPTS, Reply, invoke_endpoint

from tests.support.account import BUCKET, Context, create_stack, load_handler, set_environment

CAR = {"category": "car", "category_id": 1, "confidence": 0.9, "left": 10.0, "top": 20.0, "width": 40.0, "height": 30.0}
PERSON = {**CAR, "category": "person", "category_id": 0, "left": 200.0, "confidence": 0.7}
KNOWN = GoldenPrediction(uri="s3://b/labeled-data/j/images/a.jpg", detections=(Detection(**CAR), Detection(**PERSON)))
REQUEST = SmokeRequest(
    endpoint_name="skyloop-dev", golden_predictions_uri="s3://b/k", endpoint_config_name="skyloop-dev-v2"
)


def body(*detections: dict[str, Any], training_job: str = "job-1", **changes: Any) -> bytes:
    answer = {
        "image": {"width": 640, "height": 512},
        "detections": detections,
        "profile": {"brightness": 0.5},
        "model": {"training_job": training_job, "dataset_id": "ds-1"},
    }
    return json.dumps({**answer, **changes}).encode()


def faults(*detections: dict[str, Any], **options: Any) -> tuple[str, ...]:
    return check_prediction(KNOWN, Reply(body=body(*detections)), **options).faults


def moved(detection: dict[str, Any], **changes: float) -> dict[str, Any]:
    return {**detection, **{name: detection[name] + change for name, change in changes.items()}}


def test_the_same_answer_passes():
    check = check_prediction(KNOWN, Reply(body=body(CAR, PERSON), seconds=0.2), training_job="job-1")
    assert (check.known, check.matched, check.faults) == (2, 2, ())


def test_rounding_is_no_fault():
    assert faults(moved(PERSON, left=1.0, confidence=-0.05), moved(CAR, width=2.0, confidence=0.08)) == ()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((CAR,), "1 of 2 golden detections found again (1 missing"),
        ((), "0 of 2 golden detections found again"),
        ((CAR, moved(PERSON, left=30)), "1 of 2"),
        ((CAR, moved(PERSON, confidence=-0.4)), "1 with another confidence"),
        (({**CAR, "category": "person"}, {**PERSON, "category": "car"}), "0 of 2"),
        ((CAR, PERSON, *(moved(CAR, left=100.0 * n, top=150, confidence=0.05) for n in range(1, 5))), "4 confident"),
    ],
)
def test_what_another_model_would_answer_is_named(answer, said):
    [fault] = faults(*answer)
    assert said in fault


def test_unsure_strangers_are_not_counted_against_the_model():
    assert faults(CAR, PERSON, *(moved(CAR, left=100.0 * n, confidence=-0.6) for n in range(1, 9))) == ()


def test_another_model_is_named():
    assert check_prediction(KNOWN, Reply(body=body(CAR, PERSON)), training_job="job-2").faults == (
        "the endpoint serves the model of job-1, not of job-2",
    )


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"<html>502</html>", "JSON"),
        (b"[]", "body"),
        (b'{"detections": []}', "image"),
        (body({**CAR, "left": "far"}), "detections.0.left"),
        (body({**CAR, "left": float("nan")}), "detections.0.left"),
        (body({**CAR, "confidence": 7}), "detections.0.confidence"),
    ],
)
def test_an_answer_of_another_shape_is_named(answer, said):
    [fault] = check_prediction(KNOWN, Reply(body=answer)).faults
    assert "not a detection answer" in fault
    assert said in fault


@given(st.binary(max_size=200))
def test_no_answer_breaks_the_comparison(answer):
    assert check_prediction(KNOWN, Reply(body=answer)).faults


def test_no_golden_predictions_is_no_pass():
    verdict = conclude_smoke_test([], "the endpoint", None)
    assert not verdict.passed
    assert "no golden predictions" in verdict.summary


@pytest.mark.parametrize(
    ("seconds", "passed"),
    [((0.1, 0.1, 0.1), True), ((30.0, 0.1, 0.1), True), ((2.5, 2.5, 0.1), False), ((2.5,), False)],
)
def test_answers_that_usually_take_too_long_do_not_pass(seconds, passed):
    checks = [check_prediction(KNOWN, Reply(body=body(CAR, PERSON), seconds=each)) for each in seconds]
    verdict = conclude_smoke_test(checks, "the endpoint", 2.0)
    assert verdict.passed == passed
    assert ("2.50 s, and 2 s is the most" in verdict.summary) != passed
    assert conclude_smoke_test(checks, "the endpoint", None).passed


@pytest.mark.parametrize(("looks", "passed"), [(1.0, False), (0.3, False), (20.0, True)])
def test_a_large_picture_may_take_as_long_as_its_slices(looks, passed):
    known = KNOWN.model_copy(update={"looks": looks})
    checks = [check_prediction(known, Reply(body=body(CAR, PERSON), seconds=10.0))]
    assert conclude_smoke_test(checks, "the endpoint", 2.0).passed == passed


@pytest.mark.parametrize("document", [b"", b"[]", b'{"answers": [{"uri": "s3://b/k"}]}'])
def test_broken_golden_predictions_are_named(document):
    with pytest.raises(ValueError, match="golden predictions cannot be read"):
        read_golden_predictions(document)


class Runtime:
    """A sagemaker-runtime client that answers from a script: bytes are answered, exceptions raised."""

    def __init__(self, *script: bytes | Exception | Callable[[dict[str, Any]], bytes]) -> None:
        self.script = list(script)
        self.calls: list[dict[str, Any]] = []

    def invoke_endpoint(self, **arguments: Any) -> dict[str, Any]:
        self.calls.append(arguments)
        step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(step, Exception):
            raise step
        return {"Body": io.BytesIO(step if isinstance(step, bytes) else step(arguments))}


def refusal(code: str, status: int = 400, **more: Any) -> ClientError:
    answered = {"ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError({"Error": {"Code": code, "Message": f"{code} happened"}, **answered, **more}, "InvokeEndpoint")


def asked(runtime: Runtime, request: SmokeRequest = REQUEST) -> tuple[Reply, list[float]]:
    pauses: list[float] = []
    return invoke_endpoint(runtime, request, b"image", "image/jpeg", "smoke-test-1", sleep=pauses.append), pauses


def test_the_endpoint_is_asked_as_a_client_would():
    runtime = Runtime(b"{}")
    asked(runtime, REQUEST.model_copy(update={"variant_name": "primary"}))
    [call] = runtime.calls
    assert call["TargetVariant"] == "primary"
    assert (call["ContentType"], call["InferenceId"], call["Body"]) == ("image/jpeg", "smoke-test-1", b"image")


@pytest.mark.parametrize(
    "passing",
    [
        refusal("ThrottlingException"),
        refusal("ServiceUnavailable", 503),
        refusal("AnyNameAtAll", 500),
        refusal("ModelNotReadyException"),
        refusal("ModelError", OriginalStatusCode=503, OriginalMessage="loading"),
        refusal("ModelError", OriginalStatusCode=429, OriginalMessage="too many requests"),
        refusal("ModelError", OriginalStatusCode=408, OriginalMessage="the body did not arrive in time"),
        ReadTimeoutError(endpoint_url="https://runtime"),
    ],
)
def test_what_passes_is_tried_again(passing):
    runtime = Runtime(passing, passing, b"{}")
    reply, pauses = asked(runtime)
    assert (reply.body, reply.error, len(runtime.calls)) == (b"{}", None, 3)
    assert pauses == [1.0, 2.0]


def test_a_model_that_fails_again_and_again_has_failed():
    runtime = Runtime(refusal("ModelError", OriginalStatusCode=500, OriginalMessage="no"))
    reply, _ = asked(runtime)
    assert len(runtime.calls) == ATTEMPTS
    assert reply.error == "the model answered HTTP 500: no (tried 4 times)"


def test_a_model_that_refuses_is_not_asked_again():
    runtime = Runtime(refusal("ModelError", OriginalStatusCode=400, OriginalMessage="no image"))
    reply, pauses = asked(runtime)
    assert (len(runtime.calls), pauses) == (1, [])
    assert "HTTP 400: no image" in reply.error


@pytest.mark.parametrize(
    ("failure", "attempts"),
    [
        (refusal("ServiceUnavailable", 503), ATTEMPTS),
        (refusal("InternalFailure", 500), ATTEMPTS),
        (refusal("ThrottlingException"), ATTEMPTS),
        (refusal("ModelError", OriginalStatusCode=429, OriginalMessage="too many requests"), ATTEMPTS),
        (refusal("ModelError", OriginalStatusCode=408, OriginalMessage="did not arrive in time"), ATTEMPTS),
        (ReadTimeoutError(endpoint_url="https://runtime"), ATTEMPTS),
        (refusal("ValidationError"), 1),
        (refusal("AccessDeniedException", 403), 1),
    ],
)
def test_what_could_not_be_asked_is_no_answer(failure, attempts):
    """It would reject a good model."""
    runtime = Runtime(failure)
    with pytest.raises(type(failure)):
        asked(runtime)
    assert len(runtime.calls) == attempts


IMAGES = ("labeled-data/j/images/a.jpg", "labeled-data/j/images/b.png")


@pytest.fixture
def stack(monkeypatch):
    set_environment(monkeypatch)
    with mock_aws():
        create_stack()
        s3 = client("s3")
        for key in IMAGES:
            s3.put_object(Bucket=BUCKET, Key=key, Body=key.encode())
        known = {
            "training_job": "job-1",
            "answers": [{"uri": f"s3://{BUCKET}/{k}", "detections": [CAR]} for k in IMAGES],
        }
        s3.put_object(Bucket=BUCKET, Key="golden-predictions.json", Body=json.dumps(known))
        yield


def run(monkeypatch: pytest.MonkeyPatch, runtime: Runtime) -> dict[str, Any]:
    app = load_handler("smoke_test")
    real = app.client
    monkeypatch.setattr(app, "client", lambda service: runtime if service == "sagemaker-runtime" else real(service))
    event = {
        "endpoint_name": "skyloop-dev",
        "golden_predictions_uri": f"s3://{BUCKET}/golden-predictions.json",
        "endpoint_config_name": "skyloop-dev-v2",
    }
    return app.handler(event, Context())


def test_a_good_endpoint_passes(stack, monkeypatch):
    runtime = Runtime(body(CAR))
    answer = run(monkeypatch, runtime)
    assert (answer["passed"], answer["checked"], answer["known"], answer["matched"]) == (True, 2, 2, 1.0)
    assert "2 images answered as in the evaluation" in answer["summary"]
    assert [call["ContentType"] for call in runtime.calls] == ["image/jpeg", "image/png"]
    assert [call["Body"] for call in runtime.calls] == [key.encode() for key in IMAGES]
    assert len({call["InferenceId"] for call in runtime.calls}) == 2


def test_one_wrong_image_fails_the_test_and_is_named(stack, monkeypatch):
    answer = run(monkeypatch, Runtime(lambda call: body(CAR) if call["ContentType"] == "image/jpeg" else body()))
    assert (answer["passed"], answer["matched"]) == (False, 0.5)
    assert "1 of 2 images answered wrongly" in answer["summary"]
    assert "b.png" in answer["summary"]


def test_the_old_model_still_serving_is_noticed(stack, monkeypatch):
    answer = run(monkeypatch, Runtime(body(CAR, training_job="job-0")))
    assert not answer["passed"]
    assert "serves the model of job-0, not of job-1" in answer["summary"]
