"""`status`, `watch`, `alerts`, `approve`, `reject`, `deploy`, `rollback`, `label` against moto's services."""

from __future__ import annotations

import io
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console
from skyloop.aws.catalogue import Catalogue
from skyloop.aws.storage import Storage
from skyloop.documents import CatalogueItem

from cli import actions, alerts, render, snapshot, timeline
from cli.cloud import Cloud
from cli.errors import CliError
from cli.snapshot import Endpoint, Snapshot
from cli.weights import weights_to_train_from
from tests.support import account

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def put_image(cloud: Cloud, image_id: str, status: str, **more: str) -> None:
    facts = {
        "image_id": image_id,
        "status": status,
        "queue_order": f"1#2026#{image_id}",
        "key": f"raw-images/f/{image_id}.jpg",
        "flight": "f",
        "correlation_id": "c",
        "catalogued_at": NOW,
    }
    assert cloud.catalogue.add(CatalogueItem.model_validate(facts | more))


def put_state(cloud: Cloud, name: str, **more: str) -> None:
    account.put_state(cloud.state_table, name, more)


def put_endpoint_state(cloud: Cloud, config: str, package_arn: str = "arn:x/skyloop-dev/1", **more: str) -> None:
    facts = {"config": config, "package_arn": package_arn, "deployed_at": NOW.isoformat()}
    put_state(cloud, "endpoint#skyloop-dev", **facts, **more)


def put_alert(cloud: Cloud, number: int, event: str, severity: str = "error") -> None:
    at = NOW + timedelta(minutes=number)
    document = {
        "event": event,
        "severity": severity,
        "stage": "dev",
        "subject": f"job-{number}",
        "what": f"what happened in {number}",
        "why": "a reason",
        "kept": "the champion",
        "next_step": "do this",
        "links": {"report": "s3://b/r.html"},
        "at": at.isoformat(),
    }
    archived = {"alert": document, "message_id": str(number), "published_at": at.isoformat()}
    key = f"monitoring/alerts/{at:%Y/%m/%d}/{number}.json"
    cloud.client("s3").put_object(Bucket="skyloop-data", Key=key, Body=json.dumps(archived))


def put_package(cloud: Cloud, approval: str, map50: str = "0.5") -> str:
    """moto keeps no CustomerMetadataProperties in its answers: the score stays unknown here."""
    return cloud.client("sagemaker").create_model_package(
        ModelPackageGroupName="skyloop-dev",
        ModelApprovalStatus=approval,
        InferenceSpecification={
            "Containers": [{"Image": "1.dkr.ecr.eu-central-1.amazonaws.com/a:b", "ModelDataUrl": "s3://b/m.tar.gz"}],
            "SupportedContentTypes": ["image/jpeg"],
            "SupportedResponseMIMETypes": ["application/json"],
        },
        CustomerMetadataProperties={"map50": map50},
    )["ModelPackageArn"]


