"""functions/gate_model: from two documents in the bucket to a decision beside the model."""

from __future__ import annotations

import json
from typing import Any

import pytest
from moto import mock_aws
from skyloop.aws.clients import client
from skyloop.aws.storage import ObjectMissing
from skyloop.documents import DatasetDocument
from skyloop.formats.evaluation import EvaluationUnreadable
from skyloop.gate.decision import GateInputMissing

from tests.support.account import BUCKET, Context, create_stack, load_handler, set_environment
from tests.support.files import REPOSITORY

JOB = "skyloop-dev-0123456789ab"
EVALUATION_KEY = f"model-artifacts/{JOB}/evaluation/evaluation.json"
DATASET_KEY = "processed-data/ds-0123456789ab/dataset.json"
DECISION_KEY = f"model-artifacts/{JOB}/decision.json"
STORED = json.loads((REPOSITORY / "tests/documents/evaluation.json").read_text())


@pytest.fixture(autouse=True)
def stack(monkeypatch):
    set_environment(monkeypatch)
    with mock_aws():
        create_stack()
        write(EVALUATION_KEY, STORED)
        write(DATASET_KEY, dataset())
        yield


def dataset(test_set_id: str = "test-1") -> dict[str, Any]:
    return DatasetDocument(
        dataset_id="ds-0123456789ab",
        created_at="2026-11-20T09:00:00Z",
        labeling_job=JOB,
        labeling_jobs=(JOB,),
        correlation_id="flight-7",
        categories=("person", "car", "bicycle", "boat"),
        counts={},
        class_boxes={},
        groups={},
        guard_images=0,
        test_set_id=test_set_id,
        checks=(),
    ).plain()


def write(key: str, document: Any) -> None:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    client("s3").put_object(Bucket=BUCKET, Key=key, Body=body)


def read(key: str) -> dict[str, Any]:
    return json.loads(client("s3").get_object(Bucket=BUCKET, Key=key)["Body"].read())


def ask(now: str = "2026-11-20T10:00:00Z") -> dict[str, Any]:
    event = {
        "evaluation_uri": f"s3://{BUCKET}/{EVALUATION_KEY}",
        "dataset_uri": f"s3://{BUCKET}/{DATASET_KEY}",
        "training_job_name": JOB,
        "correlation_id": "flight-7",
        "now": now,
    }
    return load_handler("gate_model").handler(event, Context())


def metrics(capsys: pytest.CaptureFixture[str]) -> dict[str, float]:
    """The EMF metrics printed since the last look."""
    found = {}
    for line in capsys.readouterr().out.splitlines():
        document = json.loads(line)
        for directive in document.get("_aws", {}).get("CloudWatchMetrics", []):
            for metric in directive["Metrics"]:
                value = document[metric["Name"]]
                found[metric["Name"]] = value[0] if isinstance(value, list) else value
    return found


def test_an_approval_is_answered_written_and_counted(capsys):
    answer = ask()
    assert answer["decision"] == "approve"
    assert (answer["map50"], answer["champion_map50"]) == (0.71, 0.7)
    assert answer["decision_uri"] == f"s3://{BUCKET}/{DECISION_KEY}"
    decision = read(DECISION_KEY)
    assert decision["reasons"] == answer["reasons"]
    assert decision["thresholds"]["max_map50_drop"] == 0.02
    assert decision["correlation_id"] == "flight-7"
    assert {"boat", "bicycle"} <= {rule["subject"] for rule in decision["rules"]}
    counted = metrics(capsys)
    assert (counted["GateApproved"], counted["GateRefused"], counted["CandidateMap50"]) == (1, 0, 0.71)


def test_the_digests_of_the_evaluation_are_handed_on():
    digests = {"model_sha256": "0a" * 32, "golden_predictions_sha256": "9f" * 32}
    write(EVALUATION_KEY, {**STORED, **digests})
    answer = ask()
    assert answer.items() >= digests.items()
    assert read(DECISION_KEY).items() >= digests.items()


