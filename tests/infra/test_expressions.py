"""The JSONata that all machines share: errors in words, alerts, waits, reasons."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from skyloop.alerts import alert_from_request
from skyloop.documents import Alert, PublishAlertRequest

from tests.infra import wiring
from tests.infra.expressions import EXECUTION, accepted, run, state
from tests.infra.samples import ALERT, ERROR, VARIABLES

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


@pytest.mark.parametrize("machine", wiring.ANNOUNCING)
@pytest.mark.parametrize("why", [ERROR, {"Error": "States.Timeout"}, "No class is good enough."])
def test_publish_alert_gets_a_request_that_it_takes(machine: str, why: Any) -> None:
    arguments = run(
        state(machine, "PublishAlert")["Arguments"], {"alert": {**ALERT, "why": why}, "correlation_id": "f"}
    )
    alert = alert_from_request(PublishAlertRequest.model_validate(arguments["Payload"]), "dev")
    assert (alert.what, alert.correlation_id, alert.stage) == (ALERT["what"], "f", "dev")
    assert alert.links == {"dataset": "s3://data/x", "execution": EXECUTION}
    result = {"Payload": {"message_id": "m-1", "why": alert.why}}
    alert_after = run(state(machine, "PublishAlert")["Assign"]["alert"], {"alert": ALERT}, result=result)
    assert alert_after == {**ALERT, "why": alert.why}


@pytest.mark.parametrize("machine", wiring.ANNOUNCING)
@pytest.mark.parametrize("links", [{}, {"dataset": "s3://data/x"}, {"execution": "another"}])
def test_an_alert_does_not_die_with_the_function(machine: str, links: dict[str, str]) -> None:
    """Published by the machine itself, it is the same document with the same attributes, as plain text."""
    variables = {"alert": {**ALERT, "links": links}, "correlation_id": "flight-7"}
    arguments = run(state(machine, "PublishAlertDirectly")["Arguments"], variables)
    accepted("sns", "Publish", arguments)
    document = Alert.model_validate_json(arguments["Message"])
    assert (document.event, document.what, document.stage) == ("training-failed", ALERT["what"], "dev")
    assert json.loads(document.why) == ERROR
    assert document.links == {"execution": EXECUTION, **links}
    assert arguments["Subject"] == "[skyloop-dev] training-failed"
    attributes = {name: value["StringValue"] for name, value in arguments["MessageAttributes"].items()}
    assert attributes == {"event": "training-failed", "severity": "error", "stage": "dev"}


@pytest.mark.parametrize("machine", wiring.ANNOUNCING)
def test_the_longest_error_fits_a_request_and_a_message(machine: str) -> None:
    """Step Functions takes 256 KiB as the arguments of a task, SNS as a message."""
    error = {"Error": "E", "Cause": "\U0001f332" * 100_000}
    alert = run(state(machine, "DescribeFailure")["Assign"]["alert"], {**VARIABLES[machine], "error": error})
    assert len(alert["why"]["Cause"]) == 32_768
    variables = {"alert": alert, "correlation_id": "flight-7"}
    for name, field in (("PublishAlert", "Payload"), ("PublishAlertDirectly", "Message")):
        arguments = run(state(machine, name)["Arguments"], variables)
        assert len(json.dumps(arguments[field], ensure_ascii=False).encode()) < 262_144


@pytest.mark.parametrize("machine", [name for name in wiring.ANNOUNCING if name != "route"])
def test_a_failed_execution_says_what_failed_and_why(machine: str) -> None:
    failed = state(machine, "Failed")
    for why, says in ((ERROR, "Rate exceeded"), ("because", "because")):
        cause = run(failed["Cause"], {"alert": {**ALERT, "why": why}})
        assert cause.startswith(ALERT["what"])
        assert says in cause
    assert run(failed["Error"], {"alert": ALERT}) == "Skyloop.training-failed"


@pytest.mark.parametrize(("machine", "name"), [("deploy", "RejectPackage"), ("rollback", "RejectPackage")])
def test_the_registry_takes_every_reason_for_a_rejection(machine: str, name: str) -> None:
    """An ApprovalDescription is one line of at most 1,024 characters; a container's last words are neither."""
    words = "Traceback:\n\tFile x\r\n" + "y" * 2000
    variables = {"package_arn": "p", "bad_package_arn": "p", "error": {"Error": "E", "Cause": words}, "reason": words}
    text = run(state(machine, name)["Arguments"]["ApprovalDescription"], variables)
    assert "Traceback: File x yyy" in text
    assert re.fullmatch(".{1,1024}", text)


@pytest.mark.parametrize("machine", ["label", "sweep"])
def test_an_id_makes_no_new_failure(machine: str) -> None:
    """What the sweep meets again on every round is reported once a day."""

    def fingerprint(cause: str, failed: str = "SelectImages") -> str:
        variables = {**VARIABLES[machine], "failed": failed, "error": {"Error": "E", "Cause": cause}}
        made = run(state(machine, "DescribeFailure")["Assign"]["fingerprint"], variables)
        arguments = run(state(machine, "CheckAlertedToday")["Arguments"], {"fingerprint": made})
        accepted("dynamodb", "PutItem", arguments)
        assert arguments["ExpressionAttributeValues"][":fingerprint"] == arguments["Item"]["fingerprint"] == {"S": made}
        return made

    causes = [f"no workteam of skyloop-dev-{job} (Request ID: {job}-4a4d-b3fa)" for job in ("0123456789ab", "ba98fedc")]
    assert fingerprint(causes[0]) == fingerprint(causes[1])
    assert fingerprint("AccessDenied: s3:GetObject") != fingerprint("AccessDenied: s3:PutObject")
    assert fingerprint("Rate exceeded") != fingerprint("Rate exceeded", "ExcludeLabels")
    assert len(fingerprint("y" * 40_000)) == 1000
