"""`retrain` and `relabel` against moto's services: which job, which weights, and of two that ask one."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from botocore.stub import Stubber

from cli import actions, snapshot
from cli.cloud import Cloud
from cli.errors import CliError
from cli.weights import weights_to_train_from
from tests.unit.cli.filled import (
    NOW,
    started,
)


def stacks_weights(cloud: Cloud) -> None:
    """What the parameter BaseWeights names."""
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket="elsewhere", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    s3.put_object(Bucket="elsewhere", Key="base/yolo11n.pt", Body=b"weights")


def test_retrain_takes_the_newest_finished_labels(invoke, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = [
        snapshot.LabelingJob(name, status, 4, 4, NOW)
        for name, status in (("j3", "InProgress"), ("j2", "Completed"), ("j1", "Completed"))
    ]
    stacks_weights(cloud)
    assert "label --now" in invoke("retrain").stderr
    monkeypatch.setattr(snapshot, "labeling_jobs", lambda cloud, limit: jobs)
    assert invoke("retrain").exit_code == 0
    assert invoke("retrain", "j1").exit_code == 0
    assert sorted(item["labeling_job_name"] for item in started(cloud, "Retrain")) == ["j1", "j2"]
    result = invoke("retrain", "nothing")
    assert result.exit_code == 1
    assert "j2, j1" in result.stderr


@pytest.fixture
def _one_job(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    job = snapshot.LabelingJob("j1", "Completed", 4, 4, NOW)
    monkeypatch.setattr(snapshot, "labeling_jobs", lambda cloud, limit: [job])


@pytest.mark.usefixtures("_one_job")
def test_weights_of_this_machine_are_uploaded_where_training_may_read_them(
    invoke, cloud: Cloud, tmp_path: Path
) -> None:
    weights = tmp_path / "my weights (1) ü.pt"
    weights.write_bytes(b"weights")
    result = invoke("retrain", "--base-weights", weights)
    assert result.exit_code == 0, result.stderr
    [request] = started(cloud, "Retrain")
    uri = request["training"]["base_weights"]
    assert request["training"] == {"start_from": "weights", "base_weights": uri}
    assert re.fullmatch(r"s3://skyloop-data/model-artifacts/base-weights/[0-9a-f]{16}/my-weights--1---\.pt", uri)
    assert cloud.storage.read(cloud.storage.key_of(uri)).body == b"weights"
    # And so may whoever comes later, by the URI.
    assert invoke("retrain", "--base-weights", uri).exit_code == 0


@pytest.mark.usefixtures("_one_job")
def test_the_stacks_own_weights_and_names_are_passed_on(invoke, cloud: Cloud) -> None:
    stacks_weights(cloud)
    for weights in ("s3://elsewhere/base/yolo11n.pt", "yolo11s.pt"):
        assert invoke("retrain", "--base-weights", weights, "--epochs", "10000").exit_code == 0
    asked = {(item["training"]["base_weights"], item["training"]["epochs"]) for item in started(cloud, "Retrain")}
    assert asked == {("s3://elsewhere/base/yolo11n.pt", 10_000), ("yolo11s.pt", 10_000)}
    assert invoke("retrain", "--epochs", "10001").exit_code == 2


@pytest.mark.parametrize(
    ("weights", "says"),
    [
        ("s3://elsewhere/other.pt", "may not read"),
        ("s3://skyloop-data/raw-images/w.pt", "may not read"),
        ("s3://skyloop-data/model-artifacts/none.pt", "There is no"),
        ("s3://skyloop-data/model-artifacts/a'b.pt", "cannot be base weights"),
        ("none/w.pt", "There is no"),
        ("w" * 65, "cannot be base weights"),
    ],
)
@pytest.mark.usefixtures("_one_job")
def test_weights_that_training_could_not_use_start_nothing(invoke, cloud: Cloud, weights: str, says: str) -> None:
    cloud.storage.write("model-artifacts/a'b.pt", b"x")
    result = invoke("retrain", "--base-weights", weights, "--json")
    assert result.exit_code == 1
    assert says in json.loads(result.stderr)["error"]
    assert started(cloud, "Retrain") == []


@pytest.mark.parametrize("how", [(), ("--from", "weights"), ("--base-weights", "s3://elsewhere/base/yolo11n.pt")])
@pytest.mark.parametrize("bucket", [True, False])
@pytest.mark.usefixtures("_one_job")
def test_where_the_stacks_own_weights_are_gone_nothing_is_started(
    invoke, cloud: Cloud, how: tuple[str, ...], bucket: bool
) -> None:
    if bucket:
        stacks_weights(cloud)
        cloud.client("s3").delete_object(Bucket="elsewhere", Key="base/yolo11n.pt")
    result = invoke("retrain", *how, "--json")
    assert result.exit_code == 1
    assert json.loads(result.stderr)["error"] == (
        "There is no s3://elsewhere/base/yolo11n.pt (the parameter BaseWeights)."
    )
    assert started(cloud, "Retrain") == []
    assert invoke("retrain", "--from", "scratch").exit_code == 0


def test_weights_that_only_training_may_see_are_left_to_it(cloud: Cloud) -> None:
    client = cloud.client("s3")
    with Stubber(client) as stubber:
        stubber.add_client_error("head_object", "403", http_status_code=403)
        weights_to_train_from(cloud, "s3://elsewhere/base/yolo11n.pt")
        stubber.assert_no_pending_responses()


def test_on_the_laptop_a_name_that_nobody_knows_is_refused_at_once(cloud: Cloud, tmp_path: Path) -> None:
    """Its image has no weights, so that the training would fail at its first step."""
    here = Cloud(cloud.session, cloud.stack_name, home=tmp_path)
    with pytest.raises(CliError, match=r"There is no nosuch\.pt"):
        weights_to_train_from(here, "nosuch.pt")
    assert weights_to_train_from(here, "yolo11n.pt") == "yolo11n.pt"
    assert weights_to_train_from(cloud, "nosuch.pt") == "nosuch.pt"  # an image on AWS may have it


@pytest.mark.parametrize(
    ("execution", "asked_by", "says"),
    [
        ({"status": "RUNNING"}, "mine", ""),
        (
            {"status": "SUCCEEDED", "output": json.dumps({"outcome": "already running: j1-by-hand-7"})},
            "j1-by-hand-7",
            "The training j1-by-hand-7 runs already.",
        ),
        ({"status": "FAILED", "cause": "the table is gone"}, "j1-by-hand-7", "No training was begun: the table is"),
    ],
)
def test_of_two_that_ask_at_once_one_is_told(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, execution: dict[str, str], asked_by: str, says: str
) -> None:
    """The execution decides; the command says what it decided."""
    monkeypatch.setattr(actions, "CLAIM_SECONDS", 60.0)
    started = actions.Started("arn", "j1-by-hand-8")
    monkeypatch.setattr(actions, "start", lambda *_: started)
    client = cloud.client("stepfunctions")
    monkeypatch.setattr(client, "describe_execution", lambda **_: execution)
    monkeypatch.setattr(Cloud, "client", lambda self, service: client)
    item = {"attempt": 2, "asked_by": f"{started.name if asked_by == 'mine' else asked_by}#0"}
    monkeypatch.setattr(Cloud, "state_table", SimpleNamespace(get={"training#j1": item}.get))
    if not says:
        assert actions.start_training(cloud, "j1", "{}") == started
        return
    with pytest.raises(CliError, match=says):
        actions.start_training(cloud, "j1", "{}")


def test_relabel_asks_for_one_jobs_images(invoke, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = [snapshot.LabelingJob(name, "Completed", 4, 4, NOW) for name in ("j2", "j1")]
    monkeypatch.setattr(snapshot, "labeling_jobs", lambda cloud, limit: jobs)
    assert invoke("relabel", "j1", "--reason", "boxes are shifted", "--now").exit_code == 0
    assert started(cloud, "Label") == [{"relabel": "j1", "reason": "boxes are shifted", "force": True}]
    result = invoke("relabel", "nothing")
    assert result.exit_code == 1
    assert "j2, j1" in result.stderr