def put_endpoint(cloud: Cloud, config: str = "skyloop-dev-v1") -> None:
    sagemaker = cloud.client("sagemaker")
    role = "arn:aws:iam::123456789012:role/any"
    sagemaker.create_model(ModelName=config, ExecutionRoleArn=role, PrimaryContainer={"Image": "i:1"})
    variant = {"VariantName": "primary", "ModelName": config, "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    sagemaker.create_endpoint_config(EndpointConfigName=config, ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName="skyloop-dev", EndpointConfigName=config)


@pytest.fixture(autouse=True)
def _no_labeling_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    """moto has no labeling jobs."""
    monkeypatch.setattr(snapshot, "labeling_jobs", lambda cloud, limit: [])


def test_retrain_takes_the_newest_finished_labels(invoke, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = [
        snapshot.LabelingJob(name, status, 4, 4, NOW)
        for name, status in (("j3", "InProgress"), ("j2", "Completed"), ("j1", "Completed"))
    ]
    assert "label --now" in invoke("retrain").stderr
    monkeypatch.setattr(snapshot, "labeling_jobs", lambda cloud, limit: jobs)
    assert invoke("retrain").exit_code == 0
    assert invoke("retrain", "j1").exit_code == 0
    assert sorted(item["labeling_job_name"] for item in started(cloud, "Retrain")) == ["j1", "j2"]
    result = invoke("retrain", "nothing")
    assert result.exit_code == 1
    assert "j2, j1" in result.stderr


@pytest.fixture(autouse=True)
def _no_waiting_for_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """moto's executions run for ever and claim nothing."""
    monkeypatch.setattr(actions, "CLAIM_SECONDS", 0.0)


@pytest.fixture
def _one_job(monkeypatch: pytest.MonkeyPatch) -> None:
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


@pytest.fixture(autouse=True)
def _recent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alerts, "LOOK_BACK_DAYS", 36_500)


def test_an_empty_stack_says_what_to_do(invoke) -> None:
    result = invoke("status")
    assert result.exit_code == 0, result.stderr
    assert "Nothing was dropped yet: skyloop drop FOLDER" in result.stdout
    assert "NotDeployed" in result.stdout
    document = json.loads(invoke("status", "--json").stdout)
    assert (document["drift"], document["endpoint"]["deployed_at"]) == ({}, "")


def test_status_shows_where_everything_stands(invoke, cloud: Cloud) -> None:
    for number in range(3):
        put_image(cloud, f"a{number}", "PENDING")
    put_image(cloud, "b", "LABELED")
    put_image(cloud, "c", "QUARANTINED", key="raw-images/f/[odd] text.jpg", reason="it is text")
    arn = put_package(cloud, "Approved")
    put_endpoint(cloud)
    put_endpoint_state(cloud, "skyloop-dev-v1", arn)
    put_state(cloud, "drift#skyloop-dev", state="DRIFT", since=NOW.isoformat(), report_key="monitoring/drift/r.json")
    result = invoke("status")
    assert result.exit_code == 0, result.stderr
    said = " ".join(result.stdout.split())
    for words in ("3 pending", "1 labeled", "1 quarantined", "InService", "serves version 1", "DRIFT", "it is text"):
        assert words in said
    assert "raw-images/f/[odd] text.jpg" in said
    document = json.loads(invoke("status", "--json").stdout)
    assert document["images"] == {"PENDING": 3, "LABELING": 0, "LABELED": 1, "QUARANTINED": 1}
    assert document["packages"][0]["version"] == 1
    facts = {"state": "DRIFT", "since": "2026-03-01T12:00:00Z", "report_key": "monitoring/drift/r.json"}
    assert (document["drift"], document["endpoint"]["deployed_at"]) == (facts, facts["since"])


def test_statuses_are_counted_against_the_way_of_an_image(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """An image that moves on between two counts must not be counted in both."""
    order: list[str] = []
    monkeypatch.setattr(Catalogue, "count", lambda self, status, at_most: order.append(status) or 0)
    assert list(snapshot.count_images(cloud)) == ["PENDING", "LABELING", "LABELED", "QUARANTINED"]
    assert order == ["QUARANTINED", "LABELED", "LABELING", "PENDING"]


def test_of_many_images_no_more_are_counted_than_can_be_at_each_look(invoke, cloud, monkeypatch) -> None:
    for number in range(5):
        put_image(cloud, str(number), "LABELED")
    put_image(cloud, "bad", "QUARANTINED")
    for module in (snapshot, render):
        monkeypatch.setattr(module, "MOST_COUNTED", 3)
    followed = timeline.Timeline(cloud)
    followed.look()
    assert "3+ labeled" in " ".join(invoke("status").stdout.split())
    document = json.loads(invoke("status", "--json").stdout)
    assert (document["images"]["LABELED"], document["images"]["QUARANTINED"]) == (3, 1)
    assert document["images_counted_to"] == 3
    # An image that waits for labels again is none that was dropped.
    put_image(cloud, "again", "PENDING")
    assert followed.look() == []


def test_only_the_config_in_service_names_its_version(invoke, cloud: Cloud) -> None:
    put_endpoint(cloud, "skyloop-dev-v1")
    put_endpoint_state(cloud, "skyloop-dev-v2", "arn:x/skyloop-dev/2")
    assert snapshot.endpoint(cloud).version == ""


def test_a_table_of_alerts_says_why_and_what_to_do_unless_all_is_well() -> None:
    text = {"subject": "s", "what": "what", "why": "a reason " * 90, "next_step": "do this"}
    shown = io.StringIO()
    console = Console(file=shown, width=1000)
    console.print(render.alerts_table([{**text, "event": "gate-refused", "severity": "warning"}]))
    console.print(render.alerts_table([{**text, "event": "deployed", "severity": "info"}]))
    assert shown.getvalue().count("why: a reason") == shown.getvalue().count("next: do this") == 1
    assert "…" in shown.getvalue()


def test_alerts_newest_first_and_by_event(invoke, cloud: Cloud) -> None:
    for number, event in enumerate(["drift", "gate-refused", "drift"]):
        put_alert(cloud, number, event)
    found = json.loads(invoke("alerts", "--json", "--days", "3650").stdout)
    assert [item["subject"] for item in found] == ["job-2", "job-1", "job-0"]
    only = json.loads(invoke("alerts", "--event", "drift", "--json", "--days", "3650", "-n", "1").stdout)
    assert [item["subject"] for item in only] == ["job-2"]
    shown = invoke("alerts", "--days", "3650").stdout
    for words in ("what happened in 1", "why    a reason", "kept   the champion", "next   do this", "s3://b/r.html"):
        assert words in shown


def test_an_alert_is_read_once(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """It never changes, and who watches asks every few seconds."""
    put_alert(cloud, 0, "drift")
    assert len(alerts.latest(cloud, 10, days=3650)) == 1
    put_alert(cloud, 1, "drift")
    read: list[str] = []
    once = Storage.read
    monkeypatch.setattr(Storage, "read", lambda storage, key: read.append(key) or once(storage, key))
    assert [one["subject"] for one in alerts.latest(cloud, 10, days=3650)] == ["job-1", "job-0"]
    assert len(read) == 1


def test_a_message_of_another_sender_is_shown_as_it_is(invoke, cloud: Cloud) -> None:
    message = {"alert": {"what": "ALARM: x"}, "message_id": "m", "published_at": "2026-03-01T12:00:00Z"}
    key = "monitoring/alerts/2026/03/01/m.json"
    cloud.client("s3").put_object(Bucket="skyloop-data", Key=key, Body=json.dumps(message))
    assert "ALARM: x" in invoke("alerts", "--days", "3650").stdout


def test_a_broken_archive_is_named(invoke, cloud: Cloud) -> None:
    cloud.client("s3").put_object(Bucket="skyloop-data", Key="monitoring/alerts/2026/03/01/m.json", Body=b"[]")
    result = invoke("alerts", "--days", "3650")
    assert result.exit_code == 1
    assert "not an archived alert" in result.stderr


def test_no_alerts(invoke) -> None:
    assert "No alerts." in invoke("alerts").stdout


def test_approve_takes_the_newest_that_waits(invoke, cloud: Cloud) -> None:
    put_package(cloud, "PendingManualApproval")
    waiting = put_package(cloud, "PendingManualApproval")
    put_package(cloud, "Rejected")
    result = invoke("approve", "--comment", "looks good")
    assert result.exit_code == 0, result.stderr
    assert "Version 2 is Approved" in result.stdout
    described = cloud.client("sagemaker").describe_model_package(ModelPackageName=waiting)
    assert described["ModelApprovalStatus"] == "Approved"
    assert described["ApprovalDescription"] == "looks good"


def test_approving_twice_changes_nothing(invoke, cloud: Cloud) -> None:
    put_package(cloud, "Approved")
    assert "nothing changed" in invoke("approve", "1").stdout


@pytest.mark.parametrize(("arguments", "says"), [((), "No model package waits for approval"), (("7",), "no version 7")])
def test_nothing_to_approve(invoke, cloud: Cloud, arguments: tuple[str, ...], says: str) -> None:
    put_package(cloud, "Approved")
    result = invoke("approve", *arguments)
    assert result.exit_code == 1
    assert says in result.stderr
    assert "next" in result.stderr


def test_rejecting_what_serves_warns(invoke, cloud: Cloud) -> None:
    arn = put_package(cloud, "Approved")
    put_endpoint(cloud)
    put_endpoint_state(cloud, "skyloop-dev-v1", arn)
    result = invoke("reject", "1")
    assert "in service and stays so" in result.stdout
    assert cloud.client("sagemaker").describe_model_package(ModelPackageName=arn)["ModelApprovalStatus"] == "Rejected"


def started(cloud: Cloud, machine: str) -> list[dict[str, Any]]:
    client = cloud.client("stepfunctions")
    arn = cloud.outputs[f"{machine}StateMachineArn"]
    found = client.list_executions(stateMachineArn=arn)["executions"]
    return [json.loads(client.describe_execution(executionArn=item["executionArn"])["input"]) for item in found]


def test_deploy_starts_the_deployment_of_a_version(invoke, cloud: Cloud) -> None:
    arn = put_package(cloud, "Approved")
    assert invoke("deploy", "v1", "--no-wait").exit_code == 0
    assert invoke("deploy", "--no-wait").exit_code == 0  # a name of its own each time
    assert started(cloud, "Deploy") == [
        {"model_package_arn": arn, "force": False},
        {"model_package_arn": arn, "force": True},  # a person who names a version means it, whatever serves
    ]


def test_an_older_version_is_approved_without_the_promise_to_deploy_it(invoke, cloud: Cloud) -> None:
    put_package(cloud, "Rejected")
    newer = put_package(cloud, "Approved")
    put_endpoint(cloud, "skyloop-dev-v2")
    put_endpoint_state(cloud, "skyloop-dev-v2", newer)
    said = " ".join(invoke("approve", "1").stdout.split())
    assert "It is not deployed, because version 2 in service is newer: `skyloop deploy 1`" in said


def test_only_what_is_approved_is_deployed(invoke, cloud: Cloud) -> None:
    put_package(cloud, "PendingManualApproval")
    result = invoke("deploy", "1", "--no-wait")
    assert result.exit_code == 1
    assert "skyloop approve 1" in result.stderr
    assert started(cloud, "Deploy") == []


def test_rollback(invoke, cloud: Cloud) -> None:
    assert "no endpoint" in invoke("rollback").stderr
    put_endpoint(cloud)
    assert "no earlier config" in invoke("rollback").stderr
    put_endpoint_state(cloud, "skyloop-dev-v1")
    assert "no earlier config" in invoke("rollback").stderr
    put_endpoint_state(cloud, "skyloop-dev-v1", previous_config="skyloop-dev-v0")
    assert invoke("rollback", "--reason", "too slow", "--no-wait").exit_code == 0
    assert started(cloud, "Rollback") == [{"endpoint_name": "skyloop-dev", "reason": "too slow"}]


def test_a_rollback_to_a_rejected_version_asks_first(invoke, cloud: Cloud) -> None:
    put_endpoint(cloud)
    package = put_package(cloud, "Approved")
    back = {"previous_config": "skyloop-dev-v0", "previous_package_arn": package}
    put_endpoint_state(cloud, "skyloop-dev-v1", **back)
    assert invoke("rollback", "--no-wait").exit_code == 0
    sagemaker = cloud.client("sagemaker")
    sagemaker.update_model_package(
        ModelPackageArn=package, ModelApprovalStatus="Rejected", ApprovalDescription="blind at dusk"
    )
    result = invoke("rollback", "--no-wait")
    assert result.exit_code == 1
    said = " ".join(result.stderr.split())
    assert "The version to go back to, 1, was rejected: " in said
    assert "`skyloop rollback --to-rejected` goes back all the same" in said
    assert len(started(cloud, "Rollback")) == 1
    assert invoke("rollback", "--to-rejected", "--no-wait").exit_code == 0
    # A package that is gone keeps nobody from going back.
    put_endpoint_state(cloud, "skyloop-dev-v1", **back | {"previous_package_arn": f"{package}9"})
    assert invoke("rollback", "--no-wait").exit_code == 0
    assert len(started(cloud, "Rollback")) == 3


def test_a_rollback_while_a_deployment_is_prepared_says_when_to_repeat(invoke, cloud: Cloud) -> None:
    put_package(cloud, "Approved")
    put_endpoint(cloud)
    put_endpoint_state(cloud, "skyloop-dev-v1")
    assert invoke("deploy", "1", "--no-wait").exit_code == 0
    result = invoke("rollback")
    assert result.exit_code == 1
    assert "A deployment is being prepared" in result.stderr


def test_rollback_of_a_config_that_was_never_recorded_needs_no_earlier_one(invoke, cloud: Cloud) -> None:
    """A deployment that failed, and whose restoring failed too, leaves such a config; its alert names this command."""
    put_endpoint(cloud)
    put_endpoint_state(cloud, "skyloop-dev-v0")
    assert invoke("rollback", "--no-wait").exit_code == 0
    assert len(started(cloud, "Rollback")) == 1


@pytest.mark.parametrize(("arguments", "force"), [((), False), (("--now",), True)])
def test_label_starts_the_label_machine(invoke, cloud: Cloud, arguments: tuple[str, ...], force: bool) -> None:
    assert invoke("label", *arguments).exit_code == 0
    assert started(cloud, "Label") == [{"force": force}]


def test_watch_ends_when_everything_is_at_rest(invoke, cloud: Cloud) -> None:
    result = invoke("watch", "--every", "0.2")
    assert result.exit_code == 0, result.stderr
    assert "NotDeployed" in result.stdout


def test_images_are_told_once_even_when_a_count_dips(cloud: Cloud) -> None:
    follows = timeline.Timeline(cloud)
    follows.look()
    for number in range(3):
        put_image(cloud, f"a{number}", "PENDING")
    assert [event.text for event in follows.look()] == ["3 images catalogued"]
    cloud.catalogue.delete("a0")
    assert follows.look() == []
    put_image(cloud, "a0", "LABELED")
    put_image(cloud, "new", "PENDING")
    assert [event.text for event in follows.look()] == ["1 images catalogued"]


def entered(number: int, name: str, kind: str = "Task") -> dict[str, Any]:
    return {"id": number, "type": f"{kind}StateEntered", "stateEnteredEventDetails": {"name": name}}


def scheduled(number: int, resource: str, kind: str = "Task") -> dict[str, Any]:
    key = f"{kind[0].lower()}{kind[1:]}ScheduledEventDetails"
    return {"id": number, "previousEventId": number - 1, "type": f"{kind}Scheduled", key: {"resource": resource}}


def test_steps_are_work_and_not_look_ups() -> None:
    history = [
        entered(1, "FindChampion"),
        scheduled(2, "getItem"),
        entered(3, "ConvertLabels", "Map"),
        entered(4, "AssembleDataset"),
        scheduled(5, "invoke"),
        entered(6, "CheckDataset", "Choice"),
        entered(7, "Train"),
        scheduled(8, "arn:aws:states:::sagemaker:createTrainingJob.sync"),
        entered(9, "DescribeTraining"),
        scheduled(10, "arn:aws:states:::aws-sdk:sagemaker:describeTrainingJob"),
        entered(11, "JudgeCandidate"),
        scheduled(12, "arn:aws:lambda:eu-west-1:1:function:gate-model", "LambdaFunction"),
        entered(13, "PublishAlert"),
        scheduled(14, "invoke"),
        entered(15, "PublishAlertDirectly"),
        scheduled(16, "publish"),
    ]
    steps = [name for _, name in timeline.steps(history)]
    assert steps == ["ConvertLabels", "AssembleDataset", "Train", "JudgeCandidate"]


def snap(**changes: Any) -> Snapshot:
    values: dict[str, Any] = {
        "stack": "s",
        "cloud": "here",
        "images": {"PENDING": 0, "LABELING": 0, "LABELED": 0, "QUARANTINED": 0},
        "queued_uploads": 0,
        "quarantined": [],
        "labeling_jobs": [],
        "running": [],
        "packages": [],
        "endpoint": Endpoint("e", "NotDeployed"),
        "drift": None,
        "alerts": [],
    }
    return Snapshot(**{**values, **changes})


def texts(before: Snapshot, after: Snapshot) -> list[str]:
    return [event.text for event in timeline.changes(before, after)]


def test_a_timeline_tells_what_changed() -> None:
    job = snapshot.LabelingJob("skyloop-dev-1", "InProgress", 4, 0, NOW)
    done = snapshot.LabelingJob("skyloop-dev-1", "Completed", 4, 3, NOW)
    waits = snapshot.Package(1, "arn/1", "PendingManualApproval", 0.412, NOW)
    approved = snapshot.Package(1, "arn/1", "Approved", 0.412, NOW)
    counts = {"PENDING": 4, "LABELING": 0, "LABELED": 0, "QUARANTINED": 1}
    bad = snapshot.Quarantined("raw-images/f/a.jpg", "it is text")
    assert texts(snap(), snap()) == []
    assert texts(snap(), snap(images=counts, quarantined=[bad])) == [
        "1 images quarantined: it is text",
    ]
    moved = {"PENDING": 0, "LABELING": 4, "LABELED": 0, "QUARANTINED": 1}
    assert texts(snap(images=counts), snap(images=moved)) == []
    assert texts(snap(), snap(labeling_jobs=[job])) == ["labeling job skyloop-dev-1 started, 4 images"]
    assert texts(snap(labeling_jobs=[job]), snap(labeling_jobs=[done])) == [
        "labeling job skyloop-dev-1 completed, 3 of 4 labeled"
    ]
    assert texts(snap(), snap(packages=[waits])) == ["version 1 registered, pending manual approval, mAP50 0.412"]
    assert texts(snap(packages=[waits]), snap(packages=[approved])) == ["version 1 approved, mAP50 0.412"]
    serving = snap(endpoint=Endpoint("e", "InService", "c-v1"))
    assert texts(snap(), serving) == ["e in service, config c-v1"]
    alert = {"key": "k", "event": "gate-refused", "what": "Refused.", "severity": "warning", "subject": "j"}
    assert texts(snap(), snap(alerts=[alert])) == ["gate-refused: Refused."]


@pytest.mark.parametrize(
    ("changes", "idle"),
    [
        ({}, True),
        ({"images": {"PENDING": 3}}, True),
        ({"images": {"LABELING": 1}}, False),
        ({"queued_uploads": 1}, False),
        ({"running": [snapshot.Execution("deploy", "n", "a", "RUNNING", NOW)]}, False),
        ({"endpoint": Endpoint("e", "Updating")}, False),
        ({"endpoint": Endpoint("e", "Failed")}, True),
    ],
)
def test_what_counts_as_at_rest(changes: dict[str, Any], idle: bool) -> None:
    assert snap(**changes).idle is idle
