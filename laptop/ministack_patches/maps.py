"""Step Functions' Distributed Map in JSONata, of which MiniStack 1.5.33 knows only the JSONPath form."""

from __future__ import annotations

import copy
import json
from typing import Any

from ministack.services import s3, stepfunctions

from laptop.documents import Document
from laptop.ministack_patches import authorization
from laptop.ministack_patches.executions import PAYLOAD_BYTES, check_size, failure
from laptop.ministack_patches.patching import Original, patch

_OURS = ("Items", "ItemsPath", "ItemReader", "ItemSelector", "ItemBatcher", "ResultWriter", "Output", "Assign")
_NUMBERS = ("MaxConcurrency", "ToleratedFailureCount", "ToleratedFailurePercentage")


@patch(
    "services.stepfunctions:_run_distributed_map",
    because="MiniStack ignores ItemBatcher and ResultWriter, and a JSONata map's ItemSelector, Output and Assign",
    proof="test_maps.py::test_a_manifest_is_read_batched_and_summed",
)
def _run_distributed_map(
    original: Original,
    state: Document,
    given: Any,
    effective: Any,
    processor: Document,
    record: Document,
    context: Document,
) -> Any:
    if stepfunctions._state_query_language(state, context) != "JSONata":
        raise failure("States.Runtime", "The laptop cloud runs distributed maps in JSONata only")
    authorization.require("states:StartExecution", record["stateMachineArn"])
    inputs = _batched(state, _selected(state, _items(state, given, effective, context), given, context), given, context)

    # MiniStack runs the children: over inputs that are ready, without anything of the above left to interpret.
    plain = {name: value for name, value in state.items() if name not in _OURS}
    plain["QueryLanguage"] = "JSONPath"
    for name in _NUMBERS:
        if name in plain:
            plain[name] = stepfunctions._jsonata_state_field(state, name, "number", given, context)
    # Children do not see the variables of their parent: developer guide, "Passing data between states with variables".
    apart = {**copy.deepcopy(context), "variables": {}}
    before = set(stepfunctions._map_runs)
    try:
        results, following = original(plain, inputs, inputs, processor, record, apart)
    finally:
        context["State"] = apart["State"]
    if writer := state.get("ResultWriter"):
        run = next(arn for arn in stepfunctions._map_runs if arn not in before and _is_of(arn, record))
        results = _written(writer, run, given, context)
    check_size(results, context["State"]["Name"])
    output = stepfunctions._apply_jsonata_output(state, given, context, result=results, default=results)
    stepfunctions._apply_state_assign(state, given, context, result=results)
    return output, following


def _items(state: Document, given: Any, effective: Any, context: Document) -> list[Any]:
    items: list[Any] = effective if isinstance(effective, list) else [effective]
    if reader := state.get("ItemReader"):
        reader = stepfunctions._apply_jsonata_template(reader, given, context)
        place = reader.get("Arguments", {})
        if reader["Resource"].endswith("s3:listObjectsV2"):
            authorization.require("s3:ListBucket", f"arn:aws:s3:::{place.get('Bucket')}")
        else:
            authorization.require("s3:GetObject", f"arn:aws:s3:::{place.get('Bucket')}/{place.get('Key')}")
        items = stepfunctions._read_map_items(reader, {}, context)
    elif "Items" in state:
        items = stepfunctions._jsonata_state_field(state, "Items", "array", given, context)
    return items


def _selected(state: Document, items: list[Any], given: Any, context: Document) -> list[Any]:
    if "ItemSelector" not in state:
        return items
    chosen = []
    for index, value in enumerate(items):
        seen = {**context, "Map": {"Item": {"Index": index, "Value": value}}}
        chosen.append(stepfunctions._apply_jsonata_template(state["ItemSelector"], given, seen))
    return chosen


def _batched(state: Document, items: list[Any], given: Any, context: Document) -> list[Any]:
    """The inputs of the children: ``{"Items": […], "BatchInput": …}`` by both of ItemBatcher's limits."""
    if "ItemBatcher" not in state:
        return items
    batcher = stepfunctions._apply_jsonata_template(state["ItemBatcher"], given, context)
    most_items = int(batcher.get("MaxItemsPerBatch", len(items) or 1))
    most_bytes = min(int(batcher.get("MaxInputBytesPerBatch", PAYLOAD_BYTES)), PAYLOAD_BYTES)
    frame = {"BatchInput": batcher["BatchInput"]} if "BatchInput" in batcher else {}
    empty = _bytes({**frame, "Items": []})
    batches: list[list[Any]] = []
    used = 0
    for item in items:
        size = _bytes(item) + 1
        if empty + size > most_bytes:
            raise failure(
                "States.ItemReaderFailed", f"An item of {size} bytes does not fit a batch of {most_bytes} bytes"
            )
        if not batches or len(batches[-1]) == most_items or used + size > most_bytes:
            batches.append([])
            used = empty
        batches[-1].append(item)
        used += size
    return [{**frame, "Items": batch} for batch in batches]


