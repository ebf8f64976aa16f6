"""Distributed and inline maps in JSONata."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conformance.conftest import Cloud

ROLE = (("states:StartExecution", "*"), ("s3:GetObject", "*"), ("s3:PutObject", "*"))


@pytest.fixture
def put(cloud: Cloud) -> Any:
    bucket = cloud.name("bucket")
    cloud.client("s3").create_bucket(Bucket=bucket)

    def lines(*items: Any) -> dict[str, str]:
        body = "".join(json.dumps(item, ensure_ascii=False) + "\n" for item in items)
        cloud.client("s3").put_object(Bucket=bucket, Key="output.manifest", Body=body.encode())
        return {"bucket": bucket, "key": "output.manifest"}

    return lines


def distributed(child: dict[str, Any], **fields: Any) -> dict[str, Any]:
    reader = {
        "Resource": "arn:aws:states:::s3:getObject",
        "ReaderConfig": {"InputType": "JSONL"},
        "Arguments": {"Bucket": "{% $states.input.bucket %}", "Key": "{% $states.input.key %}"},
    }
    processor = {
        "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
        "StartAt": "Child",
        "States": {"Child": {"End": True, **child}},
    }
    return {"Type": "Map", "ItemReader": reader, "ItemProcessor": processor, **fields}


def test_a_manifest_is_read_batched_and_summed(run: Any, put: Any) -> None:
    state = distributed(
        {"Type": "Pass", "Output": "{% [$count($states.input.Items), $sum($states.input.Items.n)] %}"},
        ItemBatcher={"MaxItemsPerBatch": 4, "BatchInput": {"job": "{% $states.input.key %}"}},
        MaxConcurrency=2,
        Label="Batches",
        Assign={"total": "{% $sum($states.result.($[1])) %}"},
        Output="{% $states.result %}",
    )
    states = {
        "Map": {**state, "Next": "Tell"},
        "Tell": {
            "Type": "Pass",
            "Output": {"sizes": "{% $states.input.($[0]) %}", "total": "{% $total %}"},
            "End": True,
        },
    }
    items = put(*({"n": n} for n in range(10)))
    execution = run({"StartAt": "Map", "States": states}, *ROLE, input=items)
    assert execution["output"] == {"sizes": [4, 4, 2], "total": 45}


def test_a_batch_carries_its_input_and_keeps_to_its_bytes(run: Any, put: Any) -> None:
    state = distributed(
        {"Type": "Pass", "Output": {"job": "{% $states.input.BatchInput.job %}", "n": "{% [$states.input.Items.n] %}"}},
        ItemBatcher={"MaxItemsPerBatch": 50, "MaxInputBytesPerBatch": 900, "BatchInput": {"job": "j1"}},
    )
    items = put(*({"n": n, "fill": "x" * 300} for n in range(5)))
    output = run(state, *ROLE, input=items)["output"]
    assert output == [{"job": "j1", "n": [0, 1]}, {"job": "j1", "n": [2, 3]}, {"job": "j1", "n": [4]}]


def test_items_are_selected(run: Any, put: Any) -> None:
    state = distributed(
        {"Type": "Pass"},
        ItemSelector={"at": "{% $states.context.Map.Item.Index %}", "n": "{% $states.context.Map.Item.Value.n * 2 %}"},
    )
    output = run(state, *ROLE, input=put({"n": 1}, {"n": 2}))["output"]
    assert output == [{"at": 0, "n": 2}, {"at": 1, "n": 4}]


def test_a_line_ends_at_a_newline_only(run: Any, put: Any) -> None:
    odd = "a\u2028b\u0085c\x0bd"
    output = run(distributed({"Type": "Pass"}), *ROLE, input=put({"key": odd}, {"key": "plain"}))["output"]
    assert output == [{"key": odd}, {"key": "plain"}]


def test_a_child_is_an_execution_of_its_own(run: Any, put: Any) -> None:
    state = distributed(
        {"Type": "Pass", "Output": {"id": "{% $states.context.Execution.Id %}", "given": "{% $states.input %}"}}
    )
    execution = run(state, *ROLE, input=put({"n": 1}, {"n": 2}))
    ids = {child["id"] for child in execution["output"]}
    assert len(ids) == 2
    assert execution["executionArn"] not in ids


def test_a_child_does_not_see_its_parents_variables(run: Any, put: Any) -> None:
    states = {
        "Set": {"Type": "Pass", "Assign": {"secret": 1}, "Next": "Map"},
        "Map": {**distributed({"Type": "Pass", "Output": "{% $exists($secret) %}"}), "End": True},
    }
    assert run({"StartAt": "Set", "States": states}, *ROLE, input=put({"n": 1}))["output"] == [False]


FAILS_FOR_ODD = {
    "StartAt": "Odd",
    "States": {
        "Odd": {
            "Type": "Choice",
            "Choices": [{"Condition": "{% $states.input.n % 2 = 1 %}", "Next": "No"}],
            "Default": "Yes",
        },
        "No": {"Type": "Fail", "Error": "Odd", "Cause": "an odd number"},
        "Yes": {"Type": "Succeed"},
    },
}


@pytest.mark.parametrize(
    ("tolerance", "ends"),
    [
        ({}, "FAILED"),
        ({"ToleratedFailurePercentage": 50}, "SUCCEEDED"),
        ({"ToleratedFailurePercentage": "{% 10 * 4 %}"}, "FAILED"),
        ({"ToleratedFailureCount": 2}, "SUCCEEDED"),
        ({"ToleratedFailureCount": 1}, "FAILED"),
    ],
)
def test_failures_are_tolerated_up_to_a_share(run: Any, put: Any, tolerance: Any, ends: str) -> None:
    state = distributed({"Type": "Pass"}, **tolerance)
    state["ItemProcessor"] = {"ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}, **FAILS_FOR_ODD}
    execution = run(state, *ROLE, input=put(*({"n": n} for n in range(4))))
    assert execution["status"] == ends
    if ends == "FAILED":
        assert execution["error"] == "States.ExceedToleratedFailureThreshold"


def test_a_map_that_fails_is_caught(run: Any) -> None:
    catch = {"ErrorEquals": ["States.ALL"], "Assign": {"why": "{% $states.errorOutput.Error %}"}, "Next": "Tell"}
    states = {
        "Map": {**distributed({"Type": "Pass"}), "Catch": [catch], "Next": "Tell"},
        "Tell": {"Type": "Succeed", "Output": "{% $why %}"},
    }
    missing = {"bucket": "no-such-bucket-here", "key": "none"}
    assert run({"StartAt": "Map", "States": states}, *ROLE, input=missing)["output"] == "States.ItemReaderFailed"


def test_results_are_written_to_a_bucket(cloud: Cloud, run: Any, put: Any) -> None:
    items = put({"n": 1}, {"n": 2})
    writer = {
        "Resource": "arn:aws:states:::s3:putObject",
        "Arguments": {"Bucket": "{% $states.input.bucket %}", "Prefix": "results"},
        "WriterConfig": {"Transformation": "COMPACT", "OutputType": "JSONL"},
    }
    output = run(distributed({"Type": "Pass"}, ResultWriter=writer), *ROLE, input=items)["output"]
    s3, place = cloud.client("s3"), output["ResultWriterDetails"]
    manifest = json.loads(s3.get_object(**place)["Body"].read())
    [file] = manifest["ResultFiles"]["SUCCEEDED"]
    written = s3.get_object(Bucket=items["bucket"], Key=file["Key"])["Body"].read().decode()
    assert sorted(json.loads(line)["n"] for line in written.splitlines()) == [1, 2]
    assert manifest["ResultFiles"]["FAILED"] == []


def test_a_reader_needs_its_permission(run: Any, put: Any) -> None:
    execution = run(distributed({"Type": "Pass"}), ("states:StartExecution", "*"), input=put({"n": 1}))
    assert execution["status"] == "FAILED"
    assert "s3:GetObject" in execution["cause"]


def test_an_inline_map_runs_its_items(run: Any) -> None:
    state = {
        "Type": "Map",
        "Items": "{% $states.input.list %}",
        "MaxConcurrency": 2,
        "ItemSelector": {"value": "{% $states.context.Map.Item.Value %}"},
        "ItemProcessor": {
            "ProcessorConfig": {"Mode": "INLINE"},
            "StartAt": "Child",
            "States": {"Child": {"Type": "Pass", "Output": "{% $states.input.value * 10 %}", "End": True}},
        },
        "Output": "{% $sum($states.result) %}",
    }
    assert run(state, input={"list": [1, 2, 3]})["output"] == 60
