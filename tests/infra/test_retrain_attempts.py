"""Several trainings of one labeling job: who gets which attempt, by retrain's definitions and a table in moto."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from tests.infra import wiring
from tests.infra.expressions import SETTINGS, accepted, run, state
from tests.infra.samples import JOB


class Askings:
    """Executions of retrain that ask for an attempt in one table, a state at a time."""

    def __init__(self) -> None:
        self.running: set[str] = set()
        self.variables: dict[str, wiring.JSON] = {}
        self.client = boto3.client("dynamodb", region_name="us-east-1")
        self.client.create_table(
            TableName="state",
            BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": "name", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "name", "AttributeType": "S"}],
        )

    def begin(self, asking: str, lost: int = 0) -> None:
        """An execution comes to the first of the states."""
        self.running.add(asking)
        self.variables[asking] = {"labeling_job": JOB, "lost": lost}

    def enter(self, name: str, asking: str) -> str:
        """One state of an execution; the name of the one after it."""
        definition, variables = state("retrain", name), self.variables[asking]
        context = {
            "Execution": {"Name": asking},
            "StateMachine": {"Id": SETTINGS["RetrainStateMachineArn"]},
        }
        if definition["Type"] == "Choice":
            for rule in definition["Choices"]:
                if run(rule["Condition"], variables, context=context):
                    variables |= run(rule.get("Assign", {}), variables, context=context)
                    return str(rule["Next"])
            return str(definition["Default"])
        arguments = run(definition["Arguments"], variables, context=context)
        try:
            result = self._call(name, arguments)
        except self.client.exceptions.ConditionalCheckFailedException:
            assert definition["Catch"][0]["ErrorEquals"] == ["DynamoDB.ConditionalCheckFailedException"]
            return str(definition["Catch"][0]["Next"])
        except LookupError:
            assert definition["Catch"][0]["ErrorEquals"] == ["Sfn.ExecutionDoesNotExistException"]
            return str(definition["Catch"][0]["Next"])
        variables |= run(definition["Assign"], variables, result=result, context=context)
        return str(definition["Next"])

    def _call(self, name: str, arguments: wiring.JSON) -> Any:
        if name != "FindAsker":
            return {"ReadAttempt": self.client.get_item, "CountAttempt": self.client.update_item}[name](**arguments)
        machine, _, asker = arguments["ExecutionArn"].rpartition(":")
        assert machine == SETTINGS["RetrainStateMachineArn"].replace(":stateMachine:", ":execution:")
        if asker == "forgotten":
            raise LookupError
        return {"Status": "RUNNING" if asker in self.running else "FAILED"}

    def ask(self, asking: str, until: tuple[str, ...] = (), *, lost: int = 0) -> str:
        """Go on to the attempt's number, to why there is none, or to a state of `until`."""
        self.begin(asking, lost)
        return self.go_on("ReadAttempt", asking, until)

    def go_on(self, name: str, asking: str, until: tuple[str, ...] = ()) -> str:
        """As `ask`, from a state on."""
        while name not in ("NameTraining", "Done", *until):
            name = self.enter(name, asking)
        ended = {"NameTraining": "attempt", "Done": "outcome"}
        return str(self.variables[asking][ended[name]]) if name in ended else name


@pytest.fixture
def askings() -> Iterator[Askings]:
    with mock_aws():
        yield Askings()


def test_every_attempt_has_a_name_of_its_own() -> None:
    for number in ("2", "999"):
        variables = {"labeling_job": "j" * 63, "attempt": number}
        longest = run(state("retrain", "NameTraining")["Assign"]["training_job"], variables)
        accepted("sagemaker", "DescribeProcessingJob", {"ProcessingJobName": f"{longest}-eval"})
        assert longest.endswith(f"-{number}")


def test_of_two_askings_at_once_one_gets_the_attempt_and_the_other_is_told(askings: Askings) -> None:
    """Both have seen that nobody asks before either claims."""
    assert [askings.ask(asking, ("CountAttempt",)) for asking in ("a", "b")] == ["CountAttempt"] * 2
    assert askings.go_on("CountAttempt", "b") == "2"
    assert askings.go_on("CountAttempt", "a") == "already running: b"


def test_an_asking_waits_for_the_end_of_the_one_before_and_of_the_events_own(askings: Askings) -> None:
    askings.running.add(JOB)
    assert askings.ask("a") == f"already running: {JOB}"
    askings.running.clear()
    assert askings.ask("b") == "2"
    assert askings.ask("c") == "already running: b"
    askings.running.clear()
    assert askings.ask("d") == "3"


def test_an_asking_that_is_forgotten_holds_nobody_up(askings: Askings) -> None:
    assert askings.ask("forgotten") == "2"
    assert askings.ask("a") == "3"


def test_an_asking_whose_answer_was_lost_is_counted_once(askings: Askings) -> None:
    assert askings.ask("a") == "2"
    assert askings.go_on("CountAttempt", "a") == "2"
    # And once more only when SageMaker has lost the machine.
    assert askings.ask("a", lost=1) == "3"
    askings.running.clear()
    assert askings.ask(JOB, lost=1) == "4", "the event's own, which asked for nothing"
