"""The words of alerts: one row for everything that can fail, commands that exist, and a documentation that agrees."""

from __future__ import annotations

import ast
import re
import shlex
from typing import Any, get_args

import pytest
import typer
from skyloop.alerts import alert_from_request
from skyloop.documents import Alert, Event, PublishAlertRequest

from cli.main import app
from cli.reference import commands
from tests.infra import wiring
from tests.infra.expressions import machine_states, run, state
from tests.infra.sample_results import INPUTS
from tests.infra.samples import ERROR, VARIABLES

COMMAND = re.compile(r"`(skyloop [^`]*)`")


def failures(machine: str) -> set[str]:
    """What the machine's states say has failed."""
    holders = [
        holder
        for _, item in machine_states(machine)
        for holder in (item, *item.get("Choices", []), *item.get("Catch", []))
    ]
    found = {holder["Assign"]["failed"] for holder in holders if "failed" in holder.get("Assign", {})}
    return found - {"{% '' %}"}


def outcomes(machine: str) -> list[str]:
    """States that announce something other than a failure."""
    return [path for path, item in machine_states(machine) if "alert" in item.get("Assign", {}) and _is_outcome(path)]


def _is_outcome(path: str) -> bool:
    return path not in ("DescribeFailure", "PublishAlert")


def published(machine: str, path: str, variables: wiring.JSON) -> Alert:
    """What publish_alert makes of the alert that a state assigns."""
    assigned = run(state(machine, path)["Assign"], variables)
    payload = run(state(machine, "PublishAlert")["Arguments"]["Payload"], {**variables, **assigned})
    return alert_from_request(PublishAlertRequest.model_validate(payload), "dev")


FAILURES = [(name, failed) for name in wiring.ANNOUNCING for failed in sorted(failures(name))]
ALERTS = [
    *((name, "DescribeFailure", {"failed": failed, "restored": restored}) for name, failed in FAILURES
      for restored in ((True, False) if name == "deploy" else (True,))),
    *((name, path, {}) for name in wiring.ANNOUNCING for path in outcomes(name)),
]  # fmt: skip
IDS = [f"{name}.{changes.get('failed', path)}" for name, path, changes in ALERTS]


@pytest.mark.parametrize(("machine", "path", "changes"), ALERTS, ids=IDS)
def test_an_alert_says_what_why_kept_and_what_to_do(machine: str, path: str, changes: wiring.JSON) -> None:
    alert = published(machine, path, {**VARIABLES[machine], **changes})
    assert (alert.severity == "error") == (path == "DescribeFailure")
    for text in (alert.what, alert.kept, alert.next_step):
        assert re.match(r"\w", text), text
        assert re.search(r"[.`]$", text), text
        assert "  " not in text
    if path == "DescribeFailure":
        assert alert.why == f"{ERROR['Error']}: {ERROR['Cause']}"


# The first state of each machine that can fail, and what is known by then.
FIRST = {
    "label": "TakeLock",
    "retrain": "DescribeLabelingJob",
    "deploy": "DescribePackage",
    "rollback": "ReadLastGood",
    "sweep": "SweepUploads",
}


@pytest.mark.parametrize("machine", wiring.ANNOUNCING)
def test_the_words_need_no_more_than_the_machine_knows_when_its_first_state_fails(machine: str) -> None:
    """What is not known yet must not keep a failure from being announced."""
    if machine == "route":
        known = {**{name: VARIABLES["route"][name] for name in ("machine", "name")}, "failed": "StartExecution"}
    else:
        begin = run(state(machine, "Begin")["Assign"], input=INPUTS.get(f"{machine}.Begin", {}))
        known = {**begin, "failed": FIRST[machine]}
    known["error"] = {"Error": "States.Timeout"}
    alert = published(machine, "DescribeFailure", known)
    assert alert.why == "States.Timeout"
    # Step Functions need not take the name of a variable that was never assigned.
    read = set(re.findall(r"\$(\w+)", str(state(machine, "DescribeFailure")["Assign"])))
    assert read & set(VARIABLES[machine]) <= set(known)