def _bytes(value: Any) -> int:
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())


def _is_of(map_run_arn: str, record: Document) -> bool:
    return bool(stepfunctions._map_runs[map_run_arn]["executionArn"] == record["executionArn"])


def _written(writer: Document, map_run_arn: str, given: Any, context: Document) -> Document:
    """Write the children's results to S3 with their manifest, and return what the state then sees as its result.

    Source: developer guide, "ResultWriter (Map)"; files are not split here.
    """
    writer = stepfunctions._apply_jsonata_template(writer, given, context)
    place, configuration = writer["Arguments"], writer.get("WriterConfig", {})
    lines = configuration.get("OutputType", "JSON") == "JSONL"
    prefix = "/".join(part for part in (place.get("Prefix", "").strip("/"), map_run_arn.rpartition(":")[2]) if part)
    executions = stepfunctions._executions.values()
    children = [execution for execution in executions if execution.get("mapRunArn") == map_run_arn]

    def put(key: str, body: str) -> None:
        authorization.require("s3:PutObject", f"arn:aws:s3:::{place['Bucket']}/{key}")
        status, _, answer = s3._put_object(place["Bucket"], key, body.encode(), {})
        if status >= 400:
            raise failure("States.ResultWriterFailed", answer.decode() if isinstance(answer, bytes) else str(answer))

    files: dict[str, list[Document]] = {"FAILED": [], "PENDING": [], "SUCCEEDED": []}
    for status in ("SUCCEEDED", "FAILED"):
        results = [_result(child, configuration) for child in children if child["status"] == status]
        if results:
            body = "\n".join(map(json.dumps, results)) if lines else json.dumps(results)
            key = f"{prefix}/{status}_0.{'jsonl' if lines else 'json'}"
            put(key, body)
            files[status].append({"Key": key, "Size": len(body.encode())})
    manifest = {"DestinationBucket": place["Bucket"], "MapRunArn": map_run_arn, "ResultFiles": files}
    put(f"{prefix}/manifest.json", json.dumps(manifest))
    details = {"Bucket": place["Bucket"], "Key": f"{prefix}/manifest.json"}
    return {"MapRunArn": map_run_arn, "ResultWriterDetails": details}


def _result(child: Document, configuration: Document) -> Any:
    if configuration.get("Transformation", "NONE") != "NONE" and child["status"] == "SUCCEEDED":
        return json.loads(child["output"])
    return {
        "ExecutionArn": child["executionArn"],
        "Input": child["input"],
        "InputDetails": {"Included": True},
        "Name": child["name"],
        "Output": child["output"],
        "OutputDetails": {"Included": True},
        "StartDate": child["startDate"],
        "StateMachineArn": child["stateMachineArn"],
        "Status": child["status"],
        "StopDate": child["stopDate"],
    }


@patch(
    "services.stepfunctions:_parse_reader_items",
    because="MiniStack ends a JSON line at every character that Unicode calls a line break, inside strings too",
    proof="test_maps.py::test_a_line_ends_at_a_newline_only",
)
def _parse_items(original: Original, text: str, configuration: Document) -> Any:
    if configuration.get("InputType") != "JSONL":
        return original(text, configuration)
    try:
        return [json.loads(line) for line in text.split("\n") if line.strip()]
    except ValueError as error:
        raise failure(
            "States.ItemReaderFailed", f"Attempting to parse a line of the item source failed: {error}"
        ) from error


@patch(
    "services.stepfunctions:_run_sub_machine",
    because="in MiniStack the context of a distributed map's child names its parent's execution",
    proof="test_maps.py::test_a_child_is_an_execution_of_its_own",
)
def _run_child(original: Original, states: Any, start_at: Any, given: Any, record: Document, context: Document) -> Any:
    if record.get("mapRunArn") and context["Execution"]["Id"] != record["executionArn"]:
        own = {"Id": record["executionArn"], "Name": record["name"], "Input": given, "StartTime": record["startDate"]}
        context["Execution"] = own
    return original(states, start_at, given, record, context)
