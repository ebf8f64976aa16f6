"""Refuse what the laptop cloud has not been shown to do, before anything is deployed.

MiniStack accepts much that it then ignores. A template or state machine that uses a feature outside
:mod:`laptop.supported_features` is refused, with the place and the way out: what passes here should pass on AWS.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import jsonata

from laptop import supported_features
from laptop.deploy import Application
from laptop.sagemaker import service

_INTEGRATION = "arn:aws:states:::"
_CALL = re.compile(r"\$([A-Za-z]\w*)\s*\(")
_DEFINED = re.compile(r"\$([A-Za-z]\w*)\s*:=\s*(?:function|λ)")
_PARAMETERS = re.compile(r"(?:function|λ)\s*\(([^)]*)\)")
_TEXTS = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"")


class Refused(Exception):
    """The template uses what no conformance test covers; the message has one line per place."""


def check(application: Application) -> None:
    """Raise Refused with every feature of the template and its state machines that is not covered."""
    problems = [*_template(application.template)]
    for name, resource in application.resources("AWS::Serverless::StateMachine").items():
        properties = resource.get("Properties", {})
        definition = application.definition(properties)
        if definition is not None:
            source = properties.get("DefinitionUri") or f"{name}.Definition"
            problems += _machine(definition, str(source))
    if problems:
        raise Refused(
            "\n".join(
                [
                    "The laptop cloud has not been shown to do all that this template asks for:",
                    *(f"  {problem}" for problem in dict.fromkeys(problems)),
                    "Do without it, or prove it in tests/conformance/ministack and add it to "
                    "laptop/supported_features.py.",
                ]
            )
        )


def _unknown(given: Iterable[str], known: Iterable[str], where: str, what: str) -> Iterator[str]:
    for name in given:
        if name not in known:
            yield f"{where}: {what} {name} is not covered"


def _template(template: Mapping[str, Any]) -> Iterator[str]:
    yield from _unknown(
        template, (*supported_features.SECTIONS, *supported_features.TEXT_SECTIONS), "template", "section"
    )
    sections = {name: value for name, value in template.items() if name not in supported_features.TEXT_SECTIONS}
    yield from _functions(sections, "template")
    for kind, members in template.get("Globals", {}).items():
        yield from _properties(f"AWS::Serverless::{kind}", members, f"Globals.{kind}")
    for name, resource in template.get("Resources", {}).items():
        yield from _unknown(resource, supported_features.ATTRIBUTES, name, "attribute")
        yield from _properties(resource.get("Type", ""), resource.get("Properties", {}), name)
        if resource.get("Type") == "AWS::Events::Rule":
            for target in resource.get("Properties", {}).get("Targets", []):
                known = (*supported_features.TARGETS, *supported_features.TARGETS_INERT)
                yield from _unknown(target, known, f"{name}.Targets", "member")
                for path in target.get("InputTransformer", {}).get("InputPathsMap", {}).values():
                    if "[" in path:
                        yield f"{name}.Targets: the path {path} with an index is not covered"


def _properties(kind: str, properties: Mapping[str, Any], where: str) -> Iterator[str]:
    if kind not in supported_features.RESOURCES:
        yield f"{where}: resource type {kind} is not covered"
        return
    inert = [name.rpartition(".")[2] for name in supported_features.INERT if name.startswith(f"{kind}.")]
    yield from _unknown(properties, (*supported_features.RESOURCES[kind], *inert), f"{where} ({kind})", "property")


def _functions(value: Any, where: str) -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if str(name).startswith("Fn::") and name not in supported_features.FUNCTIONS:
                yield f"{where}: intrinsic function {name} is not covered"
            yield from _functions(inner, f"{where}.{name}")
    elif isinstance(value, list):
        for inner in value:
            yield from _functions(inner, where)


def _machine(definition: Mapping[str, Any], source: str) -> Iterator[str]:
    known = (*supported_features.MACHINE, "Comment")
    yield from _unknown(definition, known, source, "field")
    if definition.get("QueryLanguage") != "JSONata":
        yield f"{source}: only JSONata is covered; set QueryLanguage: JSONata"
    yield from _states(definition, source)


def _states(machine: Mapping[str, Any], source: str) -> Iterator[str]:
    states = machine.get("States", {})
    for name, state in states.items():
        where = f"{source}, state {name}"
        kind = state.get("Type")
        if kind not in supported_features.STATES:
            yield f"{where}: state type {kind} is not covered"
            continue
        yield from _unknown(state, (*supported_features.STATES[kind], "Comment"), where, f"{kind} field")
        yield from _parts(state, where)
        yield from _flow(state, states, where)
        if kind == "Task":
            yield from _integration(str(state.get("Resource")), where)
        yield from _expressions(state, where)


def _parts(state: Mapping[str, Any], where: str) -> Iterator[str]:
    for part, known in supported_features.PARTS.items():
        items = state.get(part, [])
        for item in items if isinstance(items, list) else [items]:
            yield from _unknown(item, (*known, "Comment"), where, f"{part} field")
    if reader := state.get("ItemReader"):
        formats = supported_features.READERS.get(reader.get("Resource"), {})
        form = reader.get("ReaderConfig", {}).get("InputType", "JSON")
        if form not in formats:
            yield f"{where}: reading {form} by {reader.get('Resource')} is not covered"
    if processor := state.get("ItemProcessor"):
        distributed = processor.get("ProcessorConfig", {}).get("Mode") == "DISTRIBUTED"
        if distributed and processor["ProcessorConfig"].get("ExecutionType") != "STANDARD":
            yield f"{where}: only children of type STANDARD are covered"
        for field in (
            "ItemReader",
            "ItemBatcher",
            "ResultWriter",
            "ToleratedFailurePercentage",
            "ToleratedFailureCount",
        ):
            if not distributed and field in state:
                yield f"{where}: {field} needs ProcessorConfig.Mode DISTRIBUTED"
        if "ItemBatcher" in state and any(name.startswith("Tolerated") for name in state):
            yield f"{where}: tolerated failures of batches are not covered"
        yield from _states(processor, where)


def _flow(state: Mapping[str, Any], states: Mapping[str, Any], where: str) -> Iterator[str]:
    steps = [state.get("Next"), state.get("Default")]
    steps += [item.get("Next") for part in ("Choices", "Catch") for item in state.get(part, [])]
    for step in steps:
        if step is not None and step not in states:
            yield f"{where}: it goes on to {step}, which is no state beside it"
    ends = state.get("End") or state["Type"] in ("Succeed", "Fail", "Choice")
    if not ends and "Next" not in state:
        yield f"{where}: it has neither Next nor End"


def _integration(resource: str, where: str) -> Iterator[str]:
    if not resource.startswith(_INTEGRATION):
        yield f"{where}: {resource} is not an integration of Step Functions; functions are called by lambda:invoke"
        return
    name = resource.removeprefix(_INTEGRATION)
    family, _, operation = name.removeprefix("aws-sdk:").partition(":")
    if name.startswith("aws-sdk:") and family in supported_features.SDK_SERVICES:
        if operation[:1].upper() + operation[1:] not in service.operations().get(family, {}):
            yield f"{where}: the local SageMaker has no operation {operation}"
    elif name not in supported_features.INTEGRATIONS:
        yield f"{where}: the integration {name} is not covered"


def _expressions(state: Mapping[str, Any], where: str) -> Iterator[str]:
    for path, text in _strings({name: value for name, value in state.items() if name != "ItemProcessor"}):
        stripped = text.strip()
        if stripped.startswith("{%") and stripped.endswith("%}"):
            yield from _expression(stripped[2:-2], f"{where}, {path}")
        elif "{%" in text:
            yield f"{where}, {path}: an expression is the whole of a text, from {{% to %}}, or none"
        if path.endswith(".$"):
            yield f"{where}, {path}: names that end in .$ are JSONPath's"


def _strings(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _strings(inner, f"{path}.{name}".lstrip("."))
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner, path)


def _expression(expression: str, where: str) -> Iterator[str]:
    code = _TEXTS.sub("''", expression)
    own = set(_DEFINED.findall(code))
    for names in _PARAMETERS.findall(code):
        own |= {name.strip().lstrip("$") for name in names.split(",")}
    for name in sorted(set(_CALL.findall(code)) - own - supported_features.JSONATA):
        yield f"{where}: JSONata function ${name} is not covered"
    try:
        jsonata.Jsonata.jsonata(re.sub(r"\$\{\w+\}", "x", expression))
    except Exception as error:  # the parser raises its own and Python's errors alike
        yield f"{where}: the expression cannot be parsed: {error}"
