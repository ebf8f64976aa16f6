"""One value, one limit: the template, the requests, the functions' settings, the container and its README agree."""

from __future__ import annotations

import ast
import re
from typing import Any

import pytest
from skyloop.aws.settings import Settings
from skyloop.documents import MAX_EPOCHS, WEIGHTS, TrainingOptions
from skyloop.formats.groundtruth import MAX_ITEMS

from tests.infra import wiring

PARAMETERS = wiring.template()["Parameters"]
# Parameters that retrain passes on as hyperparameters.
HYPERPARAMETERS = {
    "Epochs": "epochs",
    "ImageSize": "imgsz",
    "SliceSize": "slice_size",
    "MaxSlices": "max_slices",
    "BatchSize": "batch",
    "Freeze": "freeze",
    "Seed": "seed",
}


def bounds(parameter: str) -> tuple[float | None, float | None]:
    return PARAMETERS[parameter].get("MinValue"), PARAMETERS[parameter].get("MaxValue")


def container_bounds() -> dict[str, dict[str, Any]]:
    """The bounds of the container's hyperparameters, read and not imported: that folder has another license."""
    path = wiring.ROOT / "training_container/skyloop_container/hyperparameters.py"
    found = {}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Call):
            given = {word.arg: word.value for word in node.value.keywords if word.arg in {"ge", "le"}}
            found[node.target.id] = {
                name: eval(compile(ast.Expression(value), str(path), "eval"))  # numbers and their powers
                for name, value in given.items()
            }
    return found


def model_bounds(field: Any) -> dict[str, float]:
    limits = [limit for limit in field.metadata if hasattr(limit, "ge") or hasattr(limit, "le")]
    return {name: getattr(limit, name) for limit in limits for name in ("ge", "le") if hasattr(limit, name)}


@pytest.mark.parametrize(("parameter", "hyperparameter"), HYPERPARAMETERS.items())
def test_the_container_takes_what_the_template_takes(parameter: str, hyperparameter: str) -> None:
    limits = container_bounds()[hyperparameter]
    assert (limits["ge"], limits["le"]) == bounds(parameter)


def test_the_container_takes_the_window_that_the_template_takes() -> None:
    path = wiring.ROOT / "training_container/skyloop_container/hyperparameters.py"
    assert f'pattern="{PARAMETERS["RadiometricWindow"]["AllowedPattern"]}"' in path.read_text(encoding="utf-8")


def test_the_machine_refuses_the_sides_that_the_container_refuses() -> None:
    """Multiples and gaps, which no parameter of CloudFormation can have."""
    path = wiring.ROOT / "training_container/skyloop_container/hyperparameters.py"
    unfit = wiring.machine("retrain")["States"]["ReadRequest"]["Assign"]["unfit"]
    text = path.read_text(encoding="utf-8")
    [multiple] = re.findall(r"multiple_of=(\d+)", text)
    [least] = re.findall(r"LEAST_SLICE = (\d+)", text)
    assert f"/ {multiple} != $floor(" in unfit
    assert f"< {least}" in unfit
    assert f"multiple of {multiple}" in PARAMETERS["ImageSize"]["ConstraintDescription"]
    assert f"0, or a side of {least} to" in PARAMETERS["SliceSize"]["ConstraintDescription"]


def test_who_asks_for_a_training_may_ask_for_what_the_template_takes() -> None:
    taken = model_bounds(TrainingOptions.model_fields["epochs"])
    assert (taken["ge"], taken["le"]) == bounds("Epochs") == (1, MAX_EPOCHS)
    assert PARAMETERS["BaseWeights"]["AllowedPattern"] == WEIGHTS
    refusal = wiring.machine("retrain")["States"]["ReadRequest"]["Assign"]["refusal"]
    assert f"/{WEIGHTS.replace('/', chr(92) + '/')}/" in refusal
    assert str(MAX_EPOCHS) in refusal


def test_settings_take_what_the_template_takes() -> None:
    """They may take more: the parameters' bounds are for people."""
    variables = wiring.template()["Globals"]["Function"]["Environment"]["Variables"]
    compared = set()
    for name, value in variables.items():
        parameter = value.get("Ref") if isinstance(value, dict) else None
        if parameter not in PARAMETERS or PARAMETERS[parameter]["Type"] != "Number":
            continue
        limits = model_bounds(Settings.model_fields[name.removeprefix("SKYLOOP_").lower()])
        least, most = bounds(parameter)
        assert limits.get("ge", least) <= least, parameter
        assert limits.get("le", most) >= most, parameter
        compared.add(parameter)
    assert {"LabelingBatchSize", "DriftWindow", "MinMap50"} <= compared


def test_a_batch_is_no_larger_than_a_labeling_job_may_be() -> None:
    assert bounds("LabelingBatchSize")[1] == MAX_ITEMS


@pytest.mark.parametrize("name", sorted(PARAMETERS))
def test_a_refused_parameter_is_told_its_true_limits(name: str) -> None:
    """The sentence that a person reads has the numbers that refused him."""
    said = PARAMETERS[name].get("ConstraintDescription", "").replace(",", "")
    numbers = {float(number) for number in re.findall(r"\d+(?:\.\d+)?", said)}
    for limit in bounds(name):
        assert limit is None or float(limit) in numbers, (name, said)
