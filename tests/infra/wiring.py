"""The wiring as data: the template with CloudFormation's long forms, its translation, and the state machines."""

from __future__ import annotations

import copy
import functools
import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import jsonata
import yaml
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator

ROOT = Path(__file__).resolve().parents[2]
MACHINES = ("route", "label", "retrain", "deploy", "rollback", "move_endpoint", "sweep")
# What moves the endpoint gives its outcome back to the machine that asked, and that one announces it.
ANNOUNCING = tuple(name for name in MACHINES if name != "move_endpoint")
JSON = dict[str, Any]


class _Loader(yaml.SafeLoader):
    """Reads ``!Ref`` and its like as the mappings they stand for."""


def _long_form(loader: _Loader, suffix: str, node: yaml.Node) -> JSON:
    name = suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}"
    if isinstance(node, yaml.ScalarNode):
        value: Any = loader.construct_scalar(node)
        return {name: value.split(".", 1) if suffix == "GetAtt" else value}
    if isinstance(node, yaml.SequenceNode):
        return {name: loader.construct_sequence(node, deep=True)}
    return {name: loader.construct_mapping(node, deep=True)}


_Loader.add_multi_constructor("!", _long_form)


@functools.cache
def template() -> JSON:
    return yaml.load((ROOT / "template.yaml").read_text(encoding="utf-8"), Loader=_Loader)


@functools.cache
def machine(name: str) -> JSON:
    return yaml.safe_load((ROOT / "statemachines" / f"{name}.asl.yaml").read_text(encoding="utf-8"))


def logical(name: str) -> str:
    """`move_endpoint` -> `MoveEndpoint`, as the template's resources of a machine begin."""
    return name.title().replace("_", "")


def resources(kind: str) -> dict[str, JSON]:
    """Logical id -> properties of the template's resources of a type."""
    return {
        name: resource.get("Properties", {})
        for name, resource in template()["Resources"].items()
        if resource["Type"] == kind
    }


@functools.cache
def translated() -> JSON:
    """What CloudFormation gets: SAM's translation, every state machine's definition inlined."""
    source = copy.deepcopy(template())
    for resource in source["Resources"].values():
        for member in ("CodeUri", "ContentUri", "DefinitionUri"):
            if member in resource.get("Properties", {}):
                resource["Properties"][member] = "s3://artifacts/content.zip"
    parameters = {name: str(value.get("Default", "x")) for name, value in source["Parameters"].items()}
    session = boto3.session.Session(region_name="us-east-1")
    result = Translator({}, Parser(), boto_session=session).translate(source, parameter_values=parameters)
    for resource in result["Resources"].values():
        if resource["Type"] == "AWS::StepFunctions::StateMachine":
            properties = resource["Properties"]
            del properties["DefinitionS3Location"]
            name = properties["StateMachineName"]["Fn::Sub"].removeprefix("${Project}-${Stage}-").replace("-", "_")
            properties["Definition"] = one_line(machine(name))
    return result


def one_line(value: Any) -> Any:
    """Expressions on one line, which is the same JSONata: asl-validator's pattern for them knows no line breaks."""
    if isinstance(value, dict):
        return {key: one_line(item) for key, item in value.items()}
    if isinstance(value, list):
        return [one_line(item) for item in value]
    return re.sub(r"\s*\n\s*", " ", value) if isinstance(value, str) else value


def states(definition: JSON, prefix: str = "") -> Iterator[tuple[str, JSON]]:
    """Every state with its path, those inside maps too."""
    for name, state in definition["States"].items():
        yield prefix + name, state
        if "ItemProcessor" in state:
            yield from states(state["ItemProcessor"], f"{prefix}{name}/")


def tasks() -> list[tuple[str, str, JSON]]:
    """(machine, state, definition) of every task."""
    every = [(name, path, state) for name in MACHINES for path, state in states(machine(name))]
    return [(name, path, state) for name, path, state in every if state["Type"] == "Task"]


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from strings(key)
            yield from strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)
    elif isinstance(value, str):
        yield value


def substitute(value: Any, substitutions: dict[str, str]) -> Any:
    """What DefinitionSubstitutions do."""
    text = json.dumps(value)
    for name, replacement in substitutions.items():
        text = text.replace("${" + name + "}", json.dumps(str(replacement))[1:-1])
    return json.loads(text)


def evaluate(value: Any, variables: JSON, states_input: JSON) -> Any:
    """A field of a state with its expressions evaluated, as Step Functions does.

    ``states_input`` is ``$states`` (input, result, errorOutput, context). Raises LookupError for an expression without
    a value, which Step Functions refuses.
    """
    if isinstance(value, dict):
        return {key: evaluate(item, variables, states_input) for key, item in value.items()}
    if isinstance(value, list):
        return [evaluate(item, variables, states_input) for item in value]
    if not (isinstance(value, str) and value.startswith("{%")):
        return value
    expression = jsonata.Jsonata.jsonata(value[2:-2].strip())
    expression.register_lambda("parse", json.loads)
    expression.register_lambda("hash", _hash)
    null = jsonata.utils.Utils.NULL_VALUE
    bindings = {name: null if item is None else item for name, item in variables.items()} | {"states": states_input}
    result = expression.evaluate(None, bindings)
    if result is None:
        raise LookupError(f"no value: {value}")
    return result


def _hash(text: str, algorithm: str) -> str:
    return hashlib.new(algorithm.replace("SHA-", "sha"), text.encode()).hexdigest()
