"""The preflight names the place of everything that the laptop cloud has not been shown to do."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest

from laptop import deploy, preflight

REPOSITORY = Path(__file__).resolve().parents[3]

MACHINE: dict[str, Any] = {
    "QueryLanguage": "JSONata",
    "StartAt": "One",
    "States": {
        "One": {
            "Type": "Task",
            "Resource": "arn:aws:states:::lambda:invoke",
            "Arguments": {"FunctionName": "f", "Payload": "{% $merge([$states.input, {'at': $now()}]) %}"},
            "Retry": [{"ErrorEquals": ["States.ALL"]}],
            "Next": "Done",
        },
        "Done": {"Type": "Succeed"},
    },
}
TEMPLATE: dict[str, Any] = {
    "Transform": "AWS::Serverless-2016-10-31",
    "Resources": {
        "Queue": {"Type": "AWS::SQS::Queue", "Properties": {"VisibilityTimeout": 30}},
        "Machine": {"Type": "AWS::Serverless::StateMachine", "Properties": {"Definition": MACHINE}},
    },
}


def refused(change: Any) -> str:
    template = copy.deepcopy(TEMPLATE)
    change(template)
    with pytest.raises(preflight.Refused) as error:
        preflight.check(deploy.Application(template, Path()))
    return str(error.value)


def in_state(**fields: Any) -> Any:
    return lambda template: machine(template)["States"]["One"].update(fields)


def machine(template: dict[str, Any]) -> dict[str, Any]:
    return template["Resources"]["Machine"]["Properties"]["Definition"]


def resource(**fields: Any) -> Any:
    return lambda template: template["Resources"]["Queue"].update(fields)


def test_what_is_covered_passes() -> None:
    preflight.check(deploy.Application(copy.deepcopy(TEMPLATE), Path()))


def test_the_projects_own_template_passes() -> None:
    preflight.check(deploy.load(REPOSITORY / "template.yaml"))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: t.update(Hooks={}), "template: section Hooks"),
        (resource(Type="AWS::RDS::DBInstance"), "Queue: resource type AWS::RDS::DBInstance"),
        (resource(Properties={"FifoQueue": True}), r"Queue \(AWS::SQS::Queue\): property FifoQueue"),
        (resource(CreationPolicy={}), "Queue: attribute CreationPolicy"),
        (resource(Properties={"QueueName": {"Fn::Cidr": []}}), "intrinsic function Fn::Cidr"),
        (
            lambda t: t["Resources"].update(
                Fn={"Type": "AWS::Serverless::Function", "Properties": {"Events": {}, "CodeUri": "x"}}
            ),
            "property Events",
        ),
        (lambda t: machine(t).pop("QueryLanguage"), "only JSONata"),
        (lambda t: machine(t).update(Version="1.0"), "field Version"),
        (in_state(Type="Parallel"), "state One: state type Parallel"),
        (in_state(HeartbeatSeconds=5), "Task field HeartbeatSeconds"),
        (in_state(Credentials={}), "Task field Credentials"),
        (in_state(ResultPath="$.x"), "Task field ResultPath"),
        (in_state(Resource="arn:aws:states:::batch:submitJob.sync"), r"integration batch:submitJob\.sync"),
        (in_state(Resource="arn:aws:states:::states:startExecution.sync"), r"startExecution\.sync"),
        (in_state(Resource="arn:aws:states:::lambda:invoke.waitForTaskToken"), "waitForTaskToken"),
        (in_state(Resource="arn:aws:lambda:us-east-1:0:function:f"), "not an integration"),
        (in_state(Resource="arn:aws:states:::aws-sdk:sagemaker:createDomain"), "no operation createDomain"),
        (in_state(Resource="arn:aws:states:::aws-sdk:s3:getObject"), "aws-sdk:s3:getObject"),
        (in_state(Retry=[{"ErrorEquals": ["x"], "Forever": True}]), "Retry field Forever"),
        (in_state(Catch=[{"ErrorEquals": ["x"], "Next": "Nowhere"}]), "goes on to Nowhere"),
        (lambda t: machine(t)["States"]["One"].pop("Next"), "neither Next nor End"),
        (in_state(Arguments="{% $shuffle([1]) %}"), r"JSONata function \$shuffle"),
        (in_state(Arguments="{% $eval('1') %}"), r"JSONata function \$eval"),
        (in_state(Arguments="{% 1 + %}"), "cannot be parsed"),
        (in_state(Arguments="at {% $now() %}"), "the whole of a text"),
        (in_state(Arguments={"a.$": "$.a"}), r"end in \.\$"),
        (
            in_state(Type="Map", ItemProcessor={"States": {}, "ProcessorConfig": {"Mode": "INLINE"}}, ItemReader={}),
            "Task|Map",
        ),
    ],
)
def test_what_is_not_covered_is_named(change: Any, says: str) -> None:
    assert re.search(says, refused(change))


def test_functions_that_an_expression_defines_are_its_own() -> None:
    template = copy.deepcopy(TEMPLATE)
    machine(template)["States"]["One"]["Arguments"] = {
        "a": "{% ($twice := function($f, $x) { $f($f($x)) }; $twice(function($y) { $y + 1 }, 1)) %}",
        "b": "{% 'a text with $shuffle(1) in it' %}",
    }
    preflight.check(deploy.Application(template, Path()))


def test_states_inside_a_map_are_looked_at() -> None:
    def change(template: dict[str, Any]) -> None:
        child = {"Type": "Task", "Resource": "arn:aws:states:::batch:submitJob", "End": True}
        machine(template)["States"]["One"] = {
            "Type": "Map",
            "Items": "{% [1] %}",
            "ItemProcessor": {
                "ProcessorConfig": {"Mode": "INLINE"},
                "StartAt": "Child",
                "States": {"Child": child},
            },
            "Next": "Done",
        }

    assert "state Child: the integration batch:submitJob" in refused(change)