def test_the_engine_of_the_evaluation_is_handed_on():
    write(EVALUATION_KEY, {**STORED, "engine": {"name": "openvino-bf16", "measured": {"onnxruntime": {"alike": 1.0}}}})
    assert ask()["engine"] == read(DECISION_KEY)["engine"] == "openvino-bf16"


def test_an_evaluation_without_digests_is_judged_all_the_same():
    answer = ask()
    assert (answer["decision"], answer["model_sha256"]) == ("approve", None)


def test_a_refusal_names_its_reason(monkeypatch, capsys):
    monkeypatch.setenv("SKYLOOP_MIN_MAP50", "0.9")
    answer = ask()
    assert answer["decision"] == "refuse"
    assert answer["reasons"] == ["mAP50 0.710 is below the floor of 0.900"]
    assert metrics(capsys)["GateRefused"] == 1


@pytest.mark.parametrize(("floor", "told"), [("0.9", True), ("0.1", False)])
def test_a_refusal_says_what_the_dataset_warned_of(monkeypatch, floor: str, told: bool):
    monkeypatch.setenv("SKYLOOP_MIN_MAP50", floor)
    found = [{"name": "class-not-trained", "severity": "warning", "message": f"{n} is never trained"} for n in range(7)]
    enough = {"name": "enough-images", "severity": "ok", "message": "90 images to train on"}
    write(DATASET_KEY, dataset() | {"checks": [enough, *found]})
    warned = [reason for reason in ask()["reasons"] if "warnings" in reason]
    said = "; ".join(f"{n} is never trained" for n in range(5))
    assert warned == ([f"the dataset's own warnings: {said}; and 2 more"] if told else [])
    assert read(DECISION_KEY)["reasons"] == ask()["reasons"]


def test_asked_twice_it_decides_once(capsys):
    first = ask()
    metrics(capsys)
    assert ask(now="2026-11-20T11:00:00Z") == first
    assert read(DECISION_KEY)["decided_at"] == "2026-11-20T10:00:00Z"
    assert "GateApproved" not in metrics(capsys)


def test_other_thresholds_or_another_evaluation_are_decided_anew(monkeypatch):
    assert ask()["decision"] == "approve"
    monkeypatch.setenv("SKYLOOP_MIN_MAP50", "0.9")
    assert ask()["decision"] == "refuse"
    monkeypatch.setenv("SKYLOOP_MIN_MAP50", "0.5")
    write(EVALUATION_KEY, {**STORED, "images": 0, "boxes": 0})
    assert ask()["decision"] == "refuse"


def test_a_decision_that_cannot_be_read_back_is_made_anew():
    write(DECISION_KEY, {"decision": "perhaps"})
    assert ask()["decision"] == "approve"
    assert read(DECISION_KEY)["decision"] == "approve"


def test_another_test_set_is_refused():
    write(DATASET_KEY, dataset("test-2"))
    answer = ask()
    assert answer["decision"] == "refuse"
    assert "frozen test set" in answer["summary"]


def test_nan_in_the_evaluation_is_refused_with_an_answer_a_state_machine_can_read():
    write(EVALUATION_KEY, json.dumps({**STORED, "candidate": {**STORED["candidate"], "map50": float("nan")}}).encode())
    answer = ask()
    assert answer["decision"] == "refuse"
    assert answer["map50"] is None
    json.dumps(answer, allow_nan=False)


def test_missing_and_broken_inputs_fail_by_name():
    write(EVALUATION_KEY, b"<html>")
    with pytest.raises(EvaluationUnreadable):
        ask()
    write(EVALUATION_KEY, STORED)
    write(DATASET_KEY, {"dataset_id": "ds-1"})
    with pytest.raises(GateInputMissing, match="test_set_id"):
        ask()
    client("s3").delete_object(Bucket=BUCKET, Key=EVALUATION_KEY)
    with pytest.raises(ObjectMissing, match=r"evaluation\.json"):
        ask()
