"""The JSONata that all machines share: errors in words, alerts, waits, reasons."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta

import pytest
from skyloop.alerts import Alert

from tests.infra import wiring
from tests.infra.expressions import accepted, run, state

POLLS = [
    (name, path, item)
    for name in wiring.MACHINES
    for path, item in wiring.states(wiring.machine(name))
    if item["Type"] == "Wait" and "PollSeconds" in item["Seconds"]
]


# Step Functions ends an execution at its 25,000th event. One look is a wait (2), two tasks at most (5 each) and the
# choices after them (2 each); what else an execution does takes far less than the rest.
MOST_LOOKS = 25_000 * 0.9 / 16


@pytest.mark.parametrize("poll", ["1", "20", "300"])
@pytest.mark.parametrize(("machine", "name"), [(machine, name) for machine, name, _ in POLLS])
def test_no_wait_outgrows_the_history(machine: str, name: str, poll: str) -> None:
    seconds = state(machine, name, PollSeconds=poll)["Seconds"]
    # Retrain's loops have one task and one choice a look: 9 events.
    limit, passed, looks = MOST_LOOKS * (16 / 9 if machine == "retrain" else 1), 0.0, 0
    while passed < wiring.machine(machine)["TimeoutSeconds"]:
        started = datetime.now(UTC) - timedelta(seconds=passed)
        context = {"Execution": {"StartTime": started.isoformat(timespec="milliseconds").replace("+00:00", "Z")}}
        wait = wiring.evaluate(seconds, {}, {"context": context})
        assert int(poll) <= wait <= max(int(poll), min(1800, passed / 100 + 1))
        # It grows slowly, so it is asked for anew only when a twentieth of the time has passed again.
        step = max(1, int(passed / 20 / wait))
        passed, looks = passed + wait * step, looks + step
    assert looks < limit


ERRORS = [
    ({"Error": "States.TaskFailed", "Cause": '{"FailureReason": "AlgorithmError: out of memory"}'}, "out of memory"),
    ({"Error": "ValueError", "Cause": '{"errorMessage": "no such split", "errorType": "ValueError"}'}, "no such split"),
    ({"Error": "SageMaker.AmazonSageMakerException", "Cause": "quota exceeded"}, "quota exceeded"),
    # Step Functions cuts long causes, and half a document is no document.
    ({"Error": "States.TaskFailed", "Cause": '{"FailureReason": "AlgorithmErr'}, "AlgorithmErr"),
    ({"Error": "States.TaskFailed", "Cause": "{not json"}, "{not json"),
    ({"Error": "States.TaskFailed", "Cause": "{'code': 1}"}, "{'code': 1}"),
    ({"Error": "States.Timeout", "Cause": ""}, "States.Timeout"),
    ({"Error": "States.Timeout"}, "States.Timeout"),
    ({"Error": "X", "Cause": '{"FailureReason": null, "other": 1}'}, "X: {"),
]


@pytest.mark.parametrize("machine", [name for name in wiring.MACHINES if name != "route"])
@pytest.mark.parametrize(("error", "says"), ERRORS)
def test_an_error_is_explained_in_words(machine: str, error: wiring.JSON, says: str) -> None:
    variables = {"error": error, "alert": {"event": "training-failed"}}
    alert = run(state(machine, "Explain")["Assign"]["alert"], variables)
    assert says in alert["why"]
    assert alert["why"].startswith(error["Error"])


ALERT = {
    "event": "training-failed",
    "severity": "error",
    "subject": "skyloop-dev-0123456789ab",
    "what": 'The training job "x" did not give a model.',
    "why": "AlgorithmError:\nline two",
    "kept": "The dataset.",
    "next_step": "Mend it.",
    "links": {"dataset": "s3://data/x"},
}


@pytest.mark.parametrize("machine", wiring.MACHINES)
@pytest.mark.parametrize("links", [{}, {"dataset": "s3://data/x"}, {"dataset": "s3://data/x", "report": "s3://data/y"}])
def test_alert_is_the_document_and_the_text_that_the_layer_knows(machine: str, links: dict[str, str]) -> None:
    arguments = run(
        state(machine, "Alert")["Arguments"], {"alert": {**ALERT, "links": links}, "correlation_id": "flight-7"}
    )
    accepted("sns", "Publish", arguments)
    message = json.loads(arguments["Message"])
    document = Alert.model_validate_json(message["lambda"])
    assert document.links.items() >= links.items()
    assert (document.what, document.why, document.stage) == (ALERT["what"], ALERT["why"], "dev")
    assert message["default"].strip() == document.text().strip()
    assert {message[protocol] for protocol in ("lambda", "sqs", "http", "https")} == {message["lambda"]}
    attributes = {name: value["StringValue"] for name, value in arguments["MessageAttributes"].items()}
    assert attributes == {"event": "training-failed", "severity": "error", "stage": "dev"}


@pytest.mark.parametrize("machine", wiring.MACHINES)
def test_subject_is_a_line_that_mail_takes(machine: str) -> None:
    alert = {**ALERT, "subject": "x" * 300}
    subject = run(state(machine, "Alert")["Arguments"]["Subject"], {"alert": alert})
    assert subject.startswith("[skyloop-dev] training-failed: ")
    assert len(subject) < 100


@pytest.mark.parametrize(("machine", "name"), [("deploy", "Reject"), ("rollback", "RejectPackage")])
def test_the_registry_takes_every_reason_for_a_rejection(machine: str, name: str) -> None:
    """An ApprovalDescription is one line of at most 1,024 characters; a container's last words are neither."""
    words = "Traceback:\n\tFile x\r\n" + "y" * 2000
    variables = {"package_arn": "p", "bad_package_arn": "p", "error": {"Error": "E", "Cause": words}, "reason": words}
    text = run(state(machine, name)["Arguments"]["ApprovalDescription"], variables)
    assert "Traceback: File x yyy" in text
    assert re.fullmatch(".{1,1024}", text)


@pytest.mark.parametrize("machine", ["label", "sweep"])
def test_an_id_makes_no_new_reason(machine: str) -> None:
    """What the sweep meets again on every round is told once."""

    def reason(why: str, what: str = "Images could not be selected.") -> str:
        arguments = run(state(machine, "WasItTold")["Arguments"], {"alert": {**ALERT, "what": what, "why": why}})
        accepted("dynamodb", "PutItem", arguments)
        assert arguments["ExpressionAttributeValues"][":why"] == arguments["Item"]["why"]
        return arguments["Item"]["why"]["S"]

    causes = [f"no workteam of skyloop-dev-{job} (Request ID: {job}-4a4d-b3fa)" for job in ("0123456789ab", "ba98fedc")]
    assert reason(causes[0]) == reason(causes[1])
    assert reason("AccessDenied: s3:GetObject") != reason("AccessDenied: s3:PutObject")
    assert reason("States.Timeout") != reason("States.Timeout", "The labels could not be set aside.")