@pytest.mark.parametrize("machine", [name for name in wiring.ANNOUNCING if name != "sweep"])
def test_the_table_has_a_row_for_everything_that_fails_and_no_other(machine: str) -> None:
    """The sweep needs no table: its words are the same for every step."""
    text = state(machine, "DescribeFailure")["Assign"]["alert"]
    table = re.search(r"\$failures := \{(.*?)\n  \};", text, re.DOTALL)[1]
    assert set(re.findall(r"'([A-Z]\w+)': [{$]", table)) == failures(machine)


@pytest.mark.parametrize(("machine", "failed"), FAILURES)
def test_a_failure_is_named_after_the_state_that_an_operator_sees(machine: str, failed: str) -> None:
    states = {path for path, _ in wiring.states(wiring.machine(machine))}
    # What is no state's own failure: another execution or job failed, the user forgot something, SageMaker gave up.
    assert failed in states | {
        "Execution",
        "LabelingJob",
        "LabelCategories",
        *("RolledBack", "Unprovisioned", "Stopped", "Unguarded", "Refused", "EndpointBroken"),
        "FirstEndpoint",
        "SmokeTestNotMade",
        "ArtifactDiffers",
    }


@pytest.mark.parametrize(("machine", "path", "changes"), ALERTS, ids=IDS)
def test_an_alert_names_commands_that_exist(machine: str, path: str, changes: wiring.JSON) -> None:
    alert = published(machine, path, {**VARIABLES[machine], **changes})
    named = COMMAND.findall(alert.next_step)
    assert named, alert.next_step
    assert "skyloop " not in COMMAND.sub("", alert.next_step)
    known = _commands()
    for command in named:
        words = shlex.split(command)[1:]
        name = " ".join(words[:2]) if " ".join(words[:2]) in known else words[0]
        assert name in known, command
        assert {word for word in words if word.startswith("--")} <= known[name], command


def _commands() -> dict[str, set[str]]:
    """Options by command, e.g. `categories add` -> {--json, …}."""
    return {
        name.removeprefix("skyloop "): {flag for item in command.params for flag in item.opts}
        for name, command in commands(typer.main.get_command(app), "skyloop")
    }


def documented() -> dict[str, list[str]]:
    """Event -> the other cells of its row in docs/operations.md."""
    text = (wiring.ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in re.findall(r"^\| `.* \|$", text, re.M)]
    return {row[0].strip("`"): row[1:] for row in rows}


def test_every_event_has_its_row_in_the_documentation() -> None:
    assert set(documented()) == set(get_args(Event))


def _advised(text: str) -> set[str]:
    """The commands that a text names, without their arguments."""
    return {re.match(r"skyloop (\w+)", command)[1] for command in COMMAND.findall(text)}


@pytest.mark.parametrize(("machine", "path", "changes"), ALERTS, ids=IDS)
def test_the_documentation_says_what_the_alert_says(machine: str, path: str, changes: wiring.JSON) -> None:
    alert = published(machine, path, {**VARIABLES[machine], **changes})
    severity, _, first = documented()[alert.event]
    assert severity == alert.severity
    assert "the alert says" in first or _advised(first) & _advised(alert.next_step), (first, alert.next_step)


def test_the_documentation_advises_nothing_that_no_alert_advises() -> None:
    advised: dict[str, set[str]] = {}
    for machine, path, changes in ALERTS:
        alert = published(machine, path, {**VARIABLES[machine], **changes})
        advised.setdefault(alert.event, set()).update(_advised(alert.next_step))
    for event, named in advised.items():
        assert _advised(documented()[event][2]) <= named, event


def test_the_documentation_knows_the_alerts_of_the_functions() -> None:
    rows = documented()
    for module in (wiring.ROOT / "layers/skyloop/python/skyloop").rglob("*.py"):
        for call in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "Alert":
                given: dict[str, Any] = {item.arg: item.value for item in call.keywords}
                if isinstance(given["event"], ast.Constant):
                    assert rows[given["event"].value][0] == given["severity"].value, module
